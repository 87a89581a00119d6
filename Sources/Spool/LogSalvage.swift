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
  /// The first offset that some pipeline has not read: what lies before is copied last.
  var unread: Offset
  var format: DatabaseFormat = .log

  enum Outcome: Equatable {
    /// Nothing is wrong with it; it can be moved back.
    case whole
    case rebuilt(blocks: Int64, messages: Int64, wasCut: Bool)
    /// Nobody knows the log's name: its offsets mean nothing then.
    case nameless
  }

  func rebuild(into path: String) throws(SpoolError) -> Outcome {
    format.salvageForward(place)
    // A file whose first page is lost cannot be opened at all.
    let source = try? Connection(path: place, access: .readOnly)
    defer { source?.close() }
    let own = source.flatMap { source in
      (try? source.text("SELECT id FROM log")).flatMap { id in
        try? LogStore.end(of: source, id: LogID(rawValue: id))
      }
    }
    if let source, own != nil, try isWhole(source) { return .whole }
    guard
      var end = own.map({ LogEstimate(log: $0.log, next: $0.next, received: $0.received) }) ?? estimate
    else { return .nameless }
    if let estimate, estimate.log == end.log { end = end.reaching(estimate.next) }
    try LogStore(path: path, birth: (end.log, end.next), format: format).close()
    let target = try Connection(path: path, access: .readWrite(.everyCommit))
    defer { target.close() }
    func setEnd() throws(SpoolError) {
      try target.run(
        "UPDATE log SET next = ?, received = ?", .integer(end.next.rawValue), .integer(end.received))
      try target.truncateLog()
    }
    try setEnd()
    guard let source else { return .rebuilt(blocks: 0, messages: 0, wasCut: false) }
    let room = RebuildRoom(directory: FileSystem.folder(of: path))
    // What brokers may send again; without it some of that is taken twice.
    for table in ["session", "in_doubt", "former"] { carry(table, from: source, to: target) }
    var blocks: Int64 = 0
    var messages: Int64 = 0
    var fits = true
    let first = firstUnread(in: source)
    for range in [first..<Int64.max, 0..<first] where fits && !range.isEmpty {
      var rows = ReadableRows(
        "SELECT \(BlockRow.columns) FROM block", id: "first", from: range.lowerBound,
        upTo: range.upperBound, in: source)
      var last = Offset(0)
      fits = try target.fill(room) { () throws(SpoolError) in
        while let block = rows.next({ (id: $0.integer(0), row: BlockRow($0)) }) {
          guard (try? block.verify(path: place)) != nil, block.first >= last.rawValue,
            LogStore.offsets.contains(block.count), LogStore.offsets.contains(block.first + block.count)
          else { continue }
          try block.insert(into: target)
          last = Offset(block.first + block.count)
          blocks += 1
          messages += block.count
          return block.body.count + block.origins.count
        }
        return nil
      }
      end = end.reaching(last)
    }
    try setEnd()
    return .rebuilt(blocks: blocks, messages: messages, wasCut: !fits)
  }

  /// Where the block begins that holds the first unread message.
  private func firstUnread(in source: Connection) -> Int64 {
    let holder = try? source.integer("SELECT max(first) FROM block WHERE first <= ?", .integer(unread.rawValue))
    return min(max(0, (holder ?? nil) ?? unread.rawValue), unread.rawValue)
  }

  /// Whether SQLite finds nothing wrong, and every row has its meaning.
  private func isWhole(_ source: Connection) throws(SpoolError) -> Bool {
    guard (try? format.verify(source)) != nil,
      (try? LogStore.verify(source)) != nil,
      (try? source.text("PRAGMA integrity_check(1)")) == "ok"
    else { return false }
    try source.truncateLog()
    return FileSystem.size(place + "-wal") == 0
  }

  private func carry(_ table: String, from source: Connection, to target: Connection) {
    try? target.transaction(.immediate) { () throws(SpoolError) in
      let row = try source.statement("SELECT * FROM \(table)")
      defer { row.reset() }
      while try row.step() { try target.insert(row, into: table) }
    }
  }
}
