package import Telemetry

/// Where a batch came from and what became of it, without its body.
package struct BatchLineage: Sendable, Hashable {
  package enum Fate: String, Sendable, Hashable {
    /// It is in the outbox.
    case waiting
    case delivered
    /// Its reading was refused by the upstream and became a dead letter.
    case setAside = "set-aside"
  }

  package var identity: BatchIdentity
  /// Where it was sent, or will be.
  package var uplink: String
  package var version: String
  /// The log that the offsets belong to.
  package var log: LogID
  package var firstOffset = Offset(0)
  package var lastOffset = Offset(0)
  /// Readings.
  package var count = 0
  package var encoding: BatchEncoding
  package var compression: BatchCompression
  /// Bytes of the body before its compression.
  package var length = 0
  package var digest = Digest.zero
  package var previous = Digest.zero
  /// Of a part: the batch that it was split from.
  package var parent: Batch.Parent?
  package var possibleDuplicate = false
  /// Wall nanoseconds.
  package var sealed: Int64 = 0
  package var quality = ClockQuality.unsynchronised
  package var fate = Fate.waiting
  /// When it was delivered or set aside, in wall nanoseconds; nil while it waits, and where nobody said it.
  package var left: Int64?

  package init(
    identity: BatchIdentity, uplink: String, version: String, log: LogID, encoding: BatchEncoding,
    compression: BatchCompression
  ) {
    self.identity = identity
    self.uplink = uplink
    self.version = version
    self.log = log
    self.encoding = encoding
    self.compression = compression
  }

  package init(_ batch: Batch, uplink: String) {
    self.init(
      identity: batch.identity, uplink: uplink, version: batch.version, log: batch.log, encoding: batch.encoding,
      compression: batch.compression)
    firstOffset = batch.firstOffset
    lastOffset = batch.lastOffset
    count = batch.count
    length = batch.length
    digest = batch.digest
    previous = batch.previous
    parent = batch.parent
    possibleDuplicate = batch.possibleDuplicate
    sealed = batch.sealed.wall
    quality = batch.sealed.quality
  }
}

/// What a version of a pipeline was, as it was registered.
package struct RegisteredVersion: Sendable, Hashable {
  /// When it was first registered, in wall nanoseconds.
  package var since: Int64
  /// What it does, as ``PipelineRegistration/explanation`` said it.
  package var explanation: [UInt8]
  /// The text of the configuration that it was first read from; nil where it is no longer kept.
  package var configuration: [UInt8]?
}

extension StateStore {
  /// What is known of a batch: itself, or its parts in the order of their lines where it was split, each with
  /// what became of it. Empty where nothing is known (any more).
  /// - Parameter identity: of a whole batch, or of a part, which gives that part only.
  package func lineage(of identity: BatchIdentity) throws(SpoolError) -> [BatchLineage] {
    try read { connection throws(SpoolError) in
      let found = try LineageRows.find(identity.whole, in: connection)
      let asked = identity.part == nil ? found : found.filter { $0.identity == identity }
      return asked.sorted {
        let a = $0.identity.part?.lines(of: $0.parent?.count ?? 0).lowerBound ?? 0
        let b = $1.identity.part?.lines(of: $1.parent?.count ?? 0).lowerBound ?? 0
        return a < b
      }
    }
  }

  /// The lines of a batch that waits in the outbox; nil once it has been delivered.
  package func waitingLines(of identity: BatchIdentity) throws(SpoolError) -> [UInt8]? {
    try read { connection throws(SpoolError) in
      let row = try connection.statement("SELECT \(OutboxRow.columns) FROM outbox WHERE identity = ?")
      defer { row.reset() }
      try row.bind([.text(identity.description)])
      guard try row.step() else { return nil }
      return try OutboxRow.plainBody(of: try OutboxRow.item(row, path: path).batch, path: path)
    }
  }

  /// The identity of a batch by its number in the present epoch of a pipeline; nil without such a pipeline.
  package func identity(pipeline: String, sequence: Int64) throws(SpoolError) -> BatchIdentity? {
    try read { connection throws(SpoolError) in
      try PipelineRow.find(pipeline, in: connection).map {
        BatchIdentity(gateway: $0.gateway, pipeline: pipeline, epoch: $0.epoch, sequence: sequence)
      }
    }
  }

  /// What a version was; nil where it is not known (any more).
  package func version(_ version: String, of pipeline: String) throws(SpoolError) -> RegisteredVersion? {
    try read { connection throws(SpoolError) in
      let row = try connection.statement(
        """
        SELECT version.wall, explanation, text FROM version LEFT JOIN configuration
        ON configuration.digest = version.configuration WHERE pipeline = ? AND version = ?
        """)
      defer { row.reset() }
      try row.bind([.text(pipeline), .text(version)])
      guard try row.step() else { return nil }
      let text = row.blob(2)
      return RegisteredVersion(
        since: row.integer(0), explanation: row.blob(1), configuration: text.isEmpty ? nil : text)
    }
  }

  /// The least that one deletion is worth its pages.
  private static let lineageStep = 64

  /// Deletes the oldest lineage: what left the outbox more than `age` before `now` (wall nanoseconds), and what
  /// exceeds `bytes`, in bounded steps.
  /// - Returns: how many chunks of some 17 batches went.
  @discardableResult
  func retainLineage(
    now: Int64, age: Int64, bytes: Int64, step: Int = StateStore.lineageStep
  ) throws(SpoolError) -> Int {
    let last = try read { connection throws(SpoolError) in
      try LineageRows.lastDeletable(
        before: now - age, keeping: bytes / Int64(LineageChunk.maximumBytes), step: Int64(step), in: connection)
    }
    guard let last else { return 0 }
    return try write(.relaxed) { connection throws(SpoolError) in
      try connection.run("DELETE FROM lineage WHERE id <= ?", .integer(last))
      return connection.changes
    }
  }
}

/// Rows of the tables `lineage` and `version`, and the column `recent` of `pipeline` (StateSchema.swift).
enum LineageRows {
  /// Notes that batches have left the outbox, and books how many readings were delivered: both stand in the row
  /// of the pipeline, whose page is written anyway, until a chunk is full.
  static func note(_ left: [BatchLineage], of pipeline: String, in connection: Connection) throws(SpoolError) {
    let row = try connection.statement("SELECT recent FROM pipeline WHERE name = ?")
    try row.bind([.text(pipeline)])
    let stored = try row.step() ? row.blob(0) : []
    row.reset()
    // A chunk that cannot be read is not worth stopping the delivery for.
    var chunk = (try? LineageChunk(decoding: stored)) ?? LineageChunk(batches: [])
    var bytes = stored
    for batch in left {
      if !chunk.takes(batch, bytes: bytes.count) {
        try insert(chunk, bytes, into: connection)
        chunk = LineageChunk(batches: [])
      }
      chunk.batches.append(batch)
      bytes = chunk.encoded()
    }
    let delivered = left.reduce(0) { $0 + ($1.fate == .delivered ? $1.count : 0) }
    try connection.run(
      "UPDATE pipeline SET delivered = delivered + ?, recent = ? WHERE name = ?", .integer(delivered), .blob(bytes),
      .text(pipeline))
  }

  static func insert(_ chunk: LineageChunk, _ bytes: [UInt8], into connection: Connection) throws(SpoolError) {
    guard let first = chunk.batches.first else { return }
    let sequences = chunk.sequences
    try connection.run(
      "INSERT INTO lineage(epoch, last, first, wall, batches) VALUES(?, ?, ?, ?, ?)",
      .text(first.identity.epoch.rawValue), .integer(sequences.upperBound), .integer(sequences.lowerBound),
      .integer(chunk.wall), .blob(bytes))
  }

  /// What an outbox row says of its batch.
  static func leaving(
    _ id: Int64, as fate: BatchLineage.Fate, at wall: Int64?, in connection: Connection
  ) throws(SpoolError) -> (pipeline: String, batch: BatchLineage)? {
    let row = try connection.statement(
      "SELECT \(columns) FROM outbox JOIN pipeline ON name = outbox.pipeline WHERE outbox.id = ?")
    defer { row.reset() }
    try row.bind([.integer(id)])
    guard try row.step() else { return nil }
    guard var batch = try lineage(row, in: connection) else {
      throw SpoolError(
        kind: .damaged, operation: "read the outbox of", path: connection.path,
        cause: "entry \(id) has an identity, an encoding or a digest that is none",
        hint: SpoolError.Kind.damaged.hint)
    }
    batch.fate = fate
    batch.left = wall
    return (row.text(15), batch)
  }

  /// All of a whole batch or its parts, in no order.
  static func find(_ identity: BatchIdentity, in connection: Connection) throws(SpoolError) -> [BatchLineage] {
    var found: [BatchLineage] = []
    // Its parts begin with its identity and a dot, and the character behind the dot is a slash.
    let waiting = try connection.statement(
      """
      SELECT \(columns) FROM outbox JOIN pipeline ON name = outbox.pipeline
      WHERE identity = ?1 OR (identity > ?1 || '.' AND identity < ?1 || '/')
      """)
    defer { waiting.reset() }
    try waiting.bind([.text(identity.description)])
    while try waiting.step() {
      if let batch = try lineage(waiting, in: connection) { found.append(batch) }
    }
    func pick(_ bytes: [UInt8]) {
      guard let chunk = try? LineageChunk(decoding: bytes) else { return }
      found += chunk.batches.filter { $0.identity.whole == identity }
    }
    let recent = try connection.statement("SELECT recent FROM pipeline WHERE recent IS NOT NULL")
    defer { recent.reset() }
    while try recent.step() { pick(recent.blob(0)) }
    let chunks = try connection.statement(
      "SELECT batches FROM lineage WHERE epoch = ?1 AND last >= ?2 AND first <= ?2")
    defer { chunks.reset() }
    try chunks.bind([.text(identity.epoch.rawValue), .integer(identity.sequence)])
    while try chunks.step() { pick(chunks.blob(0)) }
    return found
  }

  /// The last chunk, in the order of writing, that may go; nil where it is not worth it.
  static func lastDeletable(
    before wall: Int64, keeping chunks: Int64, step: Int64, in connection: Connection
  ) throws(SpoolError) -> Int64? {
    guard let first = try connection.integer("SELECT min(id) FROM lineage"),
      let last = try connection.integer("SELECT max(id) FROM lineage")
    else { return nil }
    // Times of a clock that had never been set say nothing: such a chunk goes with the next one that is old.
    let old = try connection.integer(
      """
      SELECT max(id) FROM (SELECT id, wall FROM lineage ORDER BY id LIMIT \(4 * step))
      WHERE wall < ? AND wall >= \(sensibleWall)
      """, .integer(wall))
    let excess = min(last - chunks, first + 4 * step - 1)
    let deletable = max(old ?? 0, excess)
    return deletable - first + 1 >= step ? deletable : nil
  }

  /// 2000-01-01T00:00:00Z.
  private static let sensibleWall: Int64 = 946_684_800_000_000_000

  private static let columns = """
    identity, outbox.version, outbox.log, first, last, count, encoding, compression, length, outbox.digest, previous,
    parent, uncertain, wall, quality, outbox.pipeline, uplink
    """

  private static func lineage(_ row: Statement, in connection: Connection) throws(SpoolError) -> BatchLineage? {
    guard let identity = BatchIdentity(row.text(0)), let encoding = BatchEncoding(rawValue: row.text(6)),
      let compression = BatchCompression(rawValue: row.text(7)), let digest = Digest(bytes: row.blob(9)),
      let previous = Digest(bytes: row.blob(10)),
      [3, 4, 5, 8].allSatisfy({ LogStore.offsets.contains(row.integer($0)) }), row.integer(3) <= row.integer(4)
    else { return nil }
    var batch = BatchLineage(
      identity: identity, uplink: row.text(16), version: row.text(1), log: LogID(rawValue: row.text(2)),
      encoding: encoding, compression: compression)
    batch.firstOffset = Offset(row.integer(3))
    batch.lastOffset = Offset(row.integer(4))
    batch.count = Int(row.integer(5))
    batch.length = Int(row.integer(8))
    batch.digest = digest
    batch.previous = previous
    batch.parent = row.optionalText(11).flatMap(OutboxRow.parent)
    batch.possibleDuplicate = row.integer(12) != 0
    batch.sealed = row.integer(13)
    batch.quality = ClockQuality(column: row.integer(14))
    return batch
  }

  // MARK: Versions

  /// Versions of a pipeline that are kept, the newest first. A gateway whose settings change daily explains two
  /// months of batches with them.
  static let versionsKept = 64

  /// Keeps what a version does, once.
  static func keep(
    _ registration: PipelineRegistration, configuration: String, wall: Int64, in connection: Connection
  ) throws(SpoolError) {
    guard !registration.explanation.isEmpty else { return }
    // First, so that one that comes back after many others is there again.
    try connection.run(
      """
      DELETE FROM version WHERE pipeline = ?1 AND rowid <=
        (SELECT rowid FROM version WHERE pipeline = ?1 ORDER BY rowid DESC LIMIT 1 OFFSET \(versionsKept - 1))
      """, .text(registration.name))
    try connection.run(
      "INSERT OR IGNORE INTO version VALUES(?, ?, ?, ?, ?)", .text(registration.name), .text(registration.version),
      .integer(wall), .text(configuration), .blob(registration.explanation))
  }
}
