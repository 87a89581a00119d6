import Compression
import TestSupport
import Testing

extension RealIO {
  /// docs/delivery-protocol.md, section 12, as somebody would use it who has nothing else.
  @Suite("The page on columns")
  struct ColumnsPageTests {
    private static let page = String(
      decoding: Files.read(
        "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
          + "/docs/delivery-protocol.md"), as: UTF8.self)

    /// The blocks of the page in this language that begin so.
    private static func blocks(_ language: String, _ begin: String) -> [String] {
      page.split(separator: "```\(language)\n").dropFirst().compactMap { rest in
        guard rest.hasPrefix(begin), let end = rest.firstRange(of: "```") else { return nil }
        return String(rest[..<end.lowerBound])
      }
    }

    @Test("its examples are what is written for its lines")
    func examples() throws {
      let lines = Self.blocks("json", "{\"key\":\"t-1\"") + Self.blocks("json", "{\"key\":\"a\"")
      let columns = Self.blocks("json", "{\"rows\":")
      #expect(lines.count == 2 && columns.count == 2)
      for (lines, columns) in zip(lines, columns) {
        #expect(Columns.encode(Array(lines.utf8)) == Array(columns.utf8))
      }
      #expect(columns.first?.utf8.count == 270)
    }

    @Test("its Python gives back the lines of whatever is written, and refuses what is cut off")
    func python() throws {
      let code = try #require(Self.blocks("python", "import re").first)
      let directory = try TemporaryDirectory("page")
      let lines = Array(
        """
        {"key":"t-1","data":{"t":21.50,"n":"\\u00e9 \\"]}","l":[1,{"a":"[{"}],"e":{}}}
        {"key":"t-2","data":{"t":-4e+1,"n":"é\\/\\\\","l":[],"e":{}}}
        {"a":1,"a":[]}
        {"deep":{"er":{"and":{"so":null}},"x":true}}
        {"key":"t-1","data":{"t":0,"n":"","l":[[[]]],"e":{}}}
        {"a": 1}

        """.utf8)
      let text = try #require(Columns.encode(lines))
      Files.write(text, to: directory.file("columns"))
      Files.write(lines, to: directory.file("lines"))
      let check = """
        import sys
        text, expected = open(sys.argv[1], "rb").read(), open(sys.argv[2], "rb").read()
        assert lines(text) == expected
        for end in range(len(text)):
            try: lines(text[:end])
            except (AttributeError, IndexError, StopIteration, ValueError): continue
            raise SystemExit(f"{end} bytes are taken for a whole text")
        """
      Files.write(code + "\n" + check, to: directory.file("check.py"))
      let result = try ChildProcess.run(
        "python3", [directory.file("check.py"), directory.file("columns"), directory.file("lines")])
      #expect(result.status == 0, "\(result.output)")
    }
  }
}
