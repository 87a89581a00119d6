package import Telemetry

/// A request to run dead letters through today's pipelines once more, of which letters are left.
package struct RequeueRequest: Sendable, Hashable, Identifiable {
  package var id: Int64
  /// Nanoseconds between two letters.
  package var interval: Int64
}

/// What came of a request when it was made.
package struct RequeueOutcome: Sendable, Hashable {
  /// Its number; nil where there was nothing to request.
  package var request: Int64?
  /// Those that are to be run again, and the bytes of their payloads.
  package var letters: Int64 = 0
  package var bytes: Int64 = 0
  /// Those that stay because the budget is used up.
  package var overBudget: Int64 = 0
  package var overBudgetBytes: Int64 = 0
  /// Those that stay because their pipeline is no longer configured, by pipeline.
  package var orphans: [String: Int64] = [:]
}

extension StateStore {
  /// Marks dead letters to be run through today's pipeline once more, some at a time.
  ///
  /// The budget is settled here, oldest first up to the first letter that would exceed it: what is marked is
  /// run, however often the daemon is restarted meanwhile, and the operator knows at once what is not.
  /// - Parameters:
  ///   - interval: nanoseconds between two letters, for all of the pipelines together.
  ///   - budget: bytes of payloads in all; nil: any number.
  ///   - withheldBytes: how long the message is that a letter without bytes stands for; asked only where there
  ///     is a budget.
  package func requeueDeadLetters(
    _ filter: DeadLetterFilter, interval: Int64, budget: Int64? = nil,
    withheldBytes: (LogID, Offset) throws(SpoolError) -> Int64 = { _, _ in 0 }
  ) throws(SpoolError) -> RequeueOutcome {
    let active = Set(try activePipelines().map(\.name))
    var outcome = RequeueOutcome()
    var isFull = false
    let chosen: [(id: Int64, bytes: Int64)?] = try choose(filter) { row throws(SpoolError) in
      guard active.contains(row.pipeline) else {
        outcome.orphans[row.pipeline, default: 0] += 1
        return nil
      }
      var bytes = row.bytes
      if budget != nil, row.isWithheld { bytes = try withheldBytes(row.log, row.offset) }
      if let budget, isFull || outcome.bytes + bytes > budget {
        isFull = true
        outcome.overBudget += 1
        outcome.overBudgetBytes += bytes
        return nil
      }
      outcome.bytes += bytes
      return (row.id, bytes)
    }
    let marked = chosen.compactMap(\.self)
    outcome.bytes = 0
    var rest = marked[...]
    while !rest.isEmpty {
      let some = rest.prefix(StateStore.lettersAtOnce)
      rest = rest.dropFirst(some.count)
      try write { connection throws(SpoolError) in
        // With each portion: the daemon may have finished with all before and forgotten the request.
        let request: Int64
        if let known = outcome.request {
          request = known
          try connection.run(
            "INSERT OR IGNORE INTO requeue VALUES(?, ?)", .integer(known), .integer(interval))
        } else {
          try connection.run("INSERT INTO requeue(interval) VALUES(?)", .integer(interval))
          request = connection.lastInsertedRow
        }
        outcome.request = request
        for (id, bytes) in some {
          try connection.run(
            """
            UPDATE dead_letter SET requested = ? WHERE id = ? AND requested = 0
              AND pipeline IN (SELECT name FROM pipeline WHERE active = 1)
            """, .integer(request), .integer(id))
          guard connection.changes > 0 else { continue }
          outcome.letters += 1
          outcome.bytes += bytes
        }
      }
    }
    return outcome
  }

  /// The requests that have letters left, the oldest first.
  package func requeues() throws(SpoolError) -> [RequeueRequest] {
    try read { connection throws(SpoolError) in
      let row = try connection.statement("SELECT id, interval FROM requeue ORDER BY id")
      defer { row.reset() }
      var requests: [RequeueRequest] = []
      while try row.step() {
        requests.append(RequeueRequest(id: row.integer(0), interval: max(1, row.integer(1))))
      }
      return requests
    }
  }

  /// Forgets a request if no letter is left that has it.
  /// - Returns: whether that was so.
  package func finishRequeue(_ request: Int64) throws(SpoolError) -> Bool {
    func isFinished(_ connection: Connection) throws(SpoolError) -> Bool {
      try connection.integer(
        """
        SELECT 1 FROM dead_letter_total t WHERE EXISTS
          (SELECT 1 FROM dead_letter d WHERE d.pipeline = t.pipeline AND d.requested = ?)
        """, .integer(request)) == nil
    }
    guard try read({ connection throws(SpoolError) in try isFinished(connection) }) else { return false }
    return try write { connection throws(SpoolError) in
      guard try isFinished(connection) else { return false }
      try connection.run("DELETE FROM requeue WHERE id = ?", .integer(request))
      return true
    }
  }

  /// The next dead letters of a pipeline that a request wants to be run again: as many as `limit`, and no more
  /// than the one with which their payloads reach `bytes`.
  package func requestedDeadLetters(
    pipeline: String, request: Int64, after id: Int64, limit: Int, bytes: Int
  ) throws(SpoolError) -> [DeadLetter] {
    try read { connection throws(SpoolError) in
      let row = try connection.statement(
        """
        SELECT \(DeadLetterRow.columns) FROM dead_letter
        WHERE pipeline = ? AND requested = ? AND id > ? ORDER BY id LIMIT ?
        """)
      defer { row.reset() }
      try row.bind([.text(pipeline), .integer(request), .integer(id), .integer(limit)])
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
