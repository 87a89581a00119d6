import Pipeline
import Testing

/// What backward compatibility finds: kinds and places.
private func backward(_ old: String, _ new: String) throws -> [String] {
  try SchemaCompatibility.check(old: Array(old.utf8), new: Array(new.utf8), mode: .backward)
    .map { "\($0.kind) \($0.location)" }
}

@Suite("Schema compatibility")
struct SchemaCompatibilityTests {
  static let base = #"""
    {"type": "object", "required": ["id"], "properties": {
      "id": {"type": "string", "maxLength": 20}, "v": {"type": "number", "minimum": 0, "maximum": 100},
      "mode": {"enum": ["on", "off"]}, "at": {"type": "object", "properties": {"x": {"type": "integer"}}},
      "list": {"type": "array", "items": {"type": "integer"}}}}
    """#

  @Test("A schema is fully compatible with itself, however it is written")
  func same() throws {
    for mode in SchemaCompatibility.Mode.allCases {
      let old = Array(SchemaCompatibilityTests.base.utf8)
      #expect(try SchemaCompatibility.check(old: old, new: old, mode: mode).isEmpty)
      let text = SchemaCompatibilityTests.base.replacing("100", with: "1e2")
        .replacing("\"type\"", with: "\"description\": \"x\", \"type\"")
      let new = Array(text.utf8)
      #expect(try SchemaCompatibility.check(old: old, new: new, mode: mode).isEmpty)
    }
  }

  static let cases: [(old: String, new: String, found: [String])] = [
    ("true", "false", ["narrowed "]), ("false", "true", []), ("true", "{}", []),
    (#"{"type":"integer"}"#, #"{"type":"number"}"#, []),
    (#"{"type":"number"}"#, #"{"type":"integer"}"#, ["narrowed /type"]),
    (#"{"type":["string","null"]}"#, #"{"type":"string"}"#, ["narrowed /type"]),
    (#"{"enum":["a","b"]}"#, #"{"enum":["a","b","c"]}"#, []),
    (#"{"enum":["a","b"]}"#, #"{"enum":["a"]}"#, ["narrowed "]),
    (#"{"enum":["a","b"]}"#, #"{"type":"string","maxLength":1}"#, []),
    (#"{"const":5}"#, #"{"maximum":4}"#, ["narrowed "]),
    (#"{"type":"string"}"#, #"{"enum":["a"]}"#, ["narrowed /enum"]),
    (#"{"type":"number","minimum":0}"#, #"{"minimum":-1}"#, []),
    (#"{"type":"number","minimum":0}"#, #"{"minimum":0.1}"#, ["narrowed /minimum"]),
    (#"{"type":"number","exclusiveMinimum":0}"#, #"{"minimum":0}"#, []),
    (#"{"type":"number","minimum":0}"#, #"{"exclusiveMinimum":0}"#, ["narrowed /exclusiveMinimum"]),
    (#"{"type":"number","minimum":1}"#, #"{"exclusiveMinimum":0}"#, []),
    (#"{"type":"number","maximum":9}"#, #"{"exclusiveMaximum":10}"#, []),
    (#"{"type":"number","maximum":10}"#, #"{"maximum":9}"#, ["narrowed /maximum"]),
    (#"{"type":"string"}"#, #"{"maximum":9}"#, []),
    (#"{"type":"integer"}"#, #"{"type":"number","multipleOf":1}"#, []),
    (#"{"type":"number","multipleOf":6}"#, #"{"multipleOf":3}"#, []),
    (#"{"type":"number","multipleOf":3}"#, #"{"multipleOf":6}"#, ["narrowed /multipleOf"]),
    (#"{"type":"string","minLength":2}"#, #"{"minLength":1}"#, []),
    (#"{"type":"string"}"#, #"{"maxLength":1}"#, ["narrowed /maxLength"]),
    (#"{"type":"string","pattern":"a"}"#, #"{"pattern":"a"}"#, []),
    (#"{"type":"string","pattern":"a"}"#, #"{"pattern":"b"}"#, ["undecided /pattern"]),
    (#"{"type":"string"}"#, #"{"pattern":"b"}"#, ["narrowed /pattern"]),
    (#"{"type":"object"}"#, #"{"required":["a"]}"#, ["narrowed /required"]),
    (#"{"type":"object","required":["a","b"]}"#, #"{"required":["a"]}"#, []),
    (#"{"type":"object"}"#, #"{"properties":{"a":{"type":"string"}}}"#, ["undescribed /properties/a"]),
    (#"{"type":"object"}"#, #"{"properties":{"a":true}}"#, []),
    (
      #"{"type":"object","additionalProperties":false}"#,
      #"{"properties":{"a":{"type":"string"}},"additionalProperties":false}"#, []
    ),
    (
      #"{"type":"object","additionalProperties":{"type":"string"}}"#,
      #"{"properties":{"a":{"type":"number"}}}"#, ["narrowed /properties/a/type"]
    ),
    (
      #"{"type":"object","properties":{"a":true},"additionalProperties":false}"#,
      #"{"additionalProperties":false}"#, ["narrowed /additionalProperties"]
    ),
    (#"{"type":"object"}"#, #"{"additionalProperties":false}"#, ["narrowed /additionalProperties"]),
    (
      #"{"type":"array","items":{"type":"integer"}}"#, #"{"items":{"type":"string"}}"#, ["narrowed /items/type"]
    ),
    (#"{"type":"array","prefixItems":[{"type":"integer"}]}"#, #"{"prefixItems":[{"type":"number"}]}"#, []),
    (
      #"{"type":"array","prefixItems":[{"type":"integer"}],"items":false}"#, #"{"items":{"type":"number"}}"#, []
    ),
    (#"{"type":"array"}"#, #"{"maxItems":3,"uniqueItems":true}"#, ["narrowed /maxItems", "narrowed /uniqueItems"]),
    (#"{"anyOf":[{"type":"integer"},{"type":"null"}]}"#, #"{"type":["number","null"]}"#, []),
    (#"{"type":"null"}"#, #"{"anyOf":[{"type":"string"},{"type":"null"}]}"#, []),
    (
      #"{"type":["string","null"]}"#, #"{"anyOf":[{"type":"string"},{"type":"null"}]}"#, ["undecided /anyOf"]
    ),
    (#"{"type":"integer"}"#, #"{"not":{"type":"string"}}"#, ["undecided /not"]),
    (#"{"not":{"type":"string"}}"#, #"{"not":{"type":"string"}}"#, []),
    (#"{"allOf":[{"type":"integer"},{"minimum":3}]}"#, #"{"type":"number"}"#, []),
    (
      #"{"type":"integer","minimum":3}"#, #"{"allOf":[{"type":"number"},{"minimum":4}]}"#,
      ["narrowed /allOf/1/minimum"]
    ),
    (
      ##"{"$defs":{"t":{"type":"integer"}},"properties":{"a":{"$ref":"#/$defs/t"}}}"##,
      ##"{"$defs":{"u":{"type":"number"}},"properties":{"a":{"$ref":"#/$defs/u"}}}"##, []
    ),
    (
      ##"{"type":"object","properties":{"n":{"$ref":"#"},"v":{"type":"integer"}}}"##,
      ##"{"type":"object","properties":{"n":{"$ref":"#"},"v":{"type":"string"}}}"##, ["narrowed /properties/v/type"]
    ),
  ]

  @Test("What the new schema refuses of the old one is found with its place", arguments: cases)
  func finding(old: String, new: String, found: [String]) throws {
    #expect(try backward(old, new) == found)
  }

  @Test("Forward is backward the other way round, and full is both")
  func modes() throws {
    let old = Array(#"{"type":"object","properties":{"a":{"type":"integer"}}}"#.utf8)
    let new = Array(#"{"type":"object","properties":{"a":{"type":"number"}},"required":["a"]}"#.utf8)
    func check(_ mode: SchemaCompatibility.Mode) throws -> [String] {
      try SchemaCompatibility.check(old: old, new: new, mode: mode).map { "\($0.direction) \($0.location)" }
    }
    #expect(try check(.backward) == ["backward /required"])
    #expect(try check(.forward) == ["forward /properties/a/type"])
    #expect(try check(.full) == ["backward /required", "forward /properties/a/type"])
  }

  @Test("Reasons are sentences that name the schemas and the member")
  func reasons() throws {
    let found = try SchemaCompatibility.check(
      old: Array(#"{"type":"object"}"#.utf8), new: Array(#"{"required":["unit"]}"#.utf8), mode: .backward)
    #expect(
      found.map(\.description) == [
        "/required: the member \"unit\" is required by the new schema, but not by the old one"
      ])
  }

  @Test("Schemas that go deeper than can be compared are undecided")
  func depth() throws {
    func chain(_ length: Int, _ last: String) -> String {
      let links = (0..<length).map { ##""a\##($0)":{"properties":{"x":{"$ref":"#/$defs/a\##($0 + 1)"}}}"## }
      return ##"{"$defs":{\##(links.joined(separator: ",")),"a\##(length)":\##(last)},"$ref":"#/$defs/a0"}"##
    }
    #expect(try backward(chain(20, #"{"minimum":1}"#), chain(20, #"{"minimum":1.0}"#)) == [])
    #expect(try backward(chain(20, #"{"minimum":1}"#), chain(20, #"{"minimum":2}"#)).count == 1)
    let found = try backward(chain(500, #"{"minimum":1}"#), chain(500, #"{"minimum":2}"#))
    #expect(found.count == 1 && found.first?.hasPrefix("undecided /properties/x/") == true)
  }

  @Test("What is no schema is refused")
  func refusing() {
    #expect(throws: SchemaError.self) { try backward("true", #"{"type":"strnig"}"#) }
    #expect(throws: SchemaError.self) { try backward("[]", "true") }
  }

  @Test("Where nothing is found, no reading of the one is refused by the other")
  func soundness() throws {
    var state: UInt64 = 99
    func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    func part(_ depth: Int) -> String {
      if depth > 2 { return ["true", "{}", "false"][next(8) < 6 ? 0 : 1 + next(2)] }
      let keywords = (0..<1 + next(3)).map { _ -> String in
        switch next(13) {
        case 0, 1: #""type":"\#(["object", "array", "string", "integer", "number"][next(5)])""#
        case 2: #""properties":{"a":\#(part(depth + 1))}"#
        case 3: #""required":["\#(["a", "b"][next(2)])"]"#
        case 4: #""additionalProperties":\#(part(depth + 1))"#
        case 5: #""items":\#(part(depth + 1))"#
        case 6: #""prefixItems":[\#(part(depth + 1))]"#
        case 7: #""anyOf":[\#(part(depth + 1)),\#(part(depth + 1))]"#
        case 8: #""allOf":[\#(part(depth + 1))]"#
        case 9: #""enum":[1,"a",[2],{"a":1}]"#
        case 10: #""minimum":\#(next(3))"#
        case 11: #""maximum":\#(next(3)),"maxLength":\#(next(3))"#
        default: #""minItems":\#(next(2)),"patternProperties":{"^b":\#(part(depth + 1))}"#
        }
      }
      return "{\(keywords.joined(separator: ","))}"
    }
    func members(_ depth: Int) -> [String] {
      ["a", "b", "c"].filter { _ in next(2) == 0 }.map { "\"\($0)\":\(value(depth + 1))" }
    }
    func value(_ depth: Int) -> String {
      switch next(depth > 1 ? 4 : 6) {
      case 0: "null"
      case 1: "\(next(4))"
      case 2: "1.5"
      case 3: ["\"a\"", "\"abc\""][next(2)]
      case 4: "[\((0..<next(3)).map { _ in value(depth + 1) }.joined(separator: ","))]"
      default: "{\(members(depth).joined(separator: ","))}"
      }
    }
    var compatible = 0
    for _ in 0..<3_000 {
      let (old, new) = (part(0), part(1))
      guard try backward(old, new).isEmpty else { continue }
      compatible += 1
      let (first, second) = (try schema(old), try schema(new))
      for _ in 0..<30 {
        let text = value(0)
        if try fits(text, first) { #expect(try fits(text, second), "\(text) fits \(old) but not \(new)") }
      }
    }
    #expect(compatible > 100)
  }
}
