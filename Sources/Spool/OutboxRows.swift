internal import Compression
package import Telemetry

/// A batch that waits for its delivery.
package struct OutboxItem: Sendable {
  package var id: Int64
  /// The order of sealing; parts of one batch share a position and are ordered by `line`.
  package var position: Int64
  package var line: Int64
  package var batch: Batch
}

extension StateStore {
  /// The oldest waiting batches of some pipelines, in the order of sealing.
  /// - Parameter after: only batches behind this (position, line).
  package func outbox(
    pipelines: Set<String>, after: (position: Int64, line: Int64)?, limit: Int
  ) throws(SpoolError) -> [OutboxItem] {
    try read { connection throws(SpoolError) in
      var items: [OutboxItem] = []
      for pipeline in pipelines.sorted() {
        let row = try connection.statement(
          """
          SELECT \(OutboxRow.columns) FROM outbox
          WHERE pipeline = ? AND (position, line) > (?, ?) ORDER BY position, line LIMIT ?
          """)
        defer { row.reset() }
        try row.bind([
          .text(pipeline), .integer(after?.position ?? -1), .integer(after?.line ?? -1),
          .integer(limit),
        ])
        while try row.step() { items.append(try OutboxRow.item(row, path: path)) }
      }
      items.sort { ($0.position, $0.line) < ($1.position, $1.line) }
      return Array(items.prefix(limit))
    }
  }

  /// The pipelines whose batches go to an uplink, also those that the configuration has dropped.
  package func pipelines(uplink: String) throws(SpoolError) -> Set<String> {
    try read { connection throws(SpoolError) in
      Set(try PipelineRow.all(in: connection).filter { $0.uplink == uplink }.map(\.name))
    }
  }

  /// Removes delivered batches, books their readings and notes their lineage. Not fsynced: losing it costs a retry.
  /// - Parameter wall: when they were delivered, in nanoseconds; nil where that is not known.
  package func confirm(_ ids: [Int64], at wall: Int64? = nil) throws(SpoolError) {
    guard !ids.isEmpty else { return }
    try write(.relaxed) { connection throws(SpoolError) in
      var left: [String: [BatchLineage]] = [:]
      for id in ids {
        if let (pipeline, batch) = try LineageRows.leaving(id, as: .delivered, at: wall, in: connection) {
          left[pipeline, default: []].append(batch)
        }
        try connection.run("DELETE FROM outbox WHERE id = ?", .integer(id))
      }
      for (pipeline, batches) in left.sorted(by: { $0.key < $1.key }) {
        try LineageRows.note(batches, of: pipeline, in: connection)
      }
    }
  }

  /// Replaces a batch by its parts, in its place.
  package func split(_ id: Int64, into parts: [Batch]) throws(SpoolError) {
    try write { connection throws(SpoolError) in
      let row = try connection.statement("SELECT pipeline, position, count FROM outbox WHERE id = ?")
      defer { row.reset() }
      try row.bind([.integer(id)])
      guard try row.step() else {
        throw SpoolError(
          kind: .misuse, operation: "split a batch in", path: path,
          cause: "the outbox has no entry \(id)", hint: nil)
      }
      let pipeline = row.text(0)
      let position = row.integer(1)
      let count = row.integer(2)
      guard parts.reduce(0, { $0 + Int64($1.count) }) == count else {
        throw SpoolError(
          kind: .misuse, operation: "split a batch in", path: path,
          cause: "its parts have another number of readings than it has", hint: nil)
      }
      row.reset()
      try connection.run("DELETE FROM outbox WHERE id = ?", .integer(id))
      for part in parts {
        let line = part.identity.part.map { $0.lines(of: part.parent?.count ?? 0).lowerBound } ?? 0
        try OutboxRow.insert(
          part, pipeline: pipeline, position: position, line: Int64(line), into: connection)
      }
    }
  }

  /// Moves a batch of one reading to the dead letters, where the reading stands as its line.
  /// - Parameter now: when it was refused; nil where that is not known.
  package func setAside(
    _ id: Int64, rule: String, reason: String, now: Moment? = nil
  ) throws(SpoolError) {
    try write { connection throws(SpoolError) in
      let row = try connection.statement(
        "SELECT \(OutboxRow.columns) FROM outbox WHERE id = ?")
      defer { row.reset() }
      try row.bind([.integer(id)])
      guard try row.step(), case let item = try OutboxRow.item(row, path: path), item.batch.count == 1
      else {
        throw SpoolError(
          kind: .misuse, operation: "set a batch aside in", path: path,
          cause: "the outbox has no entry \(id) of one reading", hint: nil)
      }
      let pipeline = row.text(21)  // the book that it is in
      row.reset()
      let batch = item.batch
      let rejection = Rejection(
        stage: .upstream, rule: rule, reason: "\(batch.identity): \(reason)",
        origin: Origin(source: "", topic: ""), log: batch.log, offset: batch.firstOffset,
        received: batch.sealed, payload: try OutboxRow.plainBody(of: batch, path: path))
      if let (pipeline, left) = try LineageRows.leaving(id, as: .setAside, at: now?.wall, in: connection) {
        try LineageRows.note([left], of: pipeline, in: connection)
      }
      try connection.run("DELETE FROM outbox WHERE id = ?", .integer(id))
      try DeadLetterRow.insert(rejection, pipeline: pipeline, since: now?.worthyWall, into: connection)
      try connection.run(
        "UPDATE pipeline SET dead_lettered = dead_lettered + 1 WHERE name = ?", .text(pipeline))
    }
  }

  /// What waits for delivery, per pipeline.
  package func outboxTotals() throws(SpoolError) -> [String: (batches: Int64, readings: Int64, oldestWall: Int64)] {
    try read { connection throws(SpoolError) in
      let row = try connection.statement(
        "SELECT pipeline, count(*), sum(count), min(wall) FROM outbox GROUP BY pipeline")
      defer { row.reset() }
      var totals: [String: (batches: Int64, readings: Int64, oldestWall: Int64)] = [:]
      while try row.step() { totals[row.text(0)] = (row.integer(1), row.integer(2), row.integer(3)) }
      return totals
    }
  }
}

/// A row of the table `outbox` (StateSchema.swift).
enum OutboxRow {
  static let columns = """
    id, position, line, identity, version, log, first, last, count, encoding, compression, length,
    digest, previous, parent, uncertain, boot, monotonic, wall, quality, body, pipeline, first_age, last_age
    """

  static func append(
    _ batch: Batch, pipeline: String, to connection: Connection
  ) throws(SpoolError) {
    // AUTOINCREMENT never gives a number twice, also after the newest row has gone.
    let position =
      (try connection.integer("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'") ?? 0) + 1
    try insert(batch, pipeline: pipeline, position: position, line: 0, into: connection)
  }

  static func insert(
    _ batch: Batch, pipeline: String, position: Int64, line: Int64, into connection: Connection
  ) throws(SpoolError) {
    let parent = batch.parent.map { "\($0.digest) \($0.previous) \($0.count) \($0.length)" }
    try connection.run(
      """
      INSERT INTO outbox(pipeline, position, line, identity, version, log, first, last, count,
        encoding, compression, length, digest, previous, parent, uncertain, boot, monotonic, wall,
        quality, first_age, last_age, body) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
      """,
      .text(pipeline), .integer(position), .integer(line), .text(batch.identity.description),
      .text(batch.version), .text(batch.log.rawValue), .integer(batch.firstOffset.rawValue),
      .integer(batch.lastOffset.rawValue), .integer(batch.count), .text(batch.encoding.rawValue),
      .text(batch.compression.rawValue), .integer(batch.length), .blob(batch.digest.bytes),
      .blob(batch.previous.bytes), .optional(parent), .integer(batch.possibleDuplicate ? 1 : 0),
      .blob(batch.sealed.boot.bytes), .integer(batch.sealed.monotonic), .integer(batch.sealed.wall),
      .integer(Int64(batch.sealed.quality.rawValue)), .optional(batch.ages?.first), .optional(batch.ages?.last),
      .blob(batch.body))
  }

  static func item(_ row: Statement, path: String) throws(SpoolError) -> OutboxItem {
    guard let identity = BatchIdentity(row.text(3)),
      let encoding = BatchEncoding(rawValue: row.text(9)),
      let compression = BatchCompression(rawValue: row.text(10)),
      let digest = Digest(bytes: row.blob(12)), let previous = Digest(bytes: row.blob(13)),
      [1, 2, 6, 7, 8, 11].allSatisfy({ LogStore.offsets.contains(row.integer($0)) })
    else {
      throw SpoolError(
        kind: .damaged, operation: "read the outbox of", path: path,
        cause: "entry \(row.integer(0)) has an identity, an encoding, a digest or a number that is none",
        hint: SpoolError.Kind.damaged.hint)
    }
    let batch = Batch(
      identity: identity, version: row.text(4), log: LogID(rawValue: row.text(5)),
      firstOffset: Offset(row.integer(6)), lastOffset: Offset(row.integer(7)),
      count: Int(row.integer(8)), encoding: encoding, compression: compression, body: row.blob(20),
      length: Int(row.integer(11)), digest: digest, previous: previous,
      parent: row.optionalText(14).flatMap(parent), possibleDuplicate: row.integer(15) != 0,
      replay: ReplayID.parse(book: row.text(21))?.replay,
      sealed: Moment(
        boot: BootID(bytes: row.blob(16)), monotonic: row.integer(17), wall: row.integer(18),
        quality: ClockQuality(column: row.integer(19))),
      ages: row.optionalInteger(22).flatMap { first in
        row.optionalInteger(23).map { Batch.Ages(first: first, last: $0) }
      })
    return OutboxItem(
      id: row.integer(0), position: row.integer(1), line: row.integer(2), batch: batch)
  }

  /// The lines of a batch, whatever they are encoded as.
  static func plainBody(of batch: Batch, path: String) throws(SpoolError) -> [UInt8] {
    do {
      let bound = batch.encoding == .columns ? Columns.maximumLength(ofLines: batch.length) : batch.length
      let plain =
        switch batch.compression {
        case .none: batch.body
        case .gzip: try Gzip.decompress(batch.body, maximumOutput: bound)
        case .zstd: try Zstd.decompress(batch.body, maximumOutput: bound)
        }
      return switch batch.encoding {
      case .ndjson: plain
      case .columns: try Columns.decode(plain, maximumOutput: batch.length).lines
      }
    } catch {
      throw SpoolError(
        kind: .damaged, operation: "unpack batch \(batch.identity) in", path: path,
        cause: "\(error)", hint: nil)
    }
  }

  static func parent(_ text: String) -> Batch.Parent? {
    let fields = text.split(separator: " ")
    guard fields.count == 4, let digest = Digest(hex: String(fields[0])),
      let previous = Digest(hex: String(fields[1])), let count = Int(fields[2]),
      let length = Int(fields[3])
    else { return nil }
    return Batch.Parent(digest: digest, previous: previous, count: count, length: length)
  }
}
