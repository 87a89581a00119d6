package import Telemetry

/// Dead letters of one pipeline that went because of the bounds.
package struct ExpiredDeadLetters: Sendable, Hashable {
  /// Those that were old enough, by rule.
  package var old: [String: Int64] = [:]
  /// Those that were not, and went because there were too many bytes, by rule.
  package var early: [String: Int64] = [:]
  /// More of them are to go.
  package var isMore = false

  package var count: Int64 { old.values.reduce(0, +) + early.values.reduce(0, +) }
}

extension StateStore {
  /// Bytes of letters, by their `size`, and letters that go in one transaction at most. A letter has at least 256
  /// bytes, so the first decides. The bytes are above those that a seal brings of small messages, so that what
  /// goes keeps up with what comes; of large ones there are several portions (``isMore``).
  static let expiredAtOnce: (bytes: Int64, letters: Int) = (4 << 20, 16_384)

  /// Bytes of each pipeline's dead letters as they count against their bound.
  package func deadLetterBytes() throws(SpoolError) -> [String: Int64] {
    try read { connection throws(SpoolError) in
      let row = try connection.statement("SELECT pipeline, bytes FROM dead_letter_total WHERE bytes > 0")
      defer { row.reset() }
      var bytes: [String: Int64] = [:]
      while try row.step() { bytes[row.text(0)] = row.integer(1) }
      return bytes
    }
  }

  /// Gives letters that were set aside while no clock was worth it the present time, some at a time.
  package func dateDeadLetters(now: Moment) throws(SpoolError) {
    guard let wall = now.worthyWall,
      try read({ connection throws(SpoolError) in
        try connection.integer("SELECT 1 FROM dead_letter WHERE since IS NULL LIMIT 1")
      }) != nil
    else { return }
    try write { connection throws(SpoolError) in
      try connection.run(
        """
        UPDATE dead_letter SET since = ? WHERE id IN
          (SELECT id FROM dead_letter WHERE since IS NULL LIMIT \(StateStore.lettersAtOnce))
        """, .integer(wall))
    }
  }

  /// Deletes a portion of a pipeline's dead letters that its bounds no longer hold, oldest first, and books it.
  ///
  /// Those on their way through the pipeline are left, and do not count against the bytes as long as they are
  /// no more than those that may be kept. By age letters go only while the clock is synchronised.
  /// - Returns: what went; nil: nothing had to.
  package func expireDeadLetters(
    of pipeline: String, _ bounds: DeadLetterBounds, now: Moment
  ) throws(SpoolError) -> ExpiredDeadLetters? {
    let plan = ExpiryPlan(pipeline: pipeline, bounds: bounds, wall: now.worthyWall)
    guard try read({ connection throws(SpoolError) in try plan.isDue(in: connection) }) else { return nil }
    let expired = try write { connection throws(SpoolError) in
      try plan.run(in: connection, wall: now.wall)
    }
    return expired.count > 0 ? expired : nil
  }
}

/// One look at one pipeline's letters.
private struct ExpiryPlan {
  let pipeline: String
  let bounds: DeadLetterBounds
  /// Nil while the clock is not worth it.
  let wall: Int64?

  /// Which of them may go: those that are on no way through the pipeline.
  private static let eligible = "pipeline = ? AND requested = 0"

  /// Bytes that are to go.
  private func excess(in connection: Connection) throws(SpoolError) -> Int64 {
    func sum(_ column: String) throws(SpoolError) -> Int64 {
      try connection.integer("SELECT \(column) FROM dead_letter_total WHERE pipeline = ?", .text(pipeline)) ?? 0
    }
    let onTheirWay = min(try sum("requested"), bounds.maximumBytes)
    return try sum("bytes") - onTheirWay - bounds.maximumBytes
  }

  private func isOld(_ since: Int64?) -> Bool {
    guard let wall, let since else { return false }
    return wall - bounds.keep > since
  }

  func isDue(in connection: Connection) throws(SpoolError) -> Bool {
    if try excess(in: connection) > 0 { return true }
    return isOld(
      try connection.integer(
        "SELECT since FROM dead_letter WHERE \(ExpiryPlan.eligible) ORDER BY id LIMIT 1", .text(pipeline)))
  }

  func run(in connection: Connection, wall now: Int64) throws(SpoolError) -> ExpiredDeadLetters {
    var expired = ExpiredDeadLetters()
    var counts: [[String]: Int64] = [:]
    var excess = try excess(in: connection)
    var bytes: Int64 = 0
    var last: Int64?
    do {
      let row = try connection.statement(
        "SELECT id, since, size, stage, rule FROM dead_letter WHERE \(ExpiryPlan.eligible) ORDER BY id LIMIT ?")
      defer { row.reset() }
      try row.bind([.text(pipeline), .integer(StateStore.expiredAtOnce.letters)])
      while try row.step() {
        let old = isOld(row.optionalInteger(1))
        guard old || excess > 0 else { break }
        guard bytes < StateStore.expiredAtOnce.bytes else {
          expired.isMore = true
          break
        }
        last = row.integer(0)
        excess -= row.integer(2)
        bytes += row.integer(2)
        let rule = row.text(4)
        counts[[row.text(3), rule], default: 0] += 1
        if old { expired.old[rule, default: 0] += 1 } else { expired.early[rule, default: 0] += 1 }
      }
    }
    guard let last else { return expired }
    if expired.count >= StateStore.expiredAtOnce.letters { expired.isMore = true }
    try connection.run(
      "DELETE FROM dead_letter WHERE \(ExpiryPlan.eligible) AND id <= ?", .text(pipeline), .integer(last))
    try connection.run(
      "UPDATE pipeline SET expired = expired + ? WHERE name = ?", .integer(expired.count), .text(pipeline))
    for (name, count) in counts {
      try connection.run(
        """
        INSERT INTO expired VALUES(?, ?, ?, ?, ?) ON CONFLICT(pipeline, stage, rule)
        DO UPDATE SET count = count + excluded.count, last = excluded.last
        """, .text(pipeline), .text(name[0]), .text(name[1]), .integer(count), .integer(now))
    }
    return expired
  }
}
