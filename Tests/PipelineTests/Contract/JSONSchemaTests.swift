import Pipeline
import Testing

/// A schema of its text.
func schema(_ text: String, _ options: JSONSchema.Options = .init()) throws -> JSONSchema {
  try JSONSchema(compiling: Array(text.utf8), options: options)
}

/// Up to `limit` things that do not fit.
func violations(of text: String, _ schema: JSONSchema, limit: Int = 10) throws -> [Violation] {
  let bytes = Array(text.utf8)
  let tape = try read(bytes).get()
  return bytes.withUnsafeBytes { schema.violations(of: tape, in: $0, limit: limit) }
}

func fits(_ text: String, _ schema: JSONSchema) throws -> Bool {
  try violation(of: Array(text.utf8), schema) == nil
}

@Suite("JSON Schema")
struct JSONSchemaTests {
  // MARK: Violations

  static let readings = #"""
    {"type": "object", "required": ["device", "value"], "additionalProperties": false,
     "properties": {"device": {"type": "string", "pattern": "^[a-z]+$"}, "value": {"type": "number", "minimum": -5},
       "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
       "a/b~c": {"properties": {"x": {"maxLength": 2}}}}}
    """#

  static let places: [(text: String, instance: String, keyword: String, reason: String)] = [
    ("7", "", "/type", "it must be object, not a number"),
    (#"{"device":"ab"}"#, "", "/required", "the member \"value\" is missing"),
    (#"{"device":"AB","value":1}"#, "/device", "/properties/device/pattern", "it does not match the pattern"),
    (#"{"device":"ab","value":-6}"#, "/value", "/properties/value/minimum", "it is less than -5"),
    (
      #"{"device":"ab","value":1,"tags":["a","c"]}"#, "/tags/1", "/properties/tags/items/enum",
      "it is none of the values allowed"
    ),
    (
      #"{"device":"ab","value":1,"a/b~c":{"x":"abc"}}"#, "/a~1b~0c/x",
      "/properties/a~1b~0c/properties/x/maxLength", "it is longer than 2 characters"
    ),
    (#"{"device":"ab","value":1,"other":2}"#, "/other", "/additionalProperties", "nothing is allowed here"),
  ]

  @Test("What does not fit is reported with its place, the keyword's place and the reason", arguments: places)
  func reporting(text: String, instance: String, keyword: String, reason: String) throws {
    let found = try #require(try violation(of: Array(text.utf8), try schema(JSONSchemaTests.readings)))
    #expect(found.instancePath == instance)
    #expect(found.keywordLocation == keyword)
    #expect(found.reason == reason)
  }

  @Test("As many violations are collected as were asked for, alternatives count as one")
  func collecting() throws {
    let readings = try schema(JSONSchemaTests.readings)
    let text = #"{"device":"AB","value":-6,"tags":["x","y"],"other":1}"#
    let places = ["/device", "/value", "/tags/0", "/tags/1", "/other"]
    #expect(try violations(of: text, readings).map(\.instancePath) == places)
    #expect(try violations(of: text, readings, limit: 2).count == 2)
    let alternatives = try schema(#"{"anyOf": [{"type": "string"}, {"minimum": 5}]}"#)
    #expect(try violations(of: "1", alternatives).map(\.keywordLocation) == ["/anyOf"])
  }

  @Test("Every keyword that refuses a value says which it is")
  func keywords() throws {
    let cases: [(schema: String, text: String, keyword: SchemaKeyword)] = [
      (#"{"type": "string"}"#, "1", .type), (#"{"enum": [1, "a", null]}"#, "2", .enumeration),
      (#"{"const": {"a": [1]}}"#, #"{"a":[2]}"#, .const), (#"{"minimum": 1}"#, "0", .minimum),
      (#"{"maximum": 1}"#, "2", .maximum), (#"{"exclusiveMinimum": 1}"#, "1", .exclusiveMinimum),
      (#"{"exclusiveMaximum": 1}"#, "1", .exclusiveMaximum), (#"{"multipleOf": 2}"#, "3", .multipleOf),
      (#"{"minLength": 1}"#, #""""#, .minLength), (#"{"maxLength": 1}"#, #""ab""#, .maxLength),
      (#"{"pattern": "x"}"#, #""a""#, .pattern),
      (#"{"propertyNames": {"maxLength": 1}}"#, #"{"ab":1}"#, .propertyNames),
      (#"{"required": ["a"]}"#, "{}", .required), (#"{"minProperties": 1}"#, "{}", .minProperties),
      (#"{"maxProperties": 0}"#, #"{"a":1}"#, .maxProperties),
      (#"{"dependentRequired": {"a": ["b"]}}"#, #"{"a":1}"#, .dependentRequired),
      (#"{"contains": {"type": "null"}}"#, "[1]", .contains),
      (#"{"contains": true, "minContains": 2}"#, "[1]", .minContains),
      (#"{"contains": true, "maxContains": 1}"#, "[1,1]", .maxContains), (#"{"minItems": 1}"#, "[]", .minItems),
      (#"{"maxItems": 0}"#, "[1]", .maxItems), (#"{"uniqueItems": true}"#, "[1,1.0]", .uniqueItems),
      (#"{"anyOf": [false]}"#, "1", .anyOf), (#"{"oneOf": [true, true]}"#, "1", .oneOf),
      (#"{"not": true}"#, "1", .not), ("false", "1", .never),
      (#"{"unevaluatedProperties": false}"#, #"{"a":1}"#, .never), (#"{"unevaluatedItems": false}"#, "[1]", .never),
    ]
    for (text, value, keyword) in cases {
      let found = try violations(of: value, try schema(text))
      #expect(found.map(\.kind) == [.keyword(keyword)], "\(text)")
      #expect(found.first?.reason.isEmpty == false)
    }
  }

  @Test("Reasons and keyword places hold nothing of the values")
  func secrecy() throws {
    let secret = "4711-secret"
    let schemas = [
      #"{"type": "number"}"#, #"{"enum": ["x"]}"#, #"{"maxLength": 3}"#, #"{"pattern": "^x"}"#, #"{"const": 1}"#,
      #"{"not": {"type": "string"}}"#, #"{"oneOf": [{"minLength": 1}, {"minLength": 2}]}"#,
    ]
    for text in schemas {
      let found = try #require(try violation(of: Array("\"\(secret)\"".utf8), try schema(text)))
      #expect(!"\(found)".contains(secret) && !found.keywordLocation.contains(secret))
    }
  }

  @Test("A path of very long names is cut off between characters")
  func longPaths() throws {
    let name = String(repeating: "ä", count: 1_000)
    let closed = try schema(#"{"additionalProperties": false}"#)
    let found = try #require(try violation(of: Array(#"{"\#(name)":1}"#.utf8), closed))
    #expect(found.instancePath.utf8.count <= Violation.maximumPath + 3)
    #expect(found.instancePath.hasPrefix("/ää") && found.instancePath.hasSuffix("ä…"))
  }

  // MARK: Names

  @Test("Names are found whatever their length and however they are written")
  func names() throws {
    for length in 1...40 {
      let name = String((0..<length).map { Character(Unicode.Scalar(UInt8(97 + $0 % 26))) })
      let other = "x" + name.dropFirst()
      let text = #"""
        {"properties": {"\#(name)": {"const": 1}}, "required": ["\#(name)"], "additionalProperties": {"const": 2}}
        """#
      let compiled = try schema(text)
      #expect(try fits(#"{"\#(name)":1,"\#(other)":2}"#, compiled), "\(length)")
      #expect(try fits(#"{"\#(name)":2}"#, compiled) == false)
      #expect(try fits(#"{"\#(other)":2}"#, compiled) == false)
      #expect(try fits(#"{"\u0061\#(name.dropFirst())":1}"#, compiled))
      // The same ends, another middle.
      if length > 20 {
        let middle = name.prefix(9) + "_" + name.dropFirst(10)
        #expect(try fits(#"{"\#(name)":1,"\#(middle)":2}"#, compiled))
        #expect(try fits(#"{"\#(name)":1,"\#(middle)":1}"#, compiled) == false)
      }
    }
  }

  @Test("A name that stands there several times must fit each time, and counts once as a member")
  func repeatedNames() throws {
    let number = try schema(#"{"properties": {"a": {"type": "number"}}}"#)
    #expect(try fits(#"{"a":1,"a":2}"#, number))
    #expect(try fits(#"{"a":"x","a":2}"#, number) == false)
    #expect(try fits(#"{"a":2,"a":"x"}"#, number) == false)
    #expect(try fits(#"{"a":1,"a":2}"#, try schema(#"{"minProperties": 2}"#)) == false)
    #expect(try fits(#"{"a":1,"\u0061":2}"#, try schema(#"{"maxProperties": 1}"#)))
    // Equal is only what has the same members.
    #expect(try fits(#"{"a":1,"a":1}"#, try schema(#"{"const": {"a": 1}}"#)) == false)
    #expect(try fits(#"[{"a":1,"a":1},{"a":1,"b":1}]"#, try schema(#"{"uniqueItems": true}"#)))
  }

  @Test("More required names than a word has bits are all looked for")
  func manyRequired() throws {
    for count in [63, 64, 65, 200] {
      let names = (0..<count).map { "\"n\($0)\"" }
      let compiled = try schema(#"{"required": [\#(names.joined(separator: ","))]}"#)
      let members = names.map { "\($0):1" }
      #expect(try fits("{\(members.joined(separator: ","))}", compiled))
      for missing in [0, count / 2, count - 1] {
        var fewer = members
        fewer.remove(at: missing)
        let found = try violations(of: "{\(fewer.joined(separator: ","))}", compiled)
        #expect(found.map(\.reason) == ["the member \"n\(missing)\" is missing"])
      }
      #expect(try violations(of: "{}", compiled, limit: 1_000).count == count)
    }
  }

  @Test("The meta-schema takes itself, and refuses what is no schema")
  func metaSchema() throws {
    let meta = try schema(#"{"$ref": "https://json-schema.org/draft/2020-12/schema"}"#)
    #expect(try fits(JSONSchemaTests.readings, meta))
    #expect(try fits(#"{"properties": {"a": {"type": "strnig"}}}"#, meta) == false)
    let found = try violations(of: #"{"minimum": "x"}"#, meta)
    #expect(found.map(\.instancePath) == ["/minimum"])
    #expect(
      found.map(\.keywordLocation) == [
        "https://json-schema.org/draft/2020-12/meta/validation#/properties/minimum/type"
      ])
  }

  // MARK: Refused schemas

  static let refused: [(text: String, kind: SchemaError.Kind, location: String)] = [
    ("", .notJSON, ""), ("[]", .malformed, ""), ("{", .notJSON, ""),
    (#"{"type": "strnig"}"#, .malformed, "/type"), (#"{"type": 1}"#, .malformed, "/type"),
    (#"{"properties": []}"#, .malformed, "/properties"),
    (#"{"properties": {"a": 1}}"#, .malformed, "/properties/a"),
    (#"{"required": "a"}"#, .malformed, "/required"), (#"{"required": [1]}"#, .malformed, "/required/0"),
    (#"{"minimum": "1"}"#, .malformed, "/minimum"), (#"{"minLength": -1}"#, .malformed, "/minLength"),
    (#"{"minLength": 1.5}"#, .malformed, "/minLength"), (#"{"multipleOf": 0}"#, .malformed, "/multipleOf"),
    (#"{"multipleOf": -1}"#, .malformed, "/multipleOf"), (#"{"allOf": []}"#, .malformed, "/allOf"),
    (#"{"enum": 1}"#, .malformed, "/enum"), (#"{"uniqueItems": 1}"#, .malformed, "/uniqueItems"),
    (#"{"multipleOf": 0.12345678901234567891}"#, .tooLarge, "/multipleOf"),
    (#"{"pattern": "("}"#, .pattern, "/pattern"),
    (#"{"patternProperties": {"[": true}}"#, .pattern, "/patternProperties/["),
    (##"{"$ref": "#/$defs/a"}"##, .unresolved, "/$ref"), (##"{"$ref": "#a"}"##, .unresolved, "/$ref"),
    (#"{"$ref": "http://example.org/a"}"#, .unresolved, "/$ref"), (#"{"$ref": 1}"#, .malformed, "/$ref"),
    (##"{"$ref": "#"}"##, .endless, ""),
    (
      ##"{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}"##,
      .endless, "/$defs/a"
    ),
    (##"{"properties": {"a": {"anyOf": [{"type": "null"}, {"$ref": "#/properties/a"}]}}}"##, .endless, "/properties/a"),
    (#"{"$schema": "http://json-schema.org/draft-07/schema#"}"#, .dialect, "/$schema"),
    (#"{"$schema": "https://example.org/mine"}"#, .dialect, "/$schema"),
    (#"{"$id": "a#b"}"#, .malformed, "/$id"),
    (#"{"$defs": {"a": {"$id": "x"}, "b": {"$id": "x"}}}"#, .ambiguous, "/$defs/b/$id"),
    (#"{"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}"#, .ambiguous, "/$defs/b/$anchor"),
  ]

  @Test("What is no schema is refused with kind and place", arguments: refused)
  func refusing(text: String, kind: SchemaError.Kind, location: String) {
    let error = #expect(throws: SchemaError.self) { try schema(text) }
    #expect(error?.kind == kind, "\(text): \(String(describing: error))")
    #expect(error?.location == location)
  }

  @Test("A meta-schema that demands an unknown vocabulary is refused")
  func unknownVocabulary() {
    let meta = Array(#"{"$vocabulary": {"https://example.org/vocabulary": true}}"#.utf8)
    let error = #expect(throws: SchemaError.self) {
      try JSONSchema(compiling: Array(#"{"$schema": "x:meta"}"#.utf8)) { $0 == "x:meta" ? meta : nil }
    }
    #expect(error?.kind == .vocabulary)
  }

  @Test("Documents that go on referring to others without end are refused")
  func endlessDocuments() {
    let error = #expect(throws: SchemaError.self) {
      try JSONSchema(compiling: Array(#"{"$ref": "x:0"}"#.utf8)) { uri in
        Array(#"{"properties": {"a": {"$ref": "x:\#((Int(uri.dropFirst(2)) ?? 0) + 1)"}}}"#.utf8)
      }
    }
    #expect(error?.kind == .tooLarge)
  }

  @Test("A schema with more parts than are allowed is refused")
  func tooManyNodes() {
    let parts = Array(repeating: "{}", count: 200).joined(separator: ",")
    let error = #expect(throws: SchemaError.self) {
      try schema(#"{"allOf": [\#(parts)]}"#, .init(limits: .init(nodes: 100)))
    }
    #expect(error?.kind == .tooLarge)
  }
}
