import Pipeline
import Testing

@Suite("Expressions: what they give")
struct ExpressionEvaluatingTests {
  static let reading = #"""
    {"temperature":21.5,"n":7,"big":9007199254740993,"max":9223372036854775807,"min":-9223372036854775808,
     "huge":18446744073709551615,"third":0.333333333333333333333,"s":"it's","empty":"","nul":"a\u0000b","esc":"\u00e9\n",
     "t":true,"f":false,"none":null,"object":{"temperature":3,"list":[1,{"x":"y"}]},"odd name":1,"key":"own","time":5,
     "select":9,"e":-1.5e3,"dup":1,"dup":2,"ключ":4,"zero":-0,"inf":1e999}
    """#

  static let conditions: [(expression: String, expected: Bool?)] = [
    ("temperature > 21", true),
    ("temperature > 21.5", false),
    ("missing > 21", nil),
    ("none = 1", nil),
    ("none IS NULL", true),
    ("missing IS NULL AND n IS NOT NULL", true),
    ("n", true),
    ("'abc'", false),
    ("'2'", true),
    ("0.5", true),
    ("NULL", nil),
    ("t", true),
    ("f", false),
    ("t IS TRUE AND f IS FALSE", true),
    ("n BETWEEN 7 AND 8 AND n NOT IN (1, 2, 3)", true),
    ("s = 'it''s'", true),
    ("s LIKE 'IT%'", true),
    ("s GLOB 'it*'", true),
    ("s LIKE 'it#''s' ESCAPE '#'", true),
    ("s = 'IT''S' COLLATE NOCASE", true),
    ("empty = '' AND length(empty) = 0", true),
    ("\"object.temperature\" = 3", true),
    ("\"object.list[1].x\" = 'y'", true),
    ("\"object.list[2]\" IS NULL", true),
    ("\"odd name\" = 1", true),
    ("\"[\"\"odd name\"\"]\" = 1", true),
    ("\"select\" = 9", true),
    ("key = 'dev-7' AND \"key\" = 'own'", true),
    ("time = 1795231080000000001 AND \"time\" = 5", true),
    ("received - time = 999999999", true),
    ("topic LIKE 'plant/%' AND area = 'north' AND device = 'dev-7'", true),
    ("dup = 2", true),
    ("ключ = 4", true),
    ("big = 9007199254740993 AND big <> 9007199254740992", true),
    ("max - 1 = 9223372036854775806", true),
    ("min < max AND huge > max", true),
    ("e = -1500", true),
    ("none IS NOT DISTINCT FROM NULL", true),
    ("n /* seven */ = 7 -- always", true),
    ("temperature<30 AND(n=7)", true),
    ("CASE WHEN n > 5 THEN f ELSE t END", false),
    ("inf > 1e308", true),
    ("NOT n = 7", false),
    (".5 < 1 AND 0xFF = 255", true),
  ]

  @Test("A condition is true, false or neither", arguments: conditions)
  func condition(expression: String, expected: Bool?) throws {
    var selection = try Selection(where: expression, select: [], captures: ["area", "device"])
    #expect(selection.hasCondition)
    #expect(try selection.passes(Self.reading) == expected)
    // The same behind another reading: nothing of an evaluation is left behind.
    _ = try selection.passes("{}")
    #expect(try selection.passes(Self.reading) == expected)
  }

  @Test("A pipeline without a condition passes everything")
  func noCondition() throws {
    var selection = try Selection(where: nil, select: ["n + 1 AS m"])
    #expect(!selection.hasCondition)
    #expect(try selection.passes("{}") == true)
  }

  static let values: [(expression: String, expected: String)] = [
    ("n * 2", "14"),
    ("temperature * 1.8 + 32", "70.7"),
    ("n / 2", "3"),
    ("n / 2.0", "3.5"),
    ("n % 4", "3"),
    ("0.1 + 0.2", "0.30000000000000004"),
    ("1e16 * 1", "1e+16"),
    ("1.0", "1.0"),
    ("inf - 1", "null"),
    ("-inf", "null"),
    ("inf - inf", "null"),
    ("big + 0", "9007199254740993"),
    ("max", "9223372036854775807"),
    ("min + 0", "-9223372036854775808"),
    ("max + 1", "9.223372036854776e+18"),
    ("huge + 0", "1.8446744073709552e+19"),
    ("third + 0", "0.3333333333333333"),
    ("+zero", "0"),
    ("missing + 1", "null"),
    ("t + t", "2"),
    ("s || '!'", #""it's!""#),
    ("'\"' || '\\'", #""\"\\""#),
    ("esc || ''", #""é\n""#),
    ("nul || ''", #""a\u0000b""#),
    ("char(1, 127)", "\"\\u0001\u{7F}\""),
    ("upper(s)", #""IT'S""#),
    ("trim('--a-', '-')", #""a""#),
    ("'' || '\t\r'", #""\t\r""#),
    (
      "typeof(n) || typeof(temperature) || typeof(huge) || typeof(none) || typeof(t) || typeof(s)",
      #""integerrealrealnullintegertext""#
    ),
    ("typeof(\"object\")", #""text""#),
    ("json_extract(object, '$.list[1].x')", #""y""#),
    ("object ->> '$.temperature'", "3"),
    ("\"object.list\" -> 0", #""1""#),
    ("json_array_length(\"object.list\")", "2"),
    ("coalesce(missing, none, 'x')", #""x""#),
    ("iif(n > 5, 'high', 'low')", #""high""#),
    ("round(temperature, 0)", "22.0"),
    ("CAST(temperature AS INTEGER)", "21"),
    ("CAST('12' AS INTEGER) + CAST('1.5' AS REAL)", "13.5"),
    ("max(n, 9, 3)", "9"),
    ("format('%05d', n)", #""00007""#),
    ("time", "1795231080000000001"),
    ("key || '@' || topic", #""dev-7@plant/north/dev-7""#),
    ("area", #""north""#),
    ("-\"key\"", "0"),
    ("pow(2, 10)", "1024.0"),
  ]

  @Test("A computed value becomes JSON", arguments: values)
  func computing(expression: String, expected: String) throws {
    #expect(try expressionValue(expression, Self.reading) == expected)
  }

  @Test("Every function of the list can be called, or this SQLite lacks it and says so when compiling")
  func functions() throws {
    let calls = [
      "abs(1)", "acos(1)", "acosh(1)", "asin(1)", "asinh(1)", "atan(1)", "atan2(1, 1)", "atanh(0)", "ceil(1)",
      "ceiling(1)", "char(65)", "coalesce(1, 2)", "cos(1)", "cosh(1)", "degrees(1)", "exp(1)", "floor(1)",
      "format('x')", "glob('a', 'a')", "hex('a')", "ifnull(1, 2)", "iif(1, 2, 3)", "instr('a', 'a')",
      "json_array_length('[]')", "json_extract('[1]', '$[0]')", "json_type('[]')", "json_valid('x')", "length('a')",
      "like('a', 'a')", "ln(1)", "log(1)", "log10(1)", "log2(1)", "lower('A')", "ltrim('a')", "max(1, 2)", "min(1, 2)",
      "mod(3, 2)", "nullif(1, 2)", "pi()", "pow(1, 1)", "power(1, 1)", "printf('x')", "radians(1)",
      "replace('a', 'a', 'b')", "round(1.5)", "rtrim('a')", "sign(1)", "sin(1)", "sinh(1)", "sqrt(1)", "substr('a', 1)",
      "substring('a', 1)", "tan(1)", "tanh(1)", "trim('a')", "trunc(1.5)", "typeof(1)", "unicode('a')", "upper('a')",
    ]
    for call in calls { #expect(try expressionValue(call) != "null", "\(call)") }
  }

  // MARK: Fences at evaluation

  static let failing: [(expression: String, json: String, kind: EvaluationError.Kind)] = [
    ("abs(a)", #"{"a":-9223372036854775808}"#, .function),
    ("json_extract(a, '$.x')", #"{"a":"secret{"}"#, .function),
    ("json_extract('{}', a)", #"{"a":"secret"}"#, .function),
    ("'x' LIKE 'y' ESCAPE a", #"{"a":"secret"}"#, .function),
    ("hex(format('%60000d', 1))", "{}", .tooLong),
    ("replace(hex(hex(hex(hex(hex(hex(a)))))), '3', hex(hex(hex(hex(hex(a))))))", #"{"a":"333333333333"}"#, .tooLong),
    ("char(55296)", "{}", .invalidUTF8),
  ]

  @Test("An evaluation that cannot be ends in an error that holds nothing of the reading", arguments: failing)
  func failure(expression: String, json: String, kind: EvaluationError.Kind) throws {
    var selection = try Selection(where: nil, select: ["1 + 1 AS two", "*", "\(expression) AS x", "'x' AS y"])
    var output = Array("before".utf8)
    let error = try #require(throws: EvaluationError.self) {
      try withTape(json.utf8) { try selection.append($0, 0, in: $1, someContext, to: &output) }
    }
    #expect(error.kind == kind)
    #expect(error.place == .selected(2))
    #expect(!error.description.contains("secret"))
    #expect(output == Array("before".utf8))
  }

  @Test(
    "A width beyond the bound gives null, whoever asks for it",
    arguments: [
      "format('%999999999d', 1)", "format('%*d', a, 1)", "printf('%.*f', a, 1)", "format('%65537s', '')",
    ])
  func widths(expression: String) throws {
    #expect(try expressionValue(expression, #"{"a":2147483647}"#) == "null")
    #expect(try expressionValue("length(format('%60000d', 1))") == "60000")
  }

  @Test("After an error the next reading is evaluated as if nothing had been")
  func afterError() throws {
    var selection = try Selection(where: "abs(a) > 1", select: ["abs(a) AS b"])
    #expect(throws: EvaluationError(kind: .function, place: .condition)) {
      try selection.passes(#"{"a":-9223372036854775808}"#)
    }
    #expect(try selection.passes(#"{"a":-2}"#) == true)
    #expect(throws: EvaluationError(kind: .function, place: .selected(0))) {
      try selection.select(#"{"a":-9223372036854775808}"#)
    }
    #expect(try selection.select(#"{"a":-2}"#) == #"{"b":2}"#)
  }

  @Test("A field longer than the bound is an error where it is computed with, and none where it is not")
  func longField() throws {
    let bound = ExpressionLimits.standard.textBytes
    func json(_ count: Int) -> String { #"{"a":"\#(String(repeating: "x", count: count))","b":1}"# }
    var selection = try Selection(where: "length(a) > 1", select: ["a", "b + 1 AS c"])
    #expect(try selection.passes(json(bound)) == true)
    #expect(throws: EvaluationError(kind: .tooLong, place: .condition)) { try selection.passes(json(bound + 1)) }
    #expect(try selection.select(json(bound + 1)).count == bound + 1 + 14)
  }

  @Test("A pattern from a reading is bounded")
  func longPattern() throws {
    var selection = try Selection(where: "'aaaaaaaaaaaaaaaaaaaaaaaa' LIKE a", select: [])
    let bound = ExpressionLimits.standard.patternBytes
    #expect(try selection.passes(#"{"a":"\#(String(repeating: "%a", count: bound / 2))"}"#) == false)
    #expect(throws: EvaluationError(kind: .function, place: .condition)) {
      try selection.passes(#"{"a":"\#(String(repeating: "%a", count: bound / 2))%"}"#)
    }
  }

  @Test("An evaluation ends after its number of steps, each time anew")
  func steps() throws {
    var limits = ExpressionLimits.standard
    limits.steps = 20
    var short = try Selection(where: "a > 1", select: [], limits: limits)
    for _ in 0..<100 { #expect(try short.passes(#"{"a":2}"#) == true) }
    let terms = (0..<40).map { "a + \($0)" }.joined(separator: " + ")
    var long = try Selection(where: terms, select: [], limits: limits)
    #expect(throws: EvaluationError(kind: .tooManySteps, place: .condition)) { try long.passes(#"{"a":2}"#) }
  }

  @Test("A blob, should one ever come out, is told apart")
  func blob() throws {
    let statement = try ExpressionConnection().prepare("SELECT x'00'")
    #expect(statement.evaluate() == nil)
    guard case .blob = statement.result(0) else { return #expect(Bool(false), "no blob") }
    statement.reset()
  }

  // MARK: Hostile readings

  @Test(
    "A reading's text is a value, never SQL",
    arguments: [
      "'; DROP TABLE x; --", "\" OR 1=1 --", "?1", "'||(SELECT 1)||'", "\u{1}\u{7F}", "/*", "\u{0}x", "😀é", "now",
    ])
  func hostileText(text: String) throws {
    var json: [UInt8] = []
    json += Array("{\"a\":\"".utf8) + JSONText.escape(text) + Array("\"}".utf8)
    var selection = try Selection(where: "a = a AND a IS NOT NULL", select: ["a || '' AS b"])
    let string = String(decoding: json, as: UTF8.self)
    #expect(try selection.passes(string) == true)
    #expect(
      try selection.select(string) == "{\"b\":\"" + String(decoding: JSONText.escape(text), as: UTF8.self) + "\"}")
  }

  @Test("Fields may have any name")
  func hostileNames() throws {
    let json = #"{"?1":1,"a\"b":2,"'":3,"); --":4,"":5,"\u0061":6}"#
    var selection = try Selection(
      where: nil,
      select: [#""?1" + 0 AS a"#, #""[""a\""b""]" + 0 AS b"#, #""'" + 0 AS c"#, #""); --" + 0 AS d"#, "a + 0 AS e"])
    #expect(try selection.select(json) == #"{"a":1,"b":2,"c":3,"d":4,"e":6}"#)
  }

  @Test("Numbers are the nearest there is", arguments: 0..<4)
  func numbers(seed: Int) throws {
    var generator = SeededGenerator(seed: UInt64(seed))
    var selection = try Selection(where: nil, select: ["+a AS a"])
    for _ in 0..<2_000 {
      var text = Bool.random(using: &generator) ? "-" : ""
      let whole = (0..<Int.random(in: 1...22, using: &generator)).map { _ in
        String(Int.random(in: 0...9, using: &generator))
      }.joined()
      let stripped = whole.drop { $0 == "0" }
      text += stripped.isEmpty ? "0" : String(stripped)
      if Bool.random(using: &generator) {
        text += "."
        for _ in 0..<Int.random(in: 1...20, using: &generator) {
          text += String(Int.random(in: 0...9, using: &generator))
        }
      }
      if Int.random(in: 0..<4, using: &generator) == 0 { text += "e\(Int.random(in: -330...310, using: &generator))" }
      let expected: String
      if let integer = Int64(text) {
        expected = String(integer)
      } else {
        let real = try #require(Double(text))
        expected = real.isFinite ? real.description : "null"
      }
      #expect(try selection.select(#"{"a":\#(text)}"#) == #"{"a":\#(expected)}"#)
    }
  }

  @Test("A number of a million digits takes no long time")
  func longNumber() throws {
    var selection = try Selection(where: "a > 1e300", select: [])
    #expect(try selection.passes(#"{"a":\#(String(repeating: "9", count: 1_000_000))}"#) == true)
    #expect(try selection.passes(#"{"a":0.\#(String(repeating: "9", count: 1_000_000))}"#) == false)
  }
}
