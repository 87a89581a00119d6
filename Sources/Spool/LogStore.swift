internal import Compression
internal import Failpoints
internal import Synchronization
package import Telemetry

// log.db: the raw log. Only the intake writes it. Format 1 (DatabaseFormat.swift).
//
//   log     one row: id (16 hex digits, drawn when the file was made), received and received_bytes
//           (counters, committed with each block; never set from anything else), next (the offset
//           that the next message gets)
//   block   first       offset of its first message, the row id
//           count       messages; offsets are dense, so the block ends before first + count
//           bytes       payload bytes
//           boot        16 bytes, the boot during which every message of the block was received
//           monotonic, wall, quality                  the moment of the first message
//           last_monotonic, last_wall, last_quality   the moment of the last
//           raw         bytes of the body before compression
//           codec       0 stored, 1 zstd (BlockCodec.swift tells the body's format)
//           checksum    CRC-32 over the numbers above as decimal text joined by commas, the boot,
//                       the origins and the body as stored
//           origins     the distinct (source, topic) pairs, so that readers skip without the body
//           body
//   session, in_doubt                                 what brokers may send again (InDoubt.swift)
//   former  id, upto: the names that it had before, the oldest first (LogNames.swift)
//
// Invariants:
//   1. A block and the counters it adds to are one transaction, fsynced before append returns.
//   2. Blocks do not overlap; `next` is the end of the last block ever written, also after retention
//      has deleted it. A gap between two blocks is a booked fault, never an accident.
//   3. Packet identifiers of QoS 1 messages stand in the body: the in-doubt set of a session is
//      derived from the last blocks, which retention therefore keeps, or moves to `in_doubt` what
//      it deletes of them.
//   4. A block that fails its checksum is never half used: its messages are booked as damaged.

/// The writer of the raw log.
package final class LogStore: Sendable {
  /// Of the newest format.
  static let schema = """
    CREATE TABLE log(
      id TEXT NOT NULL, received INTEGER NOT NULL, received_bytes INTEGER NOT NULL,
      next INTEGER NOT NULL) STRICT;
    CREATE TABLE block(
      first INTEGER PRIMARY KEY, count INTEGER NOT NULL, bytes INTEGER NOT NULL,
      boot BLOB NOT NULL, monotonic INTEGER NOT NULL, wall INTEGER NOT NULL,
      quality INTEGER NOT NULL, last_monotonic INTEGER NOT NULL, last_wall INTEGER NOT NULL,
      last_quality INTEGER NOT NULL, raw INTEGER NOT NULL, codec INTEGER NOT NULL,
      checksum INTEGER NOT NULL, origins BLOB NOT NULL, body BLOB NOT NULL) STRICT;
    \(InDoubtTail.schema)
    """

  /// What stands at the end of the log.
  package struct End: Sendable, Hashable {
    package var log: LogID
    package var next: Offset
    /// Messages that this log ever took.
    package var received: Int64
  }

  private struct Writer {
    // Nil while the store waits for ``reopen()`` after a failure.
    var connection: Connection?
    let compressor: Zstd.Compressor
  }

  package let path: String
  /// The name that it has now.
  package var id: LogID { namesHeld.withLock { $0.current } }
  /// All that it had.
  package var names: LogNames { namesHeld.withLock { $0 } }
  let namesHeld: Mutex<LogNames>
  private let format: DatabaseFormat
  private let writer: Locked<Writer>
  private let known: Mutex<End>
  /// The end as it was last seen, also while the log waits to be opened anew.
  package var lastEnd: End { known.withLock { $0 } }
  /// By source, an offset that its in-doubt set does not reach behind (InDoubt.swift).
  let inDoubtStart = Locked<[String: Int64]>([:])

  /// Opens the log, or begins one.
  /// - Parameters:
  ///   - birth: the identity and the first offset of a log that has to be begun.
  /// - Throws: ``SpoolError/Kind/damaged`` when the file must be set aside,
  ///   ``SpoolError/Kind/newer`` when a newer version wrote it.
  package convenience init(path: String, birth: (id: LogID, next: Offset)) throws(SpoolError) {
    try self.init(path: path, birth: birth, format: .log)
  }

  init(path: String, birth: (id: LogID, next: Offset), format: DatabaseFormat) throws(SpoolError) {
    let connection = try LogStore.open(path, birth: birth, format)
    self.path = path
    self.format = format
    let end = try LogStore.verify(connection)
    namesHeld = Mutex(try LogNames(current: end.log, in: connection))
    known = Mutex(end)
    writer = Locked(Writer(connection: connection, compressor: try LogStore.makeCompressor(path)))
  }

  /// Reads what a daemon cannot run without.
  @discardableResult
  static func verify(_ connection: Connection) throws(SpoolError) -> End {
    try Schema.check { () throws(SpoolError) in
      guard let id = try connection.text("SELECT id FROM log") else {
        throw SpoolError(
          kind: .damaged, operation: "open", path: connection.path,
          cause: "the row that names the log is missing", hint: SpoolError.Kind.damaged.hint)
      }
      _ = try connection.integer("SELECT first FROM block ORDER BY first LIMIT 1")
      _ = try SessionMark.sources(in: connection)
      return try LogStore.end(of: connection, id: LogID(rawValue: id))
    }
  }

  private static func makeCompressor(_ path: String) throws(SpoolError) -> Zstd.Compressor {
    do {
      return try Zstd.Compressor(level: 1)
    } catch {
      throw SpoolError(
        kind: .misuse, operation: "start the compressor for", path: path, cause: "\(error)", hint: nil)
    }
  }

  private static func open(
    _ path: String, birth: (id: LogID, next: Offset)?, _ format: DatabaseFormat
  ) throws(SpoolError) -> Connection {
    let connection = try Connection(
      path: path, access: .readWrite(.everyCommit), create: birth != nil)
    if let birth, try DatabaseFormat.isEmpty(connection) {
      try connection.transaction(.immediate) { () throws(SpoolError) in
        try format.begin(connection)
        try connection.run(
          "INSERT INTO log VALUES(?, 0, 0, ?)", .text(birth.id.rawValue),
          .integer(birth.next.rawValue))
      }
    }
    try format.verify(connection)
    try connection.execute(InDoubtTail.schema)
    try connection.execute(LogNames.schema)
    return connection
  }

  /// Runs `body` with the open connection.
  func withConnection<R>(
    _ body: (Connection, Zstd.Compressor) throws(SpoolError) -> R
  ) throws(SpoolError) -> R {
    try writer.withLock { writer throws(SpoolError) in
      guard let connection = writer.connection else {
        throw SpoolError(
          kind: .unavailable, operation: "use", path: path,
          cause: "the log is closed after a failure", hint: "it is reopened by itself")
      }
      return try body(connection, writer.compressor)
    }
  }

  /// Commits a group as one block; on return it is fsynced.
  ///
  /// After an error of kind `io` or `full` nothing is known of what the disk holds: the handle is
  /// closed and stays so until ``reopen()``, and the same commit is never tried again on it.
  /// - Returns: the offset of the group's first message, and the bytes that its block takes.
  @discardableResult
  package func append(_ group: MessageGroup) throws(SpoolError) -> (first: Offset, bytes: Int) {
    guard let first = group.entries.first, let last = group.entries.last else {
      return (try end().next, 0)
    }
    let raw = BlockCodec.encodeBody(group)
    return try writer.withLock { writer throws(SpoolError) in
      guard let connection = writer.connection else {
        throw SpoolError(
          kind: .unavailable, operation: "append to", path: path,
          cause: "the log is closed after a failure", hint: "it is reopened by itself")
      }
      let compressed = try? writer.compressor.compress(raw)
      let stored: (codec: BlockRow.Codec, body: [UInt8]) =
        if let compressed, compressed.count < raw.count { (.zstd, compressed) } else { (.none, raw) }
      do throws(SpoolError) {
        var end = End(log: id, next: Offset(0), received: 0)
        let appended = try connection.transaction(.immediate) { () throws(SpoolError) in
          end = try LogStore.end(of: connection, id: id)
          let next = end.next.rawValue
          let origins = BlockCodec.encodeOrigins(
            group.origins, first: next, count: Int64(group.count), compressor: writer.compressor)
          var row = BlockRow(
            first: next, count: Int64(group.count), bytes: Int64(group.payloads.count),
            boot: group.boot, monotonic: first.monotonic, wall: first.wall, quality: first.quality,
            lastMonotonic: last.monotonic, lastWall: last.wall, lastQuality: last.quality,
            raw: Int64(raw.count), codec: stored.codec.rawValue, checksum: 0, origins: origins,
            body: stored.body)
          row.checksum = row.computedChecksum
          try row.insert(into: connection)
          try connection.run(
            "UPDATE log SET received = received + ?, received_bytes = received_bytes + ?, next = ?",
            .integer(row.count), .integer(row.bytes), .integer(next + row.count))
          Failpoints.appended()
          return (first: Offset(next), bytes: stored.body.count + origins.count)
        }
        end.next = end.next + group.count
        end.received += Int64(group.count)
        known.withLock { $0 = end }
        return appended
      } catch {
        writer.connection?.close()
        writer.connection = nil
        throw error
      }
    }
  }

  /// Opens the log anew after a failure and verifies it: the last block must be whole, and what the
  /// write-ahead log holds must reach the database file under an fsync.
  package func reopen() throws(SpoolError) {
    try writer.withLock { writer throws(SpoolError) in
      guard writer.connection == nil else { return }
      let connection = try LogStore.open(path, birth: nil, format)
      do throws(SpoolError) {
        // An fsync that failed once may have left pages marked clean that never reached the disk;
        // writing them again through a checkpoint is the only way to know. A full disk leaves the
        // write-ahead log as it is, which holds everything too.
        do throws(SpoolError) { try connection.truncateLog() } catch  where error.kind == .full {}
        if let last = try BlockRow.last(in: connection) { try last.verify(path: path) }
      } catch {
        connection.close()
        throw error
      }
      writer.connection = connection
    }
  }

  package func end() throws(SpoolError) -> End {
    let end = try withConnection { connection, _ throws(SpoolError) in
      try LogStore.end(of: connection, id: id)
    }
    known.withLock { $0 = end }
    return end
  }

  static func end(of connection: Connection, id: LogID) throws(SpoolError) -> End {
    let statement = try connection.statement("SELECT next, received FROM log")
    defer { statement.reset() }
    guard try statement.step(), offsets.contains(statement.integer(0)),
      offsets.contains(statement.integer(1))
    else {
      throw SpoolError(
        kind: .damaged, operation: "read", path: connection.path,
        cause: "the row that names the log is missing or makes no sense",
        hint: SpoolError.Kind.damaged.hint)
    }
    return End(log: id, next: Offset(statement.integer(0)), received: statement.integer(1))
  }

  /// What an offset or a number of messages can be: a million a second for nine thousand years.
  static let offsets: Range<Int64> = 0..<1 << 58

  /// Messages in blocks at or beyond an offset, counted from the rows.
  package func waiting(from offset: Offset) throws(SpoolError) -> Int64 {
    try withConnection { connection, _ throws(SpoolError) in
      try BlockRow.waiting(from: offset, in: connection)
    }
  }

  /// Makes the next message's offset at least `offset`, for a log that has lost its end (see
  /// ``Spool``): offsets that pipelines have passed are never used again. The messages that stood there
  /// had been received, and are counted so: where a pipeline has not read them, it meets a gap.
  /// - Returns: how many offsets were passed over.
  func raise(to offset: Offset) throws(SpoolError) -> Int64 {
    try withConnection { connection, _ throws(SpoolError) in
      let missing = offset - (try LogStore.end(of: connection, id: id).next)
      guard missing > 0 else { return 0 }
      try connection.run(
        "UPDATE log SET next = next + ?1, received = received + ?1", .integer(missing))
      return missing
    }
  }

  /// Gives the space of the write-ahead log and of vacuumed pages back, as far as readers permit, if that
  /// is more than `bytes`.
  package func truncateLog(above bytes: Int64 = 0) throws(SpoolError) {
    try withConnection { connection, _ throws(SpoolError) in
      if try connection.slack() > bytes { try connection.truncateLog() }
    }
  }

  /// Bytes in use, and those of the write-ahead log beside it.
  package func usedBytes() throws(SpoolError) -> Int64 {
    try withConnection { connection, _ throws(SpoolError) in try connection.usedBytes() }
      + FileSystem.size(path + "-wal")
  }

  /// Deletes blocks that every pipeline has passed and that are older, or more, than the replay
  /// window allows. At most `limit` blocks at a time, so that the intake never waits for long.
  /// - Parameters:
  ///   - passed: the lowest offset that some pipeline still has to read.
  ///   - now: wall nanoseconds; blocks are kept while they are younger than `keepAge`.
  ///   - keepBytes: bytes above which passed blocks go whatever their age; 0 when space is short.
  ///   - inDoubt: the last messages, which are kept whatever their age, because the in-doubt set of a
  ///     broker session is read from them; but no more of them than `inDoubtBytes`. Of older ones their
  ///     digests are kept where they are in doubt.
  /// - Returns: how many were deleted.
  package func retain(
    passed: Offset, now: Int64, keepAge: Int64, keepBytes: Int64, inDoubt: Int64,
    inDoubtBytes: Int64, limit: Int = 64
  ) throws(SpoolError) -> Int {
    try withConnection { connection, _ throws(SpoolError) in
      let end = try LogStore.end(of: connection, id: id).next.rawValue
      let kept = try LogStore.firstInDoubt(from: end - inDoubt, bytes: inDoubtBytes, in: connection)
      let deletable = min(kept ?? end, passed.rawValue) - 1
      var excess = try connection.usedBytes() - keepBytes
      var last: Int64?
      var count = 0
      do {
        let rows = try connection.statement(
          """
          SELECT first, count, last_wall, length(body) FROM block
          WHERE first <= ? ORDER BY first LIMIT \(limit)
          """)
        defer { rows.reset() }
        try rows.bind([.integer(deletable)])
        while try rows.step() {
          let end = rows.integer(0) + rows.integer(1)
          // A block from a clock that ran ahead is never old; it goes when its bytes are needed.
          let old = now - rows.integer(2) > keepAge
          guard end <= passed.rawValue, old || excess > 0 else { break }
          excess -= rows.integer(3)
          last = rows.integer(0)
          count += 1
        }
      }
      guard let last else { return 0 }
      try connection.transaction(.immediate) { () throws(SpoolError) in
        try keepInDoubt(upThrough: last, in: connection)
        try connection.run("DELETE FROM block WHERE first <= ?", .integer(last))
      }
      return count
    }
  }

  /// Gives pages of deleted blocks back to the file system; see ``Connection/vacuum(pages:times:)``.
  func vacuum(pages: Int, times: Int) throws(SpoolError) {
    try withConnection { connection, _ throws(SpoolError) in
      try connection.vacuum(pages: pages, times: times)
    }
  }

  /// The first block that has to stay for the in-doubt set.
  private static func firstInDoubt(
    from offset: Int64, bytes: Int64, in connection: Connection
  ) throws(SpoolError) -> Int64? {
    let rows = try connection.statement(
      """
      SELECT first, count, length(body) FROM block ORDER BY first DESC LIMIT \(InDoubtTail.blocksLeft)
      """)
    defer { rows.reset() }
    var first: Int64?
    var total: Int64 = 0
    while try rows.step(), rows.integer(0) + rows.integer(1) > offset {
      total += rows.integer(2)
      if total > bytes { break }
      first = rows.integer(0)
    }
    return first
  }

  package func close() {
    writer.withLock { writer in
      writer.connection?.close()
      writer.connection = nil
    }
  }
}
