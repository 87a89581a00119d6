package import Telemetry

// The in-doubt sets of the broker sessions, derived from the blocks of log.db. Two small tables serve
// what the blocks alone cannot:
//
//   session    source    its name
//              window    the largest receive-maximum that was ever in effect: so many messages are in
//                        doubt at least, also after the setting has been lowered
//              upto      what is in doubt of the messages before this offset stands in `in_doubt`;
//                        only from here on are the blocks asked
//   in_doubt   source, place (offset), boot, monotonic (of receipt), packet (identifier), high, low
//              (InDoubtMessage)
//
// How many of a session's last messages are in doubt: as many as `window`, and beyond it those that came
// within a minute before the last one, together at most half of the 65,535 packet identifiers. The window
// alone would do if brokers kept to it. mosquitto 2.0.11 does not: with a queue, each PUBACK makes it send
// up to a whole receive-maximum more (measured: 80 more after 10 acknowledgements at a maximum of 20), so
// that it lags behind with many more. Half of the identifiers, so that a new message that got lost on the
// way is not compared with the one that had its number a round before.
//
// Invariant: each message that is in doubt stands in a block at or beyond `upto`, or in `in_doubt`.
// Appending does nothing for it. Retention keeps it: before it deletes blocks that hold such messages it
// moves them to `in_doubt`, in the same transaction. So a source that fell silent with messages in doubt
// keeps them, however long another one fills the log.

/// What is in doubt of one session.
struct InDoubtTail {
  struct Entry {
    var place: Int64
    var boot: BootID
    var monotonic: Int64
    var message: InDoubtMessage
  }

  static let schema = """
    CREATE TABLE IF NOT EXISTS session(
      source TEXT NOT NULL PRIMARY KEY, window INTEGER NOT NULL, upto INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS in_doubt(
      source TEXT NOT NULL, place INTEGER NOT NULL, boot BLOB NOT NULL, monotonic INTEGER NOT NULL,
      packet INTEGER NOT NULL, high INTEGER NOT NULL, low INTEGER NOT NULL,
      PRIMARY KEY(source, place)) STRICT, WITHOUT ROWID;
    """

  /// Messages of one session at most.
  static let limit = 32_768
  /// So many of the log's last messages retention leaves in their blocks, where it has the room: several
  /// times a session's, so that it seldom has to look which of them are still in doubt.
  static let messagesLeft = 4 * Int64(limit)
  /// But no more blocks than so many, which it looks at every time.
  static let blocksLeft = 256
  /// Nanoseconds before the last message within which the window does not count.
  static let lag: Int64 = 60_000_000_000
  /// After a look at so many blocks what was found is kept in the table, so that the next look is short
  /// also for a source that speaks seldom.
  static let longScan = 256

  /// Newest first; those from ``kept`` on stand in the table already.
  private(set) var entries: [Entry] = []
  private(set) var kept = 0
  /// Blocks that were looked at.
  private(set) var scanned = 0
  /// The end of the log when it was read.
  private let end: Int64
  private let window: Int
  private let digests: Bool
  private var isComplete = false

  /// Reads the last QoS 1 messages of a source, newest first. Blocks that cannot be read are passed by:
  /// what they held may be taken twice.
  /// - Parameter digests: false where only the places matter: digests are most of the work.
  init(
    source: String, mark: SessionMark, log: LogID, digests: Bool = true, in connection: Connection
  ) throws(SpoolError) {
    self.digests = digests
    end = try LogStore.end(of: connection, id: log).next.rawValue
    window = mark.window
    try readBlocks(of: source, from: mark.upto, log: log, in: connection)
    kept = entries.count
    let rows = try connection.statement(
      """
      SELECT place, boot, monotonic, packet, high, low FROM in_doubt
      WHERE source = ? AND place < ? ORDER BY place DESC
      """)
    defer { rows.reset() }
    try rows.bind([.text(source), .integer(mark.upto)])
    while !isComplete, try rows.step() {
      let message = InDoubtMessage(
        packetID: UInt16(truncatingIfNeeded: rows.integer(3)),
        high: UInt64(bitPattern: rows.integer(4)), low: UInt64(bitPattern: rows.integer(5)))
      add(
        Entry(
          place: rows.integer(0), boot: BootID(bytes: rows.blob(1)), monotonic: rows.integer(2),
          message: message))
    }
  }

  private mutating func readBlocks(
    of source: String, from upto: Int64, log: LogID, in connection: Connection
  ) throws(SpoolError) {
    let name = Array(source.utf8)
    let heads = try connection.statement(
      "SELECT first, origins FROM block WHERE first >= ? ORDER BY first DESC")
    defer { heads.reset() }
    try heads.bind([.integer(upto)])
    while !isComplete, try heads.step() {
      scanned += 1
      guard let list = try? BlockCodec.listOfOrigins(heads.blob(1)), ByteReader(list).mentions(source: name)
      else { continue }
      try readBlock(heads.integer(0), source: source, log: log, in: connection)
    }
  }

  private mutating func readBlock(
    _ first: Int64, source: String, log: LogID, in connection: Connection
  ) throws(SpoolError) {
    let row = try connection.statement("SELECT \(BlockRow.columns) FROM block WHERE first = ?")
    defer { row.reset() }
    try row.bind([.integer(first)])
    guard try row.step() else { return }
    let block = BlockRow(row)
    guard
      let origins = try? BlockCodec.decodeOrigins(block.origins, first: first, count: block.count),
      let group = try? block.decode(log: log, origins: origins).group
    else { return }
    let own = group.origins.map { $0.source == source }
    for (index, entry) in group.entries.enumerated().reversed() {
      guard entry.qos == .atLeastOnce, own[entry.origin] else { continue }
      let message =
        digests
        ? InDoubtMessage(
          packetID: entry.packetID, topic: Array(group.origins[entry.origin].topic.utf8),
          payload: Array(group.payloads[entry.payloadRange]))
        : InDoubtMessage(packetID: entry.packetID, high: 0, low: 0)
      add(
        Entry(
          place: first + Int64(index), boot: group.boot, monotonic: entry.monotonic, message: message))
      if isComplete { return }
    }
  }

  private mutating func add(_ entry: Entry) {
    if entries.count >= window {
      guard entries.count < InDoubtTail.limit, let newest = entries.first, newest.boot == entry.boot,
        newest.monotonic &- entry.monotonic <= InDoubtTail.lag
      else {
        isComplete = true
        return
      }
    }
    entries.append(entry)
  }

  /// Oldest first.
  var messages: [InDoubtMessage] { entries.reversed().map(\.message) }

  /// The first block offset that is needed: that of the oldest message which stands in a block.
  var start: Int64 { kept > 0 ? entries[kept - 1].place : end }

  /// Moves what was found into the table. Within a transaction of the writer.
  func keep(source: String, in connection: Connection) throws(SpoolError) {
    precondition(digests, "what is kept has to be compared one day")
    guard let mark = try SessionMark(source: source, in: connection), mark.upto < end else { return }
    let oldest = entries.last?.place ?? end
    try connection.run(
      "DELETE FROM in_doubt WHERE source = ? AND place < ?", .text(source), .integer(oldest))
    for entry in entries.prefix(kept) {
      try connection.run(
        "INSERT OR REPLACE INTO in_doubt VALUES(?, ?, ?, ?, ?, ?, ?)", .text(source),
        .integer(entry.place), .blob(entry.boot.bytes), .integer(entry.monotonic),
        .integer(Int64(entry.message.packetID)), .integer(Int64(bitPattern: entry.message.high)),
        .integer(Int64(bitPattern: entry.message.low)))
    }
    try connection.run("UPDATE session SET upto = ? WHERE source = ?", .integer(end), .text(source))
  }
}

/// A row of the table `session`.
struct SessionMark {
  var window: Int
  var upto: Int64

  init(window: Int, upto: Int64) {
    self.window = window
    self.upto = upto
  }

  init?(source: String, in connection: Connection) throws(SpoolError) {
    let row = try connection.statement("SELECT window, upto FROM session WHERE source = ?")
    defer { row.reset() }
    try row.bind([.text(source)])
    guard try row.step() else { return nil }
    self.init(window: Int(row.integer(0)), upto: row.integer(1))
  }

  static func sources(in connection: Connection) throws(SpoolError) -> [String] {
    let rows = try connection.statement("SELECT source FROM session")
    defer { rows.reset() }
    var sources: [String] = []
    while try rows.step() { sources.append(rows.text(0)) }
    return sources
  }
}

extension LogStore {
  /// The messages of a source that its broker may send again, oldest first: the last QoS 1 messages that
  /// were committed, as many as may be on the way at once.
  ///
  /// Nothing of the source may be appended meanwhile. It reads on a connection of its own, so other
  /// sources go on. May be called from any thread.
  /// - Parameter window: the receive-maximum of the session; a larger one of earlier counts on.
  package func inDoubt(source: String, window: Int) throws(SpoolError) -> [InDoubtMessage] {
    let mark = try mark(of: source, window: window)
    let reader = try Connection(path: path, access: .readOnly)
    defer { reader.close() }
    let tail = try reader.transaction(.deferred) { () throws(SpoolError) in
      // In this snapshot, for retention may have moved the mark on meanwhile.
      let upto = try SessionMark(source: source, in: reader)?.upto ?? 0
      return try InDoubtTail(
        source: source, mark: SessionMark(window: mark.window, upto: upto), log: id, in: reader)
    }
    if tail.scanned > InDoubtTail.longScan {
      // For the sake of the next time only: where the disk is full, that one takes as long.
      try? withConnection { connection, _ throws(SpoolError) in
        try connection.transaction(.immediate) { () throws(SpoolError) in
          try tail.keep(source: source, in: connection)
        }
      }
    }
    return tail.messages
  }

  /// The mark of a source, with a window that is at least `window`.
  private func mark(of source: String, window: Int) throws(SpoolError) -> SessionMark {
    try withConnection { connection, _ throws(SpoolError) in
      let known = try SessionMark(source: source, in: connection)
      if let known, known.window >= window { return known }
      // It reaches further back than before.
      inDoubtStart.withLock { $0[source] = nil }
      do throws(SpoolError) {
        try connection.run(
          """
          INSERT INTO session VALUES(?, ?, 0)
          ON CONFLICT(source) DO UPDATE SET window = excluded.window
          """, .text(source), .integer(Int64(window)))
      } catch  where error.kind == .full {
        // A full disk must not keep the source from connecting.
      }
      return SessionMark(window: window, upto: known?.upto ?? 0)
    }
  }

  /// The broker has lost the session of a source: nothing that was committed so far will be sent again.
  package func forgetInDoubt(source: String) throws(SpoolError) {
    try withConnection { connection, _ throws(SpoolError) in
      let end = try LogStore.end(of: connection, id: id).next.rawValue
      try connection.transaction(.immediate) { () throws(SpoolError) in
        try connection.run("DELETE FROM in_doubt WHERE source = ?", .text(source))
        try connection.run("UPDATE session SET upto = ? WHERE source = ?", .integer(end), .text(source))
      }
    }
  }

  /// Before the blocks up to and with the one at `last` are deleted, within that transaction: moves what
  /// they hold of any in-doubt set to the table.
  func keepInDoubt(upThrough last: Int64, in connection: Connection) throws(SpoolError) {
    let next =
      try connection.integer(
        "SELECT first FROM block WHERE first > ? ORDER BY first LIMIT 1", .integer(last)) ?? .max
    for source in try SessionMark.sources(in: connection) {
      guard let mark = try SessionMark(source: source, in: connection), mark.upto <= last else { continue }
      // With every message the start moves on, never back.
      if let start = inDoubtStart.withLock({ $0[source] }), next <= start { continue }
      let tail = try InDoubtTail(
        source: source, mark: mark, log: id, digests: false, in: connection)
      if tail.start < next || tail.scanned > InDoubtTail.longScan {
        try InDoubtTail(source: source, mark: mark, log: id, in: connection)
          .keep(source: source, in: connection)
      } else {
        inDoubtStart.withLock { $0[source] = tail.start }
      }
    }
  }
}

extension ByteReader {
  /// Whether a block's list of origins names a source. What is malformed names nothing.
  fileprivate func mentions(source: [UInt8]) -> Bool {
    var reader = self
    guard let count = try? reader.count(atMost: .max) else { return false }
    for _ in 0..<count {
      guard let name = try? reader.text(equals: source), (try? reader.text(equals: [])) != nil else { return false }
      if name { return true }
    }
    return false
  }
}
