import Testing

@testable import Status

@Suite("The alarm board")
struct AlarmBoardTests {
  /// Looks every ten seconds.
  struct Watch {
    var board = AlarmBoard()
    var monotonic: Int64 = 1_000_000_000_000
    var wall: Int64 = 1_800_000_000_000_000_000

    mutating func look(after seconds: Int64 = 10, _ conditions: AlarmCondition...) -> [String] {
      monotonic += seconds * 1_000_000_000
      wall += seconds * 1_000_000_000
      return board.look(conditions, monotonic: monotonic, wall: wall).map {
        "\($0.change) \($0.alarm.severity) \($0.alarm.kind) \($0.alarm.subject)"
      }
    }
  }

  static let away = AlarmCondition(.uplink, subject: "central", severity: .ticket, text: "away")
  static let awayForLong = AlarmCondition(.uplink, subject: "central", severity: .page, text: "away for long")

  @Test("an alarm is raised once, lasts with its first beginning and its newest text, and is resolved once")
  func life() throws {
    var watch = Watch()
    #expect(watch.look(Self.away) == ["raised ticket uplink central"])
    let since = watch.wall
    var other = Self.away
    other.text = "still away"
    for _ in 0..<5 { #expect(watch.look(other) == []) }
    #expect(watch.board.alarms.map(\.since) == [since])
    #expect(watch.board.alarms.map(\.text) == ["still away"])
    #expect(watch.look() == [])
    #expect(watch.board.alarms.isEmpty)
    var events: [String] = []
    for _ in 0..<10 { events += watch.look() }
    #expect(events == ["resolved ticket uplink central"])
    #expect(watch.board.kept.isEmpty)
  }

  @Test("what is unknown stays as it is, for as long as that takes, also over a restart")
  func unknown() {
    var board = AlarmBoard()
    let second: Int64 = 1_000_000_000
    var time: Int64 = 0
    func look(_ conditions: [AlarmCondition], _ unknown: [UnknownAlarms]) -> [String] {
      time += 100 * second
      return board.look(conditions, unknown: unknown, monotonic: time, wall: time).map { "\($0.change)" }
    }
    let other = AlarmCondition(.uplink, subject: "other", severity: .ticket, text: "")
    #expect(look([Self.away, other], []) == ["raised", "raised"])
    for _ in 0..<10 { #expect(look([], [UnknownAlarms(.uplink)]) == []) }
    #expect(board.alarms.count == 2)
    for _ in 0..<10 { #expect(look([other], [UnknownAlarms(.uplink, .only(["central"]))]) == []) }
    #expect(board.alarms.count == 2)
    board = AlarmBoard(restoring: board.kept, monotonic: time, wall: time)
    for _ in 0..<10 { #expect(look([], [UnknownAlarms(.uplink, .besides([]))]) == []) }
    #expect(board.alarms.isEmpty && board.kept.count == 2)
    #expect(look([Self.away], [UnknownAlarms(.uplink)]) == [])
    #expect(board.alarms.map(\.subject) == ["central"])
    #expect(look([], [UnknownAlarms(.uplink, .besides(["other"])), UnknownAlarms(.backlog)]) == ["resolved"])
    #expect(board.alarms.map(\.subject) == ["central"])
  }

  @Test("one that comes and goes is raised once")
  func flutter() {
    var watch = Watch()
    var events: [String] = []
    for round in 0..<100 {
      events += round % 3 == 0 ? watch.look(Self.away) : watch.look()
    }
    #expect(events == ["raised ticket uplink central"])
    let since = watch.board.kept.first?.since
    #expect(since == 1_800_000_010_000_000_000)
  }

  @Test("it becomes more urgent at once, and less only when that lasts")
  func severity() {
    var watch = Watch()
    _ = watch.look(Self.away)
    #expect(watch.look(Self.awayForLong) == ["changed page uplink central"])
    for _ in 0..<20 {
      #expect(watch.look(Self.away) == [])
      #expect(watch.look(Self.awayForLong) == [])
    }
    var events: [String] = []
    for _ in 0..<10 { events += watch.look(Self.away) }
    #expect(events == ["changed ticket uplink central"])
  }

  @Test("one that lasts becomes a page after its time, also over a restart")
  func escalation() {
    var watch = Watch()
    let lasting = AlarmCondition(.source, subject: "floor", severity: .ticket, pageAfter: 300_000_000_000, text: "")
    var events: [String] = []
    for _ in 0..<20 { events += watch.look(lasting) }
    #expect(events == ["raised ticket source floor"])
    watch.board = AlarmBoard(restoring: watch.board.kept, monotonic: watch.monotonic, wall: watch.wall)
    for _ in 0..<10 { #expect(watch.look(lasting) == []) }
    #expect(watch.look(lasting) == ["changed page source floor"])
    for _ in 0..<10 { #expect(watch.look(lasting) == []) }
  }

  @Test("conditions of one kind and subject are one alarm, as urgent as the worst, with all texts")
  func merging() {
    var watch = Watch()
    let a = AlarmCondition(.subscription, subject: "floor", severity: .ticket, text: "a/#")
    let b = AlarmCondition(.subscription, subject: "floor", severity: .page, text: "b/#")
    #expect(watch.look(a, b, a) == ["raised page subscription floor"])
    #expect(watch.board.alarms.map(\.text) == ["a/#; b/#"])
  }

  @Test("what was there before a restart is not told again, and what has ended meanwhile is told once")
  func restart() {
    var before = Watch()
    _ = before.look(Self.away)
    _ = before.look(Self.away, AlarmCondition(.clock, severity: .ticket, text: "no time"))
    var watch = Watch()
    watch.wall += 500_000_000_000
    watch.board = AlarmBoard(
      restoring: before.board.kept, monotonic: watch.monotonic, wall: watch.wall)
    #expect(watch.board.alarms.isEmpty)
    var events = watch.look()
    for _ in 0..<30 { events += watch.look(Self.away) }
    #expect(events == ["resolved ticket clock "])
    #expect(watch.board.alarms.map(\.since) == [1_800_000_010_000_000_000])
  }

  @Test("a beginning that was noted by a wrong clock moves with the clock")
  func clock() {
    var watch = Watch()
    watch.wall = 20_000_000_000
    _ = watch.look(Self.away)
    watch.wall += 1_800_000_000_000_000_000
    _ = watch.look(after: 60, Self.away)
    #expect(watch.board.alarms.map(\.since) == [watch.wall - 60_000_000_000])
  }

  @Test("there is a limit, and pages have the first right")
  func limit() {
    var board = AlarmBoard()
    let tickets = (0..<500).map { AlarmCondition(.backlog, subject: "t\($0)", severity: .ticket, text: "") }
    _ = board.look(tickets, monotonic: 1, wall: 1)
    #expect(board.alarms.count == AlarmBoard.limit)
    let known = Set(board.alarms.map(\.subject))
    _ = board.look(tickets.reversed(), monotonic: 2, wall: 2)
    #expect(Set(board.alarms.map(\.subject)) == known)
    let pages = (0..<50).map { AlarmCondition(.uplink, subject: "p\($0)", severity: .page, text: "") }
    let events = board.look(tickets + pages, monotonic: 3, wall: 3)
    #expect(events.count { $0.change == .raised && $0.alarm.severity == .page } == 50)
    #expect(board.alarms.count == AlarmBoard.limit)
  }

  @Test("a text that is too long is cut between characters")
  func longTexts() {
    var board = AlarmBoard()
    let text = String(repeating: "ä", count: 2_000)
    _ = board.look([AlarmCondition(.table, severity: .ticket, text: text)], monotonic: 1, wall: 1)
    let shown = board.alarms.first?.text ?? ""
    #expect(shown.utf8.count <= AlarmBoard.longestText && shown.hasSuffix("ä..."))
  }

  @Test("alarms are counted by kind and severity, those of which there is none too")
  func counts() {
    var watch = Watch()
    _ = watch.look(Self.away, AlarmCondition(.uplink, subject: "other", severity: .page, text: ""))
    let counts = watch.board.counts
    #expect(counts.count == AlarmKind.allCases.count * 2)
    #expect(
      counts.filter { $0.count > 0 }.map { "\($0.kind) \($0.severity) \($0.count)" } == [
        "uplink ticket 1", "uplink page 1",
      ])
  }
}
