import Delivery
import Logging
import Pipeline
import Telemetry
import TestSupport
import Testing

@testable import Spool
@testable import forebay

/// Pipelines and replays at work over a real spool, with the time in the test's hand.
private final class ReplayBench {
  let directory: TemporaryDirectory
  /// Nil between two runs only.
  var spool: Spool!
  var work: Work!
  var clock: Int64 = 1_000_000_000
  private var appended = 0
  private var text: String

  init(_ pipeline: String = "", count: Int = 4) throws {
    directory = try TemporaryDirectory("replay")
    text = ReplayBench.configuration(pipeline, count: count)
    try begin()
  }

  static func configuration(_ pipeline: String, count: Int = 4) -> String {
    """
    gateway: { id: gw }
    sources: { floor: { mqtt: { url: "mqtt://127.0.0.1:1883" } } }
    spool: { directory: /tmp/forebay-replay }
    pipelines:
      p: { from: ["sensors/#"], batch: { max_age: 1 s, max_count: \(count) }, to: central, \(pipeline) }
    uplinks: { central: { file: { directory: /tmp/forebay-replay-out } } }
    """
  }

  var now: Moment {
    Moment(boot: BootID(high: 1, low: 2), monotonic: clock, wall: clock, quality: .synchronised)
  }

  private static func plan(_ text: String) throws -> PipelineWorker.Plan {
    PipelineWorker.Plan(
      try Configuration.decode(
        Configuration.Origin(path: "/etc/forebay/forebay.yaml", bytes: Array(text.utf8)), shownAs: "test",
        files: .system, toleratesSurroundings: true))
  }

  private func begin() throws {
    var settings = SpoolSettings(directory: directory.file("spool"))
    settings.minimumFree = 0
    spool = try Spool.open(
      settings, machine: Machine(id: "machine"), now: now, random: { .random(in: 0 ... .max) })
    work = try Work(
      spool: spool, plan: ReplayBench.plan(text), read: PipelineWorker.assignments(keptIn: spool.settings.directory),
      now: now,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  /// The daemon dies and starts again.
  func restart(_ pipeline: String? = nil) throws {
    if let pipeline { text = ReplayBench.configuration(pipeline) }
    // The lock goes with the last reference.
    work = nil
    spool = nil
    try begin()
  }

  func reload(_ pipeline: String) throws {
    text = ReplayBench.configuration(pipeline)
    try work.reload(
      ReplayBench.plan(text), read: PipelineWorker.assignments(keptIn: spool.settings.directory), now: now)
  }

  /// One block. Messages are received a microsecond after each other.
  func append(_ count: Int, payload: (Int) -> String = { #"{"n":\#($0)}"# }) throws {
    var group = MessageGroup(boot: BootID(high: 1, low: 2))
    for number in appended..<appended + count {
      var moment = now
      moment.wall = Int64(number) * 1_000
      group.append(
        Message(
          origin: Origin(source: "floor", topic: "sensors/a"), payload: Array(payload(number).utf8),
          qos: .atLeastOnce, packetID: 1, received: moment))
    }
    appended += count
    try spool.log.append(group)
  }

  /// Works until there is nothing more to do now.
  func settle() throws {
    while try work.pass(now: now) {}
  }

  /// So that what waits for its time, or for the next look, is done as well.
  func run(seconds: Int64 = 2) throws {
    try settle()
    clock += seconds * 1_000_000_000
    try settle()
  }

  func request(_ range: Range<Int64>) -> Replay.Request {
    Replay.Request(
      pipeline: "p", log: spool.log.id, offsets: Offset(range.lowerBound)..<Offset(range.upperBound))
  }

  func replay(_ request: Replay.Request) throws -> ReplayID {
    try spool.state.createReplay(request, wall: clock, random: { .random(in: 0 ... .max) }).get().id
  }

  func replay(_ range: Range<Int64>) throws -> ReplayID { try replay(request(range)) }

  func state(_ id: ReplayID) throws -> Replay { try #require(try spool.state.replay(id)) }

  func batches(_ book: String) throws -> [Batch] {
    try spool.state.outbox(pipelines: [book], after: nil, limit: 10_000).map(\.batch)
  }

  func bodies(_ book: String) throws -> [String] {
    try batches(book).map { String(decoding: try OutboxRow.plainBody(of: $0, path: ""), as: UTF8.self) }
  }

  func bodies(_ id: ReplayID) throws -> [String] { try bodies(id.book(of: "p")) }

  func balances() throws -> Bool { try Audit.take(directory: spool.settings.directory).balances }
}

@Suite("Replays at work")
struct ReplayWorkTests {
  @Test("the same range gives the same batches, byte for byte, also with restarts, pauses and another speed")
  func deterministic() throws {
    let bench = try ReplayBench("dedupe: { by: [n], within: 1 h }, where: n <> 5")
    for count in [5, 7, 3, 9, 6] { try bench.append(count) { #"{"n":\#($0 % 23)}"# } }
    try bench.run()
    let live = try bench.bodies("p")
    let first = try bench.replay(0..<30)
    try bench.run()
    #expect(try bench.state(first).state == .finished)
    let bodies = try bench.bodies(first)
    #expect(bodies.count > 3 && bodies.joined() == live.joined())
    // The age of a batch closes it in live traffic only, so that the last may differ there.
    #expect(bodies.prefix(3) == live.prefix(3))

    var slow = bench.request(0..<30)
    slow.rate = 10
    slow.budget = 1 << 30
    let second = try bench.replay(slow)
    for _ in 0..<12 {
      try bench.run(seconds: 1)
      try bench.restart()
    }
    try bench.run()
    try bench.spool.state.pauseReplay(second).get()
    try bench.run()
    try bench.spool.state.resumeReplay(second).get()
    while try !bench.state(second).state.hasEnded { try bench.run() }
    #expect(try bench.bodies(second) == bodies)
    let (a, b) = (try bench.batches(first.book(of: "p")), try bench.batches(second.book(of: "p")))
    #expect(Set(a.map(\.identity.epoch)).count == 1 && a[0].identity.epoch != b[0].identity.epoch)
    #expect(a.map(\.identity.sequence) == Array(1...Int64(a.count)) && a.map(\.version) == b.map(\.version))
    #expect(try bench.balances())
  }

  @Test("a part of the log is replayed to the message, by offset and by time of receipt")
  func exact() throws {
    let bench = try ReplayBench(count: 100)
    for _ in 0..<3 { try bench.append(5) }
    try bench.run()
    let offsets = try bench.replay(3..<12)
    var request = bench.request(2..<13)
    // What was received at another time stands between them: 4 and 5 only.
    request.times = 4_000..<6_000
    let times = try bench.replay(request)
    try bench.run()
    try bench.run()
    #expect(try bench.bodies(offsets).joined().split(separator: "\n").count == 9)
    #expect(try bench.bodies(offsets).joined().hasPrefix(bench.bodies("p").joined().split(separator: "\n")[3]))
    let lines = try bench.bodies("p").joined().split(separator: "\n")
    #expect(try bench.bodies(times) == [lines[4..<6].map { $0 + "\n" }.joined()])
    let ledger = try bench.state(times).ledger
    #expect(ledger.received == 11 && ledger.unmatched == 9 && ledger.decoded == 2)
    #expect(try bench.balances())
  }

  @Test("nothing of a replay is read while there is anything to do for a pipeline, nor while space is short")
  func priority() throws {
    let bench = try ReplayBench()
    for _ in 0..<10 { try bench.append(4) }
    try bench.run()
    let live = try bench.batches("p").count
    let id = try bench.replay(0..<40)
    for _ in 0..<10 { try bench.append(4) }
    // The time for a look at replays has come.
    bench.clock += 2_000_000_000
    while try bench.batches("p").count < 2 * live {
      #expect(try bench.batches(id.book(of: "p")).isEmpty)
      #expect(try bench.work.pass(now: bench.now))
    }
    #expect(try bench.state(id).state == .waiting)
    // Between two looks of the housekeeping, which would find that there is room.
    bench.clock += 1_500_000_000
    _ = try bench.work.pass(now: bench.now)
    try bench.spool.space.update(used: bench.spool.settings.maximumBytes / 100 * 72)
    let sealed = try bench.batches(id.book(of: "p")).count
    try bench.settle()
    #expect(try bench.batches(id.book(of: "p")).count == sealed)
    #expect(bench.work.replayNote?.1 == "room in the spool")
    try bench.run()
    #expect(try bench.state(id).state == .finished)
    #expect(try bench.bodies(id).joined() == bench.bodies("p").prefix(live).joined())
  }

  @Test("no more messages are read in a second than the rate allows")
  func rate() throws {
    let bench = try ReplayBench()
    for _ in 0..<10 { try bench.append(4) }
    try bench.run()
    var request = bench.request(0..<40)
    request.rate = 8
    request.budget = 1 << 30
    let id = try bench.replay(request)
    bench.clock += 1_000_000_000
    for second in 0..<4 {
      for _ in 0..<4 {
        try bench.settle()
        let read = try bench.state(id).checkpoint.rawValue
        #expect(read <= Int64(8 * second + 8))
        bench.clock += 250_000_000
        // It asks to be called when its time has come.
        #expect(bench.work.nextDeadline(after: bench.clock) - bench.clock <= 500_000_000)
      }
    }
    #expect(try (24...32).contains(bench.state(id).checkpoint.rawValue))
    try bench.run(seconds: 1)
    try bench.run(seconds: 1)
    #expect(try bench.state(id).state == .finished)
  }

  @Test("a budget is never exceeded: the replay pauses with a reason, and goes on with a larger one")
  func budget() throws {
    let bench = try ReplayBench()
    for _ in 0..<10 { try bench.append(4) }
    try bench.run()
    let whole = try bench.replay(0..<40)
    try bench.run()
    let total = try bench.state(whole).bytes
    var request = bench.request(0..<40)
    request.budget = total / 2
    let id = try bench.replay(request)
    try bench.run()
    var replay = try bench.state(id)
    #expect(replay.state == .paused && replay.bytes <= total / 2 && replay.bytes > total / 4)
    #expect(replay.reason?.contains("--budget") == true)
    #expect(try bench.balances())
    // A pause outlasts a restart.
    try bench.restart()
    try bench.run()
    #expect(try bench.state(id).bytes == replay.bytes)
    try bench.spool.state.resumeReplay(id, budget: total).get()
    try bench.run()
    replay = try bench.state(id)
    #expect(replay.state == .finished && replay.bytes == total && replay.reason == nil)
    #expect(try bench.bodies(id) == bench.bodies(whole))
  }

  @Test("no more than a bounded number of bytes waits for delivery; the rest stays in the log until they are gone")
  func outbox() throws {
    let bench = try ReplayBench("", count: 10)
    var random = SystemRandomNumberGenerator()
    for _ in 0..<20 {
      try bench.append(10) { number in
        let noise = (0..<6_000).map { _ in String(random.next(), radix: 36) }.joined()
        return #"{"n":\#(number),"x":"\#(noise)"}"#
      }
    }
    try bench.run()
    let id = try bench.replay(0..<200)
    try bench.run()
    let limit = ReplayRunner.outboxLimit
    let waiting = try bench.spool.state.outboxBytes(of: bench.state(id))
    #expect(waiting >= limit && waiting < limit + Int64(PipelineRunner.sealBytes) + (2 << 20))
    #expect(try bench.state(id).state == .running)
    #expect(bench.work.replayNote?.1 == "its batches to be delivered")
    let items = try bench.spool.state.outbox(pipelines: [id.book(of: "p")], after: nil, limit: 1_000)
    try bench.spool.state.confirm(items.map(\.id))
    try bench.run()
    #expect(try bench.state(id).state == .finished)
    #expect(try bench.balances())
  }

  @Test("a replay goes on under the settings that it began with, whatever the configuration says now")
  func changed() throws {
    let bench = try ReplayBench("where: n < 6")
    for _ in 0..<5 { try bench.append(4) }
    try bench.run()
    var request = bench.request(0..<20)
    request.rate = 4
    let id = try bench.replay(request)
    try bench.run(seconds: 1)
    try bench.reload("where: n > 6")
    try bench.run(seconds: 1)
    try bench.restart()
    for _ in 0..<6 { try bench.run(seconds: 1) }
    #expect(try bench.state(id).state == .finished)
    #expect(try bench.bodies(id).joined().split(separator: "\n").count == 6)
    #expect(Set(try bench.batches(id.book(of: "p")).map(\.version)) == [try bench.state(id).version])
    #expect(try bench.balances())
  }

  @Test("where these cannot be put together any more it fails with a reason, and its book is closed")
  func unreadable() throws {
    let bench = try ReplayBench("where: n < 6")
    for _ in 0..<5 { try bench.append(4) }
    try bench.run()
    let id = try bench.replay(0..<20)
    try bench.spool.state.write { connection throws(SpoolError) in
      try connection.execute("UPDATE configuration SET text = x'7B'")
    }
    try bench.restart("where: n > 6")
    try bench.run()
    let replay = try bench.state(id)
    #expect(replay.state == .failed && replay.reason?.contains("pipeline p has changed") == true)
    #expect(try bench.balances())
  }

  @Test("messages that retention or damage has taken are booked as damaged, those that do not fit are set aside")
  func damaged() throws {
    let bench = try ReplayBench()
    for _ in 0..<5 { try bench.append(4) { $0 == 9 ? "oops" : #"{"n":\#($0)}"# } }
    try bench.run()
    let id = try bench.replay(2..<18)
    try bench.spool.log.withConnection { connection, _ throws(SpoolError) in
      try connection.execute("DELETE FROM block WHERE first < 4; UPDATE block SET body = x'00' WHERE first = 16")
    }
    try bench.run()
    let replay = try bench.state(id)
    #expect(replay.state == .finished && replay.ledger.damaged == 4 && replay.ledger.decoded == 11)
    #expect(replay.ledger.rejected == 1 && replay.ledger.deadLetters == 1)
    #expect(try bench.balances())
    let letters = try bench.spool.state.deadLetters(DeadLetterFilter(pipeline: replay.book), limit: 9)
    #expect(letters.map(\.letter.rejection.offset) == [Offset(9)])
  }

  @Test("cancelled at any time, what is sealed stays and nothing follows; the shutdown does not wait for a replay")
  func cancelled() throws {
    let bench = try ReplayBench()
    for _ in 0..<10 { try bench.append(4) }
    try bench.run()
    var request = bench.request(0..<40)
    request.rate = 8
    let id = try bench.replay(request)
    try bench.run(seconds: 1)
    try bench.run(seconds: 1)
    let sealed = try bench.bodies(id)
    #expect(!sealed.isEmpty)
    try bench.spool.state.cancelReplay(id, wall: 1).get()
    for _ in 0..<8 { try bench.run(seconds: 1) }
    #expect(try bench.bodies(id) == sealed)
    #expect(try bench.balances())
    let other = try bench.replay(0..<40)
    bench.work.endReplays()
    try bench.run()
    #expect(try bench.state(other).state == .waiting)
  }

  @Test("what goes wrong with a replay does not stop the pipelines, and it goes on when it can")
  func isolated() throws {
    let bench = try ReplayBench()
    for _ in 0..<4 { try bench.append(4) }
    try bench.run()
    let live = try bench.batches("p").count
    let id = try bench.replay(0..<16)
    try bench.spool.state.write { connection throws(SpoolError) in
      try connection.execute(
        """
        CREATE TRIGGER refuse BEFORE INSERT ON outbox WHEN NEW.pipeline <> 'p' BEGIN SELECT RAISE(ABORT, 'no'); END
        """)
    }
    try bench.run()
    #expect(bench.work.replayNote?.1.contains("no") == true)
    try bench.append(4)
    try bench.run()
    #expect(try bench.batches("p").count > live)
    try bench.spool.state.write { connection throws(SpoolError) in try connection.execute("DROP TRIGGER refuse") }
    try bench.run(seconds: 6)
    #expect(try bench.state(id).state == .finished)
    #expect(try bench.bodies(id).joined() == bench.bodies("p").prefix(live).joined())
    #expect(try bench.balances())
  }

  @Test("an estimate from all of the range is what the replay becomes; one from a sample comes close")
  func estimate() throws {
    let bench = try ReplayBench("dedupe: { by: [n], within: 1 h }", count: 50)
    for _ in 0..<40 { try bench.append(25) { $0 % 100 == 7 ? "oops" : #"{"n":\#($0 / 2 * 2)}"# } }
    try bench.run()
    var request = bench.request(0..<1_000)
    request.rate = 300
    let source = try #require(try bench.spool.state.replayable("p"))
    let settings = try #require(
      PipelineWorker.assignments(keptIn: bench.spool.settings.directory)("p", source.configuration)?.settings)
    func estimate(limit: Int64, clock: () -> Int64 = { 0 }) throws -> ReplayEstimate {
      try ReplayEstimate(
        request, settings: settings, version: source.version, stages: [], reader: bench.spool.reader(),
        price: LinkPrice("1000 EUR/MB"), limit: limit, clock: clock)
    }
    let whole = try estimate(limit: 1_000)
    request.rate = 0
    let id = try bench.replay(request)
    try bench.run()
    let replay = try bench.state(id)
    #expect(!whole.isSample && whole.messages == 1_000 && whole.refused == 10 && whole.matched == 1_000)
    #expect(whole.readings == replay.ledger.inOutbox && whole.batches == replay.batches)
    // The names of the batches are others, their bodies are not.
    #expect(whole.bytes == replay.bytes)
    #expect(whole.seconds == 4)
    #expect(abs((whole.cost ?? 0) - Double(replay.bytes) / 1_000) < 1e-9 && whole.text.contains(" EUR"))
    let sample = try estimate(limit: 250)
    #expect(sample.isSample && sample.sampledMessages == 250)
    #expect(abs(sample.readings - whole.readings) < whole.readings / 5)
    #expect(sample.text.contains("a sample of 250 messages"))
    // Out of time after the second block.
    var calls: Int64 = 0
    let hasty = try estimate(limit: 1_000) {
      calls += 1
      return calls < 4 ? 0 : .max
    }
    #expect(hasty.isSample && hasty.sampledMessages == 50 && hasty.messages == 1_000)
    #expect(try bench.balances())
  }
}
