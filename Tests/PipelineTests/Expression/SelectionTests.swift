import Pipeline
import Testing

@Suite("Select")
struct SelectionTests {
  static let reading = #"""
    { "id" : "x\u0031" , "t" : 21.50 , "big":18446744073709551615, "o":{ "b" : [1, 2.0e0 , "a b"] }, "n":null }
    """#

  static let forms: [(entries: [String], expected: String)] = [
    (["t"], #"{"t":21.50}"#),
    (["t AS \"the temperature\""], #"{"the temperature":21.50}"#),
    (["big"], #"{"big":18446744073709551615}"#),
    (["id", "n"], #"{"id":"x\u0031","n":null}"#),
    (["\"o.b\""], #"{"b":[1,2.0e0,"a b"]}"#),
    (["\"o.b[1]\" AS second"], #"{"second":2.0e0}"#),
    (["o AS p", "missing", "t"], #"{"p":{"b":[1,2.0e0,"a b"]},"t":21.50}"#),
    (["missing"], "{}"),
    (["missing + 1 AS m"], #"{"m":null}"#),
    (["*"], #"{"id":"x\u0031","t":21.50,"big":18446744073709551615,"o":{"b":[1,2.0e0,"a b"]},"n":null}"#),
    (["* EXCEPT (o, \"big\", id)"], #"{"t":21.50,"n":null}"#),
    (["* except(id,t,big,o,n)"], "{}"),
    (["* EXCEPT (o, big, id)", "t * 2 AS t"], #"{"n":null,"t":43.0}"#),
    (["t * 2 AS u", "* EXCEPT (o, big, id)"], #"{"u":43.0,"t":21.50,"n":null}"#),
    (
      ["key AS device", "time", "received AS r", "topic"],
      #"{"device":"dev-7","time":1795231080000000001,"r":1795231081000000000,"topic":"plant/north/dev-7"}"#
    ),
    (["area", "\"area\" AS b"], #"{"area":"north"}"#),
    (["1 AS \"a\"\"\\\""], #"{"a\"\\":1}"#),
    (["t AS end"], #"{"end":21.50}"#),
    (["CAST(t AS TEXT) AS t"], #"{"t":"21.5"}"#),
    (["id AS key", "id || key AS both"], #"{"key":"x\u0031","both":"x1dev-7"}"#),
  ]

  @Test("Every form of select gives its object", arguments: forms)
  func form(entries: [String], expected: String) throws {
    var selection = try Selection(where: nil, select: entries, captures: ["area"])
    #expect(try selection.select(Self.reading) == expected)
    #expect(selection.changesReadings == (entries != ["*"]))
  }

  @Test("A member beside * takes the place of all members of that name, however they are written")
  func replacing() throws {
    var selection = try Selection(where: nil, select: ["*", "1 AS a"])
    #expect(try selection.select(#"{"a":2,"b":3,"\u0061":4}"#) == #"{"b":3,"a":1}"#)
    #expect(try selection.select("{}") == #"{"a":1}"#)
  }

  @Test("A reading within a larger payload is looked at alone")
  func within() throws {
    let text = #"[{"a":1},{"a":2,"b":{"c":3}}]"#
    var selection = try Selection(where: "a = 2", select: ["a + 1 AS a", "\"b.c\"", "*"])
    try withTape(text.utf8) { tape, bytes in
      let second = try #require(tape.element(1, of: 0))
      #expect(try selection.passes(tape, 1, in: bytes, someContext) == false)
      #expect(try selection.passes(tape, second, in: bytes, someContext) == true)
      var output: [UInt8] = []
      try selection.append(tape, second, in: bytes, someContext, to: &output)
      #expect(String(decoding: output, as: UTF8.self) == #"{"a":3,"c":3,"b":{"c":3}}"#)
    }
  }

  @Test("The key may be the payload's own bytes, escapes and all, or none")
  func keys() throws {
    var selection = try Selection(where: nil, select: ["key"])
    var context = someContext
    context.key = .content(7..<13)
    #expect(try selection.select(#"{"id":"\u0031"}"#, context) == #"{"key":"1"}"#)
    context.key = .content(6..<8)
    #expect(try selection.select(#"{"id":42}"#, context) == #"{"key":"42"}"#)
    context.key = .none
    #expect(try selection.select("{}", context) == #"{"key":null}"#)
    context.key = .text([])
    #expect(try selection.select("{}", context) == #"{"key":""}"#)
    context.captures = []
    var capture = try Selection(where: nil, select: ["area"], captures: ["area"])
    #expect(try capture.select("{}", context) == #"{"area":null}"#)
  }

  @Test("Readings of any shape come through * as their compact bytes, and through a plain field too", arguments: 0..<8)
  func property(seed: Int) throws {
    var generator = SeededGenerator(seed: UInt64(seed))
    var star = try Selection(where: nil, select: ["*"])
    var except = try Selection(where: nil, select: ["* EXCEPT (\"nobody has this name\")"])
    var computed = try Selection(where: nil, select: ["*", "1 AS \"nobody has this name\""])
    var field = try Selection(where: nil, select: ["\"m0\" AS x"])
    for _ in 0..<200 {
      var text = ""
      randomObject(&text, depth: 0, &generator)
      let plain = String(decoding: compact(Array(text.utf8)), as: UTF8.self)
      #expect(try star.select(text) == plain)
      #expect(try except.select(text) == plain)
      let extended = plain == "{}" ? "{" : plain.dropLast() + ","
      #expect(try computed.select(text) == extended + "\"nobody has this name\":1}")
      let first = try withTape(plain.utf8) { tape, bytes in
        tape.member(Array("m0".utf8), of: 0, in: bytes).map {
          String(decoding: bytes[tape.values[$0].range], as: UTF8.self)
        }
      }
      #expect(try field.select(text) == (first.map { "{\"x\":\($0)}" } ?? "{}"))
    }
  }

  private func blank(_ text: inout String, _ generator: inout SeededGenerator) {
    if Int.random(in: 0..<4, using: &generator) == 0 {
      text += [" ", "\n", "\t\r ", "  "].randomElement(using: &generator)!
    }
  }

  private func randomObject(_ text: inout String, depth: Int, _ generator: inout SeededGenerator) {
    text += "{"
    for index in 0..<Int.random(in: 0..<6, using: &generator) {
      if index > 0 { text += "," }
      blank(&text, &generator)
      text += ["\"m\(index)\"", "\"m0\"", "\"\\u006d0\"", "\"\"", "\"a \\\" b\"", "\"é\""].randomElement(
        using: &generator)!
      blank(&text, &generator)
      text += ":"
      randomValue(&text, depth: depth + 1, &generator)
    }
    blank(&text, &generator)
    text += "}"
  }

  private func randomValue(_ text: inout String, depth: Int, _ generator: inout SeededGenerator) {
    blank(&text, &generator)
    switch Int.random(in: 0..<(depth > 4 ? 5 : 7), using: &generator) {
    case 0: text += String(Int64.random(in: .min ... .max, using: &generator))
    case 1:
      text += ["1.50", "-0", "1E+2", "123456789012345678901234567890", "0.1e-7"].randomElement(using: &generator)!
    case 2:
      text += ["\"\"", "\"a b\"", "\"\\\"\\\\\"", "\"\\ud83d\\ude00\"", "\"😀 { [ ,\"", "\"\\u0000\""].randomElement(
        using: &generator)!
    case 3: text += ["true", "false", "null"].randomElement(using: &generator)!
    case 4: text += ["[]", "{}", "[ ]", "{\n}"].randomElement(using: &generator)!
    case 5:
      text += "["
      for index in 0..<Int.random(in: 0..<4, using: &generator) {
        if index > 0 { text += "," }
        randomValue(&text, depth: depth + 1, &generator)
      }
      text += "]"
    default: randomObject(&text, depth: depth + 1, &generator)
    }
    blank(&text, &generator)
  }

  @Test("A copy has a connection of its own: copies are used at the same time by several threads")
  func copies() async throws {
    let original = try Selection(where: "a % 2 = 0", select: ["a * 2 AS b", "s || key AS c"])
    let sums = await withTaskGroup(of: Int?.self) { group in
      for _ in 0..<4 {
        group.addTask {
          var copy = original
          var passed = 0
          for number in 0..<2_000 {
            guard let passes = try? copy.passes(#"{"a":\#(number)}"#),
              (try? copy.select(#"{"a":\#(number),"s":"é\n"}"#)) == #"{"b":\#(number * 2),"c":"é\ndev-7"}"#
            else { return nil }
            if passes == true { passed += 1 }
          }
          return passed
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(sums == [1_000, 1_000, 1_000, 1_000])
  }
}
