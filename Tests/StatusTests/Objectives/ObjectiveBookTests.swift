import Telemetry
import Testing

@testable import Status

@Suite("Objectives")
struct ObjectiveBookTests {
  @Test("without events nothing is measured, nothing burns and the budget is whole")
  func nothing() throws {
    var gateway = Gateway()
    for _ in 0..<10 { gateway.look() }
    let reports = gateway.book.reports
    #expect(reports.map(\.name) == ObjectiveName.allCases.map(\.rawValue))
    for report in reports {
      #expect(report.measured == nil && report.burnRate1h == nil && report.budgetRemaining == 1 && report.state == .ok)
    }
    #expect(gateway.book.conditions.isEmpty)
  }

  @Test("events are counted at the look that saw them, the first one too")
  func events() {
    var gateway = Gateway()
    gateway.count(.errors, good: 90, bad: 10)
    gateway.look()
    gateway.look()
    gateway.count(.errors, good: 100)
    gateway.look()
    let report = gateway.book.report(.errors)
    #expect(report?.good == 190)
    #expect(report?.bad == 10)
    #expect(report?.measured == 0.95)
  }

  @Test("one bad look makes a bad minute, and a minute without a look is none")
  func minutes() {
    var gateway = Gateway()
    gateway.pass(20)  // to the beginning of a minute of the book, which begins at 0
    gateway.look(after: 0)
    for minute in 0..<10 {
      for look in 0..<6 { gateway.look([.freshness: !(minute == 3 && look == 4)]) }
    }
    // Nobody looked for an hour.
    gateway.look(after: 3_600)
    for _ in 0..<12 { gateway.look([.freshness: true]) }
    let report = gateway.book.report(.freshness)
    #expect(report?.bad == 1)
    #expect((10...13).contains((report?.good ?? 0) + 1))
  }

  @Test("a full outage pages within ten minutes, and resolves within ten minutes of its end")
  func outagePages() throws {
    var gateway = Gateway()
    for _ in 0..<(6 * 60 * 7) { gateway.look([.freshness: true]) }
    #expect(gateway.book.conditions.isEmpty)
    var untilPage = 0
    while gateway.book.burning(.freshness)?.severity != .page, untilPage < 6 * 60 {
      gateway.look([.freshness: false])
      untilPage += 1
    }
    #expect(untilPage <= 6 * 11)
    let condition = try #require(gateway.book.conditions.first)
    #expect(condition.kind == .objective && condition.subject == "freshness" && condition.severity == .page)
    #expect(condition.text.contains("minutes of the last hour missed it"))
    #expect(gateway.book.report(.freshness)?.state == .burning)
    var untilEnd = 0
    while gateway.book.burning(.freshness)?.severity == .page, untilEnd < 6 * 60 {
      gateway.look([.freshness: true])
      untilEnd += 1
    }
    #expect(untilEnd <= 6 * 40)
  }

  @Test("a slow burn is a ticket: 2 % of a 1 % budget's events for days")
  func slowBurn() {
    var gateway = Gateway()
    gateway.look()
    for _ in 0..<(24 * 4 * 3 + 8) {
      gateway.count(.errors, good: 980, bad: 20)
      gateway.look(after: 900)
    }
    #expect(gateway.book.burning(.errors)?.severity == .ticket)
    #expect((gateway.book.burnRate(.errors, .threeDays) ?? 0).distance(to: 2).magnitude < 0.01)
  }

  @Test("few bad events page nobody, however few good ones there are")
  func fewEvents() {
    var gateway = Gateway()
    gateway.run(hours: 2)
    gateway.count(.latency, bad: 9)
    gateway.look()
    #expect(gateway.book.burning(.latency) == nil)
    #expect(gateway.book.report(.latency)?.state == .ok)
    gateway.count(.latency, bad: 1)
    gateway.look()
    #expect(gateway.book.burning(.latency)?.severity == .page)
    #expect(gateway.book.report(.latency)?.state == .spent)
  }

  /// Five minutes in which all is well, and an outage of 107 s, after which what waited is delivered late.
  private func shortOutage(_ gateway: inout Gateway) {
    for _ in 0..<30 {
      gateway.count(.latency, good: 1)
      gateway.look([.freshness: true])
    }
    for _ in 0..<11 { gateway.look([.freshness: false]) }
    gateway.count(.latency, bad: 89)
    gateway.look([.freshness: true])
  }

  @Test(
    "a short outage on a gateway that is new, or was off, calls nobody; one that lasts does", arguments: [false, true])
  func littleHistory(wasOff: Bool) throws {
    var gateway = Gateway()
    gateway.look()
    if wasOff {
      gateway.run(hours: 80)
      try gateway.reboot(off: 7 * 3_600)
      gateway.look()
    }
    shortOutage(&gateway)
    #expect(gateway.book.conditions.isEmpty)
    let latency = try #require(gateway.book.report(.latency))
    // What was measured is what was measured.
    #expect(latency.good == 30 && latency.bad == 89)
    #expect((latency.measured ?? 0).distance(to: 30.0 / 119).magnitude < 1e-9)
    #expect(latency.state == .spent && latency.budgetRemaining < 0)
    // 89 of 119, in 7 of 60 minutes.
    let rate = try #require(latency.burnRate1h)
    #expect(rate > 1.3 && rate < 2)
    var untilPage = 0
    while gateway.book.burning(.freshness)?.severity != .page, untilPage < 6 * 60 {
      gateway.look([.freshness: false])
      untilPage += 1
    }
    #expect(untilPage <= 6 * 11)
  }

  @Test("an objective that is switched on later has a history from then on")
  func switchedOnLater() throws {
    var gateway = Gateway([.errors: .usual(.errors)])
    gateway.run(hours: 10)
    gateway.book.adopt(ObjectiveSettings.usual)
    shortOutage(&gateway)
    #expect(gateway.book.conditions.isEmpty)
    try gateway.reboot(off: 0)
    gateway.look()
    #expect(gateway.book.conditions.isEmpty)
    #expect(gateway.book.report(.latency)?.bad == 89)
  }

  @Test("an alarm says how much of the budget is used, and which pipeline has most of the bad events")
  func alarmText() throws {
    var gateway = Gateway()
    gateway.run(hours: 2)
    gateway.count(.errors, bad: 100)
    gateway.worst = [.errors: "climate"]
    gateway.look()
    let text = try #require(gateway.book.conditions.first { $0.subject == "errors" }).text
    #expect(
      text == "100 of 100 messages and readings of the last hour missed it, 100.0 times what the target of 99 % "
        + "allows; error budget: used up 10.0 times over; most of late in pipeline climate: see 'forebay dead-letters counts "
        + "--pipeline climate'")
    #expect(ObjectiveReport.usedUp(0.01) == nil && ObjectiveReport.usedUp(0) == "used up")
    #expect(ObjectiveReport.usedUp(-7.9) == "used up 8.9 times over")
  }

  @Test("an objective whose target is so low that a rate cannot be reached burns when nearly all is bad")
  func lowTarget() {
    var gateway = Gateway([.errors: ObjectiveSettings(target: 0.5)])
    gateway.run(hours: 80)
    gateway.count(.errors, bad: 100)
    gateway.look()
    #expect(gateway.book.burning(.errors)?.severity == .page)
    gateway.count(.errors, good: 50)
    gateway.look()
    #expect(gateway.book.burning(.errors)?.severity == .ticket)
  }

  @Test("the budget of minutes is that of the whole period")
  func budget() {
    var settings = ObjectiveSettings(target: 0.99, bound: 1)
    settings.period = 86_400_000_000_000  // 14.4 minutes of budget
    var gateway = Gateway([.backlog: settings])
    gateway.look()
    for _ in 0..<(7 * 6 + 1) { gateway.look([.backlog: false]) }
    let left = gateway.book.report(.backlog)?.budgetRemaining ?? 0
    #expect(left > 0.4 && left < 0.6)
    for _ in 0..<(9 * 6) { gateway.look([.backlog: false]) }
    #expect(gateway.book.report(.backlog)?.state == .spent)
  }

  @Test("a wall clock that jumps moves nothing")
  func wallJumps() {
    var gateway = Gateway()
    gateway.look()
    gateway.count(.errors, bad: 50)
    gateway.look()
    let before = gateway.book.reports
    for jump in [-1_000_000_000, 900_000_000, -5] as [Int64] {
      gateway.wall += jump
      gateway.look(after: 0)
    }
    #expect(gateway.book.reports == before)
  }

  @Test("after a reload other targets hold for what was counted, and what is switched off is forgotten")
  func reload() {
    var gateway = Gateway()
    gateway.run(hours: 2)
    gateway.count(.errors, good: 95, bad: 5)
    gateway.look()
    gateway.book.adopt([.errors: ObjectiveSettings(target: 0.5)])
    #expect(gateway.book.reports.map(\.name) == ["errors"])
    #expect(gateway.book.report(.errors)?.burnRate1h.map { ($0 - 0.1).magnitude < 1e-9 } == true)
    gateway.book.adopt(ObjectiveSettings.usual)
    #expect(gateway.book.reports.count == ObjectiveName.allCases.count)
    #expect(gateway.book.report(.errors)?.bad == 5)
  }
}
