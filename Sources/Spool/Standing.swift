package import Telemetry

/// Where a pipeline stands, as far as a look every few seconds may cost: a row of each table, whatever waits in them.
package struct Standing: Sendable, Hashable {
  /// A batch that waits for its delivery.
  package struct Waiting: Sendable, Hashable {
    package var log: LogID
    package var first: Offset
    /// Wall nanoseconds.
    package var sealed: Int64
  }

  /// The name of its book (``Audit/Entry/pipeline``).
  package var book: String
  package var replay: ReplayID?
  /// It reads, or drains.
  package var active: Bool
  package var uplink: String
  package var log: LogID
  package var checkpoint: Offset
  package var counters: LedgerCounters
  /// The first in the order of sealing; nil with an empty outbox.
  package var oldest: Waiting?
}

extension StateStore {
  /// Of every book, by name.
  package func standings() throws(SpoolError) -> [Standing] {
    try watch { connection throws(SpoolError) in
      let oldest = try connection.statement(
        "SELECT log, first, wall FROM outbox WHERE pipeline = ? ORDER BY position, line LIMIT 1")
      var standings: [Standing] = []
      for row in try PipelineRow.all(in: connection) {
        defer { oldest.reset() }
        try oldest.bind([.text(row.name)])
        let waiting =
          try oldest.step()
          ? Standing.Waiting(
            log: LogID(rawValue: oldest.text(0)), first: Offset(oldest.integer(1)), sealed: oldest.integer(2))
          : nil
        standings.append(
          Standing(
            book: row.name, replay: row.replay, active: row.active, uplink: row.uplink, log: row.log,
            checkpoint: row.checkpoint, counters: row.counters, oldest: waiting))
      }
      return standings
    }
  }

  /// Readings of a book that wait for their delivery.
  package func waitingReadings(of book: String) throws(SpoolError) -> Int64 {
    try watch { connection throws(SpoolError) in
      try connection.integer("SELECT coalesce(sum(count), 0) FROM outbox WHERE pipeline = ?", .text(book)) ?? 0
    }
  }
}

extension Moment {
  /// Nanoseconds from this moment to `now`; nil where no clock can tell: they are of two boots, and one of the wall
  /// clocks was not synchronised.
  package func elapsed(until now: Moment) -> Int64? {
    if boot == now.boot { return now.monotonic - monotonic }
    guard quality == .synchronised, now.quality == .synchronised else { return nil }
    return now.wall - wall
  }
}
