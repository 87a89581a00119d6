package import Telemetry

/// Which dead letters an operator means.
package struct DeadLetterFilter: Sendable {
  package var pipeline: String?
  package var stage: Stage?
  package var rule: String?
  package var source: String?
  package var topic: TopicFilter?
  /// Wall nanoseconds of receipt from which, and up to which (exclusive), they are meant.
  package var since: Int64?
  package var until: Int64?
  package var ids: [Int64]?

  package init(
    pipeline: String? = nil, stage: Stage? = nil, rule: String? = nil, source: String? = nil,
    topic: TopicFilter? = nil, since: Int64? = nil, until: Int64? = nil, ids: [Int64]? = nil
  ) {
    self.pipeline = pipeline
    self.stage = stage
    self.rule = rule
    self.source = source
    self.topic = topic
    self.since = since
    self.until = until
    self.ids = ids
  }

  /// Everything but the topic, which SQL cannot match.
  var clause: (sql: String, values: [SQLValue]) {
    var terms: [String] = []
    var values: [SQLValue] = []
    func add(_ term: String, _ value: SQLValue?) {
      guard let value else { return }
      terms.append(term)
      values.append(value)
    }
    add("pipeline = ?", pipeline.map { .text($0) })
    add("stage = ?", (stage?.rawValue).map { .text($0) })
    add("rule = ?", rule.map { .text($0) })
    add("source = ?", source.map { .text($0) })
    add("wall >= ?", since.map { .integer($0) })
    add("wall < ?", until.map { .integer($0) })
    if let ids {
      terms.append("id IN (\(ids.map(String.init).joined(separator: ",")))")
    }
    return (terms.isEmpty ? "1" : terms.joined(separator: " AND "), values)
  }

  func matches(topic name: String) -> Bool { topic?.matches(name) ?? true }
}

/// How many dead letters of a pipeline one rule has made.
package struct DeadLetterCount: Sendable, Hashable {
  package var pipeline: String
  package var stage: String
  package var rule: String
  package var count: Int64 = 0
  /// Of their payloads.
  package var bytes: Int64 = 0
  /// Wall nanoseconds at which the first and the last of them were received; nil where none is kept.
  package var first: Int64?
  package var last: Int64?
  /// Those that have gone because of the bounds, ever.
  package var expired: Int64 = 0
}

extension StateStore {
  /// Letters of an operator's choice that are changed in one transaction: a pipeline's seals must not wait for
  /// a million of them.
  static let lettersAtOnce = 2_000

  /// Dead letters, oldest first.
  package func deadLetters(
    _ filter: DeadLetterFilter, after id: Int64 = 0, limit: Int
  ) throws(SpoolError) -> [StoredDeadLetter] {
    let clause = filter.clause
    return try read { connection throws(SpoolError) in
      let row = try connection.statement(
        "SELECT \(DeadLetterRow.columns) FROM dead_letter WHERE \(clause.sql) AND id > ? ORDER BY id")
      defer { row.reset() }
      try row.bind(clause.values + [.integer(id)])
      var letters: [StoredDeadLetter] = []
      while letters.count < limit, try row.step() {
        if filter.matches(topic: row.text(6)) { letters.append(DeadLetterRow.stored(row)) }
      }
      return letters
    }
  }

  /// How many there are, by pipeline, stage and rule; the most frequent first. What has expired is told with
  /// them, unless the filter asks for what is no longer known of it.
  package func deadLetterCounts(
    _ filter: DeadLetterFilter = DeadLetterFilter()
  ) throws(SpoolError) -> [DeadLetterCount] {
    struct Name: Hashable {
      var pipeline: String
      var stage: String
      var rule: String
      init(_ row: Statement) {
        pipeline = row.text(0)
        stage = row.text(1)
        rule = row.text(2)
      }
    }
    let clause = filter.clause
    return try read { connection throws(SpoolError) in
      var counts: [Name: DeadLetterCount] = [:]
      func change(_ name: Name, _ change: (inout DeadLetterCount) -> Void) {
        change(
          &counts[name, default: DeadLetterCount(pipeline: name.pipeline, stage: name.stage, rule: name.rule)])
      }
      let topic = filter.topic == nil ? "" : ", topic"
      let row = try connection.statement(
        """
        SELECT pipeline, stage, rule, count(*), sum(length(payload)), min(wall), max(wall)\(topic)
        FROM dead_letter WHERE \(clause.sql) GROUP BY pipeline, stage, rule\(topic)
        """)
      defer { row.reset() }
      try row.bind(clause.values)
      while try row.step() {
        guard topic.isEmpty || filter.matches(topic: row.text(7)) else { continue }
        change(Name(row)) {
          $0.count += row.integer(3)
          $0.bytes += row.integer(4)
          $0.first = min($0.first ?? .max, row.integer(5))
          $0.last = max($0.last ?? .min, row.integer(6))
        }
      }
      if filter.source == nil, filter.topic == nil, filter.since == nil, filter.until == nil, filter.ids == nil {
        let row = try connection.statement("SELECT pipeline, stage, rule, count FROM expired WHERE \(clause.sql)")
        defer { row.reset() }
        try row.bind(clause.values)
        while try row.step() { change(Name(row)) { $0.expired = row.integer(3) } }
      }
      return counts.values.sorted {
        ($1.count, $1.expired, $0.pipeline, $0.stage, $0.rule) < ($0.count, $0.expired, $1.pipeline, $1.stage, $1.rule)
      }
    }
  }

  /// Deletes dead letters for good and books them as discarded, some at a time. Those on their way through the
  /// pipeline are left: they are about to become readings.
  /// - Returns: how many.
  package func discardDeadLetters(_ filter: DeadLetterFilter) throws(SpoolError) -> Int64 {
    let chosen = try choose(filter) { row in (row.id, row.pipeline) }
    var total: Int64 = 0
    var rest = chosen[...]
    while !rest.isEmpty {
      let some = rest.prefix(StateStore.lettersAtOnce)
      rest = rest.dropFirst(some.count)
      total += try write { connection throws(SpoolError) in
        var counts: [String: Int64] = [:]
        for (id, pipeline) in some {
          try connection.run("DELETE FROM dead_letter WHERE id = ? AND requested = 0", .integer(id))
          counts[pipeline, default: 0] += Int64(connection.changes)
        }
        for (pipeline, count) in counts {
          try connection.run(
            "UPDATE pipeline SET discarded = discarded + ? WHERE name = ?", .integer(count), .text(pipeline))
        }
        return counts.values.reduce(0, +)
      }
    }
    return total
  }

  /// What is known of a letter without reading its payload.
  struct Outline {
    var id: Int64
    var pipeline: String
    var log: LogID
    var offset: Offset
    var bytes: Int64
    var isWithheld: Bool
  }

  /// The letters that are meant and not on their way through the pipeline already, oldest first.
  func choose<R>(
    _ filter: DeadLetterFilter, _ body: (Outline) throws(SpoolError) -> R
  ) throws(SpoolError) -> [R] {
    let clause = filter.clause
    return try read { connection throws(SpoolError) in
      let row = try connection.statement(
        """
        SELECT id, pipeline, log, offset, length(payload), withheld, topic FROM dead_letter
        WHERE \(clause.sql) AND requested = 0 ORDER BY id
        """)
      defer { row.reset() }
      try row.bind(clause.values)
      var chosen: [R] = []
      while try row.step() {
        guard filter.matches(topic: row.text(6)) else { continue }
        chosen.append(
          try body(
            Outline(
              id: row.integer(0), pipeline: row.text(1), log: LogID(rawValue: row.text(2)),
              offset: Offset(row.integer(3)), bytes: row.integer(4), isWithheld: row.integer(5) != 0)))
      }
      return chosen
    }
  }
}
