import Telemetry
import Testing

@Suite("Topic filters")
struct TopicFilterTests {
  /// The examples of MQTT 5.0, section 4.7, and what follows from its rules.
  static let table: [(filter: String, topic: String, matches: Bool)] = [
    // 4.7.1.2, multi-level wildcard.
    ("sport/tennis/player1/#", "sport/tennis/player1", true),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
    ("sport/tennis/player1/#", "sport/tennis/player10", false),
    ("sport/tennis/player1/#", "sport/tennis", false),
    ("sport/#", "sport", true),
    ("sport/#", "sport/", true),
    ("sport/#", "sports", false),
    ("#", "sport", true),
    ("#", "/", true),
    ("#", "/finance", true),
    ("sport/tennis/#", "sport/tennis", true),
    // 4.7.1.3, single-level wildcard.
    ("sport/tennis/+", "sport/tennis/player1", true),
    ("sport/tennis/+", "sport/tennis/player2", true),
    ("sport/tennis/+", "sport/tennis/player1/ranking", false),
    ("sport/+", "sport", false),
    ("sport/+", "sport/", true),
    ("+", "sport", true),
    ("+", "sport/tennis", false),
    ("+/tennis/#", "sport/tennis", true),
    ("+/tennis/#", "sport/tennis/player1", true),
    ("sport/+/player1", "sport/tennis/player1", true),
    ("sport/+/player1", "sport//player1", true),
    ("sport/+/player1", "sport/player1", false),
    ("+/+", "/finance", true),
    ("/+", "/finance", true),
    ("+", "/finance", false),
    ("+/#", "sport", true),
    // 4.7.2, topics beginning with $.
    ("#", "$SYS/broker/uptime", false),
    ("+/monitor/Clients", "$SYS/monitor/Clients", false),
    ("{node}/monitor/Clients", "$SYS/monitor/Clients", false),
    ("$SYS/#", "$SYS/broker", true),
    ("$SYS/#", "$SYS", true),
    ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
    ("a/+", "a/$b", true),
    ("$share", "$share", true),
    // 4.7.3: case, spaces and slashes matter; nothing is normalised.
    ("ACCOUNTS", "Accounts", false),
    ("Accounts payable", "Accounts payable", true),
    ("/finance", "finance", false),
    ("finance", "finance/", false),
    ("a//b", "a/b", false),
    ("a//b", "a//b", true),
    ("/", "/", true),
    ("caf\u{E9}", "caf\u{E9}", true),
    ("caf\u{E9}", "cafe\u{301}", false),
    ("+", "", false),
    ("#", "", false),
  ]

  @Test("Filters match as MQTT 5.0 section 4.7 says", arguments: table)
  func matching(filter: String, topic: String, matches: Bool) throws {
    #expect(try TopicFilter(parsing: filter).matches(topic) == matches)
  }

  @Test("Captures give the levels they stand for, in their order")
  func captures() throws {
    let filter = try TopicFilter(parsing: "sensors/{device}/+/{kind}/#")
    #expect(filter.mqtt == "sensors/+/+/+/#")
    #expect(filter.description == "sensors/{device}/+/{kind}/#")
    #expect(filter.captureNames == ["device", "kind"])
    let found = try #require(filter.captures("sensors/pump-1/x/climate/more/levels"))
    #expect(found.map(\.name) == ["device", "kind"])
    #expect(found.map(\.value) == ["pump-1", "climate"])
    #expect(try #require(filter.captures("sensors//x/é")).map(\.value) == ["", "é"])
    #expect(filter.captures("sensors/pump-1/x") == nil)
    #expect(try #require(TopicFilter(parsing: "a/+").captures("a/b")).isEmpty)
  }

  static let refused: [(filter: String, kind: TopicFilterError.Kind, level: Int?)] = [
    ("", .empty, nil),
    ("sport/tennis#", .wildcardInsideLevel, 2),
    ("sport/tennis/#/ranking", .multiLevelNotLast, 3),
    ("#/", .multiLevelNotLast, 1),
    ("##", .wildcardInsideLevel, 1),
    ("sport+", .wildcardInsideLevel, 1),
    ("a/b+/c", .wildcardInsideLevel, 2),
    ("a/+{x}", .wildcardInsideLevel, 2),
    ("a\u{0}b", .containsNUL, 1),
    ("a/b/\u{0}", .containsNUL, 3),
    ("$share/group/a/#", .sharedSubscription, 1),
    ("sensors/x{device}", .captureInsideLevel, 2),
    ("sensors/{device}x", .captureInsideLevel, 2),
    ("sensors/{a}{b}", .captureInsideLevel, 2),
    ("sensors/{", .captureInsideLevel, 2),
    ("sensors/}", .captureInsideLevel, 2),
    ("sensors/{}", .captureName, 2),
    ("sensors/{name...}", .captureName, 2),
    ("sensors/{1st}", .captureName, 2),
    ("sensors/{dévice}", .captureName, 2),
    ("{a}/{a}", .captureTwice, 2),
  ]

  @Test("Filters that are not valid are refused with kind and level", arguments: refused)
  func refusing(filter: String, kind: TopicFilterError.Kind, level: Int?) {
    let error = #expect(throws: TopicFilterError.self) { try TopicFilter(parsing: filter) }
    #expect(error?.kind == kind)
    #expect(error?.level == level)
    #expect(error?.description.contains("(") == true)
  }

  @Test("65,535 UTF-8 bytes are allowed, one more is not, and captures count as a plus")
  func length() throws {
    let longest = String(repeating: "é", count: 32_767) + "a"
    #expect(try TopicFilter(parsing: longest).matches(longest))
    #expect(throws: TopicFilterError(.tooLong(65_536), level: nil, filter: longest + "b")) {
      try TopicFilter(parsing: longest + "b")
    }
    let captured = "{device}/" + String(repeating: "x", count: 65_533)
    #expect(try TopicFilter(parsing: captured).mqtt.utf8.count == 65_535)
  }

  static let coverage: [(wide: String, narrow: String, covers: Bool)] = [
    ("#", "a/b", true), ("#", "#", true), ("a/#", "a", true), ("a/#", "a/b/#", true),
    ("a/#", "a/+", true), ("a/+", "a/#", false), ("a/+", "a/b", true), ("a/+", "a/+", true),
    ("a/b", "a/+", false), ("a/#", "b", false), ("a/b/#", "a", false), ("a/b/#", "a/#", false),
    ("#", "$SYS/a", false), ("+/a", "$SYS/a", false), ("$SYS/#", "$SYS/a", true),
    ("a/+", "a/$b", true), ("#", "+", true), ("+/#", "#", true), ("#", "+/#", true),
    ("+/+/#", "#", false), ("/+/#", "/#", true), ("a/+/c", "a/{x}/c", true), ("+", "#", false), ("a/#", "a/", true),
  ]

  @Test("One filter covers another if it matches whatever that matches", arguments: coverage)
  func covering(wide: String, narrow: String, covers: Bool) throws {
    #expect(
      try TopicFilter(parsing: wide).covers(TopicFilter(parsing: narrow)) == covers)
  }

  @Test("Coverage and overlap agree with matching on every filter of two levels and topic of three")
  func coverageAgainstMatching() throws {
    let words = ["a", "$b", "", "c"]
    func sequences(_ words: [String], _ lengths: ClosedRange<Int>) -> [[String]] {
      lengths.flatMap { length in
        (0..<length).reduce([[]]) { all, _ in all.flatMap { head in words.map { head + [$0] } } }
      }
    }
    let topics = sequences(words, 1...3).map { $0.joined(separator: "/") }.filter { !$0.isEmpty }
    let filters = try sequences(words + ["+", "#"], 1...2)
      .filter { !$0.dropLast().contains("#") && $0 != [""] }
      .map { try TopicFilter(parsing: $0.joined(separator: "/")) }
    let matched = filters.map { filter in topics.map { filter.matches($0) } }
    for (i, wide) in filters.enumerated() {
      for (j, narrow) in filters.enumerated() {
        let expected = zip(matched[i], matched[j]).allSatisfy { $0 || !$1 }
        #expect(wide.covers(narrow) == expected, "\(wide) covers \(narrow)")
        let both = zip(matched[i], matched[j]).contains { $0 && $1 }
        #expect(wide.overlaps(narrow) == both, "\(wide) overlaps \(narrow)")
      }
    }
  }

  @Test("The covering set drops repeated and covered filters and is sorted")
  func coveringSet() throws {
    func set(_ filters: String...) throws -> [String] {
      TopicFilter.covering(try filters.map { try TopicFilter(parsing: $0) })
    }
    #expect(try set() == [])
    #expect(try set("b/{x}", "a/b", "b/+", "a/b") == ["a/b", "b/+"])
    #expect(try set("sensors/a/climate", "sensors/{d}/climate", "sensors/#") == ["sensors/#"])
    #expect(try set("+/#", "#", "a/b", "$SYS/#") == ["#", "$SYS/#"])
    #expect(try set("a/+", "+/b") == ["+/b", "a/+"])
  }
}
