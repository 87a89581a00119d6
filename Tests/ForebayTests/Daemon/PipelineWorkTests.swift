import Logging
import Pipeline
import Telemetry
import TestSupport
import Testing

@testable import Spool
@testable import forebay

/// The pipelines at work over a real spool, with the time in the test's hand.
private final class Bench {
  let directory: TemporaryDirectory
  /// Nil between two runs only.
  var spool: Spool!
  var work: Work!
  private(set) var clock: Int64 = 1_000_000_000
  private var appended = 0

  init(_ configuration: String) throws {
    directory = try TemporaryDirectory("work")
    spool = try Bench.open(directory)
    work = try Bench.work(spool, configuration, Bench.moment(1))
  }

  private static func open(_ directory: TemporaryDirectory) throws -> Spool {
    var settings = SpoolSettings(directory: directory.file("spool"))
    settings.minimumFree = 0
    return try Spool.open(
      settings, machine: Machine(id: "machine"), now: moment(1), random: { .random(in: 0 ... .max) })
  }

  static func moment(_ nanoseconds: Int64) -> Moment {
    Moment(
      boot: BootID(high: 1, low: 2), monotonic: nanoseconds, wall: nanoseconds, quality: .synchronised)
  }

  static func configuration(_ pipelines: [String], filter: String = "sensors/#") -> String {
    let texts = pipelines.map { "  \($0): { from: [\"\(filter)\"], batch: { max_age: 1 s }, to: central }\n" }
    return """
      gateway: { id: gw }
      sources: { floor: { mqtt: { url: "mqtt://127.0.0.1:1883" } } }
      spool: { directory: /tmp/forebay-work }
      pipelines:
      \(texts.joined())uplinks: { central: { file: { directory: /tmp/forebay-work-out } } }
      """
  }

  static func plan(_ text: String) throws -> PipelineWorker.Plan {
    PipelineWorker.Plan(
      try Configuration.decode(
        Configuration.Origin(path: "/etc/forebay/forebay.yaml", bytes: Array(text.utf8)), shownAs: "test",
        files: .system, toleratesSurroundings: true))
  }

  private static func work(_ spool: Spool, _ text: String, _ now: Moment) throws -> Work {
    try Work(
      spool: spool, plan: plan(text), read: PipelineWorker.assignments(keptIn: spool.settings.directory), now: now,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  func pass(seconds: Int64) { clock += seconds * 1_000_000_000 }

  /// A column of the first pipeline's book.
  func audited(_ column: String) throws -> Int64? {
    let ledger = try spool.state.books().first?.ledger
    return column == "late" ? ledger?.late : ledger?.absorbed
  }

  /// - Parameter time: of receipt, on both clocks; nil: the present.
  func append(_ count: Int, at time: Int64? = nil) throws {
    var group = MessageGroup(boot: BootID(high: 1, low: 2))
    for number in appended..<appended + count {
      group.append(
        Message(
          origin: Origin(source: "floor", topic: "sensors/a"), payload: Array("{\"n\":\(number)}".utf8),
          qos: .atLeastOnce, packetID: 1, received: Bench.moment(time ?? clock)))
    }
    appended += count
    try spool.log.append(group)
  }

  /// Reads what there is, lets time pass, and works until there is nothing more to do.
  func run(seconds: Int64 = 2) throws {
    while try work.pass(now: Bench.moment(clock)) {}
    clock += seconds * 1_000_000_000
    while try work.pass(now: Bench.moment(clock)) {}
  }

  func reload(_ text: String) throws {
    let read = PipelineWorker.assignments(keptIn: spool.settings.directory)
    try work.reload(Bench.plan(text), read: read, now: Bench.moment(clock))
  }

  /// The daemon dies and starts again.
  func restart(_ text: String) throws {
    // The lock goes with the last reference.
    work = nil
    spool = nil
    spool = try Bench.open(directory)
    work = try Bench.work(spool, text, Bench.moment(clock))
  }

  /// The numbers of the messages that were sealed, by pipeline.
  func sealed() throws -> [String: [Int]] {
    var numbers: [String: [Int]] = [:]
    for name in try spool.state.books().map(\.pipeline) {
      numbers[name] = try spool.state.outbox(pipelines: [name], after: nil, limit: 1_000).flatMap { item in
        String(decoding: try OutboxRow.plainBody(of: item.batch, path: ""), as: UTF8.self)
          .split(separator: "\n").compactMap { line in
            line.split(separator: "\"n\":").last.flatMap { Int($0.prefix { $0.isNumber }) }
          }
      }
    }
    return numbers
  }

  func balances() throws -> Bool { try Audit.take(directory: spool.settings.directory).balances }
}

@Suite("The pipelines at work")
struct PipelineWorkTests {
  @Test("A pipeline that gets another name gives every message to one of the two, and to one only")
  func renamed() throws {
    let bench = try Bench(Bench.configuration(["old"]))
    try bench.append(5)
    try bench.reload(Bench.configuration(["new"]))
    try bench.append(5)
    try bench.run()
    #expect(try bench.sealed() == ["old": Array(0..<5), "new": Array(5..<10)])
    #expect(try bench.balances())
    #expect(try bench.spool.state.activePipelines().map(\.name) == ["new"])
  }

  @Test("A dropped pipeline seals its backlog under its old settings, also when the daemon dies in between")
  func droppedAndDied() throws {
    let bench = try Bench(Bench.configuration(["old"]))
    try bench.append(5)
    try bench.reload(Bench.configuration(["new"], filter: "other/#"))
    try bench.append(3)
    try bench.restart(Bench.configuration(["newest"], filter: "other/#"))
    try bench.run()
    #expect(try bench.sealed() == ["old": Array(0..<5), "new": [], "newest": []])
    #expect(try bench.balances())
    #expect(try bench.spool.state.activePipelines().map(\.name) == ["newest"])
  }

  @Test("A dropped pipeline whose settings cannot be read any more is closed, and its unread messages are booked")
  func unreadableSettings() throws {
    let bench = try Bench(Bench.configuration(["old"]))
    try bench.append(5)
    try bench.spool.state.write { connection throws(SpoolError) in
      try connection.execute("UPDATE configuration SET text = x'7B'")
    }
    try bench.restart(Bench.configuration(["new"]))
    #expect(try bench.spool.state.faults().last?.messages == 5)
    #expect(try bench.balances())
  }

  @Test("A gap in the log that reaches beyond the end of a dropped pipeline is booked up to that end only")
  func gapAcrossTheEnd() throws {
    let bench = try Bench(Bench.configuration(["old"]))
    try bench.append(5)
    try bench.reload(Bench.configuration(["new"]))
    try bench.append(3)
    try bench.append(2)
    try bench.spool.log.withConnection { connection, _ throws(SpoolError) in
      try connection.execute("DELETE FROM block WHERE first < 8")
    }
    try bench.run()
    #expect(try bench.sealed() == ["old": [], "new": [8, 9]])
    #expect(try bench.balances())
    let books = try bench.spool.state.books()
    #expect(books.map(\.ledger.damaged) == [3, 5])
  }

  @Test("What one pipeline cannot seal does not stop the others")
  func isolated() throws {
    let bench = try Bench(Bench.configuration(["a", "b"]))
    try bench.append(5)
    try bench.spool.state.write { connection throws(SpoolError) in
      try connection.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON outbox WHEN NEW.pipeline = 'a' BEGIN SELECT RAISE(ABORT, 'no'); END")
    }
    #expect(throws: SpoolError.self) { try bench.run() }
    #expect(try bench.sealed() == ["a": [], "b": Array(0..<5)])
  }

  @Test("A seal that the store refuses keeps its batches for the next try")
  func refusedSeal() throws {
    let bench = try Bench(Bench.configuration(["p"]))
    try bench.append(5)
    try bench.spool.state.write { connection throws(SpoolError) in
      try connection.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'not now'); END")
    }
    try bench.run(seconds: 0)
    #expect(throws: SpoolError.self) { try bench.reload(Bench.configuration(["p"])) }
    #expect(throws: SpoolError.self) { try bench.run() }
    try bench.spool.state.write { connection throws(SpoolError) in try connection.execute("DROP TRIGGER refuse") }
    try bench.append(2)
    try bench.run()
    #expect(try bench.sealed() == ["p": Array(0..<7)])
    #expect(try bench.balances())
  }

  @Test("A state that anybody's failure has closed is opened again, and pipelines begin at what is committed")
  func closedState() throws {
    let bench = try Bench(Bench.configuration(["p"]))
    try bench.append(5)
    // Read into the open batch, not sealed yet.
    try bench.run(seconds: 0)
    for _ in 0..<2 {
      #expect(throws: SpoolError.self) {
        try bench.spool.state.write(.relaxed) { _ throws(SpoolError) in
          throw SpoolError(kind: .io, operation: "COMMIT", path: "state.db", cause: "no disk", hint: nil)
        }
      }
      #expect(!bench.spool.state.isOpen)
      try bench.run(seconds: 0)
      #expect(bench.spool.state.isOpen)
    }
    try bench.run()
    #expect(try bench.sealed() == ["p": Array(0..<5)])
    #expect(try bench.balances())
  }

  @Test("What is in the log is sealed also while the log's writer waits to be opened again")
  func closedLog() throws {
    let bench = try Bench(Bench.configuration(["p"]))
    try bench.append(5)
    bench.spool.log.close()
    try bench.run()
    try bench.run()
    #expect(try bench.sealed() == ["p": Array(0..<5)])
  }

  @Test("A mirror that cannot be written is told and holds nothing up")
  func unwritableMirror() throws {
    let bench = try Bench(Bench.configuration(["p"]))
    let mirror = Spool.mirrorPath(bench.spool.settings.directory)
    try FileSystem.makeDirectory(mirror)
    try bench.append(5)
    try bench.run()
    #expect(try bench.sealed() == ["p": Array(0..<5)])
    #expect(bench.work.unmirrored?.contains("mirror.json") == true)
  }

  @Test("Silence closes windows, but not while messages of a backlog or from behind a restart may still come")
  func silence() throws {
    func pipeline(_ name: String) -> String {
      Bench.configuration([name]).replacing(
        "batch:", with: "window: { every: 1 s, idle_after: 1 min, emit: { n: last(n) } }, batch:")
    }
    let bench = try Bench(pipeline("p"))
    func results() throws -> [Int] { try bench.sealed()["p"] ?? [] }
    // A backlog, each message in a window of its own: what is read last closes all before it, and none is late.
    for _ in 0..<5 {
      bench.pass(seconds: 100)
      try bench.append(1)
    }
    try bench.run(seconds: 30)
    #expect(try results() == [0, 1, 2, 3])
    #expect(try bench.audited("late") == 0 && bench.audited("absorbed") == 5)
    // The gateway is down for an hour, and the broker has kept a message of its beginning.
    let beginning = bench.clock
    bench.pass(seconds: 3_600)
    try bench.restart(pipeline("p"))
    try bench.run(seconds: 30)
    try bench.append(1, at: beginning)
    try bench.run(seconds: 120)
    try bench.run(seconds: 2)
    #expect(try results() == [0, 1, 2, 3, 4, 5])
    #expect(try bench.audited("late") == 0)
    #expect(try bench.balances())
  }

  @Test("Other windows begin where the old ones were closed, and nothing of that is a fault")
  func otherWindows() throws {
    func pipeline(_ window: String) -> String {
      Bench.configuration(["p"]).replacing("batch:", with: "window: { \(window) }, batch:")
    }
    let bench = try Bench(pipeline("every: 1 h, emit: { n: count(*) }"))
    try bench.append(5)
    // What is read is stored with what windows remember at the next seal.
    for _ in 0..<10 { try bench.run(seconds: 30) }
    #expect(try bench.sealed()["p"] ?? [] == [])
    try bench.restart(pipeline("every: 2 h, emit: { n: count(*) }"))
    #expect(try bench.sealed() == ["p": [5]], "what was open is closed under its own rules")
    try bench.append(3)
    for _ in 0..<10 { try bench.run(seconds: 30) }
    try bench.reload(pipeline("every: 2 h, emit: { total: sum(n), n: count(*) }"))
    #expect(try bench.sealed() == ["p": [5, 3]])
    #expect(try Audit.take(directory: bench.spool.settings.directory).faults.isEmpty)
    #expect(try bench.balances())
  }

  @Test("Waits for the next look at the space while there is no room, and for the retry after a failure")
  func deadlines() throws {
    let bench = try Bench(Bench.configuration(["p"]))
    try bench.append(5)
    try bench.run(seconds: 0)
    let now: Int64 = 50_000_000_000
    bench.work.recover(
      from: SpoolError(kind: .busy, operation: "", path: "", cause: "", hint: nil), now: Bench.moment(now))
    #expect(bench.work.nextDeadline(after: now) == now + 1_000_000_000)
  }
}
