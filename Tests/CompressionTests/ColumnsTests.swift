import Compression
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// Lines as devices make them and as they do not: few kinds, many kinds, all that JSON has.
private struct LineMaker {
  var random: SeededGenerator

  mutating func pick<T>(_ items: [T]) -> T { items[Int.random(in: items.indices, using: &random)] }

  mutating func value(_ depth: Int) -> String {
    switch Int.random(in: 0..<(depth > 20 ? 8 : 12), using: &random) {
    case 0: return pick(["0", "-0", "1.50", "1e3", "1E+3", "-12345678901234567890", "0.1e-7"])
    case 1: return pick(["true", "false", "null"])
    case 2: return #""""#
    case 3: return pick([#""é""#, #""\u00e9""#, #""\/""#, #""\\""#, #""\"""#, #""a\"],[{b""#, #""😀""#])
    case 4...7: return String(Int.random(in: -5...1000, using: &random))
    case 8: return pick(["{}", "[]", "[[]]", "[{}]"])
    case 9: return "[" + (0..<3).map { _ in value(depth + 1) }.joined(separator: ",") + "]"
    default: return object(depth + 1)
    }
  }

  mutating func object(_ depth: Int) -> String {
    let count = Int.random(in: 1...3, using: &random)
    let members = (0..<count).map { _ in
      pick([#""a""#, #""b""#, #""c""#, #""""#, #""é[]{},:""#, #""\u0061""#]) + ":" + value(depth)
    }
    return "{" + members.joined(separator: ",") + "}"
  }

  mutating func line(_ kinds: Int) -> String {
    switch Int.random(in: 0..<100, using: &random) {
    case 0: return value(0)
    case 1: return pick([#"{"a": 1}"#, "{}", "[1 ,2]", #"{"a":1,"a":2}"#])
    case 2...9: return object(0)
    default:
      let kind = Int.random(in: 0..<kinds, using: &random)
      let data = #"{"t":\#(value(25)),"deep":{"x":\#(value(1))}}"#
      return #"{"key":"k\#(value(25).count)","kind\#(kind)":\#(value(25)),"data":\#(data)}"#
    }
  }
}

@Suite("Columns")
struct ColumnsTests {
  /// Encodes and decodes; the lines must be the same, and the text within its bound.
  private func roundTrip(_ lines: [UInt8]) throws -> [UInt8] {
    let text = try #require(Columns.encode(lines))
    #expect(text.count <= Columns.maximumLength(ofLines: lines.count))
    let decoded = try Columns.decode(text, maximumOutput: lines.count)
    #expect(decoded.lines == lines)
    #expect(decoded.count == lines.count { $0 == UInt8(ascii: "\n") })
    return text
  }

  @Test("lines of one kind are an array for each field, with every digit and escape as it was")
  func oneTable() throws {
    let lines = bytes(
      """
      {"key":"t-1","captures":{"kind":"climate"},"data":{"t":21.50,"n":"\\u00e9","l":[1,2],"e":{}}}
      {"key":"t-2","captures":{"kind":"climate"},"data":{"t":-4e+1,"n":"é\\/","l":[],"e":{}}}

      """)
    let text = try roundTrip(lines)
    #expect(
      String(decoding: text, as: UTF8.self) == """
        {"rows":2,"tables":[{"key":["t-1","t-2"],"captures":{"kind":["climate","climate"]},\
        "data":{"t":[21.50,-4e+1],"n":["\\u00e9","é\\/"],"l":[[1,2],[]],"e":[{},{}]}}]}

        """)
  }

  @Test("lines of several kinds are in tables of their own, and the order says which")
  func severalTables() throws {
    let lines = bytes(
      """
      {"k":1,"d":{"t":1}}
      {"d":{"t":2},"k":2}
      {"k":3,"d":3}
      {"k":4,"d":{"t":4}}

      """)
    #expect(
      String(decoding: try roundTrip(lines), as: UTF8.self) == """
        {"rows":4,"order":[0,1,2,0],"tables":[{"k":[1,4],"d":{"t":[1,4]}},{"d":{"t":[2]},"k":[2]},{"k":[3],"d":[3]}]}

        """)
  }

  @Test("lines that no reader would find the columns of stand whole")
  func wholeLines() throws {
    let lines = bytes(
      """
      {"a":1}
      {"a":1,"a":2}
      {"b":{"\\u0061":1}}
      [1,2]
      {"a": 2}
      7
      {}

      """)
    #expect(
      String(decoding: try roundTrip(lines), as: UTF8.self) == """
        {"rows":7,"order":[0,1,1,1,1,1,1],"tables":[{"a":[1]},\
        [{"a":1,"a":2},{"b":{"\\u0061":1}},[1,2],{"a": 2},7,{}]]}

        """)
  }

  @Test("whatever lines there are, they come back byte for byte, and the same text comes again")
  func randomLines() throws {
    for seed in 0..<300 as Range<UInt64> {
      var maker = LineMaker(random: SeededGenerator(seed: seed))
      let kinds = maker.pick([1, 3, 40, 400])
      let count = maker.pick([1, 2, 10, 600])
      let lines = bytes((0..<count).map { _ in maker.line(kinds) + "\n" }.joined())
      let text = try roundTrip(lines)
      #expect(Columns.encode(lines) == text)
    }
  }

  @Test("any range of the lines can be written too")
  func parts() throws {
    var maker = LineMaker(random: SeededGenerator(seed: 5))
    let lines = (0..<64).map { _ in bytes(maker.line(5) + "\n") }
    for start in lines.indices {
      for end in start + 1...lines.count { _ = try roundTrip(Array(lines[start..<end].joined())) }
    }
  }

  @Test("more kinds of lines than there may be tables, and more fields than columns, stand whole")
  func bounds() throws {
    let kinds = bytes((0..<1000).map { #"{"field-\#($0 % 500)":1}"# + "\n" }.joined())
    let text = String(decoding: try roundTrip(kinds), as: UTF8.self)
    #expect(text.split(separator: ":[1,1]").count == 256)
    #expect(text.contains(#",[{"field-255":1},{"field-256":1},"#))

    let wide = (0..<20_000).map { #""\#($0)":1"# }.joined(separator: ",")
    let lines = bytes((0..<5).map { #"{"kind\#($0)":0,\#(wide)}"# + "\n" }.joined())
    _ = try roundTrip(lines)

    let deep = String(repeating: #"{"a":"#, count: 40) + "1" + String(repeating: "}", count: 40)
    let nested = String(decoding: try roundTrip(bytes(deep + "\n")), as: UTF8.self)
    #expect(nested.contains(String(repeating: #"{"a":"#, count: 16) + #"[{"a":{"#))
    _ = try roundTrip(bytes(String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000) + "\n"))
  }

  @Test("many tiny lines of many kinds do not outgrow the bound: they stand whole")
  func tinyLines() throws {
    let kinds = (0..<200).map { #"{"f\#($0)":1}"# + "\n" }.joined()
    let lines = bytes(kinds + String(repeating: "1\n", count: 100_000))
    let text = String(decoding: try roundTrip(lines), as: UTF8.self)
    #expect(text.hasPrefix(#"{"rows":100200,"tables":[[{"f0":1},{"f1":1},"#))
  }

  @Test(
    "what could not be given back is not written",
    arguments: [
      "", "{}", "{}\n{}", "\n", "{}\n\n", "a b\n", "\"\n", "\"\\\n\"\n", "{\"a\":1\n", "{\"a\":[1}\n", "[\u{1}]\n",
      "{} \n",
      "{\"a\":\"\t\"}\n", "\u{FEFF}{}\n",
    ])
  func notWritten(_ lines: String) { #expect(Columns.encode(bytes(lines)) == nil) }

  @Test(
    "a text that is not one of columns is refused",
    arguments: [
      "", "{}", "{}\n", #"{"rows":0,"tables":[]}"# + "\n", #"{"rows":1,"tables":[[1]]}"#,
      #"{"rows":1,"tables":[[1]]}"# + "\n\n", #"{"rows":2,"tables":[[1]]}"# + "\n",
      #"{"rows":1,"tables":[[1,2]]}"# + "\n",
      #"{"rows":1,"tables":[[]]}"# + "\n", #"{"rows":1,"tables":[{}]}"# + "\n", #"{"rows":01,"tables":[[1]]}"# + "\n",
      #"{"rows":99999999999999999999,"tables":[[1]]}"# + "\n", #"{"rows":-1,"tables":[[1]]}"# + "\n",
      #"{"rows":2,"tables":[[1],[2]]}"# + "\n", #"{"rows":2,"order":[0,2],"tables":[[1],[2]]}"# + "\n",
      #"{"rows":2,"order":[0,0],"tables":[[1],[2]]}"# + "\n", #"{"rows":2,"order":[0],"tables":[[1],[2]]}"# + "\n",
      #"{"rows":2,"order":[0,256],"tables":[[1],[2]]}"# + "\n", #"{"rows":2,"order":[],"tables":[[1,2]]}"# + "\n",
      #"{"rows":2,"tables":[{"a":[1,2],"b":[1]}]}"# + "\n", #"{"rows":1,"tables":[{"a":1}]}"# + "\n",
      #"{"rows":1,"tables":[{"a":[1]]}"# + "\n", #"{"rows":1,"tables":[{"a":[1}]}"# + "\n",
      #"{"rows":1,"tables":[{a:[1]}]}"# + "\n", #"{"rows":1,"tables":[{"a":[1],}]}"# + "\n",
      #"{"rows":1, "tables":[[1]]}"# + "\n", "{\"rows\":1,\"tables\":[[\"\n\"]]}\n",
      "{\"rows\":1,\"tables\":[[\"\\\n\"]]}\n", "{\"rows\":1,\"tables\":[{\"\n\":[1]}]}\n",
      "{\"rows\":1,\"tables\":[[[\n]]]}\n", #"{"rows":1,"tables":[{"a":["#, #"{"rows":1,"tables":[{"a":[""#,
    ])
  func refused(_ text: String) {
    #expect(throws: ColumnsError.self) { try Columns.decode(bytes(text), maximumOutput: 1 << 20) }
  }

  @Test("every text that is cut off is refused, and one that is changed gives lines or an error")
  func damaged() throws {
    var maker = LineMaker(random: SeededGenerator(seed: 9))
    let lines = bytes((0..<20).map { _ in maker.line(3) + "\n" }.joined())
    let text = try #require(Columns.encode(lines))
    for end in text.indices {
      #expect(throws: ColumnsError.self) { try Columns.decode(Array(text[..<end]), maximumOutput: 1 << 20) }
    }
    for place in text.indices {
      for byte in "\n\"[}9\\".utf8 {
        var changed = text
        changed[place] = byte
        guard let decoded = try? Columns.decode(changed, maximumOutput: 1 << 20) else { continue }
        #expect(decoded.lines.count { $0 == UInt8(ascii: "\n") } == decoded.count)
      }
    }
  }

  @Test("a small text that claims to be a large one is refused before anything is written")
  func claims() throws {
    // 30 KB of name, once for each of 10,000 lines: 300 MB.
    let name = String(repeating: "x", count: 30_000)
    let ones = Array(repeating: "1", count: 10_000).joined(separator: ",")
    let text = bytes(#"{"rows":10000,"tables":[{"\#(name)":[\#(ones)]}]}"# + "\n")
    let error = #expect(throws: ColumnsError.self) { try Columns.decode(text, maximumOutput: 1 << 20) }
    #expect(error?.reason == "the lines are longer than expected")
    let lines = try Columns.decode(bytes(#"{"rows":2,"tables":[[1,22]]}"# + "\n"), maximumOutput: 5).lines
    #expect(lines == bytes("1\n22\n"))
    #expect(throws: ColumnsError.self) {
      try Columns.decode(bytes(#"{"rows":2,"tables":[[1,22]]}"# + "\n"), maximumOutput: 4)
    }
  }

  @Test("tables, columns and levels beyond the bounds are refused")
  func hostileBounds() {
    let tables = Array(repeating: "[1]", count: 257).joined(separator: ",")
    let order = (0..<257).map { "\($0 % 256)" }.joined(separator: ",")
    let columns = (0..<65_537).map { #""\#($0)":[1]"# }.joined(separator: ",")
    let deep = String(repeating: #"{"a":"#, count: 100_000) + "[1]" + String(repeating: "}", count: 100_000)
    for (text, reason) in [
      (#"{"rows":257,"order":[\#(order)],"tables":[\#(tables)]}"#, "there are too many tables"),
      (#"{"rows":1,"tables":[{\#(columns)}]}"#, "there are too many columns"),
      (#"{"rows":1,"tables":[\#(deep)]}"#, "objects are nested too deeply"),
    ] {
      let error = #expect(throws: ColumnsError.self) { try Columns.decode(bytes(text + "\n"), maximumOutput: 1 << 24) }
      #expect(error?.reason == reason)
    }
  }
}
