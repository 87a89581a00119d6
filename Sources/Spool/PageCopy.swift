internal import CSQLite
internal import Glibc

extension Connection {
  /// Pages that are copied between two looks around: 2 MiB.
  private static let portion: Int32 = 512

  /// Copies every page, as the transaction sees it in which this connection stands, into a file that is there and empty
  /// (https://www.sqlite.org/backup.html). Without a transaction of the caller's the library would begin anew with
  /// every foreign commit.
  /// - Parameters:
  ///   - synced: each portion is synced before the next, so that a slow card is never asked for much at once, and all
  ///     is when this returns. Otherwise the file is one that is read once and deleted.
  ///   - progress: is told after each portion how many bytes are copied, and of how many.
  func copyPages(
    to path: String, synced: Bool, progress: (_ done: Int64, _ total: Int64) -> Void
  ) throws(SpoolError) {
    // Opened before SQLite does: closing it drops SQLite's locks on the file, which nobody else opens.
    let file = synced ? Glibc.open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC) : -1
    guard file >= 0 || !synced else { throw FileSystem.failure("open", path) }
    defer { if synced { Glibc.close(file) } }
    var opened: OpaquePointer?
    let code = sqlite3_open_v2(path, &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nil)
    defer { sqlite3_close_v2(opened) }
    func failure(_ code: Int32) -> SpoolError {
      let kind = SpoolError.Kind(code: opened.map(sqlite3_extended_errcode) ?? code)
      let cause = opened.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
      return SpoolError(
        kind: kind, operation: "copy \(self.path) to", path: path, cause: cause,
        hint: kind == .full ? "make room there, or name another place" : kind.hint)
    }
    // A file that is not whole is thrown away, so nothing has to be undone in it.
    guard code == SQLITE_OK,
      sqlite3_exec(opened, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", nil, nil, nil) == SQLITE_OK,
      let backup = withHandle({ sqlite3_backup_init(opened, "main", $0, "main") })
    else { throw failure(code) }
    let pageSize = ((try? integer("PRAGMA page_size")) ?? nil) ?? 4096
    while true {
      let step = sqlite3_backup_step(backup, Connection.portion)
      guard step == SQLITE_OK || step == SQLITE_DONE else {
        sqlite3_backup_finish(backup)
        throw failure(step)
      }
      if synced, fdatasync(file) != 0 {
        let error = FileSystem.failure("sync", path)
        sqlite3_backup_finish(backup)
        throw error
      }
      let total = Int64(sqlite3_backup_pagecount(backup))
      progress((total - Int64(sqlite3_backup_remaining(backup))) * pageSize, total * pageSize)
      guard step == SQLITE_DONE else { continue }
      let finished = sqlite3_backup_finish(backup)
      guard finished == SQLITE_OK else { throw failure(finished) }
      return
    }
  }
}
