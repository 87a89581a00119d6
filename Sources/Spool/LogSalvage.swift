internal import Telemetry

/// What is known of a log beside its file, for the case that its own row is lost.
struct LogEstimate {
  var log: LogID
  var next: Offset
  /// Messages that it had received when its end was at `next`.
  var received: Int64

  /// The same log, known to reach at least to `offset`: offsets are dense, each one was a message.
  func reaching(_ offset: Offset) -> LogEstimate {
    guard offset > next else { return self }
    return LogEstimate(log: log, next: offset, received: received + (offset - next))
  }
}

/// Rebuilds a damaged log from every block that still reads and verifies, at the same offsets, so that
/// checkpoints stay true and what is missing is a gap of known size.
struct LogSalvage {
  /// The damaged file.
  var place: String
  /// What the mirror or the state knows of it.
  var estimate: LogEstimate?

  struct Rescued {
    var blocks: Int64 = 0
    var messages: Int64 = 0
    /// The disk was full before everything was copied.
    var wasCut = false
  }

  /// Blocks copied in one transaction.
  private static let blocksPerTransaction = 64

  /// - Returns: nil when nobody knows the log's name: its offsets mean nothing then.
  func rebuild(into path: String) throws(SpoolError) -> Rescued? {
    // A file whose first page is lost cannot be opened at all.
    let source = try? Connection(path: place, access: .readOnly)
    defer { source?.close() }
    let own = source.flatMap { source in
      (try? source.text("SELECT id FROM log")).flatMap { id in
        try? LogStore.end(of: source, id: LogID(rawValue: id))
      }
    }
    guard
      var end = own.map({ LogEstimate(log: $0.log, next: $0.next, received: $0.received) }) ?? estimate
    else { return nil }
    if let estimate, estimate.log == end.log { end = end.reaching(estimate.next) }
    try LogStore(path: path, birth: (end.log, end.next)).close()
    let target = try Connection(path: path, access: .readWrite(.everyCommit))
    defer { target.close() }
    var rescued = Rescued()
    if let source {
      end = end.reaching(try copy(source, to: target, &rescued))
      // What brokers may send again; without it some of that is taken twice.
      for table in ["session", "in_doubt"] {
        try? target.transaction(.immediate) { () throws(SpoolError) in
          let row = try source.statement("SELECT * FROM \(table)")
          defer { row.reset() }
          while try row.step() { try target.insert(row, into: table) }
        }
      }
    }
    try target.run(
      "UPDATE log SET next = ?, received = ?", .integer(end.next.rawValue), .integer(end.received))
    try target.truncateLog()
    return rescued
  }

  /// - Returns: the end of the last block.
  private func copy(
    _ source: Connection, to target: Connection, _ rescued: inout Rescued
  ) throws(SpoolError) -> Offset {
    var position: Int64 = -1
    var end = Offset(0)
    var isDone = false
    while !isDone {
      var found = Rescued()
      do throws(SpoolError) {
        try target.transaction(.immediate) { () throws(SpoolError) in
          while found.blocks < LogSalvage.blocksPerTransaction {
            guard let block = nextReadable(after: &position, in: source) else {
              isDone = true
              break
            }
            guard block.first >= end.rawValue, LogStore.offsets.contains(block.first + block.count) else { continue }
            try block.insert(into: target)
            end = Offset(block.first + block.count)
            found.blocks += 1
            found.messages += block.count
          }
        }
      } catch  where error.kind == .full {
        // The gateway has to go on; what is not copied stands in the quarantine.
        rescued.wasCut = true
        return end
      }
      rescued.blocks += found.blocks
      rescued.messages += found.messages
    }
    return end
  }

  /// The next block that reads and verifies. A page that cannot be read costs the blocks on it.
  private func nextReadable(after position: inout Int64, in source: Connection) -> BlockRow? {
    while true {
      do throws(SpoolError) {
        guard let block = try LogSalvage.block(after: position, in: source) else { return nil }
        position = max(block.first, position + 1)
        if (try? block.verify(path: place)) != nil { return block }
      } catch {
        guard let next = LogSalvage.endOfUnreadable(from: position, in: source) else { return nil }
        position = next
      }
    }
  }

  private static func block(
    after position: Int64, in source: Connection
  ) throws(SpoolError) -> BlockRow? {
    let row = try source.statement(
      "SELECT \(BlockRow.columns) FROM block WHERE first > ? ORDER BY first LIMIT 1")
    defer { row.reset() }
    try row.bind([.integer(position)])
    return try row.step() ? BlockRow(row) : nil
  }

  /// The lowest position behind which something can be read again: found by leaps, and then by halving
  /// the last of them.
  private static func endOfUnreadable(from position: Int64, in source: Connection) -> Int64? {
    func isReadable(_ position: Int64) -> Bool { (try? block(after: position, in: source)) != nil }
    var low = position
    var stride: Int64 = 1
    while true {
      let (high, overflow) = position.addingReportingOverflow(stride)
      guard !overflow, stride < 1 << 40 else { return nil }
      if isReadable(high) {
        var readable = high
        while readable - low > 1 {
          let middle = low + (readable - low) / 2
          if isReadable(middle) { readable = middle } else { low = middle }
        }
        return readable
      }
      low = high
      stride *= 2
    }
  }
}
