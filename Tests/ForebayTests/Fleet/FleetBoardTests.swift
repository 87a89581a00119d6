import Testing

@testable import forebay

@Suite("Fleet: the board") struct FleetBoardTests {
  private static func target(_ host: String, name: String? = nil) throws -> FleetTarget {
    var target = FleetTarget(
      try ConfigurationURL(parsing: "http://\(host)", schemes: ["http"], allowsPath: true))
    target.name = name
    return target
  }

  private func board(_ names: String?...) throws -> FleetBoard {
    FleetBoard(
      targets: try names.enumerated().map { try FleetBoardTests.target("h\($0)", name: $1) })
  }

  private func url(_ index: Int) -> String { "http://h\(index):8420" }

  private func summary(_ id: String, _ state: String = "ok", pages: Int = 0, tickets: Int = 0) throws -> PulledStatus {
    let alarm = #"{"kind":"parked","subject":"","severity":"page","text":"no room"}"#
    let text = """
      {"version":1,"gateway":"\(id)","state":"\(state)","freshnessSeconds":2,
       "alarms":{"page":\(pages),"ticket":\(tickets),"list":[\(pages > 0 ? alarm : "")]}}
      """
    return try PulledStatus(body: Array(text.utf8))
  }

  @Test("a gateway is what it says, and the alarm that matters most is the reason")
  func states() throws {
    var board = try board(nil, nil, nil)
    #expect(board.counts.isEmpty)
    board.record(.answered(try summary("a")), for: url(0), at: 10, took: 1)
    board.record(.answered(try summary("b", "critical", pages: 1, tickets: 2)), for: url(1), at: 11, took: 1)
    board.record(.answered(try summary("c", "warning", tickets: 1)), for: url(2), at: 12, took: 1)
    #expect(board.counts == [.ok: 1, .critical: 1, .warning: 1])
    #expect(board.entries[1].reason == "parked: no room (and 2 more alarms)")
    #expect(board.worstFirst.map(\.target.host) == ["h1", "h2", "h0"])
    #expect(board.names == ["a", "b", "c"])
  }

  @Test("the time of a state is that of its beginning, and what was known before an outage stays")
  func since() throws {
    var board = try board("a")
    board.record(.answered(try summary("a")), for: url(0), at: 10, took: 1)
    board.record(.answered(try summary("a")), for: url(0), at: 20, took: 1)
    #expect(board.entries[0].since == 10 && board.entries[0].lastSeen == 20)
    board.record(.unreachable("no route"), for: url(0), at: 30, took: 1)
    board.record(.unreachable("no answer"), for: url(0), at: 40, took: 1)
    let entry = board.entries[0]
    #expect(entry.state == .unreachable && entry.since == 30 && entry.reason == "no answer")
    #expect(entry.lastSeen == 20 && entry.summary?.gateway == "a" && !entry.isCurrent)
  }

  @Test("who answers with another id than the inventory's is named, and what it says does not count")
  func wrongName() throws {
    var board = try board("a")
    board.record(.answered(try summary("b")), for: url(0), at: 10, took: 1)
    #expect(board.entries[0].state == .invalid && board.entries[0].summary == nil)
    #expect(board.entries[0].reason == "answers as 'b', and the inventory says 'a'")
  }

  @Test("who answers with another id than before is named until somebody accepts it")
  func changedName() throws {
    var board = try board(nil)
    board.record(.answered(try summary("a")), for: url(0), at: 10, took: 1)
    board.record(.answered(try summary("b")), for: url(0), at: 20, took: 1)
    #expect(board.entries[0].reason.hasPrefix("answers as 'b', and was 'a' before"))
    board.record(.answered(try summary("a")), for: url(0), at: 30, took: 1)
    #expect(board.entries[0].state == .ok)
    board.replace(board.entries.map(\.target), forgettingIdentities: true)
    #expect(board.entries[0].state == .ok, "what is known stays")
    board.record(.answered(try summary("b")), for: url(0), at: 40, took: 1)
    #expect(board.entries[0].state == .ok && board.names == ["b"])
  }

  @Test("an id that the inventory gives to one gateway is no other's, whoever answers first")
  func takenName() throws {
    var board = try board(nil, "a")
    board.record(.answered(try summary("a")), for: url(0), at: 10, took: 1)
    #expect(board.entries[0].state == .invalid && board.names == ["h0:8420", "a"])
    board.record(.answered(try summary("a", "critical", pages: 1)), for: url(1), at: 11, took: 1)
    #expect(board.entries.map(\.state) == [.invalid, .critical])
    #expect(
      board.entries[0].reason
        == "answers as 'a', which is http://h1:8420 in the inventory: a copied card, or one gateway twice?")
    #expect(board.entries[1].reason == "parked: no room" && board.names == ["h0:8420", "a"])
  }

  @Test("two without a name that claim one id are both a fault, under their own places, and neither hides the other")
  func copies() throws {
    var board = try board(nil, nil, nil)
    board.record(.answered(try summary("a")), for: url(0), at: 10, took: 1)
    #expect(board.entries[0].state == .ok && board.names == ["a", "h1:8420", "h2:8420"])
    board.record(.answered(try summary("a")), for: url(1), at: 11, took: 1)
    #expect(board.entries.map(\.state) == [.invalid, .invalid, nil])
    #expect(board.entries[0].since == 11, "at once, and not when it is asked again")
    #expect(board.entries[0].reason.hasPrefix("answers as 'a', as http://h1:8420 too: a copied card"))
    #expect(board.entries[1].reason.hasPrefix("answers as 'a', as http://h0:8420 too: a copied card"))
    #expect(board.names == ["h0:8420", "h1:8420", "h2:8420"])
    #expect(board.entries.allSatisfy { $0.summary?.gateway == "a" || $0.state == nil }, "what each says is kept")
    // What calls somebody is not covered by it.
    board.record(.answered(try summary("a", "critical", pages: 1)), for: url(0), at: 12, took: 1)
    #expect(board.entries[0].state == .critical)
    #expect(board.entries[0].reason.hasPrefix("parked: no room; answers as 'a', as http://h1:8420 too"))
    board.record(.answered(try summary("a")), for: url(2), at: 13, took: 1)
    #expect(board.entries[2].reason.hasPrefix("answers as 'a', as http://h0:8420 and 1 other too"))
    // One that is not reached says that, and still has the id.
    board.record(.unreachable("no route"), for: url(2), at: 14, took: 1)
    #expect(board.entries[2].reason == "no route")
    // The list tells them apart, or one has gone.
    board.replace([try FleetBoardTests.target("h0", name: "a"), try FleetBoardTests.target("h1")])
    #expect(board.entries.map(\.state) == [.critical, .invalid])
    board.replace([try FleetBoardTests.target("h1")])
    #expect(board.entries[0].state == .ok && board.names == ["a"])
  }

  @Test("who claimed another id first cannot take one that is known, and leaves its owner alone")
  func lateClaim() throws {
    var board = try board(nil, nil)
    board.record(.answered(try summary("a")), for: url(0), at: 10, took: 1)
    board.record(.answered(try summary("b")), for: url(1), at: 10, took: 1)
    board.record(.answered(try summary("a")), for: url(1), at: 11, took: 1)
    #expect(board.entries.map(\.state) == [.ok, .invalid] && board.names == ["a", "b"])
  }

  @Test("who is called comes first, then who answers wrongly, who does not answer, tickets, and the rest")
  func order() throws {
    var board = try board(nil, nil, nil, nil, nil, nil, nil)
    board.record(.answered(try summary("a")), for: url(0), at: 1, took: 1)
    board.record(.unreachable("x"), for: url(1), at: 1, took: 1)
    board.record(.answered(try summary("b", "critical", pages: 1)), for: url(2), at: 1, took: 1)
    board.record(.answered(try summary("c", "critical", pages: 2)), for: url(3), at: 1, took: 1)
    board.record(.invalid("x"), for: url(4), at: 1, took: 1)
    board.record(.answered(try summary("d", "warning", tickets: 1)), for: url(5), at: 1, took: 1)
    #expect(board.worstFirst.map(\.target.host) == ["h3", "h2", "h4", "h1", "h5", "h0", "h6"])
  }

  @Test("another list keeps what is known of those that stay, and answers of those that went are dropped")
  func replace() throws {
    var board = try board("a", "b")
    board.record(.answered(try summary("a")), for: url(0), at: 1, took: 1)
    board.replace([try FleetBoardTests.target("h2"), try FleetBoardTests.target("h0", name: "a")])
    #expect(board.entries.map(\.state) == [nil, .ok])
    #expect(board.record(.unreachable("x"), for: url(1), at: 2, took: 1) == nil)
    #expect(board.counts == [.ok: 1])
  }

  @Test("a text from a gateway cannot act on the terminal")
  func hostileText() throws {
    let alarm = #"{"kind":"\u001b[2J","text":"x\n"}"#
    let text = #"{"version":1,"gateway":"a","state":"critical","alarms":{"page":1,"list":[\#(alarm)]}}"#
    var board = try board(nil)
    board.record(.answered(try PulledStatus(body: Array(text.utf8))), for: url(0), at: 1, took: 1)
    #expect(!board.entries[0].reason.unicodeScalars.contains { $0.value < 0x20 })
  }

  @Test(
    "a rule is met by more than it allows",
    arguments: [
      ("critical", 1, true), ("critical=1", 1, false), ("critical=0", 1, true), ("warning", 3, true),
      ("warning=3", 3, false), ("unreachable", 0, false), ("unreachable=0%", 0, false), ("critical=25%", 1, false),
      ("critical=24%", 1, true), ("invalid", 0, false),
    ])
  func rules(_ text: String, _ count: Int, _ isMet: Bool) throws {
    var board = try board(nil, nil, nil, nil)
    board.record(.answered(try summary("a", "critical", pages: 1)), for: url(0), at: 1, took: 1)
    board.record(.answered(try summary("b", "warning", tickets: 1)), for: url(1), at: 1, took: 1)
    board.record(.answered(try summary("c", "warning", tickets: 1)), for: url(2), at: 1, took: 1)
    let verdict = try FleetRule(text).verdict(on: board)
    #expect(verdict.count == count && verdict.isMet == isMet)
  }

  @Test(
    "a rule that is none is refused",
    arguments: ["", "ok", "bad", "critical=", "critical=x", "critical=101%", "critical=-1"])
  func wrongRules(_ text: String) {
    #expect(throws: FleetRule.Fault.self) { try FleetRule(text) }
  }
}
