import ArgumentParser
import Telemetry
import TestSupport
import Testing

@testable import Spool
@testable import forebay

@Suite("Commands: dead letters")
struct DeadLettersCommandTests {
  private static let hour: Int64 = 3_600_000_000_000

  private static func letter(withheld: Bool) -> StoredDeadLetter {
    let rejection = Rejection(
      stage: withheld ? .contract : .decode, rule: "schema.type", reason: "temperature is a text",
      origin: Origin(source: "floor", topic: "sensors/a"), log: LogID(rawValue: "0123456789abcdef"),
      offset: Offset(17),
      received: Moment(boot: BootID(high: 1, low: 2), monotonic: 1, wall: 0, quality: .synchronised),
      payload: withheld ? [] : Array("{oops".utf8), reading: withheld ? 3 : nil, isWithheld: withheld)
    return StoredDeadLetter(
      pipeline: "climate", letter: DeadLetter(id: 5, rejection: rejection), requested: false, attempts: 2,
      since: withheld ? nil : 1_000_000_000)
  }

  @Test("a letter is shown whole, and one without bytes says where they are")
  func shown() throws {
    let plain = DeadLettersCommand.Show.text(Self.letter(withheld: false), absence: nil)
    #expect(plain.hasSuffix("\n  attempts  2\n  payload   5 bytes\n{oops"), "\(plain)")
    #expect(plain.contains("\n  kept      since 1970-01-01T00:00:01.000Z\n") && !plain.contains("reading"))
    var letter = Self.letter(withheld: false)
    #expect(plain.contains("\n  topic     sensors/a from floor\n"))
    letter.letter.rejection.origin = Origin(source: "", topic: "")
    let line = DeadLettersCommand.Show.text(letter, absence: nil)
    #expect(line.contains("\n  topic     not known: a reading out of a batch\n"), "\(line)")
    let there = DeadLettersCommand.Show.text(Self.letter(withheld: true), absence: nil)
    #expect(there.contains("offset 17 of log 0123456789abcdef, reading 3 of its message"), "\(there)")
    #expect(there.contains("since before the clock was synchronised"))
    #expect(there.contains("  payload   withheld: the pipeline masks fields; the message is in the log at offset 17"))
    let gone = DeadLettersCommand.Show.text(Self.letter(withheld: true), absence: "no block holds it")
    #expect(gone.hasSuffix("withheld: the pipeline masks fields; it cannot be run again: no block holds it"), "\(gone)")
  }

  @Test("the report of a letter without bytes has no payload, and says so")
  func report() {
    let withheld = DeadLetterReport(Self.letter(withheld: true), withPayload: true)
    #expect(withheld.withheld && withheld.payload == nil && withheld.reading == 3 && withheld.since == nil)
    let plain = DeadLetterReport(Self.letter(withheld: false), withPayload: true)
    #expect(!plain.withheld && plain.payload == "e29vcHM=" && plain.reading == nil && plain.payloadBytes == 5)
  }

  @Test("times are RFC 3339, a date, or how long ago")
  func times() throws {
    func filter(_ arguments: String...) throws -> DeadLetterFilter {
      try DeadLetterChoice.parse(arguments).filter(now: 100 * Self.hour)
    }
    #expect(try filter("--since", "2h").since == 98 * Self.hour)
    #expect(try filter("--since", "1970-01-02", "--until", "1970-01-02T06:00:00+01:00").since == 24 * Self.hour)
    #expect(try filter("--until", "1970-01-02T06:00:00+01:00").until == 29 * Self.hour)
    #expect(try filter("--topic", "sensors/{device}/x").topic?.matches("sensors/7/x") == true)
    let all = try filter("3", "--pipeline", "p", "--stage", "upstream", "--rule", "r", "--source", "s")
    #expect(all.ids == [3] && all.pipeline == "p" && all.stage == .upstream && all.rule == "r" && all.source == "s")
    #expect(throws: (any Error).self) { try filter("--since", "soon") }
  }

  @Test("a choice by topic, source or time alone is deliberate, and a request keeps its rate")
  func requeued() throws {
    let box = try TemporaryDirectory("requeue")
    var settings = SpoolSettings(directory: box.file("spool"))
    settings.minimumFree = 0
    let now = Moment(boot: BootID(high: 1, low: 2), monotonic: 1, wall: Self.hour, quality: .synchronised)
    var drawn: UInt64 = 0
    func draw() -> UInt64 {
      drawn += 1
      return drawn
    }
    let spool = try Spool.open(settings, machine: Machine(id: "m"), now: now, random: draw)
    let registered = try spool.register(
      [PipelineRegistration(name: "climate", uplink: "central", version: "1")], configuration: [], gateway: "gw",
      wall: 1, random: draw)
    var group = MessageGroup(boot: now.boot)
    for _ in 0..<4 {
      group.append(
        Message(
          origin: Origin(source: "floor", topic: "sensors/a"), payload: Array(repeating: 1, count: 600),
          qos: .atLeastOnce, packetID: 1, received: now))
    }
    try spool.log.append(group)
    var state = try #require(registered.states["climate"])
    state.checkpoint = Offset(4)
    let rejections = (0..<4).map { number in
      var rejection = Self.letter(withheld: number > 0).letter.rejection
      // The last one is of a log that is gone, and costs nothing.
      rejection.log = number < 3 ? spool.log.id : rejection.log
      rejection.offset = Offset(Int64(number))
      return rejection
    }
    try spool.state.seal(
      Seal(
        rejections: rejections,
        counters: .init {
          $0.rejected = 1
          $0.decoded = 3
          $0.produced = 3
          $0.refused = 3
        }, state: state), pipeline: "climate", now: now)
    spool.close()
    func run(_ arguments: String...) throws {
      var command = try Forebay.parseAsRoot(["dead-letters"] + arguments + ["--spool", settings.directory])
      try command.run()
    }
    #expect(throws: ExitCode(1)) { try run("requeue", "--topic", "other/#") }
    // Five bytes of its own, and six hundred of the message: the second of those is over the budget.
    try run("requeue", "--source", "floor", "--rate", "6/min", "--budget", "1000")
    let opened = try StateStore(path: Spool.statePath(settings.directory))
    #expect(try opened.requeues().map(\.interval) == [10_000_000_000])
    #expect(try opened.deadLetters(DeadLetterFilter(), limit: 9).map(\.requested) == [true, true, false, false])
    opened.close()
    #expect(throws: ExitCode(1)) { try run("show", "2", "--raw") }
    try run("show", "1", "2", "4", "--json")
    try run("counts")
    try run("discard", "--since", "1970-01-01", "--json")
    #expect(throws: ExitCode(1)) { try run("discard", "--all") }
    #expect(try Audit.take(directory: settings.directory).entries.first?.ledger.discarded == 2)
  }
}
