import Pipeline
import Testing

/// Reads one text; its values, or the error.
func read(_ text: [UInt8]) -> Result<JSONTape, JSONError> {
  var tape = JSONTape()
  return text.withUnsafeBytes { bytes in
    do throws(JSONError) {
      try tape.read(bytes)
      return .success(tape)
    } catch { return .failure(error) }
  }
}

extension JSONTape {
  /// A top-level member, as it is meant.
  func member(_ name: String, in text: [UInt8]) -> Value? {
    text.withUnsafeBytes { bytes in member(Array(name.utf8), of: 0, in: bytes).map { values[$0] } }
  }
}

func compact(_ text: [UInt8]) -> [UInt8] {
  var output = [UInt8](repeating: 0, count: text.count)
  let length = text.withUnsafeBytes { bytes in
    output.withUnsafeMutableBytes { JSONText.compact(bytes, into: $0.baseAddress!) }
  }
  return Array(output.prefix(length))
}

@Suite("JSON tape")
struct JSONTapeTests {
  static let refused: [(text: String, kind: JSONError.Kind, position: Int)] = [
    ("", .empty, 0),
    (" \n\t\r ", .empty, 5),
    ("\u{FEFF}{}", .byteOrderMark, 0),
    ("{", .unexpectedEnd, 1),
    ("[", .unexpectedEnd, 1),
    (#"{"a""#, .unexpectedEnd, 4),
    (#"{"a":"#, .unexpectedEnd, 5),
    (#"{"a":1"#, .unexpectedEnd, 6),
    (#"{"a":1,"#, .unexpectedEnd, 7),
    (#""abc"#, .unexpectedEnd, 4),
    (#"{a:1}"#, .expectedName, 1),
    (#"{"a":1,}"#, .expectedName, 7),
    (#"{"a" 1}"#, .expectedColon, 5),
    (#"{"a":}"#, .expectedValue, 5),
    (#"[1,]"#, .expectedValue, 3),
    (#"{"a":1 "b":2}"#, .expectedCommaOrBrace, 7),
    (#"{"a":1]"#, .expectedCommaOrBrace, 6),
    (#"[1 2]"#, .expectedCommaOrBracket, 3),
    (#"[1}"#, .expectedCommaOrBracket, 2),
    (#"[}"#, .expectedValue, 1),
    (#"{} {}"#, .afterValue, 3),
    (#"[01]"#, .number, 2),
    (#"[1.]"#, .number, 3),
    (#"[1e]"#, .number, 3),
    (#"[1e+]"#, .number, 4),
    (#"[-]"#, .number, 2),
    (#"[.5]"#, .expectedValue, 1),
    (#"[+1]"#, .expectedValue, 1),
    (#"[tru]"#, .literal, 1),
    (#"nul"#, .literal, 0),
    ("[\"a\nb\"]", .controlCharacter, 3),
    ("[\"a\u{0}b\"]", .controlCharacter, 3),
    (#"["\x"]"#, .escape, 2),
    (#"["\u12G4"]"#, .escape, 2),
    (#"["\uD800"]"#, .loneSurrogate, 2),
    (#"["\uDC00"]"#, .loneSurrogate, 2),
    (#"["\uD800\u0041"]"#, .loneSurrogate, 2),
    (#"["\uD800abcdefgh"]"#, .loneSurrogate, 2),
  ]

  @Test("What is not JSON is refused with kind and place", arguments: refused)
  func refusing(text: String, kind: JSONError.Kind, position: Int) {
    #expect(read(Array(text.utf8)).error == JSONError(kind, at: position))
  }

  static let invalidUTF8: [[UInt8]] = [
    [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC3], [0xC3, 0x28], [0xE0, 0x80, 0x80],
    [0xE0, 0x9F, 0xBF], [0xE2, 0x82], [0xE2, 0x28, 0xA1], [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF],
    [0xF0, 0x80, 0x80, 0x80], [0xF0, 0x8F, 0xBF, 0xBF], [0xF0, 0x9F, 0x98], [0xF4, 0x90, 0x80, 0x80],
    [0xF5, 0x80, 0x80, 0x80], [0xF8, 0x88, 0x80, 0x80, 0x80], [0xFE], [0xFF],
  ]

  @Test("Overlong forms, surrogates and broken sequences are not UTF-8", arguments: invalidUTF8)
  func utf8(bytes: [UInt8]) {
    // At every distance from the start, so that every alignment of the eight-byte steps is met.
    for padding in 0..<10 {
      let text = Array("\"".utf8) + [UInt8](repeating: 0x61, count: padding) + bytes + Array("\"".utf8)
      #expect(read(text).error == JSONError(.invalidUTF8, at: padding + 1))
    }
  }

  @Test("Every Unicode scalar value may stand in a string as it is")
  func scalars() {
    var text: [UInt8] = [0x22]
    for value in UInt32(0x20)...0x10FFFF {
      guard value != 0x22, value != 0x5C, let scalar = Unicode.Scalar(value) else { continue }
      text += Array(UTF8.encode(scalar)!)
      if value % 997 == 0 {
        #expect(read(text + [0x22]).error == nil, "up to U+\(String(value, radix: 16))")
        text = [0x22]
      }
    }
    #expect(read(text + [0x22]).error == nil)
  }

  @Test("Each special byte is seen at every place within the eight-byte steps")
  func alignment() {
    for length in 0..<40 {
      for special in [UInt8(ascii: "\""), 0x00, 0x1F, 0x0A] {
        let text = [0x22] + [UInt8](repeating: 0x7F, count: length) + [special] + Array("\"".utf8)
        let expected: JSONError.Kind = special == 0x22 ? .afterValue : .controlCharacter
        let position = special == 0x22 ? length + 2 : length + 1
        #expect(read(text).error == JSONError(expected, at: position))
      }
      let escaped = [0x22] + [UInt8](repeating: 0x21, count: length) + Array(#"\"x""#.utf8)
      #expect(read(escaped).error == nil)
    }
  }

  @Test("Nesting of 128 is taken, one more is refused, and a million does no harm")
  func depth() {
    func nested(_ depth: Int) -> [UInt8] {
      Array((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8)
    }
    func objects(_ depth: Int) -> [UInt8] {
      Array((String(repeating: #"{"a":"#, count: depth) + "1" + String(repeating: "}", count: depth)).utf8)
    }
    #expect(read(nested(128)).error == nil)
    #expect(read(objects(128)).error == nil)
    #expect(read(nested(129)).error == JSONError(.tooDeep, at: 128))
    #expect(read(objects(129)).error == JSONError(.tooDeep, at: 128 * 5))
    #expect(read(nested(1_000_000)).error == JSONError(.tooDeep, at: 128))
    let mixed = Array((String(repeating: #"[{"a":"#, count: 64) + "0" + String(repeating: "}]", count: 64)).utf8)
    #expect(read(mixed).error == nil)
  }

  @Test("Top-level members are found with kind and place")
  func members() throws {
    let text = #" {"s":"a\"b","n":-1.5e3 ,"t":true,"f":false,"z":null,"o":{"s":1},"a":[{"n":2}], "e":{}} "#
    let bytes = Array(text.utf8)
    let fields = ["s", "n", "t", "f", "z", "o", "a", "e", "absent"]
    let tape = try read(bytes).get()
    let found = fields.map { field in
      tape.member(field, in: bytes).map { "\($0.kind) " + String(decoding: bytes[$0.range], as: UTF8.self) }
    }
    #expect(
      found == [
        #"string "a\"b""#, "number -1.5e3", "boolean true", "boolean false", "null null",
        #"object {"s":1}"#, #"array [{"n":2}]"#, "object {}", nil,
      ])
    #expect(tape.member("s", in: bytes)?.hasEscapes == true)
    #expect(tape.root.kind == .object && tape.root.count == 8)
    #expect(tape.root.range == 1..<bytes.count - 1)
    #expect(tape.hasWhitespace)
  }

  @Test("Every value stands in the list in its order, with its children counted and what is behind it known")
  func list() throws {
    let text = #"{"a":[1,{"b":[]},"x"],"c":{"d":{}},"e":[[2],3]}"#
    let bytes = Array(text.utf8)
    let tape = try read(bytes).get()
    let shown = tape.values.map { value in
      String(decoding: bytes[value.name], as: UTF8.self) + "=" + String(decoding: bytes[value.range], as: UTF8.self)
        + " \(value.count) \(value.next)"
    }
    #expect(
      shown == [
        "=\(text) 3 12", #"a=[1,{"b":[]},"x"] 3 6"#, "=1 0 3", #"={"b":[]} 1 5"#, "b=[] 0 5", #"="x" 0 6"#,
        #"c={"d":{}} 1 8"#, "d={} 0 8", "e=[[2],3] 2 12", "=[2] 1 11", "=2 0 11", "=3 0 12",
      ])
    bytes.withUnsafeBytes { bytes in
      #expect(tape.element(1, of: 1) == 3 && tape.element(2, of: 1) == 5 && tape.element(3, of: 1) == nil)
      #expect(tape.element(-1, of: 1) == nil && tape.element(0, of: 0) == nil)
      #expect(tape.member(Array("a".utf8), of: 1, in: bytes) == nil)
    }
  }

  @Test("Of a name that stands twice the last counts, and escaped names compare decoded")
  func names() throws {
    func value(_ text: String, _ field: String) throws -> String? {
      let bytes = Array(text.utf8)
      return try read(bytes).get().member(field, in: bytes).map {
        String(decoding: bytes[$0.range], as: UTF8.self)
      }
    }
    #expect(try value(#"{"a":1,"a":2}"#, "a") == "2")
    #expect(try value(#"{"a":{"a":3},"b":4}"#, "a") == #"{"a":3}"#)
    #expect(try value(#"{"\u0061":5}"#, "a") == "5")
    #expect(try value(#"{"a\/b\n\uD83D\uDE00":6}"#, "a/b\n😀") == "6")
    #expect(try value(#"{"b":{"a":7},"c":[{"a":8}]}"#, "a") == nil)
    #expect(try value(#"[{"a":9}]"#, "a") == nil)
    #expect(try value(#"{"a":1,"\u0061":[2]}"#, "a") == "[2]")
    #expect(try value(#"{"":1}"#, "") == "1")
  }

  @Test("A tape keeps nothing from one text to the next")
  func reuse() throws {
    var tape = JSONTape()
    try Array(#" {"a":1}"#.utf8).withUnsafeBytes { try tape.read($0) }
    #expect(tape.values.count == 2 && tape.hasWhitespace)
    try Array(#"{}"#.utf8).withUnsafeBytes { try tape.read($0) }
    #expect(tape.values.count == 1 && !tape.hasWhitespace)
  }

  static let compaction: [(text: String, compact: String)] = [
    (#"{}"#, #"{}"#),
    (" { } ", "{}"),
    (
      "\t{\r\n  \"a\" : [ 1 , 2.50 , -0 , 1E+2 ] ,\n \"b c\" : \" d  e \" }\n",
      #"{"a":[1,2.50,-0,1E+2],"b c":" d  e "}"#
    ),
    (#"{ "a" : "q\" , : \\" , "b" : "\\\"  " }"#, #"{"a":"q\" , : \\","b":"\\\"  "}"#),
    (
      "[ 12345678901234567890123456789.000000000000000000001 , \"\\u0020 \\/\" ]",
      #"[12345678901234567890123456789.000000000000000000001,"\u0020 \/"]"#
    ),
  ]

  @Test("Compaction drops whitespace outside of strings and nothing else", arguments: compaction)
  func compacting(text: String, expected: String) throws {
    let bytes = Array(text.utf8)
    _ = try read(bytes).get()
    #expect(String(decoding: compact(bytes), as: UTF8.self) == expected)
    #expect(try !read(Array(expected.utf8)).get().hasWhitespace)
  }

  @Test("Escaping makes a string that reads back as the text")
  func escaping() throws {
    let text = "a\"b\\c/\u{0}\u{1}\u{1F}\n\r\t\u{7F}é😀"
    let inner = JSONText.escape(text)
    _ = try read([0x22] + inner + [0x22]).get()
    #expect(inner.withUnsafeBytes { JSONText.unescape($0) } == Array(text.utf8))
  }
}

extension Result {
  var error: Failure? { if case .failure(let error) = self { error } else { nil } }
}
