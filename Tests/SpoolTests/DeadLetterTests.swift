import Telemetry
import Testing

@testable import Spool

@Suite("Dead letters in the state")
struct DeadLetterTests {
  let folder: SpoolFolder
  let spool: Spool

  init() throws {
    folder = try SpoolFolder()
    spool = try folder.open()
  }

  static let day: Int64 = 24 * 3_600_000_000_000

  static func moment(days: Int64, quality: ClockQuality = .synchronised) -> Moment {
    Moment(boot: Fixture.boot, monotonic: days * day, wall: days * day, quality: quality)
  }

  /// Takes a message for each letter and refuses it.
  private func setAside(
    _ state: inout PipelineState, _ count: Int, now: Moment? = moment(days: 0),
    change: (inout Rejection, Int) -> Void = { _, _ in }
  ) throws {
    let first = Int(state.checkpoint.rawValue)
    try spool.log.append(Fixture.group(first..<first + count))
    state.checkpoint = state.checkpoint + count
    let rejections = (first..<first + count).map { number in
      var rejection = Fixture.rejection(state, offset: number)
      change(&rejection, number)
      return rejection
    }
    try spool.state.seal(
      Seal(rejections: rejections, counters: .init { $0.rejected = Int64(count) }, state: state),
      pipeline: "climate", now: now)
  }

  private func ids(_ filter: DeadLetterFilter = DeadLetterFilter()) throws -> [Int64] {
    try spool.state.deadLetters(filter, limit: 1_000_000).map(\.letter.id)
  }

  /// What the sums that triggers keep should be.
  private func recounted() throws -> [Int64?] {
    try spool.state.read { connection throws(SpoolError) in
      [
        try connection.integer("SELECT sum(size) FROM dead_letter"),
        try connection.integer("SELECT coalesce(sum(size), 0) FROM dead_letter WHERE requested > 0"),
      ]
    }
  }

  private func totals() throws -> [Int64?] {
    try spool.state.read { connection throws(SpoolError) in
      [
        try connection.integer("SELECT bytes FROM dead_letter_total"),
        try connection.integer("SELECT requested FROM dead_letter_total"),
      ]
    }
  }

  private static func bounds(days: Int64 = 30, bytes: Int64 = 1 << 40) -> DeadLetterBounds {
    var bounds = DeadLetterBounds()
    bounds.keep = days * day
    bounds.maximumBytes = bytes
    return bounds
  }

  // MARK: Looking

  @Test("keep which reading they were, whether their bytes are withheld, and since when they are kept")
  func columns() throws {
    var state = try spool.register(folder)
    try setAside(&state, 2, now: Self.moment(days: 3)) { rejection, number in
      rejection.stage = .transform
      rejection.reading = number == 0 ? 7 : nil
      rejection.isWithheld = number == 0
      if number == 0 { rejection.payload = [] }
    }
    try setAside(&state, 1, now: Self.moment(days: 3, quality: .unsynchronised))
    let letters = try spool.state.deadLetters(DeadLetterFilter(), limit: 9)
    #expect(letters.map(\.letter.rejection.reading) == [7, nil, nil])
    #expect(letters.map(\.letter.rejection.isWithheld) == [true, false, false])
    #expect(letters.map(\.since) == [3 * Self.day, 3 * Self.day, nil])
    #expect(letters[0].letter.rejection.payload.isEmpty)
  }

  @Test("are found by source, topic, time and everything else at once, page by page")
  func filters() throws {
    var state = try spool.register(folder)
    try setAside(&state, 6) { rejection, number in
      rejection.origin = Origin(
        source: number < 3 ? "floor" : "roof", topic: "sensors/\(number % 2 == 0 ? "even" : "odd")/x")
      rejection.received = Fixture.moment(wall: Int64(number) * 100)
      rejection.rule = number == 5 ? "json.depth" : "json.syntax"
    }
    #expect(try ids(DeadLetterFilter(source: "roof")) == [4, 5, 6])
    let even = try TopicFilter(parsing: "sensors/even/+")
    #expect(try ids(DeadLetterFilter(topic: even)) == [1, 3, 5])
    #expect(try ids(DeadLetterFilter(since: 100, until: 300)) == [2, 3])
    #expect(try ids(DeadLetterFilter(rule: "json.syntax", source: "roof", topic: even)) == [5])
    #expect(try ids(DeadLetterFilter(topic: even, ids: [1, 2])) == [1])
    let page = try spool.state.deadLetters(DeadLetterFilter(topic: even), after: 1, limit: 1)
    #expect(page.map(\.letter.id) == [3])
    #expect(try spool.state.discardDeadLetters(DeadLetterFilter(topic: even, since: 100)) == 2)
    #expect(try ids() == [1, 2, 4, 6])
    #expect(try spool.audit().balances)
  }

  @Test("are counted by pipeline, stage and rule, with their bytes and their first and last time")
  func counts() throws {
    var state = try spool.register(folder)
    try setAside(&state, 5) { rejection, number in
      rejection.rule = number < 3 ? "json.syntax" : "time.missing"
      rejection.origin.topic = "sensors/\(number)/climate"
      rejection.received = Fixture.moment(wall: Int64(number) * 100)
      rejection.payload = Array(repeating: 0, count: number + 1)
    }
    let counts = try spool.state.deadLetterCounts()
    #expect(counts.map(\.rule) == ["json.syntax", "time.missing"])
    #expect(counts[0].count == 3 && counts[0].bytes == 6 && counts[0].first == 0 && counts[0].last == 200)
    #expect(counts[1].count == 2 && counts[1].bytes == 9 && counts[1].first == 300 && counts[1].last == 400)
    let some = try spool.state.deadLetterCounts(
      DeadLetterFilter(topic: try TopicFilter(parsing: "sensors/4/#"), since: 100))
    #expect(some.map(\.count) == [1] && some[0].bytes == 5 && some[0].rule == "time.missing")
  }

  // MARK: Bounds

  @Test("go when they have been kept for long enough, oldest first, and their rules are remembered")
  func byAge() throws {
    var state = try spool.register(folder)
    try setAside(&state, 2, now: Self.moment(days: 1))
    try setAside(&state, 1, now: Self.moment(days: 2)) { rejection, _ in rejection.rule = "time.missing" }
    try setAside(&state, 1, now: Self.moment(days: 9))
    #expect(try spool.state.expireDeadLetters(of: "climate", Self.bounds(days: 30), now: Self.moment(days: 31)) == nil)
    let expired = try #require(
      try spool.state.expireDeadLetters(of: "climate", Self.bounds(days: 30), now: Self.moment(days: 33)))
    #expect(expired == ExpiredDeadLetters(old: ["json.syntax": 2, "time.missing": 1]))
    #expect(try ids() == [4])
    let audit = try spool.audit()
    #expect(audit.balances && audit.entries.first?.ledger.expired == 3 && audit.entries.first?.ledger.deadLetters == 1)
    let counts = try spool.state.deadLetterCounts()
    #expect(counts.map(\.expired) == [2, 1] && counts.map(\.count) == [1, 0] && counts[1].first == nil)
    #expect(try spool.state.deadLetterCounts(DeadLetterFilter(rule: "time.missing")).map(\.expired) == [1])
    #expect(try spool.state.deadLetterCounts(DeadLetterFilter(since: 0)).map(\.expired) == [0])
    #expect(try totals() == recounted())
  }

  @Test("are not old because a clock that nobody had set says so, and age from when one is set")
  func worthlessClock() throws {
    var state = try spool.register(folder)
    try setAside(&state, 1, now: Self.moment(days: 1, quality: .unsynchronised))
    let late = Self.moment(days: 20_000, quality: .unsynchronised)
    let bounds = Self.bounds(days: 30)
    try spool.state.dateDeadLetters(now: late)
    #expect(try spool.state.expireDeadLetters(of: "climate", bounds, now: late) == nil)
    // Synchronised at last: the letter was not set aside in 1970.
    try spool.state.dateDeadLetters(now: Self.moment(days: 20_000))
    try setAside(&state, 1, now: Self.moment(days: 20_001))
    #expect(try spool.state.expireDeadLetters(of: "climate", bounds, now: Self.moment(days: 20_030)) == nil)
    #expect(try spool.state.expireDeadLetters(of: "climate", bounds, now: Self.moment(days: 20_031))?.count == 1)
    #expect(try ids() == [2])
    // And a clock that lost its time again lets nothing go.
    let lost = Self.moment(days: 30_000, quality: .unsynchronised)
    #expect(try spool.state.expireDeadLetters(of: "climate", bounds, now: lost) == nil)
  }

  @Test("go when they take too many bytes, oldest first and no more than need be")
  func byBytes() throws {
    var state = try spool.register(folder)
    try setAside(&state, 10) { rejection, _ in rejection.payload = Array(repeating: 1, count: 1_000) }
    let size = try #require(try totals()[0]) / 10
    #expect(size > 1_256 && size < 1_400)
    let now = Self.moment(days: 1)
    #expect(try spool.state.expireDeadLetters(of: "climate", Self.bounds(bytes: 10 * size), now: now) == nil)
    let expired = try spool.state.expireDeadLetters(of: "climate", Self.bounds(bytes: 7 * size), now: now)
    #expect(expired == ExpiredDeadLetters(early: ["json.syntax": 3]))
    #expect(try ids() == Array(4...10))
    #expect(try spool.audit().balances)
    #expect(try totals() == recounted())
    #expect(try spool.state.deadLetterBytes() == ["climate": 7 * size])
  }

  @Test("go in portions, so that no transaction is a giant")
  func portions() throws {
    var state = try spool.register(folder)
    try setAside(&state, 60) { rejection, _ in rejection.payload = Array(repeating: 1, count: 100_000) }
    let now = Self.moment(days: 1)
    let first = try #require(try spool.state.expireDeadLetters(of: "climate", Self.bounds(bytes: 1 << 16), now: now))
    #expect(first.isMore && first.count == 42)
    let second = try #require(try spool.state.expireDeadLetters(of: "climate", Self.bounds(bytes: 1 << 16), now: now))
    #expect(!second.isMore && second.count == 18)
    #expect(try ids().isEmpty && spool.audit().balances)
  }

  @Test("are left while they are on their way, do not push others out, and go once their pipeline is gone")
  func onTheirWay() throws {
    var state = try spool.register(folder)
    try setAside(&state, 10, now: Self.moment(days: 0))
    let size = try #require(try totals()[0]) / 10
    let request = try spool.state.requeueDeadLetters(DeadLetterFilter(ids: [1, 2, 3, 4]), interval: 1)
    #expect(request.letters == 4)
    #expect(try totals() == [10 * size, 4 * size])
    let now = Self.moment(days: 1)
    // Six are kept, and four on their way.
    #expect(try spool.state.expireDeadLetters(of: "climate", Self.bounds(bytes: 6 * size), now: now) == nil)
    let early = try spool.state.expireDeadLetters(of: "climate", Self.bounds(bytes: 5 * size), now: now)
    #expect(early?.early == ["json.syntax": 1])
    #expect(try ids() == [1, 2, 3, 4, 6, 7, 8, 9, 10])
    // No more may be on their way than may be kept.
    #expect(try spool.state.expireDeadLetters(of: "climate", Self.bounds(bytes: 3 * size), now: now)?.count == 3)
    #expect(try ids() == [1, 2, 3, 4, 9, 10])
    let later = Self.moment(days: 40)
    #expect(try spool.state.expireDeadLetters(of: "climate", Self.bounds(), now: later)?.old == ["json.syntax": 2])
    #expect(try spool.state.expireDeadLetters(of: "climate", Self.bounds(), now: later) == nil)
    _ = try spool.register(folder, [])
    try spool.state.retire("climate", unread: 0, wall: 1)
    #expect(try totals() == [4 * size, 0])
    #expect(try spool.state.expireDeadLetters(of: "climate", Self.bounds(), now: later)?.count == 4)
    #expect(try ids().isEmpty && totals() == [0, 0])
    #expect(try spool.audit().balances)
    #expect(try spool.state.finishRequeue(try #require(request.request)))
  }

  @Test("are summed up rightly whatever becomes of them")
  func sums() throws {
    var state = try spool.register(folder)
    try setAside(&state, 8) { rejection, number in
      rejection.payload = Array(repeating: 1, count: number * 10)
      rejection.origin.topic = String(repeating: "é", count: number + 1)
    }
    #expect(try totals() == recounted())
    let request = try #require(
      try spool.state.requeueDeadLetters(DeadLetterFilter(ids: [1, 2, 3]), interval: 1).request)
    #expect(try totals() == recounted())
    let letters = try spool.state.requestedDeadLetters(
      pipeline: "climate", request: request, after: 0, limit: 9, bytes: 1 << 20)
    var refusal = letters[1].rejection
    refusal.reason = "quite another reason, and a longer one"
    var seal = Seal(
      resolvedDeadLetters: [1], refusedAgain: [DeadLetter(id: 2, rejection: refusal)], state: state)
    seal.requeued = 1
    seal.filtered = 1
    try spool.state.seal(seal, pipeline: "climate")
    #expect(try totals() == recounted())
    #expect(try spool.state.discardDeadLetters(DeadLetterFilter()) == 6)
    #expect(try ids() == [3])
    #expect(try totals() == recounted() && totals()[0] == totals()[1])
    #expect(try spool.audit().balances)
  }

  // MARK: Requeue

  @Test("are requested up to the budget, oldest first, and what is over it is told")
  func budget() throws {
    var state = try spool.register(folder)
    try setAside(&state, 6) { rejection, number in
      rejection.payload = number == 2 ? [] : Array(repeating: 1, count: 100)
      rejection.isWithheld = number == 2
    }
    // The third has its bytes in the log.
    var asked: [Offset] = []
    let outcome = try spool.state.requeueDeadLetters(DeadLetterFilter(), interval: 5, budget: 350) {
      _, offset throws(SpoolError) in
      asked.append(offset)
      return 60
    }
    #expect(asked == [Offset(2)])
    #expect(outcome == RequeueOutcome(request: 1, letters: 3, bytes: 260, overBudget: 3, overBudgetBytes: 300))
    let letters = try spool.state.deadLetters(DeadLetterFilter(), limit: 9)
    #expect(letters.filter(\.requested).map(\.letter.id) == [1, 2, 3])
    #expect(try spool.state.requeues() == [RequeueRequest(id: 1, interval: 5)])
    // What is requested already is no part of another request.
    let rest = try spool.state.requeueDeadLetters(DeadLetterFilter(), interval: 9)
    #expect(rest == RequeueOutcome(request: 2, letters: 3, bytes: 300))
    let nothing = try spool.state.requeueDeadLetters(DeadLetterFilter(), interval: 9)
    #expect(nothing == RequeueOutcome())
  }

  @Test("of a pipeline that is gone are not requested but told")
  func orphans() throws {
    var state = try spool.register(folder)
    try setAside(&state, 2)
    _ = try spool.register(folder, [])
    try spool.state.retire("climate", unread: 0, wall: 1)
    let outcome = try spool.state.requeueDeadLetters(DeadLetterFilter(), interval: 9, budget: 1)
    #expect(outcome == RequeueOutcome(orphans: ["climate": 2]))
    #expect(try spool.state.requeues().isEmpty)
  }

  @Test("stay requested over a restart, and a request is forgotten only when no letter is left that has it")
  func requestsLast() throws {
    var state = try spool.register(folder)
    try setAside(&state, 3)
    let request = try #require(
      try spool.state.requeueDeadLetters(DeadLetterFilter(ids: [1, 3]), interval: 77).request)
    spool.close()
    let again = try StateStore(path: folder.statePath)
    #expect(try again.requeues() == [RequeueRequest(id: request, interval: 77)])
    func letters(after id: Int64 = 0, limit: Int = 9, bytes: Int = 1 << 20) throws -> [Int64] {
      try again.requestedDeadLetters(
        pipeline: "climate", request: request, after: id, limit: limit, bytes: bytes
      ).map(\.id)
    }
    #expect(try letters() == [1, 3] && letters(after: 1) == [3])
    #expect(try letters(limit: 1) == [1] && letters(bytes: 1) == [1])
    #expect(try !again.finishRequeue(request))
    var seal = Seal(resolvedDeadLetters: [1, 3], state: state)
    seal.requeued = 2
    seal.filtered = 2
    try again.seal(seal, pipeline: "climate")
    #expect(try again.finishRequeue(request))
    #expect(try again.requeues().isEmpty)
    again.close()
  }

  // MARK: The log

  @Test("have their message in the log, by its offset, for as long as it holds it")
  func messages() throws {
    _ = try spool.register(folder)
    try spool.log.append(Fixture.group(0..<3))
    try spool.log.append(Fixture.group(3..<5))
    let reader = try spool.reader()
    let log = spool.log.id
    #expect(try reader.message(at: Offset(1), of: log) == .message(Fixture.message(1)))
    #expect(try reader.message(at: Offset(4), of: log) == .message(Fixture.message(4)))
    func reason(_ offset: Int64, _ log: LogID) throws -> String? {
      guard case .gone(let reason) = try reader.message(at: Offset(offset), of: log) else { return nil }
      return reason
    }
    #expect(try reason(5, log)?.contains("no offset 5") == true)
    #expect(try reason(1, LogID(rawValue: "0123456789abcdef"))?.contains("has replaced") == true)
    folder.tamper(folder.logPath, "DELETE FROM block WHERE first = 0; UPDATE block SET body = x'00'")
    let fresh = try spool.reader()
    guard case .gone(let deleted) = try fresh.message(at: Offset(1), of: log),
      case .gone(let damaged) = try fresh.message(at: Offset(4), of: log)
    else {
      Issue.record("both are gone")
      return
    }
    #expect(deleted.contains("no block holds") && damaged.contains("block 3"), "\(deleted) \(damaged)")
  }
}
