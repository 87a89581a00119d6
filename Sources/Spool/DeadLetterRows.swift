package import Telemetry

/// Which dead letters an operator means.
package struct DeadLetterFilter: Sendable, Hashable {
  package var pipeline: String?
  package var stage: Stage?
  package var rule: String?
  package var ids: [Int64]?

  package init(
    pipeline: String? = nil, stage: Stage? = nil, rule: String? = nil, ids: [Int64]? = nil
  ) {
    self.pipeline = pipeline
    self.stage = stage
    self.rule = rule
    self.ids = ids
  }

  fileprivate var clause: (sql: String, values: [SQLValue]) {
    var terms: [String] = []
    var values: [SQLValue] = []
    func add(_ column: String, _ value: String?) {
      guard let value else { return }
      terms.append("\(column) = ?")
      values.append(.text(value))
    }
    add("pipeline", pipeline)
    add("stage", stage?.rawValue)
    add("rule", rule)
    if let ids {
      terms.append("id IN (\(ids.map(String.init).joined(separator: ",")))")
    }
    return (terms.isEmpty ? "1" : terms.joined(separator: " AND "), values)
  }
}

/// A dead letter as it is kept.
package struct StoredDeadLetter: Sendable, Hashable {
  package var pipeline: String
  package var letter: DeadLetter
  /// It is to be run through the pipeline again.
  package var requested: Bool
  /// How often it was run again and refused again.
  package var attempts: Int64
}

extension StateStore {
  /// Dead letters, oldest first.
  package func deadLetters(
    _ filter: DeadLetterFilter, after id: Int64 = 0, limit: Int
  ) throws(SpoolError) -> [StoredDeadLetter] {
    try read { connection throws(SpoolError) in
      try DeadLetterRow.select(filter, after: id, limit: limit, from: connection)
    }
  }

  /// How many there are, by pipeline, stage and rule.
  package func deadLetterCounts() throws(SpoolError) -> [(pipeline: String, stage: String, rule: String, count: Int64)]
  {
    try read { connection throws(SpoolError) in
      let row = try connection.statement(
        "SELECT pipeline, stage, rule, count(*) FROM dead_letter GROUP BY 1, 2, 3 ORDER BY 4 DESC")
      defer { row.reset() }
      var counts: [(pipeline: String, stage: String, rule: String, count: Int64)] = []
      while try row.step() {
        counts.append((row.text(0), row.text(1), row.text(2), row.integer(3)))
      }
      return counts
    }
  }

  /// Marks dead letters to be run through today's pipeline once more.
  /// - Returns: how many were marked that had not been.
  package func requeueDeadLetters(_ filter: DeadLetterFilter) throws(SpoolError) -> Int {
    let clause = filter.clause
    return try write { connection throws(SpoolError) in
      try connection.runAll(
        "UPDATE dead_letter SET requested = 1 WHERE requested = 0 AND \(clause.sql)", clause.values)
      return connection.changes
    }
  }

  /// Deletes dead letters for good and books them as discarded.
  /// - Returns: how many.
  package func discardDeadLetters(_ filter: DeadLetterFilter) throws(SpoolError) -> Int {
    let clause = filter.clause
    return try write { connection throws(SpoolError) in
      // Those on their way through the pipeline are left: they are about to become readings. Where the
      // pipeline is gone they are on no way.
      let sql = """
        (requested = 0 OR pipeline IN (SELECT p.name FROM pipeline p WHERE p.active = 0)) AND \(clause.sql)
        """
      try connection.runAll(
        """
        UPDATE pipeline SET discarded = discarded +
          (SELECT count(*) FROM dead_letter WHERE pipeline = name AND \(sql))
        WHERE name IN (SELECT pipeline FROM dead_letter WHERE \(sql))
        """, clause.values + clause.values)
      try connection.runAll("DELETE FROM dead_letter WHERE \(sql)", clause.values)
      return connection.changes
    }
  }

  /// The next dead letters of a pipeline that are to be run again: as many as `limit`, and no more than
  /// the one with which their payloads reach `bytes`.
  package func requestedDeadLetters(
    pipeline: String, after id: Int64, limit: Int, bytes: Int
  ) throws(SpoolError) -> [DeadLetter] {
    try read { connection throws(SpoolError) in
      let row = try connection.statement(
        """
        SELECT \(DeadLetterRow.columns) FROM dead_letter
        WHERE pipeline = ? AND id > ? AND requested = 1 ORDER BY id LIMIT ?
        """)
      defer { row.reset() }
      try row.bind([.text(pipeline), .integer(id), .integer(limit)])
      var letters: [DeadLetter] = []
      var total = 0
      while total < bytes, try row.step() {
        let letter = DeadLetterRow.stored(row).letter
        total += letter.rejection.payload.count
        letters.append(letter)
      }
      return letters
    }
  }
}

extension Connection {
  fileprivate func runAll(_ sql: String, _ values: [SQLValue]) throws(SpoolError) {
    let statement = try statement(sql)
    defer { statement.reset() }
    try statement.bind(values)
    while try statement.step() {}
  }
}

/// A row of the table `dead_letter` (StateSchema.swift).
enum DeadLetterRow {
  static let columns = """
    id, pipeline, stage, rule, reason, source, topic, log, offset, boot, monotonic, wall, quality,
    requested, attempts, payload
    """

  static func insert(
    _ rejection: Rejection, pipeline: String, into connection: Connection
  ) throws(SpoolError) {
    try connection.run(
      """
      INSERT INTO dead_letter(pipeline, stage, rule, reason, source, topic, log, offset, boot,
        monotonic, wall, quality, payload) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)
      """,
      .text(pipeline), .text(rejection.stage.rawValue), .text(rejection.rule),
      .text(rejection.reason), .text(rejection.origin.source), .text(rejection.origin.topic),
      .text(rejection.log.rawValue), .integer(rejection.offset.rawValue),
      .blob(rejection.received.boot.bytes), .integer(rejection.received.monotonic),
      .integer(rejection.received.wall), .integer(Int64(rejection.received.quality.rawValue)),
      .blob(rejection.payload))
  }

  static func select(
    _ filter: DeadLetterFilter, after id: Int64, limit: Int, from connection: Connection
  ) throws(SpoolError) -> [StoredDeadLetter] {
    let clause = filter.clause
    let row = try connection.statement(
      "SELECT \(columns) FROM dead_letter WHERE \(clause.sql) AND id > ? ORDER BY id LIMIT ?")
    defer { row.reset() }
    try row.bind(clause.values + [.integer(id), .integer(limit)])
    var letters: [StoredDeadLetter] = []
    while try row.step() { letters.append(stored(row)) }
    return letters
  }

  static func stored(_ row: Statement) -> StoredDeadLetter {
    let rejection = Rejection(
      stage: Stage(rawValue: row.text(2)) ?? .decode, rule: row.text(3), reason: row.text(4),
      origin: Origin(source: row.text(5), topic: row.text(6)), log: LogID(rawValue: row.text(7)),
      offset: Offset(row.integer(8)),
      received: Moment(
        boot: BootID(bytes: row.blob(9)), monotonic: row.integer(10), wall: row.integer(11),
        quality: ClockQuality(column: row.integer(12))),
      payload: row.blob(15))
    return StoredDeadLetter(
      pipeline: row.text(1), letter: DeadLetter(id: row.integer(0), rejection: rejection),
      requested: row.integer(13) != 0, attempts: row.integer(14))
  }
}
