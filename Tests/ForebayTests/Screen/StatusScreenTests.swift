import ArgumentParser
import Testing

@testable import forebay

@Suite("The status in the terminal")
struct StatusScreenTests {
  private static func report(delivered: Int64 = 123_456_789) -> StatusReport {
    func pipeline(_ name: String) -> StatusReport.Pipeline {
      StatusReport.Pipeline(
        name: name, version: "0123456789abcdef", draining: false, backlog: 1_234_567, openReadings: 1_234,
        outboxBatches: 12, outboxReadings: 123_456, oldestOutboxSeconds: 750, decoded: 1, unmatched: 0, rejected: 0,
        damaged: 0, produced: 1, delivered: delivered, deadLetters: 12)
    }
    return StatusReport(
      gateway: "gw-042", site: "plant-7", software: "0.1.0", uptimeSeconds: 1_000_000, clockSynchronised: true,
      residentBytes: 32 << 20, writtenBytes: 1 << 30,
      sources: [
        .init(
          name: "floor", state: "connected", messages: 1_000, bytes: 1 << 31, groups: 1, reconnects: 3,
          lastMessageSeconds: 25)
      ],
      spool: .init(
        directory: "/var/lib/forebay", usedBytes: 1 << 30, maximumBytes: 8 << 30, freeBytes: 20 << 30,
        minimumFreeBytes: 1 << 30, log: "l", nextOffset: 0, received: 123_456_789),
      pipelines: [pipeline("climate"), pipeline("vibration")],
      uplinks: [
        .init(
          name: "central", state: "idle", attempts: 1, answers: [:], batchesDelivered: 1,
          readingsDelivered: delivered, bytesSent: 1 << 29, inFlight: 2, holds: [])
      ], alarms: [])
  }

  private static func screen(
    _ report: StatusReport, width: Int? = 80, beside: String = "{}", earlier: StatusScreen.Earlier? = nil
  ) throws -> [ScreenLine] {
    var document = try Output.json(report, pretty: false)
    if beside != "{}" { document = String(document.dropLast()) + "," + beside.dropFirst() }
    let bytes = Array(document.utf8)
    return StatusScreen(
      report: report, judgement: StatusJudgement(document: bytes, report: report), earlier: earlier,
      showsRates: earlier != nil, width: width
    ).lines
  }

  @Test("fits 80 columns and 24 lines with one source, two pipelines and one uplink, also with rates")
  func fits() throws {
    let lines = try Self.screen(Self.report())
    #expect(lines.count <= 24 && lines.allSatisfy { $0.text.count <= 80 }, "\(lines.map(\.text))")
    #expect(lines[0].text.hasPrefix("ok  gw-042 at plant-7  forebay 0.1.0  up 11 d 13 h"))
    let watched = try Self.screen(
      Self.report(), beside: #"{"objectives":[{"name":"freshness","state":"ok","budgetRemaining":0.8}]}"#,
      earlier: .init(report: Self.report(delivered: 123_400_000), seconds: 2))
    #expect(watched.count <= 22 && watched.allSatisfy { $0.text.count <= 80 }, "\(watched.map(\.text))")
    // What is dispensable went, not what is wrong.
    #expect(watched.contains { $0.text.contains("/S") && $0.text.contains("DEAD LETTERS") })
  }

  @Test(
    "the first word is the state: as the daemon says it, or else by the severity of its alarms",
    arguments: [
      (#"{"alarms":[]}"#, "ok"), (#"{"alarms":[{}]}"#, "warning"), (#"{"alarms":[{"severity":"ticket"}]}"#, "warning"),
      (#"{"alarms":[{"severity":"ticket"},{"severity":"page"}]}"#, "critical"),
      (#"{"state":"critical","alarms":[]}"#, "critical"),
    ])
  func state(_ members: String, _ word: String) throws {
    let report = Self.report()
    let document = #"{"pipelines":[],"# + members.dropFirst()
    let judgement = StatusJudgement(document: Array(document.utf8), report: report)
    #expect(judgement.overall.rawValue == word)
    let first = try #require(StatusScreen(report: report, judgement: judgement, width: 80).lines.first)
    #expect(first.text.hasPrefix(word + "  gw-042") && first.toned == word.count)
  }

  @Test("alarms come before everything else, those that call somebody first, and are wrapped and escaped")
  func alarms() throws {
    var report = Self.report()
    report.alarms = [
      .init(kind: "uplink", text: "central:" + String(repeating: " long", count: 30)),
      .init(kind: "parked", text: "the spool is full\u{1B}[2J"),
    ]
    let judged = #"{"pipelines":[],"alarms":[{"severity":"ticket"},{"severity":"page"}]}"#
    let judgement = StatusJudgement(document: Array(judged.utf8), report: report)
    let lines = StatusScreen(report: report, judgement: judgement, width: 80).lines
    let first = try #require(lines.firstIndex { $0.text.hasPrefix("ALARM") })
    #expect(lines[first - 1].text == "" && lines.allSatisfy { $0.text.count <= 80 })
    #expect(lines[first].text == #"ALARM parked: the spool is full\u{1b}[2J (page)"# && lines[first].tone == .bad)
    #expect(lines[first + 1].text.hasPrefix("ALARM uplink: central: long") && lines[first + 1].tone == .doubtful)
    #expect(lines[first + 2].text.hasPrefix("  long"))
    let unlimited = StatusScreen(report: report, judgement: judgement, width: nil).lines
    #expect(unlimited[3].text.hasSuffix("long (ticket)") && unlimited[5].text == "", "\(unlimited)")
  }

  @Test("an alarm is named with what it is about, which its text need not say again")
  func alarmSubjects() {
    var report = Self.report()
    report.alarms = [
      .init(kind: "objective", text: "89 of 97 batches missed it", subject: "latency"),
      .init(kind: "uplink", text: "central: nothing can be delivered", subject: "central"),
      .init(kind: "clock", text: "not synchronised", subject: ""),
    ]
    let lines = StatusScreen(report: report, judgement: StatusJudgement(alarms: 3), width: nil).lines.map(\.text)
    for line in [
      "ALARM objective latency: 89 of 97 batches missed it", "ALARM uplink central: nothing can be delivered",
      "ALARM clock: not synchronised",
    ] { #expect(lines.contains(line), "\(lines)") }
  }

  @Test("alarms say for how long they last and where to read on, where the daemon does")
  func alarmDetails() {
    var report = Self.report()
    report.alarms = [.init(kind: "parked", text: "full")]
    let judged =
      #"{"pipelines":[],"alarms":[{"severity":"page","since":"2026-11-21T03:18:00Z","runbook":"ops.md#parked"}]}"#
    let lines = StatusScreen(
      report: report, judgement: StatusJudgement(document: Array(judged.utf8), report: report),
      now: 1_795_231_143_000_000_000, width: 80
    ).lines.map(\.text)
    #expect(lines.contains("ALARM parked: full (page, for 1 min 3 s)") && lines.contains("  see ops.md#parked"))
  }

  @Test("objectives that are met take one line, others one each with what is left of their error budget")
  func objectives() throws {
    let lines = try Self.screen(
      Self.report(),
      beside: """
        {"objectives":[{"name":"freshness","state":"ok","budgetRemaining":0.8},{"name":"delivery","state":"ok",\
        "budgetRemaining":0.25},{"name":"latency","state":"burning","target":0.95,"measured":0.9,\
        "budgetRemaining":0.12,"burnRate1h":15.04}]}
        """
    ).map(\.text)
    let place = try #require(lines.firstIndex { $0.hasPrefix("objectives") })
    #expect(lines[place] == "objectives  2 of 3 met  least error budget left: latency 12.0 %")
    #expect(lines[place + 1] == "  latency burning: 90.0 % of 95.0 %, 12.0 % of the error budget left, burn rate")
    #expect(lines[place + 2] == "    15.0 over 1 h")
    #expect(try !Self.screen(Self.report()).contains { $0.text.hasPrefix("objectives") })
    let spent = try Self.screen(
      Self.report(), width: nil,
      beside: #"{"objectives":[{"name":"freshness","state":"ok","budgetRemaining":0.9977},"#
        + #"{"name":"latency","state":"spent","budgetRemaining":-7.9}]}"#
    ).map(\.text)
    #expect(spent.contains("objectives  1 of 2 met  least error budget left: latency, used up 8.9 times over"))
    #expect(spent.contains("  latency spent: error budget used up 8.9 times over"))
  }

  @Test("rates are since the last look, and unknown when a counter begins anew or nothing is known yet")
  func rates() throws {
    var report = Self.report(delivered: 1_000)
    let earlier = StatusScreen.Earlier(report: Self.report(delivered: 750), seconds: 2)
    report.sources[0].messages = 3_000
    let lines = try Self.screen(report, earlier: earlier).map(\.text)
    func row(_ name: String) throws -> [Substring] {
      try #require(lines.first { $0.hasPrefix(name + " ") }).split(separator: " ")
    }
    #expect(try row("floor")[3] == "1,000")
    #expect(try row("climate").contains("125"))
    report.sources[0].messages = 10
    let anew = try Self.screen(report, earlier: earlier).map(\.text)
    #expect(try #require(anew.first { $0.hasPrefix("floor ") }).split(separator: " ").prefix(4).last == "-")
  }

  @Test("what is long stands under its table: faults of sources, errors of uplinks, why the spool is parked")
  func notes() throws {
    var report = Self.report()
    report.sources[0].detail = "connection refused"
    report.uplinks[0].lastError = "401"
    report.uplinks[0].failingSeconds = 65
    report.spool.parked = "the disk is short"
    report.clockSynchronised = false
    let text = try Self.screen(report, width: nil).map(\.text).joined(separator: "\n")
    for part in [
      "\n  floor: connection refused\n", "\n  central: 401\n", "idle for 1 min 5 s", "\n  PARKED: the disk is short\n",
      "clock NOT synchronised",
    ] { #expect(text.contains(part), "\(part) in \(text)") }
  }

  @Test("texts are broken between words, and words only where they are longer than a line")
  func wrapping() {
    #expect(ScreenText.wrap("aaa bbb ccc ddd", width: 11) == ["aaa bbb ccc", "  ddd"])
    #expect(
      ScreenText.wrap("  a: " + String(repeating: "x", count: 20), width: 15, indentation: 4).map(\.count).max()! <= 15)
    #expect(
      ScreenText.wrap("ab " + String(repeating: "x", count: 25), width: 12).joined().filter { $0 == "x" }.count == 25)
    #expect(ScreenText.wrap("a b", width: nil) == ["a b"] && ScreenText.wrap("", width: 20) == [""])
  }

  @Test("colours and cuts are for terminals, and a screen that is too low says what it hides")
  func rendering() {
    let line = ScreenLine("ok  gateway", .good, toned: 2)
    #expect(line.rendered(colour: false) == "ok  gateway")
    #expect(line.rendered(colour: true) == "\u{1B}[1;32mok\u{1B}[0m  gateway")
    #expect(line.rendered(colour: false, width: 6) == "ok  g…")
    let many = (1...10).map { ScreenLine("\($0)") }
    #expect(StatusWatch.fit(many, height: 10) == many && StatusWatch.fit(many, height: nil) == many)
    #expect(
      StatusWatch.fit(many, height: 5).map(\.text) == ["1", "2", "3", "4", "6 more lines: a higher window shows them"])
    let lost = StatusWatch.lines(title: ScreenLine("now"), trouble: "gone", [line], width: 80).map(\.text)
    #expect(lost == ["NO ANSWER: gone; what follows is the last look", "", "ok  gateway", "now"])
  }

  @Test("--watch takes seconds, which nothing else does")
  func arguments() throws {
    let command = try #require(try Forebay.parseAsRoot(["status", "--watch", "5"]) as? StatusCommand)
    #expect(command.watch && command.seconds == 5)
    for wrong in [["5"], ["--watch", "0"], ["--watch", "nan"], ["--watch", "x"]] {
      #expect(throws: (any Error).self) { try Forebay.parseAsRoot(["status"] + wrong) }
    }
  }
}
