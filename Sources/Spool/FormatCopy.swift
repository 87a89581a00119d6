internal import Glibc
internal import Telemetry

/// A database as it was before its format changed: the way back, beside the database, under its name and the number of
/// its format (`log.db.format-1`).
///
/// It is kept for a week, whether the daemon is stopped meanwhile or not: who is disappointed by a version stops it,
/// and needs the copy right then. What goes back loses what came since, so after a week a copy is worth less than the
/// room that it takes. It goes earlier when the disk has less free than `spool.min_free`, for it must not keep the
/// gateway from taking in; and when the next upgrade leaves a newer one.
///
/// The time that it counts from is the file's: of its making, or, where no clock was worth it then, of the first look
/// with one that is.
struct FormatCopy: Sendable, Hashable {
  let directory: String
  let database: Database
  let format: Int64

  var name: String { "\(database.rawValue).format-\(format)" }
  var path: String { "\(directory)/\(name)" }
  /// What is being filled, before it takes the name.
  var unfinished: String { path + ".new" }

  /// Nanoseconds for which a copy is kept.
  static let age: Int64 = 7 * 24 * 3_600_000_000_000
  /// Wall nanoseconds before which no file of ours was made (2020-01-01): of an older one the time is not known.
  static let epoch: Int64 = 1_577_836_800_000_000_000

  /// Those that are whole.
  static func all(in directory: String) -> [FormatCopy] {
    FileSystem.names(in: directory).compactMap { FormatCopy($0, in: directory) }
  }

  private init?(_ name: String, in directory: String) {
    for database in Database.allCases {
      let prefix = database.rawValue + ".format-"
      guard name.hasPrefix(prefix), let format = Int64(name.dropFirst(prefix.count)), format > 0 else { continue }
      self.init(directory: directory, database: database, format: format)
      if self.name == name { return }
    }
    return nil
  }

  init(directory: String, database: Database, format: Int64) {
    self.directory = directory
    self.database = database
    self.format = format
  }

  /// Removes what a copying that was interrupted left.
  static func sweep(_ directory: String) {
    for name in FileSystem.names(in: directory) where name.hasSuffix(".new") {
      if let copy = FormatCopy(String(name.dropLast(4)), in: directory) { copy.discardUnfinished() }
    }
  }

  private func discardUnfinished() {
    for suffix in ["", "-journal", "-wal", "-shm"] { unlink(unfinished + suffix) }
  }

  var size: Int64 { FileSystem.size(path) }

  func remove() { unlink(path) }

  /// Copies a database whole, as of one moment, so that after a power cut either all of it stands under the name or
  /// nothing does.
  /// - Parameters:
  ///   - now: where its clock is not worth it, the copy is dated later.
  ///   - report: is told how much of a hundred is done, after every few megabytes.
  func make(of source: Connection, now: Moment, report: (Int) -> Void) throws(SpoolError) {
    discardUnfinished()
    do throws(SpoolError) {
      try source.transaction(.deferred) { () throws(SpoolError) in
        // Takes the snapshot, which others may write behind.
        _ = try source.integer("SELECT count(*) FROM sqlite_master")
        Glibc.close(try FileSystem.createAnew(unfinished, mode: 0o640))
        try source.copyPages(to: unfinished, synced: true) { report(Int($0 * 100 / max(1, $1))) }
      }
      if database == .state { try markTakenOver() }
      date(unfinished, now.worthyWall)
      try FileSystem.sync(unfinished)
      guard rename(unfinished, path) == 0 else { throw FileSystem.failure("rename", unfinished) }
    } catch {
      discardUnfinished()
      throw error
    }
    try FileSystem.syncDirectory(of: path)
  }

  /// Whoever goes back to the copy goes on in the place of what the newer version left: as a box of its own, but under
  /// its client ids, for which the broker keeps messages (Binding.swift).
  private func markTakenOver() throws(SpoolError) {
    let connection = try Connection(path: unfinished, access: .readWrite(.everyCommit))
    defer { connection.close() }
    try connection.run("UPDATE instance SET file = ?", .text(StateStore.takenOverMark))
    try connection.truncateLog()
  }

  private func date(_ path: String, _ wall: Int64?) {
    let seconds = (wall ?? 0) / 1_000_000_000
    let times = [timespec(tv_sec: Int(seconds), tv_nsec: 0), timespec(tv_sec: Int(seconds), tv_nsec: 0)]
    _ = utimensat(AT_FDCWD, path, times, 0)
  }

  /// Whether its time is over. One without a time is given one.
  func isOld(now: Moment) -> Bool {
    guard let wall = now.worthyWall else { return false }
    var info = stat()
    guard stat(path, &info) == 0 else { return false }
    let since = Int64(info.st_mtim.tv_sec) &* 1_000_000_000
    guard since >= FormatCopy.epoch, since <= wall else {
      date(path, wall)
      return false
    }
    return wall - since > FormatCopy.age
  }
}
