import Testing

@testable import forebay

@Suite("Configuration: YAML")
struct ConfigurationYAMLTests {
  private func parse(
    _ bytes: [UInt8], limits: YAMLParser.Limits = .init()
  ) -> (YAMLNode?, [String]) {
    let diagnostics = DiagnosticCollector(file: "f")
    let tree = YAMLParser.parse(bytes, limits: limits, diagnostics: diagnostics)
    return (tree, diagnostics.sorted.map(\.summary))
  }

  private func parse(_ text: String, limits: YAMLParser.Limits = .init()) -> (YAMLNode?, [String]) {
    parse(Array(text.utf8), limits: limits)
  }

  private func place(_ line: Int, _ column: Int) -> TextPlace { TextPlace(line: line, column: column) }

  @Test("Every key and value keeps its place")
  func places() throws {
    let (tree, errors) = parse("a:\n  b: [1, 'two']\n  é: {c: \"x\"}\n# end\n")
    #expect(errors == [])
    let root = try #require(tree)
    #expect(root.start == place(1, 1))
    let a = try #require(root.value(of: "a"))
    guard case .mapping(let entries) = a.content else { Issue.record("no mapping"); return }
    #expect(entries.map(\.key) == ["b", "é"])
    #expect(entries.map(\.keyPlace) == [place(2, 3), place(3, 3)])
    guard case .sequence(let items) = entries[0].value.content else { Issue.record("no list"); return }
    #expect(items.map(\.start) == [place(2, 7), place(2, 10)])
    #expect(
      items.map(\.content) == [
        .scalar(.init(text: "1", style: .plain)), .scalar(.init(text: "two", style: .quoted)),
      ])
    #expect(entries[1].value.value(of: "c")?.start == place(3, 10))
    #expect(items[1].place(ofCharacter: 2) == place(2, 13))
  }

  @Test("A byte order mark does not move the first line")
  func byteOrderMark() throws {
    let (tree, errors) = parse([0xEF, 0xBB, 0xBF] + Array("a: b".utf8))
    #expect(errors == [])
    #expect(tree?.value(of: "a")?.start == place(1, 4))
  }

  @Test(
    "What is no YAML, or not wanted of it, is refused with its place",
    arguments: [
      (
        "a: 1\n\tb: 2\n",
        "f:2:1: error: a: found a tab character that violates indentation (while scanning a plain scalar that begins at line 1, column 4); YAML is indented with spaces, never with tabs"
      ),
      (
        "a:\n\tb: 2\n",
        "f:2:1: error: a: found character that cannot start any token; YAML is indented with spaces, never with tabs"
      ),
      (
        "a: 1\n b: 2\n",
        "f:2:3: error: mapping values are not allowed in this context; check the indentation, and put a text that holds ': ' in quotes"
      ),
      (
        "a: [1, 2\nb: 3\n",
        "f:2:2: error: a: did not find expected ',' or ']' (while parsing a flow sequence that begins at line 1, column 4)"
      ),
      (
        "from: [a/{b}/c]\n",
        "f:1:10: error: from: did not find expected ',' or ']' (while parsing a flow sequence that begins at line 1, column 7); within [ ] and { } a text with braces needs quotes: \"sensors/{device}\""
      ),
      (
        "a: 'x\n",
        "f:2:1: error: a: found unexpected end of stream (while scanning a quoted scalar that begins at line 1, column 4)"
      ),
      (
        "a: 1\n---\nb: 2\n",
        "f:2:1: error: a second YAML document begins here; a configuration is one document; remove the '---'"
      ),
      ("a: &x 1\n", "f:1:4: error: a: anchors ('&x') are not used here; write the value out"),
      ("a: *x\n", "f:1:4: error: a: aliases ('*x') are not used here; write the value out"),
      (
        "a: !!int 1\n",
        "f:1:4: error: a: tags ('tag:yaml.org,2002:int') are not used here; leave it out; quote a text that begins with '!'"
      ),
      (
        "a: 1\nb: {c: 1, c: 2}\n",
        "f:2:11: error: b.c: the key is here a second time; the first is at line 2, column 5; remove one of them"
      ),
      (
        "? [a]\n: b\n",
        "f:1:3: error: a mapping or list stands where a key belongs; is there a '{' or '[' too much, or are quotes missing?"
      ),
      ("", "f: error: the file is empty; see docs/configuration.md for an example"),
      ("# nothing\n", "f: error: the file is empty; see docs/configuration.md for an example"),
      (
        "a: \u{1}b\n",
        "f:1:4: error: control characters are not allowed; remove the character, or write it as an escape in double quotes"
      ),
    ])
  func refused(_ test: (text: String, error: String)) {
    #expect(parse(test.text).1 == [test.error])
  }

  @Test("The rest of a file with a duplicate key, an alias or an anchor is read on")
  func readOn() {
    let (tree, errors) = parse("a: 1\na: 2\n*x : 3\nb: &y 4\nc: 5\n")
    #expect(errors.count == 3)
    #expect(tree?.value(of: "a")?.content == .scalar(.init(text: "1", style: .plain)))
    #expect(tree?.value(of: "c")?.content == .scalar(.init(text: "5", style: .plain)))
  }

  @Test("A file that is not UTF-8 is refused at the first wrong character")
  func notUTF8() {
    #expect(
      parse(Array("a: 1\né: ".utf8) + [0xE4, 0x0A]).1 == [
        "f:2:4: error: the file is not UTF-8 here; save it as UTF-8"
      ])
    #expect(
      parse([0xFF, 0xFE, 0x61, 0x00]).1 == [
        "f:1:1: error: the file is not UTF-8 here; it begins like UTF-16; save it as UTF-8"
      ])
  }

  @Test("Size, depth and the number of values are bounded")
  func bounds() {
    #expect(
      parse(String(repeating: "#", count: (1 << 20) + 1)).1 == [
        "f: error: the file has 1048577 bytes; a configuration has at most 1048576"
      ])
    #expect(parse(String(repeating: "#", count: 1 << 20)).1.first?.contains("is empty") == true)
    let deep = String(repeating: "[", count: 64) + String(repeating: "]", count: 64)
    #expect(parse(deep).1 == [])
    #expect(parse("[" + deep + "]").1.first?.contains("more than 64 deep") == true)
    for opening in ["[", "{", "? ", "- ", "a: "] {
      #expect(parse(String(repeating: opening, count: 300_000)).1.count == 1)
    }
    #expect(parse("[1, 2, 3]", limits: .init(nodes: 4)).1 == [])
    #expect(
      parse("[1, 2, 3, 4]", limits: .init(nodes: 4)).1 == [
        "f:1:11: error: [3]: more than 4 values in one file"
      ])
  }
}
