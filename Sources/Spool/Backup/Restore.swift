internal import Glibc
internal import Telemetry

// A restored box is a box of its own, by the same rules as a cloned card (Binding.swift): at its first start it draws
// new epochs, so that no sequence which the old box used after the backup is ever used again; the log goes on under
// another name, so that its offsets are not taken for those of the old box; what may have been delivered after the
// backup is marked as possible duplicates: every batch that was in the outbox, and what is made from messages of the
// backup; and what was in doubt of broker sessions is forgotten. All of that hangs on one word in state.db, which is
// written before the files are put in their place: so a first start that is cut off does it all at the next.

/// What a restore has done.
package struct Restored: Sendable {
  package var manifest: BackupManifest
  /// Where what was there before lies now; nil where there was nothing.
  package var replaced: String?
  /// The sources whose broker sessions the backup knew.
  package var sources: [String]
}

extension Backup {
  /// How a backup is brought back.
  package struct Order: Sendable {
    /// The backup.
    package var path: String
    /// The spool's folder; made where only its last part is missing.
    package var directory: String
    /// The old box is gone for good: the broker sessions go on under its client ids.
    package var takesOver = false
    /// A spool that is there is moved aside.
    package var replaces = false
    var formats = SpoolFormats.current

    package init(path: String, directory: String) {
      self.path = path
      self.directory = directory
    }
  }

  /// Brings a backup back. Everything is verified first, then built beside, then put in place (Restoration.swift): a
  /// power cut leaves what was there, or all of the backup.
  /// - Parameters:
  ///   - wall: now, in nanoseconds.
  ///   - finish: is given the folder with what was built, the last time that something may be added.
  /// - Throws: ``SpoolError/Kind/damaged`` or `newer` where the backup cannot be used, `busy` where a daemon runs on the
  ///   spool, `misuse` where there is one and it is not to be replaced.
  package static func restore(
    _ order: Order, wall: Int64, progress: (Progress) -> Void = { _ in }, finish: (String) throws(SpoolError) -> Void
  ) throws(SpoolError) -> Restored {
    let directory = order.directory
    func refuseIfOccupied() throws(SpoolError) {
      guard !order.replaces, Restoration.isOccupied(directory) else { return }
      throw SpoolError(
        kind: .misuse, operation: "restore to", path: directory, cause: "there is a spool already",
        hint: "'--replace' moves it aside, once no daemon runs on it; '--spool' names another folder")
    }
    try refuseIfOccupied()
    let file = try BackupFile(path: order.path)
    let manifest = try read(file, into: nil, progress: progress)
    try prepare(directory)
    // Root may read the backup; in the spool's folder it has no more to say than the folder's owner.
    try SpoolOwner.become(of: directory)
    let lock = try Spool.takeLock("\(directory)/lock")
    defer { Glibc.close(lock) }
    try FileSystem.adopt("\(directory)/lock", ownerOf: directory)
    // Nobody else comes in between from here on. What a power cut left of an earlier restore is finished first: its
    // files lie where those of this one are built.
    try Restoration.finish(in: directory)
    try refuseIfOccupied()
    let free = try FileSystem.free(directory)
    guard free - reserve >= manifest.bytes else {
      throw SpoolError(
        kind: .full, operation: "restore to", path: directory,
        cause: "it takes \(mebibytes(manifest.bytes)), and of \(free >> 20) MiB free \(mebibytes(reserve)) are kept",
        hint: "make room; nothing was changed")
    }
    let built = try Restoration.begin(in: directory)
    do throws(SpoolError) {
      guard try read(file, into: built, progress: progress) == manifest else {
        throw SpoolError(
          kind: .damaged, operation: "read the backup", path: order.path, cause: "it was changed meanwhile", hint: nil)
      }
      for format in order.formats.all { try bringForward(format, in: built) }
      let sources = try mark(built, as: order.takesOver ? StateStore.takenOverMark : StateStore.restoredMark)
      try checkLog(built, manifest, order.formats.log)
      try finish(built)
      try settle(built, ownerOf: directory)
      let replaced = try Restoration.commit(in: directory, wall: wall)
      return Restored(manifest: manifest, replaced: replaced, sources: sources)
    } catch {
      // Behind the point of no return the next start goes on with it.
      if !FileSystem.exists("\(directory)/\(Restoration.marker)") { Restoration.abandon(in: directory) }
      throw error
    }
  }

  /// The spool's folder, where it is missing: of the owner of the folder that it lies in.
  private static func prepare(_ directory: String) throws(SpoolError) {
    guard !FileSystem.exists(directory) else { return }
    try FileSystem.makeDirectory(directory)
    try FileSystem.adopt(directory, ownerOf: FileSystem.folder(of: directory))
  }

  /// An older version's backup is its own way back: no copy is kept of how the database was.
  private static func bringForward(_ format: DatabaseFormat, in folder: String) throws(SpoolError) {
    let connection = try Connection(path: "\(folder)/\(format.database.rawValue)", access: .readWrite(.everyCommit))
    defer { connection.close() }
    try format.bringForward(connection)
    try connection.truncateLog()
  }

  /// Says in state.db that it was restored.
  /// - Returns: the sources that it has client ids for.
  private static func mark(_ folder: String, as word: String) throws(SpoolError) -> [String] {
    let path = Spool.statePath(folder)
    let connection = try Connection(path: path, access: .readWrite(.everyCommit))
    defer { connection.close() }
    try StateStore.verify(connection)
    try connection.transaction(.immediate) { () throws(SpoolError) in
      let machine = try connection.text("SELECT machine FROM instance") ?? ""
      try connection.execute("DELETE FROM instance")
      try connection.run("INSERT INTO instance VALUES(?, ?)", .text(machine), .text(word))
    }
    try connection.truncateLog()
    let rows = try connection.statement("SELECT source FROM session ORDER BY source")
    defer { rows.reset() }
    var sources: [String] = []
    while try rows.step() { sources.append(rows.text(0)) }
    return sources
  }

  private static func checkLog(
    _ folder: String, _ manifest: BackupManifest, _ format: DatabaseFormat
  ) throws(SpoolError) {
    let reader = try LogReader(path: Spool.logPath(folder), format: format)
    defer { reader.connection.close() }
    let end = try reader.end()
    guard end.log.rawValue == manifest.log.id, end.next.rawValue == manifest.log.next else {
      throw SpoolError(
        kind: .damaged, operation: "restore", path: reader.connection.path,
        cause: "it is another log than the manifest says", hint: nil)
    }
  }

  /// Nothing is left of SQLite's helpers, everything belongs to the spool's owner and is synced.
  private static func settle(_ folder: String, ownerOf directory: String) throws(SpoolError) {
    for name in SpoolFiles.databases {
      let path = "\(folder)/\(name)"
      guard FileSystem.size(path + "-wal") == 0 else {
        throw SpoolError(
          kind: .misuse, operation: "restore", path: path, cause: "its write-ahead log could not be emptied", hint: nil)
      }
      for suffix in ["-wal", "-shm"] { unlink(path + suffix) }
    }
    for name in FileSystem.names(in: folder) {
      let path = "\(folder)/\(name)"
      for inner in name == SpoolFiles.attachments ? FileSystem.names(in: path) : [] {
        try FileSystem.adopt("\(path)/\(inner)", ownerOf: directory)
      }
      try FileSystem.adopt(path, ownerOf: directory)
      try FileSystem.sync(path)
    }
    try FileSystem.adopt(folder, ownerOf: directory)
    try FileSystem.sync(folder)
    try FileSystem.syncDirectory(of: folder)
  }
}
