package import Telemetry

/// The books of every pipeline at one moment, read from the files, so that it works beside a running
/// daemon and without one.
package struct Audit: Sendable, Hashable {
  package struct Entry: Sendable, Hashable {
    /// Its name, or the name of a replay's book (``ReplayID/book(of:)``).
    package var pipeline: String
    package var replay: ReplayID?
    /// Of a replay: it has not ended.
    package var active: Bool
    /// Where its batches go.
    package var uplink: String
    package var ledger: Ledger
  }

  package var entries: [Entry]
  package var faults: [StateStore.Fault]
  package var balances: Bool { entries.allSatisfy(\.ledger.balances) }

  /// Takes the snapshot of state.db first and of log.db second, so that what the pipelines have read
  /// is in the log's snapshot for certain; what came after the cut counts on both sides.
  ///
  /// Retention may delete, between the two, blocks that the older checkpoint still counts as waiting.
  /// That is seen by the first offset left, and the cut is taken again.
  package static func take(directory: String) throws(SpoolError) -> Audit {
    try take(directory: directory, formats: .current)
  }

  static func take(directory: String, formats: SpoolFormats) throws(SpoolError) -> Audit {
    let state = try Connection(path: Spool.statePath(directory), access: .readOnly)
    try formats.state.verify(state)
    let log = try LogReader(path: Spool.logPath(directory), format: formats.log)
    defer { state.close() }
    var attempts = 0
    while true {
      attempts += 1
      let audit = try state.transaction(.deferred) { () throws(SpoolError) in
        // Its first read takes the snapshot.
        _ = try PipelineRow.all(in: state)
        return try log.snapshot { () throws(SpoolError) in try Audit.look(state, log) }
      }
      if audit.audit.balances || !audit.overtaken || attempts == 5 { return audit.audit }
    }
  }

  /// Both stand within their snapshots; that of the state is the older one.
  /// - Returns: also whether retention has deleted blocks between the two that the state still counts on.
  static func look(_ state: Connection, _ log: LogReader) throws(SpoolError) -> (audit: Audit, overtaken: Bool) {
    let rows = try PipelineRow.all(in: state)
    let faults = try StateStore.Fault.all(in: state)
    var entries: [Entry] = []
    for row in rows { entries.append(try Audit.entry(row, in: state)) }
    let start = try log.start()
    let end = try log.end()
    let overtaken = rows.contains {
      $0.active && $0.replay == nil && $0.log == end.log && $0.checkpoint < start
    }
    for index in rows.indices where rows[index].active && rows[index].replay == nil {
      let row = rows[index]
      guard row.log == end.log else { continue }
      entries[index].ledger.received = row.received(at: end.received)
      let beyond = try row.until.map { offset throws(SpoolError) in try log.waiting(from: offset) }
      entries[index].ledger.waiting = try log.waiting(from: row.checkpoint) - (beyond ?? 0)
    }
    return (audit: Audit(entries: entries, faults: faults), overtaken: overtaken)
  }

  static func entry(
    _ row: PipelineRow, in connection: Connection
  ) throws(SpoolError) -> Entry {
    var ledger = Ledger(row.counters)
    ledger.received = row.receivedBefore
    if row.replay != nil, row.active, let until = row.until {
      // What retention has taken from its range still waits to be booked, so the log does not count.
      ledger.received = row.received(at: 0)
      ledger.waiting = until - row.checkpoint
    }
    ledger.inOutbox =
      try connection.integer(
        "SELECT coalesce(sum(count), 0) FROM outbox WHERE pipeline = ?", .text(row.name)) ?? 0
    ledger.deadLetters =
      try connection.integer(
        "SELECT count(*) FROM dead_letter WHERE pipeline = ?", .text(row.name)) ?? 0
    return Entry(
      pipeline: row.name, replay: row.replay, active: row.active, uplink: row.uplink, ledger: ledger)
  }
}

extension StateStore {
  /// The books of every pipeline as far as the state knows them: without what stands in the log.
  package func books() throws(SpoolError) -> [Audit.Entry] {
    try read { connection throws(SpoolError) in
      var entries: [Audit.Entry] = []
      for row in try PipelineRow.all(in: connection) {
        entries.append(try Audit.entry(row, in: connection))
      }
      return entries
    }
  }
}
