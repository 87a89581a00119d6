package import Telemetry

/// Looks into the log for whoever watches: what lies behind an offset, and when it was received. With a connection of
/// its own, opened when it is first asked: a look never waits for a commit, nor a commit for a look.
package final class LogGauge: Sendable {
  package struct Stretch: Sendable, Hashable {
    /// Payload bytes from the offset to the end; of the block in which the offset lies, its share.
    package var bytes: Int64
    /// The receipt of the first message of the block in which the offset lies, which is at most a group older.
    package var oldest: Moment
  }

  private let path: String
  private let connection = Locked<Connection?>(nil)

  /// - Parameter directory: the spool's.
  package init(directory: String) { path = Spool.logPath(directory) }

  /// Nil where nothing lies behind the offset.
  package func stretch(from offset: Offset) throws(SpoolError) -> Stretch? {
    try read { connection throws(SpoolError) in try LogGauge.stretch(from: offset, in: connection) }
  }

  private func read<R>(_ body: (Connection) throws(SpoolError) -> R) throws(SpoolError) -> R {
    try connection.withLock { connection throws(SpoolError) in
      let open: Connection
      if let connection { open = connection } else { open = try Connection(path: path, access: .readOnly) }
      connection = open
      return try open.transaction(.deferred) { () throws(SpoolError) in try body(open) }
    }
  }

  private static func stretch(from offset: Offset, in connection: Connection) throws(SpoolError) -> Stretch? {
    let block = try connection.statement(
      """
      SELECT first, count, bytes, boot, monotonic, wall, quality FROM block
      WHERE first >= coalesce((SELECT max(first) FROM block WHERE first <= ?1), ?1) AND first + count > ?1
      ORDER BY first LIMIT 1
      """)
    defer { block.reset() }
    try block.bind([.integer(offset.rawValue)])
    guard try block.step() else { return nil }
    let first = block.integer(0)
    let count = max(1, block.integer(1))
    let passed = min(count, max(0, offset.rawValue - first))
    let share = Int64(Double(block.integer(2)) * Double(count - passed) / Double(count))
    let behind =
      try connection.integer("SELECT coalesce(sum(bytes), 0) FROM block WHERE first > ?", .integer(first)) ?? 0
    return Stretch(
      bytes: share + behind,
      oldest: Moment(
        boot: BootID(bytes: block.blob(3)), monotonic: block.integer(4), wall: block.integer(5),
        quality: ClockQuality(column: block.integer(6))))
  }

  package func close() {
    connection.withLock { connection in
      connection?.close()
      connection = nil
    }
  }
}
