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
    for _ in 0..<(24 * 4) {
      gateway.count(.errors, good: 980, bad: 20)
      gateway.look(after: 900)
    }
    #expect(gateway.book.burning(.errors)?.severity == .ticket)
    #expect((gateway.book.burnRate(.errors, .threeDays) ?? 0).distance(to: 2).magnitude < 0.01)
  }

  @Test("few bad events page nobody, however few good ones there are")
  func fewEvents() {
    var gateway = Gateway()
    gateway.look()
    gateway.count(.latency, bad: 9)
    gateway.look()
    #expect(gateway.book.burning(.latency) == nil)
    #expect(gateway.book.report(.latency)?.state == .ok)
    gateway.count(.latency, bad: 1)
    gateway.look()
    #expect(gateway.book.burning(.latency)?.severity == .page)
    #expect(gateway.book.report(.latency)?.state == .spent)
  }

  @Test("an objective whose target is so low that a rate cannot be reached burns when all is bad")
  func lowTarget() {
    var gateway = Gateway([.errors: ObjectiveSettings(target: 0.5)])
    gateway.look()
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
    gateway.look()
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
