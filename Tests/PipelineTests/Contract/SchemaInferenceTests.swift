import Pipeline
import Testing

/// The schema that is learned from readings.
private func infer(_ readings: [String], hiding: [String] = [], quotesValues: Bool = true) throws -> String {
  var inference = SchemaInference(
    hiding: try hiding.map { try FieldPattern(parsing: $0) }, quotesValues: quotesValues)
  for reading in readings {
    let bytes = Array(reading.utf8)
    let tape = try read(bytes).get()
    bytes.withUnsafeBytes { inference.add(tape, in: $0) }
  }
  return String(decoding: inference.schema(), as: UTF8.self)
}

@Suite("Schema inference")
struct SchemaInferenceTests {
  /// Twenty readings, whose personal values all hold `ANNA` or are 4711.
  private static let personal = (0..<20).map { number in
    #"{"mode":"on","n":\#(number),"card":"ANNA","pin":4711,"owner":{"ANNA":{"room":4711}},"#
      + #""visits":[{"m\u0061il":"ANNA","door":"north"}],"odd":["ANNA","ANNA"]}"#
  }

  @Test("Of hidden fields nothing but the type is learned, and of the others what they say")
  func hiddenFields() throws {
    let text = try infer(
      SchemaInferenceTests.personal, hiding: ["card", "pin", "owner", "visits[].mail", "odd[0]", "nowhere.x"])
    #expect(!text.contains("ANNA") && !text.contains("4711"), "\(text)")
    #expect(text.contains(#""enum": ["on"]"#) && text.contains(#""enum": ["north"]"#) && text.contains("from 0 to 19"))
    #expect(text.contains(#""required": ["card", "mode", "n", "odd", "owner", "pin", "visits"]"#))
    #expect(text.contains(#""required": ["door", "mail"]"#))
  }

  @Test("Where values are not to be quoted, there is no enum and no range")
  func withoutValues() throws {
    let text = try infer(SchemaInferenceTests.personal, quotesValues: false)
    #expect(!text.contains("enum") && !text.contains("\"from ") && !text.contains("4711"))
    #expect(text.contains(#""mail": {"#) && text.contains(#""type": "integer""#))
  }

  @Test("Types, required fields, choices and bounds are learned, and written the same way each time")
  func learning() throws {
    let readings = (0..<20).map { number in
      let mode = ["on", "off"][number % 2]
      let extra = number == 3 ? #","extra":null"# : ""
      let value = number == 7 ? "2.5" : "\(number)"
      return #"{"mode":"\#(mode)","v":\#(value),"n":\#(number),"at":{"x":\#(number % 3)},"list":[1,"a"],"#
        + #""id":"d\#(number)"\#(extra)}"#
    }
    let expected = #"""
      {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": "learned from 20 readings",
        "type": "object",
        "properties": {
          "at": {
            "type": "object",
            "properties": {
              "x": {
                "type": "integer",
                "description": "from 0 to 2"
              }
            },
            "required": ["x"]
          },
          "extra": {
            "type": "null"
          },
          "id": {
            "type": "string"
          },
          "list": {
            "type": "array",
            "items": {
              "type": ["integer", "string"],
              "description": "from 1 to 1"
            }
          },
          "mode": {
            "type": "string",
            "enum": ["off", "on"]
          },
          "n": {
            "type": "integer",
            "description": "from 0 to 19"
          },
          "v": {
            "type": "number",
            "description": "from 0 to 19"
          }
        },
        "required": ["at", "id", "list", "mode", "n", "v"]
      }

      """#
    #expect(try infer(readings) == expected)
    #expect(try infer(readings.reversed()) == expected)
  }

  @Test("Nothing was seen: anything is allowed")
  func nothing() throws {
    let text = try infer([])
    #expect(text == "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\"\n}\n")
    #expect(try fits("[1]", try schema(text)))
  }

  @Test("Choices need to be few, short, often seen and all there is")
  func choices() throws {
    func hasEnum(_ values: [String]) throws -> Bool { try infer(values.map { #"{"v":\#($0)}"# }).contains("\"enum\"") }
    func many(_ value: String, _ count: Int = 20) -> [String] { Array(repeating: value, count: count) }
    #expect(try hasEnum(many("\"a\"")))
    #expect(try hasEnum(many("\"a\"", 9)) == false)
    #expect(try hasEnum(many("\"a\"") + ["\"b\""]) == false, "seen once only")
    #expect(try hasEnum(many("\"a\"") + ["null"]) == false)
    #expect(try hasEnum(many("\"\(String(repeating: "a", count: 33))\"")) == false)
    #expect(try hasEnum((0..<11).flatMap { many("\"\($0)\"") }) == false)
    #expect(try hasEnum((0..<10).flatMap { many("\"\($0)\"") }))
  }

  @Test("Every reading fits the schema that was learned from it, odd names and repeated ones included")
  func fitting() throws {
    let readings = [
      #"{"a\"b\u0001":1,"ä/~":[[],[{"x":null}],[{"x":1e400}]],"":true}"#,
      #"{"a\"b\u0001":1.5,"a\"b\u0001":"twice","ä/~":7}"#, "[1,[2]]", "3", #"{"deep":{"deep":{"deep":[{"deep":-0}]}}}"#,
    ]
    let learned = try schema(try infer(readings))
    for reading in readings where !reading.contains("twice") { #expect(try fits(reading, learned), "\(reading)") }
    #expect(try fits("\"text\"", learned) == false)
  }

  @Test("Hostile readings end in a schema of bounded size that is one")
  func hostile() throws {
    let wide = "{\((0..<20_000).map { "\"f\($0)\":1" }.joined(separator: ","))}"
    let text = try infer([wide, wide])
    #expect(text.utf8.count < 2_000_000)
    #expect(try fits(wide, try schema(text)))
    let deep = String(repeating: #"{"a":["#, count: 60) + "1" + String(repeating: "]}", count: 60)
    #expect(try fits(deep, try schema(try infer([deep]))))
    #expect(try infer(["\(String(repeating: "9", count: 10_000))"]).utf8.count < 200)
  }
}
