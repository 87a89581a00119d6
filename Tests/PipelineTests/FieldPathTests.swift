import Pipeline
import Testing

@Suite("Field paths")
struct FieldPathTests {
  static let found: [(String, String?)] = [
    ("a", #"{"b":[1,{"c":2}],"x.y":{"]":3}}"#),
    ("a.b", #"[1,{"c":2}]"#),
    ("a.b[0]", "1"),
    ("a.b[1].c", "2"),
    ("a.b[2]", nil),
    ("a.b.c", nil),
    ("a[0]", nil),
    (#"a["x.y"]["]"]"#, "3"),
    (#"a["\u0062"][0]"#, "1"),
    ("ä", "4"),
    ("absent", nil),
  ]

  @Test("lead through members and elements to a value, or to nothing", arguments: found)
  func find(path: String, expected: String?) throws {
    let bytes = Array(#"{"a":{"b":[1,{"c":2}],"x.y":{"]":3}},"ä":4}"#.utf8)
    let tape = try read(bytes).get()
    let path = try FieldPath(parsing: path)
    let value = bytes.withUnsafeBytes { tape.index(of: path, in: $0) }.map { tape.values[$0] }
    #expect(value.map { String(decoding: bytes[$0.range], as: UTF8.self) } == expected)
  }

  @Test("may begin with an element of a payload that is an array, and anywhere within it")
  func arrays() throws {
    let bytes = Array(#"[{"v":1},{"v":2}]"#.utf8)
    let tape = try read(bytes).get()
    try bytes.withUnsafeBytes { bytes in
      let second = try #require(tape.index(of: FieldPath(parsing: "[1]"), in: bytes))
      let value = try #require(tape.index(of: FieldPath(parsing: "v"), from: second, in: bytes))
      #expect(bytes[tape.values[value].range].elementsEqual("2".utf8))
    }
  }

  static let malformed: [(String, Int)] = [
    ("", 0), (".a", 0), ("a.", 2), ("a..b", 2), ("a[", 2), ("a[x]", 2), ("a[1", 3), ("a[1]b", 4), (#"a["b]"#, 5),
    (#"a["\x"]"#, 3), ("a]", 1), ("a\"", 1), ("[99999999999999999999]", 1),
  ]

  @Test("that are malformed are refused with the place", arguments: malformed)
  func refused(path: String, position: Int) {
    #expect {
      try FieldPath(parsing: path)
    } throws: { error in
      (error as? FieldPath.Malformed)?.position == position
    }
  }
}
