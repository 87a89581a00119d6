internal import CSQLite
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
        try source.copyPages(into: unfinished, report: report)
      }
      date(unfinished, now.worthyWall)
      try FileSystem.sync(unfinished)
      guard rename(unfinished, path) == 0 else { throw FileSystem.failure("rename", unfinished) }
    } catch {
      discardUnfinished()
      throw error
    }
    try FileSystem.syncDirectory(of: path)
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

extension Connection {
  /// Pages between two syncs: a slow card is never asked for more than a few megabytes at once.
  private static let pagesAtOnce: Int32 = 1024

  /// Copies every page into a new file (https://www.sqlite.org/backup.html), which is fsynced. The caller holds a
  /// snapshot, or writers would make it begin anew.
  fileprivate func copyPages(into path: String, report: (Int) -> Void) throws(SpoolError) {
    // Opened before SQLite does: closing it drops SQLite's locks on the file, which nobody else opens.
    let file = Glibc.open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o640)
    guard file >= 0 else { throw FileSystem.failure("create", path) }
    defer { Glibc.close(file) }
    var opened: OpaquePointer?
    let code = sqlite3_open_v2(path, &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nil)
    defer { sqlite3_close_v2(opened) }
    // A file that is not whole is thrown away, so nothing has to be undone in it.
    guard code == SQLITE_OK, sqlite3_exec(opened, "PRAGMA journal_mode = OFF", nil, nil, nil) == SQLITE_OK,
      sqlite3_exec(opened, "PRAGMA synchronous = OFF", nil, nil, nil) == SQLITE_OK,
      let backup = withHandle({ sqlite3_backup_init(opened, "main", $0, "main") })
    else { throw Connection.failure(of: opened, "copy into", path) }
    var result: Int32
    repeat {
      result = sqlite3_backup_step(backup, Connection.pagesAtOnce)
      guard fdatasync(file) == 0 else {
        let error = FileSystem.failure("sync", path)
        sqlite3_backup_finish(backup)
        throw error
      }
      let total = max(1, Int(sqlite3_backup_pagecount(backup)))
      report(100 - Int(sqlite3_backup_remaining(backup)) * 100 / total)
    } while result == SQLITE_OK
    guard sqlite3_backup_finish(backup) == SQLITE_OK, result == SQLITE_DONE else {
      throw SpoolError(
        kind: SpoolError.Kind(code: result), operation: "copy into", path: path,
        cause: String(cString: sqlite3_errstr(result)), hint: SpoolError.Kind(code: result).hint)
    }
  }

  private static func failure(of handle: OpaquePointer?, _ operation: String, _ path: String) -> SpoolError {
    let kind = SpoolError.Kind(code: handle.map(sqlite3_extended_errcode) ?? SQLITE_NOMEM)
    return SpoolError(
      kind: kind, operation: operation, path: path,
      cause: handle.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory", hint: kind.hint)
  }
}
