import Pipeline
import Telemetry
import Testing

extension ExpectationChecks {
  /// A reading's findings. Times are in seconds.
  mutating func check(
    _ text: String, key: String = "d", at time: Int64 = 0, received: Int64? = nil
  ) throws -> [Finding] {
    let bytes = Array(text.utf8)
    let tape = try read(bytes).get()
    return bytes.withUnsafeBytes { bytes in
      Array(key.utf8).withUnsafeBytes {
        check(
          key: $0, time: time * 1_000_000_000, received: (received ?? time) * 1_000_000_000, tape: tape, in: bytes)
      }
    }
  }

  /// The kinds of what is found in values of the field `v`, one reading a second.
  mutating func kinds(_ values: [String], from time: Int64 = 1) throws -> [[Finding.Kind]] {
    var kinds: [[Finding.Kind]] = []
    for (number, value) in values.enumerated() {
      kinds.append(try check(#"{"v":\#(value)}"#, at: time + Int64(number)).map(\.kind))
    }
    return kinds
  }
}

private func expect(
  _ rule: Pipeline.Expectation.Rule, _ action: Pipeline.Expectation.Action = .tag
) throws -> Pipeline.Expectation {
  Pipeline.Expectation(path: try FieldPath(parsing: "v"), rule: rule, action: action)
}

@Suite("Contracts")
struct ContractTests {
  @Test("Versions have one to three numbers and are ordered by them")
  func versions() throws {
    #expect(ContractVersion("1") == ContractVersion(major: 1, minor: 0, patch: 0))
    #expect(ContractVersion("1.2")?.description == "1.2.0")
    let ordered = ["0.9.9", "1.0.0", "1.2.0", "1.2.10", "1.10.0", "10.0.0"].compactMap { ContractVersion($0) }
    #expect(ordered.count == 6 && ordered == ordered.reversed().sorted())
    for text in ["", "1.", ".1", "1.2.3.4", "01.2", "1.2.x", "1.-2", "1234567890", "1.2.0-rc1", " 1"] {
      #expect(ContractVersion(text) == nil, "\(text)")
    }
    let contract = Contract(name: "climate", version: ordered[2], schema: try schema("true"), digest: .zero)
    #expect(contract.description == "climate@1.2.0")
  }

  @Test("Exact numbers are JSON numbers and nothing else")
  func exactNumbers() {
    for text in ["0", "-1.5e300", "18446744073709551616"] { #expect(ExactNumber(text)?.description == text) }
    for text in ["", "x", "1 ", "+1", "01", "\"1\"", "[1]"] { #expect(ExactNumber(text) == nil) }
  }

  // MARK: Rules

  @Test("A range holds its bounds, exactly; other types meet it")
  func range() throws {
    let rule = Pipeline.Expectation.Rule.range(
      minimum: ExactNumber("-0.1"), maximum: ExactNumber("9007199254740993"))
    var checks = ExpectationChecks([try expect(rule, .deadLetter)], limit: 1)
    let values = [
      "-0.1", "-0.1000000000000000000001", "9007199254740993", "9007199254740994", "\"x\"", "null", "1e999",
    ]
    #expect(try checks.kinds(values) == [[], [.range], [], [.range], [], [], [.range]])
    let finding = try #require(try checks.check(#"{"v":-77}"#).first)
    #expect(finding.action == .deadLetter && finding.expectation == 0)
    #expect(finding.description == "v: it is less than -0.1")
    #expect(checks.count == 0, "a range needs no memory")
    #expect(try checks.check(#"{"w":1}"#) == [])
  }

  @Test("A number that must not fall may stay, unless it must grow")
  func monotonic() throws {
    let values = ["1", "1", "2", "1.5", "1.6", "18446744073709551616", "18446744073709551615"]
    var growing = ExpectationChecks([try expect(.increasing(strictly: false))], limit: 1)
    #expect(try growing.kinds(values) == [[], [], [], [.monotonic], [], [], [.monotonic]])
    var strict = ExpectationChecks([try expect(.increasing(strictly: true))], limit: 1)
    #expect(try strict.kinds(values) == [[], [.monotonic], [], [.monotonic], [], [], [.monotonic]])
    var falling = ExpectationChecks([try expect(.decreasing(strictly: false))], limit: 1)
    #expect(try falling.kinds(["3", "2", "2.0", "4", "null", "3"]) == [[], [], [], [.monotonic], [], []])
  }

  @Test("A value that stays is found by the number of readings, or by the time")
  func stuck() throws {
    var byCount = ExpectationChecks([try expect(.changing(readings: 3, nanoseconds: nil))], limit: 1)
    #expect(try byCount.kinds(["5", "5.0", "50e-1", "5", "6", "5", "5"]) == [[], [], [.stuck], [.stuck], [], [], []])
    var byTime = ExpectationChecks([try expect(.changing(readings: nil, nanoseconds: 10_000_000_000))], limit: 1)
    #expect(try byTime.check(#"{"v":"on"}"#, at: 0) == [])
    #expect(try byTime.check(#"{"v":"on"}"#, at: 9) == [])
    #expect(try byTime.check(#"{"v":"on"}"#, at: 10).map(\.description) == ["v: it has been the same for 10 s or more"])
    #expect(try byTime.check(#"{"v":"off"}"#, at: 11) == [])
  }

  @Test("A jump is measured from reading to reading, or by the second")
  func jump() throws {
    var step = ExpectationChecks([try expect(.step(maximum: 2.5))], limit: 1)
    let values = ["1", "3.5", "0.9", "-1e308", "1e308", "1e999", "1e308"]
    #expect(try step.kinds(values) == [[], [], [.jump], [.jump], [.jump], [], []])
    var slope = ExpectationChecks([try expect(.slope(maximumPerSecond: 2))], limit: 1)
    #expect(try slope.check(#"{"v":0}"#, at: 0) == [])
    #expect(try slope.check(#"{"v":20}"#, at: 10) == [])
    #expect(try slope.check(#"{"v":25}"#, at: 12).map(\.kind) == [.jump])
    #expect(try slope.check(#"{"v":99}"#, at: 12) == [], "the same time says nothing about the slope")
  }

  @Test("A share of nulls is taken of the last readings, once there are so many")
  func nullShare() throws {
    var checks = ExpectationChecks([try expect(.nullShare(maximum: 0.5, readings: 4))], limit: 1)
    let values = ["null", "null", "null", "1", "null", "1", "1", "1", "null", "null"]
    #expect(try checks.kinds(values) == [[], [], [], [], [.nullShare], [], [], [], [], []])
    #expect(try checks.check("{}").map(\.kind) == [.nullShare], "a missing field is like null")
    for window in [1, 63, 64, 65, 1_024] {
      var checks = ExpectationChecks([try expect(.nullShare(maximum: 0.999, readings: window))], limit: 1)
      let found = try checks.kinds(Array(repeating: "null", count: window + 1))
      #expect(found == Array(repeating: [], count: window - 1) + [[.nullShare], [.nullShare]], "\(window)")
    }
  }

  @Test("A reading is stale by its own time against its receipt")
  func freshness() throws {
    let fresh = Pipeline.Expectation(path: nil, rule: .fresh(nanoseconds: 5_000_000_000), action: .count)
    var checks = ExpectationChecks([fresh], limit: 1)
    #expect(try checks.check("{}", at: 10, received: 15) == [])
    #expect(try checks.check("{}", at: 10, received: 16).map(\.kind) == [.freshness])
    #expect(try checks.check("{}", at: 20, received: 16) == [], "a clock that runs ahead is not stale")
    let text: [UInt8] = [0x31]
    let tape = try read(text).get()
    let extremes = text.withUnsafeBytes { bytes in
      [(Int64.min, Int64.max), (.max, .min)].map {
        checks.check(key: bytes, time: $0.0, received: $0.1, tape: tape, in: bytes).count
      }
    }
    #expect(extremes == [1, 0])
  }

  @Test("A reading out of order is neither compared nor remembered; a clock that ran ahead is forgotten")
  func order() throws {
    var checks = ExpectationChecks([try expect(.increasing(strictly: false))], limit: 1)
    #expect(try checks.check(#"{"v":10}"#, at: 100) == [])
    #expect(try checks.check(#"{"v":5}"#, at: 90, received: 101) == [])
    #expect(try checks.check(#"{"v":9}"#, at: 102).map(\.kind) == [.monotonic])
    #expect(try checks.check(#"{"v":50}"#, at: 1_000_000, received: 103) == [])
    #expect(try checks.check(#"{"v":1}"#, at: 104) == [], "what came from the future is no measure")
    #expect(try checks.check(#"{"v":0}"#, at: 105).map(\.kind) == [.monotonic])
  }

  // MARK: State

  private static func all() throws -> [Pipeline.Expectation] {
    [
      try expect(.increasing(strictly: false)), try expect(.changing(readings: 3, nanoseconds: nil)),
      try expect(.step(maximum: 2)), try expect(.nullShare(maximum: 0.2, readings: 5)),
      try expect(.slope(maximumPerSecond: 1)), try expect(.range(minimum: ExactNumber("0"), maximum: nil)),
    ]
  }

  @Test("Devices are told apart, and the one seen least recently is forgotten past the limit")
  func devices() throws {
    var checks = ExpectationChecks([try expect(.increasing(strictly: false))], limit: 2)
    _ = try checks.check(#"{"v":9}"#, key: "a")
    _ = try checks.check(#"{"v":9}"#, key: "b")
    #expect(try checks.check(#"{"v":1}"#, key: "a").count == 1)
    #expect(try checks.check(#"{"v":1}"#, key: "c") == [])
    #expect(checks.count == 2 && checks.evicted == 1)
    #expect(try checks.check(#"{"v":0}"#, key: "a").count == 1)
    #expect(try checks.check(#"{"v":0}"#, key: "b") == [], "it was forgotten")
  }

  @Test("State stored after every reading and restored goes on as if nothing had happened")
  func restoring() throws {
    var straight = ExpectationChecks(try ContractTests.all(), limit: 8)
    var restored = straight
    var store: [[UInt8]: [UInt8]] = [:]
    var state: UInt64 = 7
    var found = 0
    for step in 0..<400 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let value = ["1", "2", "null", "-1", "2.50", "18446744073709551616", "\"x\""][Int(state >> 40) % 7]
      let key = "d\(Int(state >> 33) % 12)"
      let expected = try straight.check(#"{"v":\#(value)}"#, key: key, at: Int64(step))
      #expect(try restored.check(#"{"v":\#(value)}"#, key: key, at: Int64(step)) == expected)
      found += expected.count
      for row in restored.changes() { store[row.key] = row.value }
      let rows = store.map { StateRow(key: $0.key, value: $0.value) }
      restored = try ExpectationChecks(try ContractTests.all(), limit: 8, restoring: rows)
      #expect(restored.count == straight.count)
    }
    #expect(found > 100)
  }

  @Test("Only devices that changed are written again")
  func changes() throws {
    var checks = ExpectationChecks([try expect(.step(maximum: 1))], limit: 8)
    for key in ["a", "b", "c"] { _ = try checks.check(#"{"v":1}"#, key: key) }
    #expect(checks.changes().count == 4, "three devices and the clock")
    checks.stored()
    #expect(checks.changes().isEmpty)
    _ = try checks.check(#"{"v":2}"#, key: "b")
    #expect(checks.changes().map(\.key) == [[0], [1] + Array("b".utf8)])
  }

  @Test("What was kept for other expectations is forgotten, what was kept under other bounds is not")
  func otherExpectations() throws {
    var checks = ExpectationChecks([try expect(.step(maximum: 1))], limit: 8)
    _ = try checks.check(#"{"v":1}"#)
    let rows = checks.changes()
    var wider = try ExpectationChecks([try expect(.step(maximum: 5))], limit: 8, restoring: rows)
    #expect(try wider.check(#"{"v":9}"#).count == 1)
    var other = try ExpectationChecks([try expect(.increasing(strictly: true))], limit: 8, restoring: rows)
    #expect(try other.check(#"{"v":0}"#) == [])
  }

  @Test("Damaged state is refused or taken, never a crash")
  func damage() throws {
    var checks = ExpectationChecks(try ContractTests.all(), limit: 8)
    for step in 0..<5 { _ = try checks.check(#"{"v":\#(step)}"#, at: Int64(step)) }
    let rows = checks.changes()
    var refused = 0
    for (number, row) in rows.enumerated() {
      let value = try #require(row.value)
      for length in 0..<value.count {
        var cut = rows
        cut[number].value = Array(value.prefix(length))
        #expect(throws: StateDamage.self) {
          try ExpectationChecks(try ContractTests.all(), limit: 8, restoring: cut)
        }
      }
      for position in value.indices {
        for bit in 0..<8 {
          var flipped = rows
          flipped[number].value?[position] ^= 1 << UInt8(bit)
          do {
            var restored = try ExpectationChecks(try ContractTests.all(), limit: 8, restoring: flipped)
            _ = try restored.check(#"{"v":3}"#, at: 9)
          } catch is StateDamage { refused += 1 }
        }
      }
    }
    #expect(refused > 20)
  }
}
