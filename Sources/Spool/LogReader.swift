package import Telemetry

/// A stretch of the log as a reader meets it.
package enum LogStretch: Sendable {
  case block(LogBlock)
  /// Messages on topics that the reader does not want: `first ..< end`, without a gap.
  case uninteresting(first: Offset, end: Offset)
  /// Messages that were taken and can no longer be read: a block that fails its checksum, or offsets
  /// that no block holds any more.
  case unreadable(first: Offset, end: Offset, reason: String)
}

/// What came of looking for one message.
package enum LogLookup: Sendable, Hashable {
  case message(Message)
  /// Why it is not there, for people.
  case gone(reason: String)
}

/// Reads the raw log, from any process, while the intake writes. Used by one thread at a time.
package final class LogReader {
  let connection: Connection
  /// All names of the log.
  package let names: LogNames
  // Several pipelines read the same newest block one after the other; decoding it once is enough.
  private var cached: LogBlock?

  package convenience init(path: String) throws(SpoolError) { try self.init(path: path, format: .log) }

  init(path: String, format: DatabaseFormat) throws(SpoolError) {
    connection = try Connection(path: path, access: .readOnly)
    try format.verify(connection)
    guard let id = try connection.text("SELECT id FROM log") else {
      throw SpoolError(
        kind: .damaged, operation: "read", path: path, cause: "the row that names the log is missing",
        hint: SpoolError.Kind.damaged.hint)
    }
    names = try LogNames(current: LogID(rawValue: id), in: connection)
  }

  /// The name that the log has now.
  package var log: LogID { names.current }

  package func end() throws(SpoolError) -> LogStore.End {
    try LogStore.end(of: connection, id: log)
  }

  /// The first offset that is still held; the end of the log when it is empty.
  package func start() throws(SpoolError) -> Offset {
    if let first = try connection.integer("SELECT first FROM block ORDER BY first LIMIT 1") {
      return Offset(first)
    }
    return try end().next
  }

  package func waiting(from offset: Offset) throws(SpoolError) -> Int64 {
    try BlockRow.waiting(from: offset, in: connection)
  }

  /// Runs `body` in one snapshot of the log.
  package func snapshot<R>(_ body: () throws(SpoolError) -> R) throws(SpoolError) -> R {
    try connection.transaction(.deferred, body)
  }

  /// What stands at `offset`; nil at the end of the log.
  /// - Parameter interested: whether a block with this origin has to be read; a block without one is
  ///   passed by without its body being touched.
  package func next(
    from offset: Offset, interested: (Origin) -> Bool = { _ in true }
  ) throws(SpoolError) -> LogStretch? {
    if let cached, cached.first <= offset, offset < cached.end {
      return cached.group.origins.contains(where: interested)
        ? .block(cached) : .uninteresting(first: offset, end: cached.end)
    }
    // Of one snapshot: a block that is committed between two of its reads would look like a gap.
    return try snapshot { () throws(SpoolError) in try stretch(from: offset, interested: interested) }
  }

  private func stretch(
    from offset: Offset, interested: (Origin) -> Bool
  ) throws(SpoolError) -> LogStretch? {
    guard let first = try firstBlock(at: offset) else {
      let end = try end().next
      return offset < end
        ? .unreadable(first: offset, end: end, reason: "no block holds these offsets any more") : nil
    }
    if first > offset {
      return .unreadable(first: offset, end: first, reason: "no block holds these offsets any more")
    }
    let header = try connection.statement("SELECT count, origins FROM block WHERE first = ?")
    defer { header.reset() }
    try header.bind([.integer(first.rawValue)])
    guard try header.step() else { return nil }
    let count = header.integer(0)
    let origins: [Origin]
    do throws(BlockFormatError) {
      origins = try BlockCodec.decodeOrigins(
        header.blob(1), first: first.rawValue, count: count, like: cached?.group.origins ?? [])
      guard LogStore.offsets.contains(count) else { throw BlockFormatError(description: "\(count) messages") }
    } catch {
      return try unreadable(offset, block: first, "\(error)")
    }
    let end = first + Int(count)
    guard origins.contains(where: interested) else {
      return .uninteresting(first: offset, end: end)
    }
    let row = try connection.statement("SELECT \(BlockRow.columns) FROM block WHERE first = ?")
    defer { row.reset() }
    try row.bind([.integer(first.rawValue)])
    guard try row.step() else { return nil }
    do {
      let block = try BlockRow(row).decode(log: names.name(at: first), origins: origins)
      cached = block
      return .block(block)
    } catch {
      return try unreadable(offset, block: first, "\(error)")
    }
  }

  /// One message, whatever its topic, where the log still holds it.
  /// - Parameter log: the log that `offset` belongs to, by any of its names.
  package func message(at offset: Offset, of log: LogID) throws(SpoolError) -> LogLookup {
    guard names.contains(log) else {
      return .gone(reason: "the message was in log \(log), which log \(self.log) has replaced")
    }
    switch try next(from: offset) {
    case .block(let block):
      let index = offset - block.first
      guard (0..<Int64(block.group.count)).contains(index) else { break }
      return .message(block.group[Int(index)])
    case .unreadable(_, _, let reason):
      return .gone(reason: "the message at offset \(offset) cannot be read from the log any more: \(reason)")
    case .uninteresting, nil: break
    }
    return .gone(reason: "the log has no offset \(offset)")
  }

  /// A block that cannot be used ends where the next begins, whatever it says itself: offsets are dense.
  private func unreadable(
    _ offset: Offset, block: Offset, _ reason: String
  ) throws(SpoolError) -> LogStretch {
    let next = try connection.integer(
      "SELECT first FROM block WHERE first > ? ORDER BY first LIMIT 1", .integer(block.rawValue))
    let end = if let next { Offset(next) } else { try end().next }
    return .unreadable(first: offset, end: max(end, offset + 1), reason: "block \(block): \(reason)")
  }

  /// The first offset of the block that holds `offset` by its own words, or else of the one after it.
  private func firstBlock(at offset: Offset) throws(SpoolError) -> Offset? {
    let holder = try connection.integer(
      """
      SELECT first FROM
        (SELECT first, count FROM block WHERE first <= ?1 ORDER BY first DESC LIMIT 1)
      WHERE first + count > ?1
      """, .integer(offset.rawValue))
    if let holder { return Offset(holder) }
    let after = try connection.integer(
      "SELECT first FROM block WHERE first > ? ORDER BY first LIMIT 1", .integer(offset.rawValue))
    return after.map { Offset($0) }
  }

  /// The moments that the log spans: of its first and of its last message.
  package func span() throws(SpoolError) -> (first: Int64, last: Int64)? {
    guard let first = try connection.integer("SELECT wall FROM block ORDER BY first LIMIT 1"),
      let last = try connection.integer("SELECT last_wall FROM block ORDER BY first DESC LIMIT 1")
    else { return nil }
    return (first, last)
  }

  /// The newest offset before which every message was received before `wall` (nanoseconds), by the
  /// blocks' own times.
  package func offset(atWall wall: Int64) throws(SpoolError) -> Offset? {
    try connection.integer(
      "SELECT first FROM block WHERE last_wall >= ? ORDER BY first LIMIT 1", .integer(wall)
    ).map { Offset($0) }
  }
}
