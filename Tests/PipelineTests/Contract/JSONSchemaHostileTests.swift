import Pipeline
import Testing

@Suite("JSON Schema: hostile values")
struct JSONSchemaHostileTests {
  static let numbers: [(schema: String, value: String, fits: Bool)] = [
    (#"{"const": 1}"#, "1.0", true), (#"{"const": 1}"#, "10e-1", true), (#"{"const": 0}"#, "-0.0e9", true),
    (#"{"const": 9007199254740993}"#, "9007199254740992", false),
    (#"{"const": 9007199254740993}"#, "9007199254740993.000", true),
    (#"{"type": "integer"}"#, "1e400", true), (#"{"type": "integer"}"#, "1e-400", false),
    (#"{"type": "integer"}"#, "12.50e1", true), (#"{"type": "integer"}"#, "12.55e1", false),
    (#"{"type": "integer"}"#, "0e-99999999999999999999999", true),
    (#"{"maximum": 1e400}"#, "1e401", false), (#"{"maximum": 1e400}"#, "9.99e399", true),
    (#"{"maximum": 18446744073709551615}"#, "18446744073709551616", false),
    (#"{"maximum": 18446744073709551615}"#, "18446744073709551615.0", true),
    (#"{"minimum": -0.1}"#, "-0.10000000000000000000000000000000000001", false),
    (#"{"minimum": -0.1}"#, "-0.09999999999999999999999999999999999999", true),
    (#"{"exclusiveMaximum": 123456789012345678901234567890}"#, "123456789012345678901234567889.9", true),
    (#"{"exclusiveMaximum": 123456789012345678901234567890}"#, "1.2345678901234567890123456789e29", false),
    (#"{"multipleOf": 0.01}"#, "19.99", true), (#"{"multipleOf": 0.01}"#, "19.995", false),
    (#"{"multipleOf": 3}"#, "1e999999999999999999", false), (#"{"multipleOf": 2}"#, "1e999999999999999999", true),
    (#"{"multipleOf": 7}"#, "7e999999999999999999", true),
    (#"{"multipleOf": 7}"#, "123456789012345678901234567891", false),
    (#"{"multipleOf": 7}"#, "123456789012345678901234567890", true),
    (#"{"multipleOf": 9999999999999999999}"#, "99999999999999999990000000000000000000", true),
    (#"{"multipleOf": 1e-5}"#, "1e-99999999999999999999", false),
    (#"{"maximum": 1}"#, "1e99999999999999999999999999999999999999999", false),
    (#"{"maximum": 1}"#, "1e-99999999999999999999999999999999999999999", true),
    (#"{"minLength": 1e400}"#, #""a""#, false), (#"{"maxLength": 1e400}"#, #""a""#, true),
    (#"{"maxLength": 2.0}"#, #""\ud83d\ude00\u00e4""#, true), (#"{"maxLength": 1}"#, #""\ud83d\ude00x""#, false),
  ]

  @Test("Numbers are compared exactly, whatever their size", arguments: numbers)
  func exactNumbers(text: String, value: String, expected: Bool) throws {
    #expect(try fits(value, try schema(text)) == expected)
  }

  @Test("Numbers order as their values do, however they are written")
  func order() throws {
    // Each list holds ways to write the same number; the lists ascend.
    let ascending = [
      ["-1e400"], ["-18446744073709551616", "-18446744073709551616.0"], ["-2", "-2.0", "-20e-1"],
      ["-0.3", "-3e-1"], ["0", "-0", "0.000", "0e5"], ["1e-400"], ["0.1", "0.10", "1e-1", "100e-3"], ["0.11"],
      ["1", "1.0", "0.1e1"], ["9.99"], ["10", "1e1", "1.0e+1"], ["99999999999999999999"],
      ["100000000000000000000", "1e20"], ["100000000000000000000.0000000000000000001"], ["1e400", "10e399"],
    ]
    for (place, ways) in ascending.enumerated() {
      for way in ways {
        for (otherPlace, others) in ascending.enumerated() {
          for other in others {
            let pair = "\(way) \(other)"
            #expect(try fits(other, try schema(#"{"minimum": \#(way)}"#)) == (otherPlace >= place), "\(pair)")
            #expect(try fits(other, try schema(#"{"exclusiveMaximum": \#(way)}"#)) == (otherPlace < place), "\(pair)")
            #expect(try fits(other, try schema(#"{"const": \#(way)}"#)) == (otherPlace == place), "\(pair)")
            #expect(try fits("[\(way),\(other)]", try schema(#"{"uniqueItems": true}"#)) == (otherPlace != place))
          }
        }
      }
    }
  }

  @Test("A number of a hundred thousand digits is compared within its length")
  func longNumbers() throws {
    let digits = String(repeating: "9", count: 100_000)
    #expect(try fits(digits, try schema(#"{"maximum": 1e100000}"#)))
    #expect(try fits(digits, try schema(#"{"maximum": 9e99999}"#)) == false)
    #expect(try fits(digits, try schema(#"{"multipleOf": 9}"#)))
    #expect(try fits("0.\(digits)", try schema(#"{"exclusiveMaximum": 1}"#)))
  }

  @Test("Values are equal whatever the order of members and the way strings are written")
  func equality() throws {
    let compiled = try schema(#"{"const": {"a": [1, {"x": "\u00e4", "y": null}], "b": true}}"#)
    #expect(try fits(#"{"b":true,"a":[1.0,{"y":null,"x":"ä"}]}"#, compiled))
    #expect(try fits(#"{"b":true,"\u0061":[1e0,{"y":null,"x":"\u00E4"}]}"#, compiled))
    #expect(try fits(#"{"b":true,"a":[{"y":null,"x":"ä"},1]}"#, compiled) == false)
    #expect(try fits(#"{"b":false,"a":[1,{"y":null,"x":"ä"}]}"#, compiled) == false)
    #expect(try fits(#"[{"a":1,"b":2},{"b":2.0,"a":1}]"#, try schema(#"{"uniqueItems": true}"#)) == false)
  }

  @Test("A large array of different elements is found unique without comparing each with each")
  func unique() throws {
    let compiled = try schema(#"{"uniqueItems": true}"#)
    let elements = (0..<100_000).map { "\($0)" }
    let text = Array("[\(elements.joined(separator: ","))]".utf8)
    #expect(try violation(of: text, compiled) == nil)
    let twice = Array("[\((elements + ["77777.0"]).joined(separator: ","))]".utf8)
    #expect(try violation(of: twice, compiled)?.kind == .keyword(.uniqueItems))
  }

  static let evilPatterns = ["^(a+)+$", "(a|aa)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*)*b\\\\1c"]

  @Test("A pattern that backtracks without end is stopped with its own reason", arguments: evilPatterns)
  func patterns(pattern: String) throws {
    let compiled = try schema(#"{"pattern": "\#(pattern)"}"#)
    for length in [30, 3_000, 300_000] {
      let text = Array(#""\#(String(repeating: "a", count: length))!""#.utf8)
      let clock = ContinuousClock()
      var found: Violation?
      let time = try clock.measure { found = try violation(of: text, compiled) }
      let kind = try #require(found).kind
      #expect(kind == .limit(.pattern) || kind == .keyword(.pattern))
      #expect(time < .seconds(20), "\(length)")
    }
  }

  @Test("Stopping at a limit is never taken for fitting, not even behind not")
  func stoppedBehindNot() throws {
    let text = Array(#""\#(String(repeating: "a", count: 40))!""#.utf8)
    for outer in [#"{"not": $}"#, #"{"anyOf": [$, true]}"#, #"{"if": $, "else": true}"#] {
      let compiled = try schema(outer.replacing("$", with: #"{"pattern": "^(a|aa)+$"}"#))
      #expect(try violation(of: text, compiled)?.kind == .limit(.pattern), "\(outer)")
    }
  }

  @Test("A text that is too long for a pattern is not searched")
  func longText() throws {
    let text = Array(#""\#(String(repeating: "a", count: 2_000_000))""#.utf8)
    #expect(try violation(of: text, try schema(#"{"pattern": "a"}"#))?.kind == .limit(.pattern))
  }

  @Test("A schema of itself follows a value as deep as a value can be")
  func deepValues() throws {
    let compiled = try schema(
      ##"{"$defs": {"n": {"allOf": [{"$ref": "#"}]}}, "type": ["array", "null"], "items": {"$ref": "#/$defs/n"}}"##)
    let depth = JSONTape.maximumDepth
    let inside = String(repeating: "[", count: depth - 1) + "null" + String(repeating: "]", count: depth - 1)
    #expect(try fits(inside, compiled))
    #expect(try fits(inside.replacing("null", with: "1"), compiled) == false)
  }

  @Test("Schemas nested deeper than allowed end in a violation of their own")
  func depth() throws {
    let compiled = try schema(
      ##"{"type": ["array", "null"], "items": {"$ref": "#"}}"##, .init(limits: .init(depth: 20)))
    #expect(try fits("[[[[null]]]]", compiled))
    let deep = Array((String(repeating: "[", count: 50) + String(repeating: "]", count: 50)).utf8)
    #expect(try violation(of: deep, compiled)?.kind == .limit(.depth))
    // A chain of 250 references, each of which takes two levels.
    let links = (0..<250).map { ##""a\##($0)":{"allOf":[{"$ref":"#/$defs/a\##($0 + 1)"}]}"## }
    let chain = try schema(
      ##"{"$defs":{\##(links.joined(separator: ",")),"a250":{"type":"null"}},"$ref":"#/$defs/a0"}"##)
    #expect(try fits("null", chain))
    #expect(try violations(of: "1", chain).map(\.keywordLocation) == ["/$defs/a250/type"])
    // A circle through $dynamicRef is not seen before.
    let circle = try schema(##"{"$dynamicAnchor": "a", "anyOf": [{"$dynamicRef": "#a"}]}"##)
    #expect(try violation(of: [0x31], circle)?.kind == .limit(.depth))
  }

  @Test("Work that grows with a power of the depth comes to an end")
  func work() throws {
    let compiled = try schema(
      ##"{"anyOf": [{"items": {"$ref": "#"}, "minItems": 1}, {"items": {"$ref": "#"}, "minItems": 1}]}"##)
    let depth = 60
    let text = Array((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8)
    #expect(try violation(of: text, compiled)?.kind == .limit(.work))
  }

  @Test("Looked-at members are known through references, alternatives and conditions")
  func unevaluated() throws {
    let compiled = try schema(
      #"""
      {"$ref": "#/$defs/base", "properties": {"a": true},
       "if": {"properties": {"kind": {"const": "x"}}, "required": ["kind"]}, "then": {"properties": {"x": true}},
       "anyOf": [{"properties": {"p": {"type": "number"}}, "required": ["p"]}, {"properties": {"q": true}}],
       "unevaluatedProperties": false, "$defs": {"base": {"patternProperties": {"^b": true}}}}
      """#)
    #expect(try fits(#"{"a":1,"b1":2,"kind":"x","x":3,"p":4,"q":5}"#, compiled))
    #expect(try fits(#"{"kind":"y"}"#, compiled) == false)
    #expect(try fits(#"{"p":"no number"}"#, compiled) == false)
    #expect(try fits(#"{"x":1}"#, compiled) == false)
  }

  @Test("Random schemas over random values never crash, and answer the same twice")
  func random() throws {
    var state: UInt64 = 42
    func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    func member(_ depth: Int) -> String { "\"\(["a", "b", "c"][next(3)])\":\(value(depth + 1))" }
    func value(_ depth: Int) -> String {
      switch next(depth > 3 ? 5 : 7) {
      case 0: "null"
      case 1: "true"
      case 2: "\(next(5) - 2)"
      case 3: "\(next(40)).5e\(next(3) - 1)"
      case 4: "\"\("abä\\u0041\\n".prefix(next(4)))\""
      case 5: "[\((0..<next(4)).map { _ in value(depth + 1) }.joined(separator: ","))]"
      default: "{\((0..<next(4)).map { _ in member(depth) }.joined(separator: ","))}"
      }
    }
    func part(_ depth: Int) -> String {
      if depth > 3 { return next(2) == 0 ? "true" : "{}" }
      let sub = { part(depth + 1) }
      let keywords = (0..<1 + next(4)).map { _ -> String in
        switch next(18) {
        case 0: #""type":"\#(["object", "array", "string", "integer", "number", "null"][next(6)])""#
        case 1: #""properties":{"a":\#(sub()),"b":\#(sub())}"#
        case 2: #""required":["a"]"#
        case 3: #""additionalProperties":\#(sub())"#
        case 4: #""items":\#(sub())"#
        case 5: #""prefixItems":[\#(sub())]"#
        case 6: #""contains":\#(sub())"#
        case 7: #""anyOf":[\#(sub()),\#(sub())]"#
        case 8: #""oneOf":[\#(sub()),\#(sub())]"#
        case 9: #""allOf":[\#(sub())]"#
        case 10: #""not":\#(sub())"#
        case 11: #""if":\#(sub()),"then":\#(sub())"#
        case 12: #""unevaluatedProperties":false"#
        case 13: #""unevaluatedItems":\#(sub())"#
        case 14: #""enum":[\#(value(2)),\#(value(2))]"#
        case 15: #""minimum":\#(next(5)),"multipleOf":0.5"#
        case 16: #""pattern":"^[ab]","uniqueItems":true"#
        default: #""propertyNames":{"maxLength":1},"patternProperties":{"b":\#(sub())}"#
        }
      }
      return "{\(keywords.joined(separator: ","))}"
    }
    var fitting = 0
    for _ in 0..<3_000 {
      let compiled = try schema(part(0))
      let text = Array(value(0).utf8)
      let first = try violation(of: text, compiled)
      #expect(try violation(of: text, compiled) == first)
      let tape = try read(text).get()
      let all = text.withUnsafeBytes { compiled.violations(of: tape, in: $0, limit: 50) }
      #expect(all.first == first)
      if first == nil { fitting += 1 }
    }
    #expect((500...2_500).contains(fitting))
  }
}
