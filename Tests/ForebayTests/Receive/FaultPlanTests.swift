import Testing

@testable import forebay

@Suite struct FaultPlanTests {
  @Test("every kind, portion and option can be written")
  func grammar() throws {
    #expect(try FaultRule("503").effect == .status(503))
    #expect(try FaultRule("503x3").portion == .first(3))
    #expect(try FaultRule("silent%2.5").portion == .percent(2.5))
    let throttled = try FaultRule("429x2:retry-after=2")
    #expect(throttled.effect == .status(429) && throttled.retryAfter == 2)
    let large = try FaultRule("413:over=1000,matching=a,b=c x5")
    #expect(large.over == 1000 && large.matching == Array("a,b=c x5".utf8))
    for (name, effect) in FaultRule.kinds {
      #expect(try FaultRule(name).effect == effect)
      #expect(try FaultRule("\(name)x7").portion == .first(7))
    }
  }

  @Test(
    "what cannot be read is refused with its column",
    arguments: [
      ("", 1), ("oops", 1), ("99", 1), ("600", 1), ("503y3", 4), ("503x", 5), ("503x0", 5),
      ("503%0", 5), ("503%101", 5), ("429:", 5), ("429:after=2", 5), ("429:retry-after=2x3", 17),
      ("413:over=-1", 10), ("400:matching=", 14), ("413:over=1,", 12),
    ])
  func errors(text: String, column: Int) throws {
    let error = #expect(throws: FaultGrammarError.self) { _ = try FaultRule(text) }
    #expect(error?.column == column, "\(String(describing: error))")
    #expect(error?.text == text)
  }

  @Test("a control file has a rule a line, and errors name the line")
  func file() throws {
    let rules = try FaultRule.rules(file: "# none yet\n\n503x2\r\nsilent\n", path: "fail")
    #expect(rules.map(\.effect) == [.status(503), .silent])
    let error = #expect(throws: FaultGrammarError.self) {
      _ = try FaultRule.rules(file: "503\n# no\nnope", path: "DIR/fail")
    }
    #expect(error?.place == "DIR/fail:3")
  }

  @Test("the first rule that applies wins, and is used up by what it applies to only")
  func order() throws {
    var plan = FaultPlan([
      try FaultRule("413x2:over=10"), try FaultRule("400:matching=bad"), try FaultRule("503x1"),
    ])
    func next(_ length: Int, _ body: String) -> FaultRule.Effect? {
      plan.next(length: length, body: Array(body.utf8))?.effect
    }
    #expect(next(10, "good") == .status(503))
    #expect(next(10, "good") == nil)
    #expect(next(11, "good") == .status(413))
    #expect(next(10, "so bad") == .status(400))
    #expect(next(99, "bad") == .status(413))
    #expect(next(99, "bad") == .status(400))
    #expect(next(99, "ba") == nil)
  }

  @Test("a percentage is met, and drawn alike from the same seed")
  func percentage() throws {
    func draws(_ seed: UInt64) throws -> [Bool] {
      var plan = FaultPlan([try FaultRule("503%20")], seed: seed)
      return (0..<5000).map { _ in plan.next(length: 1, body: []) != nil }
    }
    let hits = try draws(1).count { $0 }
    #expect((900...1100).contains(hits))
    #expect(try draws(1) == draws(1))
    #expect(try draws(1) != draws(2))
  }
}
