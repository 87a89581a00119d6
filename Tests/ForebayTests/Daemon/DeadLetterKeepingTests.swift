import Logging
import Pipeline
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import Spool
@testable import forebay

/// Pipelines over a real spool, devices that publish garbage, and the time in the test's hand.
private final class LetterBench {
  let directory: TemporaryDirectory
  /// Nil between two runs only.
  var spool: Spool!
  var work: Work!
  let log = RecordingLog()
  private var clock: Int64 = 1_000_000_000
  private var settings: Settings

  struct Settings {
    var name = "p"
    /// The field that the event time is read from.
    var time = "ts"
    /// The age at which a batch is closed.
    var age = "1 s"
    /// `dead_letters` of the pipeline, and of the file.
    var own = "{}"
    var general = "{}"

    var text: String {
      """
      gateway: { id: gw }
      sources: { floor: { mqtt: { url: "mqtt://127.0.0.1:1883" } } }
      spool: { directory: /tmp/forebay-letters }
      pipelines:
        \(name):
          from: ["sensors/#"]
          time: { field: \(time), unit: s }
          batch: { max_age: \(age) }
          dead_letters: \(own)
          to: central
      uplinks: { central: { file: { directory: /tmp/forebay-letters-out } } }
      dead_letters: \(general)
      """
    }
  }

  init(_ settings: Settings = Settings()) throws {
    directory = try TemporaryDirectory("letters")
    self.settings = settings
    try open()
  }

  var now: Moment {
    Moment(boot: BootID(high: 1, low: 2), monotonic: clock, wall: clock, quality: .synchronised)
  }

  private func open() throws {
    var place = SpoolSettings(directory: directory.file("spool"))
    place.minimumFree = 0
    spool = try Spool.open(
      place, machine: Machine(id: "machine"), now: now, random: { .random(in: 0 ... .max) })
    work = try Work(
      spool: spool, plan: plan(), read: PipelineWorker.assignments(keptIn: spool.settings.directory), now: now,
      logger: Logger(label: "test") { [log] _ in log })
  }

  private func plan() throws -> PipelineWorker.Plan {
    PipelineWorker.Plan(
      try Configuration.decode(
        Configuration.Origin(path: "/etc/forebay/forebay.yaml", bytes: Array(settings.text.utf8)), shownAs: "test",
        files: .system, toleratesSurroundings: true))
  }

  func reload(_ change: (inout Settings) -> Void) throws {
    change(&settings)
    try work.reload(plan(), read: PipelineWorker.assignments(keptIn: spool.settings.directory), now: now)
  }

  /// The daemon dies and starts again.
  func restart() throws {
    work = nil
    spool = nil
    try open()
  }

  func publish(_ payloads: [String]) throws {
    var group = MessageGroup(boot: BootID(high: 1, low: 2))
    for payload in payloads {
      group.append(
        Message(
          origin: Origin(source: "floor", topic: "sensors/a"), payload: Array(payload.utf8), qos: .atLeastOnce,
          packetID: 1, received: now))
    }
    try spool.log.append(group)
  }

  /// Lets time pass, and works until there is nothing more to do.
  func run(seconds: Double = 0) throws {
    clock += Int64(seconds * 1e9)
    while try work.pass(now: now) {}
  }

  func requeue(_ filter: DeadLetterFilter = DeadLetterFilter(), rate: String) throws -> RequeueOutcome {
    try spool.state.requeueDeadLetters(filter, interval: try #require(RequeueRate(argument: rate)).interval)
  }

  func letters() throws -> [StoredDeadLetter] { try spool.state.deadLetters(DeadLetterFilter(), limit: 10_000) }

  func ledger() throws -> Ledger {
    let audit = try Audit.take(directory: spool.settings.directory)
    #expect(audit.balances)
    return try #require(audit.entries.first { $0.pipeline == "p" }).ledger
  }
}

/// Keeps what is logged.
private final class RecordingLog: LogHandler, Sendable {
  private let kept = Mutex<[String]>([])
  var lines: [String] { kept.withLock { $0 } }
  var metadata: Logger.Metadata {
    get { [:] }
    set {}
  }
  var logLevel: Logger.Level {
    get { .info }
    set {}
  }
  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { nil }
    set {}
  }

  func log(event: LogEvent) {
    let details = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
    kept.withLock { $0.append("\(event.message)\(details)") }
  }
}

@Suite("Dead letters at work")
struct DeadLetterKeepingTests {
  private static let wrong = #"{"when":1}"#

  @Test("Are run again at the rate that was asked for, each once, over a restart")
  func rate() throws {
    let bench = try LetterBench()
    try bench.publish(Array(repeating: Self.wrong, count: 30))
    try bench.run(seconds: 2)
    #expect(try bench.letters().count == 30)
    #expect(try bench.requeue(rate: "5/s").letters == 30)
    // One at once, and then five in each second; all refused again.
    var attempts: [Int] = []
    for _ in 0..<3 {
      try bench.run(seconds: 1)
      try bench.run(seconds: 0.01)
      attempts.append(try bench.letters().filter { $0.attempts == 1 }.count)
    }
    #expect(attempts == [1, 6, 11])
    try bench.restart()
    for _ in 0..<6 { try bench.run(seconds: 1) }
    try bench.run(seconds: 1)
    #expect(try bench.letters().allSatisfy { $0.attempts == 1 && !$0.requested })
    #expect(try bench.spool.state.requeues().isEmpty)
    #expect(bench.log.lines.contains("a request to run dead letters again is done request=1"))
    #expect(try bench.ledger().deadLetters == 30)
  }

  @Test("Are taken up once also while the batch that they are in stays open")
  func openBatch() throws {
    let bench = try LetterBench()
    try bench.publish(Array(repeating: Self.wrong, count: 3))
    try bench.run(seconds: 2)
    try bench.reload {
      $0.time = "when"
      $0.age = "1 h"
    }
    #expect(try bench.requeue(rate: "100/s").letters == 3)
    for _ in 0..<5 { try bench.run(seconds: 1) }
    #expect(bench.work.figures["p"]?.openReadings == 3)
    // They were in memory only.
    try bench.restart()
    for _ in 0..<5 { try bench.run(seconds: 1) }
    #expect(bench.work.figures["p"]?.openReadings == 3)
    #expect(try bench.letters().filter(\.requested).count == 3)
    try bench.run(seconds: 3600)
    let ledger = try bench.ledger()
    #expect(ledger.recovered == 3 && ledger.requeued == 3 && ledger.inOutbox == 3 && ledger.deadLetters == 0)
  }

  @Test("Of a slow request keep those of another one going")
  func twoRequests() throws {
    let bench = try LetterBench()
    try bench.publish(Array(repeating: Self.wrong, count: 20))
    try bench.run(seconds: 2)
    #expect(try bench.requeue(DeadLetterFilter(ids: Array(1...10)), rate: "1/h").request == 1)
    #expect(try bench.requeue(DeadLetterFilter(ids: Array(11...20)), rate: "100/s").request == 2)
    for _ in 0..<4 { try bench.run(seconds: 1) }
    #expect(try bench.letters().filter { $0.attempts == 1 }.map(\.letter.id) == [1] + Array(11...20))
    #expect(try bench.spool.state.requeues().map(\.id) == [1])
  }

  @Test("Whose bytes are withheld are run from the log, and stay with the reason once it has let them go")
  func withheld() throws {
    let bench = try LetterBench()
    try bench.publish([Self.wrong, #"{"ts":7,"n":1}"#, Self.wrong])
    for _ in 0..<2 { try bench.run(seconds: 2) }
    // As a pipeline that masks fields leaves them: the first is readable, had anybody looked at the second.
    try bench.spool.state.write { connection throws(SpoolError) in
      try connection.execute("UPDATE dead_letter SET withheld = 1, payload = x''")
      try connection.execute("UPDATE dead_letter SET offset = 1 WHERE id = 1")
      try connection.execute("UPDATE dead_letter SET log = '0123456789abcdef' WHERE id = 2")
    }
    #expect(try bench.requeue(rate: "100/s").letters == 2)
    for _ in 0..<4 { try bench.run(seconds: 1) }
    let letters = try bench.letters()
    #expect(letters.map(\.letter.id) == [2] && letters.first?.letter.rejection.rule == "log.gone")
    #expect(letters.first?.letter.rejection.reason.contains("has replaced") == true)
    #expect(letters.first?.attempts == 1 && letters.first?.letter.rejection.isWithheld == true)
    let ledger = try bench.ledger()
    #expect(ledger.recovered == 1 && ledger.requeued == 1 && ledger.inOutbox == 2)
  }

  @Test("Expire by age with their rules told in the log, and without an alarm")
  func age() throws {
    let bench = try LetterBench(.init(own: "{ keep: 1 h }"))
    try bench.publish([Self.wrong, "{", Self.wrong])
    try bench.run(seconds: 2)
    try bench.run(seconds: 3_500)
    #expect(try bench.letters().count == 3)
    try bench.run(seconds: 200)
    #expect(try bench.letters().isEmpty)
    #expect(try bench.ledger().expired == 3)
    let line = try #require(bench.log.lines.first { $0.hasPrefix("dead letters have expired") })
    #expect(line.hasSuffix("count=3 pipeline=p rules=time.missing 2, json.syntax 1"), "\(line)")
    #expect(bench.work.letters.early.isEmpty)
  }

  @Test("Past their bytes expire at once, with an alarm that ends, and a log that is not flooded")
  func bytes() throws {
    let bench = try LetterBench(.init(own: "{ max: 64 KiB }"))
    for _ in 0..<5 {
      try bench.publish(Array(repeating: Self.wrong, count: 500))
      try bench.run(seconds: 2)
    }
    try bench.run(seconds: 1)
    let ledger = try bench.ledger()
    #expect(ledger.rejected == 2_500 && ledger.expired > 2_000 && ledger.deadLetters + ledger.expired == 2_500)
    #expect(try bench.spool.state.deadLetterBytes()["p"] ?? .max <= 64 << 10)
    #expect(try bench.letters().last?.letter.id == 2_500)
    let early = try #require(bench.work.letters.early["p"])
    #expect(early.rules == ["time.missing": ledger.expired])
    #expect(bench.log.lines.filter { $0.hasPrefix("dead letters have expired") }.count == 1)
    try bench.run(seconds: 61)
    #expect(bench.log.lines.filter { $0.hasPrefix("dead letters have expired") }.count == 2)
    try bench.run(seconds: 23 * 3600)
    #expect(bench.work.letters.early.count == 1)
    try bench.run(seconds: 3600)
    #expect(bench.work.letters.early.isEmpty)
  }

  @Test("However many come, keep within their bytes and let the intake go on")
  func intakeGoesOn() throws {
    let bench = try LetterBench(.init(own: "{ max: 1 MiB }"))
    let large = "[" + String(repeating: "x", count: 40_000)
    for _ in 0..<8 {
      // More than one portion holds.
      try bench.publish(Array(repeating: large, count: 250))
      try bench.run(seconds: 1)
    }
    try bench.run(seconds: 1)
    #expect(try bench.spool.state.deadLetterBytes()["p"] ?? .max <= 1 << 20)
    #expect(try bench.ledger().expired > 1_900)
    #expect(bench.spool.space.parked == nil)
  }

  @Test("Of a pipeline that is no longer configured are held by the bounds of the file")
  func gone() throws {
    let bench = try LetterBench()
    try bench.publish([Self.wrong, Self.wrong])
    try bench.run(seconds: 2)
    #expect(try bench.requeue(DeadLetterFilter(ids: [1]), rate: "1/h").letters == 1)
    try bench.reload {
      $0.name = "q"
      $0.general = "{ keep: 1 h }"
    }
    try bench.run(seconds: 2)
    #expect(try bench.spool.state.activePipelines().map(\.name) == ["q"])
    try bench.run(seconds: 3_700)
    #expect(try bench.letters().isEmpty)
    #expect(try bench.ledger().expired == 2)
  }
}

@Suite("Rates of a requeue")
struct RequeueRateTests {
  @Test(
    "are a number in a time, and never faster than was said",
    arguments: [
      ("100/s", 10_000_000), ("3/s", 333_333_334), ("20", 50_000_000), ("6/min", 10_000_000_000),
      ("1/h", 3_600_000_000_000),
    ])
  func intervals(_ text: String, _ interval: Int64) throws {
    #expect(RequeueRate(argument: text)?.interval == interval)
  }

  @Test(
    "are nothing else",
    arguments: ["", "/s", "0/s", "-1/s", "10001/s", "1/d", "1/s/s", "1.5/s", "s", "99999999999999999999/s"])
  func none(_ text: String) { #expect(RequeueRate(argument: text) == nil) }

  @Test("have a rule or two told, and the rest counted")
  func rules() {
    #expect(DeadLetterKeeping.text(["b": 2, "a": 2, "c": 1_100]) == "c 1,100, a 2, b 2")
    let many = Dictionary(uniqueKeysWithValues: (1...7).map { ("r\($0)", Int64(10 - $0)) })
    #expect(DeadLetterKeeping.text(many) == "r1 9, r2 8, r3 7, r4 6, r5 5, and 2 other rules")
  }
}
