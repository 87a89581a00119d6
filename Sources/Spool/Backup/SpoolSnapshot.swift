internal import Glibc
internal import Telemetry

// How a running box is copied.
//
// **Two databases, one moment.** A state whose checkpoint lay beyond the end of its log would be a fault, and so would
// a log in which retention has deleted what the state has not read. So two read transactions are begun one right
// after the other, the state's first: whatever its checkpoints have passed is in the log's snapshot, because a message
// is in the log before a pipeline reads it. Retention may have deleted blocks between the two that a *newer*
// checkpoint had passed; that shows, for then the log begins behind a checkpoint of the snapshot, and both are taken
// again. From then on both snapshots stand still while everybody else goes on: what retention deletes and what the
// intake appends is in neither. The copies are made from these snapshots, whatever the order and however long it
// takes. (To copy one database after the other without holding both would need the state first, and would lose
// blocks to retention as soon as the copy of the state takes longer than `spool.keep`, or the space is short.)
//
// **Nobody waits.** In WAL mode a reader blocks no writer and is blocked by none. What it does block is the resetting
// of the write-ahead log: `log.db-wal` and `state.db-wal` grow by what is written until the copy is done, and shrink
// back with the next checkpoint. For the intake that is as much as it takes in meanwhile, compressed. `VACUUM INTO`
// would take its snapshot itself, each database at another moment. `sqlite3_backup_step` without a transaction of its
// own begins anew with every foreign commit, and never ends under traffic; within the transaction that is held here it
// reads the snapshot to its end.

/// Both databases as they stood at one moment. Used by one thread.
final class SpoolSnapshot {
  let state: Connection
  let log: LogReader
  let audit: Audit
  let pipelines: [PipelineRow]
  let end: LogStore.End
  let start: Offset

  /// How often both are taken at most. A log that begins behind a checkpoint even then has lost something: the copy
  /// says so as the spool itself does.
  private static let attempts = 20

  init(of directory: String) throws(SpoolError) {
    for path in [Spool.statePath(directory), Spool.logPath(directory)] where FileSystem.exists(path) {
      guard let file = try SpoolOwner.open(path, in: directory) else {
        throw SpoolError(
          kind: .unavailable, operation: "back up", path: path, cause: "the spool's owner may not read it", hint: nil)
      }
      Glibc.close(file)
    }
    let state = try Connection(path: Spool.statePath(directory), access: .readOnly)
    try DatabaseFormat.state.verify(state)
    var log = try LogReader(path: Spool.logPath(directory))
    var attempt = 0
    while true {
      attempt += 1
      try state.execute(Connection.Transaction.deferred.rawValue)
      let rows = try PipelineRow.all(in: state)
      try log.connection.execute(Connection.Transaction.deferred.rawValue)
      let start = try log.start()
      let end = try log.end()
      // A reader keeps the log's name from its opening on; the first start after a move changes it.
      let isRenamed = try log.connection.text("SELECT id FROM log") != log.log.rawValue
      let isOvertaken = isRenamed || rows.contains { $0.active && $0.log == end.log && $0.checkpoint < start }
      guard isOvertaken, attempt < SpoolSnapshot.attempts else {
        audit = try Audit.look(state, log).audit
        pipelines = rows
        self.start = start
        self.end = end
        self.state = state
        self.log = log
        return
      }
      try state.execute("ROLLBACK")
      try log.connection.execute("ROLLBACK")
      guard isRenamed else { continue }
      log.connection.close()
      log = try LogReader(path: Spool.logPath(directory))
    }
  }

  /// Bytes that the copy of a database takes.
  func size(of database: Database) throws(SpoolError) -> Int64 {
    let connection = connection(database)
    return (try connection.integer("PRAGMA page_count") ?? 0) * (try connection.integer("PRAGMA page_size") ?? 4096)
  }

  /// Copies a database into a file that is there and empty, and lets go of its snapshot.
  /// - Parameter progress: is called now and then with the bytes that were copied since the call before.
  func copy(_ database: Database, to path: String, progress: (Int64) -> Void) throws(SpoolError) {
    let connection = connection(database)
    var copied: Int64 = 0
    try connection.copyPages(to: path, synced: false) { done, _ in
      progress(done - copied)
      copied = done
    }
    try connection.execute("ROLLBACK")
  }

  private func connection(_ database: Database) -> Connection {
    switch database {
    case .log: log.connection
    case .state: state
    }
  }

  func close() {
    state.close()
    log.connection.close()
  }
}
