package import Telemetry

/// What the state holds, in figures: for whoever watches. Made in one snapshot and cheap as long as little waits;
/// the time grows with the batches in the outbox.
package struct StateTotals: Sendable {
  /// A pipeline's book, or a replay's.
  package struct Book: Sendable {
    /// Its name, or the name of a replay's book (``ReplayID/book(of:)``).
    package var name: String
    package var isActive: Bool
    package var uplink: String
    package var counters: LedgerCounters
    package var waiting: Waiting?
    /// Dead letters that are kept, and the bytes that count against their bound.
    package var deadLetters: Int64 = 0
    package var deadLetterBytes: Int64 = 0
  }

  /// What of a book is in the outbox.
  package struct Waiting: Sendable {
    package var batches: Int64
    package var readings: Int64
    /// Of bodies, as compressed.
    package var bytes: Int64
    /// When its oldest batch was sealed, and how old the first message was then; nil where that is not known.
    package var oldestSealed: Moment
    package var oldestAge: Int64?
  }

  /// By name.
  package var books: [Book] = []
  /// How many replays there are in each state; none where there are none.
  package var replays: [Replay.State: Int64] = [:]
}

extension StateStore {
  package func totals() throws(SpoolError) -> StateTotals {
    try watch { connection throws(SpoolError) in
      var totals = StateTotals()
      var places: [String: Int] = [:]
      let book = try connection.statement(
        """
        SELECT name, active, uplink, unmatched, rejected, decoded, damaged, produced, emitted, requeued, duplicate,
          refused, late, filtered, absorbed, delivered, dead_lettered, recovered, discarded, expired
        FROM pipeline ORDER BY name
        """)
      defer { book.reset() }
      while try book.step() {
        let name = book.text(0)
        places[name] = totals.books.count
        totals.books.append(
          StateTotals.Book(
            name: name, isActive: book.integer(1) != 0, uplink: book.text(2), counters: counters(book)))
      }
      // Grouped by the index in the order of sealing; the body is not touched, its length stands before it.
      let waiting = try connection.statement(
        """
        SELECT pipeline, count(*), sum(count), sum(length(body)), min(position) FROM outbox GROUP BY pipeline
        """)
      defer { waiting.reset() }
      while try waiting.step() {
        let name = waiting.text(0)
        guard let place = places[name] else { continue }
        let oldest = try connection.statement(
          """
          SELECT boot, monotonic, wall, quality, first_age FROM outbox
          WHERE pipeline = ? AND position = ? ORDER BY line LIMIT 1
          """)
        defer { oldest.reset() }
        try oldest.bind([.text(name), .integer(waiting.integer(4))])
        guard try oldest.step() else { continue }
        totals.books[place].waiting = StateTotals.Waiting(
          batches: waiting.integer(1), readings: waiting.integer(2), bytes: waiting.integer(3),
          oldestSealed: Moment(
            boot: BootID(bytes: oldest.blob(0)), monotonic: oldest.integer(1), wall: oldest.integer(2),
            quality: ClockQuality(column: oldest.integer(3))), oldestAge: oldest.optionalInteger(4))
      }
      let letters = try connection.statement("SELECT pipeline, letters, bytes FROM dead_letter_total")
      defer { letters.reset() }
      while try letters.step() {
        guard let place = places[letters.text(0)] else { continue }
        totals.books[place].deadLetters = letters.integer(1)
        totals.books[place].deadLetterBytes = letters.integer(2)
      }
      let replays = try connection.statement("SELECT state, count(*) FROM replay GROUP BY state")
      defer { replays.reset() }
      while try replays.step() {
        if let state = Replay.State(rawValue: replays.text(0)) { totals.replays[state] = replays.integer(1) }
      }
      return totals
    }
  }

  /// The columns behind the third, one by one: this is done at every scrape.
  private func counters(_ row: Statement) -> LedgerCounters {
    var counters = LedgerCounters()
    counters.unmatched = row.integer(3)
    counters.rejected = row.integer(4)
    counters.decoded = row.integer(5)
    counters.damaged = row.integer(6)
    counters.produced = row.integer(7)
    counters.emitted = row.integer(8)
    counters.requeued = row.integer(9)
    counters.duplicate = row.integer(10)
    counters.refused = row.integer(11)
    counters.late = row.integer(12)
    counters.filtered = row.integer(13)
    counters.absorbed = row.integer(14)
    counters.delivered = row.integer(15)
    counters.deadLetteredUpstream = row.integer(16)
    counters.recovered = row.integer(17)
    counters.discarded = row.integer(18)
    counters.expired = row.integer(19)
    return counters
  }
}
