internal import Glibc

// How a restore puts its files in place. A spool's folder is often a mount point, and its parent belongs to root: the
// folder itself cannot be exchanged. So everything is built in `restore.new/` within it, and a small file says how far
// it has come:
//
//   1. restore.new/ is filled, verified and synced. What was there before is untouched; a power cut leaves it at work,
//      and restore.new/ is deleted by the next restore.
//   2. `restoring` is written: three lines, the last one empty: the folder that takes what was there before, and
//      `clear`. From here on there is only one way, forward: whoever opens the spool next goes on with it.
//   3. What was there before is moved to the folder `replaced-...`. Each name is moved or is gone already.
//   4. `restoring` says `install`; every name in restore.new/ is moved into its place.
//   5. `restoring` and restore.new/ are removed.
//
// So a power cut leaves either all of the old or all of the new, never a mixture that anybody could start on.

/// The last steps of a restore.
package enum Restoration {
  package static let folder = "restore.new"
  package static let marker = "restoring"
  static let replacedPrefix = "replaced-"

  private enum Step: String {
    case clear
    case install
  }

  /// Whether there is a spool, or what is left of one, that a restore would take the place of.
  package static func isOccupied(_ directory: String) -> Bool {
    SpoolFiles.databases.contains { FileSystem.exists("\(directory)/\($0)") }
      || FileSystem.exists("\(directory)/\(marker)")
  }

  /// An empty folder to build in.
  static func begin(in directory: String) throws(SpoolError) -> String {
    let path = "\(directory)/\(folder)"
    try remove(path)
    guard mkdir(path, 0o700) == 0 else { throw FileSystem.failure("create", path) }
    return path
  }

  /// Gives up what was built.
  static func abandon(in directory: String) {
    try? remove("\(directory)/\(folder)")
  }

  /// Steps 2 to 5, for what was built and synced.
  /// - Returns: where what was there before lies now; nil where there was nothing.
  static func commit(in directory: String, wall: Int64) throws(SpoolError) -> String? {
    var name = replacedPrefix + String(wall / 1_000_000_000)
    var attempt = 1
    while FileSystem.exists("\(directory)/\(name)") {
      attempt += 1
      name = "\(replacedPrefix)\(wall / 1_000_000_000)-\(attempt)"
    }
    try note(name, .clear, in: directory)
    try finish(in: directory)
    let place = "\(directory)/\(name)"
    return FileSystem.exists(place) ? place : nil
  }

  /// What is left of steps 3 to 5; does nothing where no restore has come so far.
  static func finish(in directory: String) throws(SpoolError) {
    let path = "\(directory)/\(marker)"
    guard let bytes = try FileSystem.contents(path) else {
      // What one left that came to nothing takes room.
      return abandon(in: directory)
    }
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    guard lines.count == 2, let step = Step(rawValue: lines[1]), lines[0].hasPrefix(replacedPrefix),
      !lines[0].contains("/")
    else {
      throw SpoolError(
        kind: .unavailable, operation: "finish the restore in", path: directory,
        cause: "\(marker) makes no sense", hint: "move the folder away and restore once more")
    }
    if step == .clear {
      try clear(directory, to: "\(directory)/\(lines[0])")
      try note(lines[0], .install, in: directory)
    }
    let source = "\(directory)/\(folder)"
    for name in FileSystem.names(in: source) { try move("\(source)/\(name)", to: "\(directory)/\(name)") }
    try FileSystem.syncDirectory(of: path)
    // From here on the folder is a spool like any other.
    guard unlink(path) == 0 else { throw FileSystem.failure("remove", path) }
    rmdir(source)
    try FileSystem.syncDirectory(of: path)
  }

  private static func note(_ name: String, _ step: Step, in directory: String) throws(SpoolError) {
    try FileSystem.replace("\(directory)/\(marker)", with: Array("\(name)\n\(step.rawValue)\n".utf8))
  }

  private static func clear(_ directory: String, to place: String) throws(SpoolError) {
    let copies = FormatCopy.all(in: directory).map(\.name)
    let names = (SpoolFiles.replaced + copies).filter { FileSystem.exists("\(directory)/\($0)") }
    guard !names.isEmpty else { return }
    try FileSystem.makeDirectory(place)
    try FileSystem.adopt(place, ownerOf: directory)
    for name in names { try move("\(directory)/\(name)", to: "\(place)/\(name)") }
    try FileSystem.syncDirectory(of: place + "/.")
    try FileSystem.syncDirectory(of: place)
  }

  private static func move(_ path: String, to place: String) throws(SpoolError) {
    guard rename(path, place) == 0 else { throw FileSystem.failure("move", path) }
  }

  /// Removes a folder that a restore has built: files, and folders with files.
  private static func remove(_ path: String) throws(SpoolError) {
    // A link is removed, not what it leads to.
    if unlink(path) == 0 { return }
    for name in FileSystem.names(in: path) {
      let entry = "\(path)/\(name)"
      if unlink(entry) == 0 { continue }
      for inner in FileSystem.names(in: entry) { unlink("\(entry)/\(inner)") }
      guard rmdir(entry) == 0 else { throw FileSystem.failure("remove", entry) }
    }
    guard rmdir(path) == 0 || errno == ENOENT else { throw FileSystem.failure("remove", path) }
  }
}

extension FileSystem {
  /// Gives a file the owner of another one; does nothing for a user who may not.
  static func adopt(_ path: String, ownerOf model: String) throws(SpoolError) {
    guard geteuid() == 0 else { return }
    var info = stat()
    guard stat(model, &info) == 0 else { throw failure("look at", model) }
    guard lchown(path, info.st_uid, info.st_gid) == 0 else { throw failure("change the owner of", path) }
  }
}
