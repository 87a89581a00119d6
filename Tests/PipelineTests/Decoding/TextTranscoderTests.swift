import Pipeline
import Testing

@Suite("CSV")
struct CSVTests {
  private static func csv(
    _ columns: [String]? = nil, delimiter: Character = ",", decimalComma: Bool = false
  ) -> CSVTranscoder {
    var settings = CSVTranscoder.Settings()
    settings.columns = columns
    settings.delimiter = delimiter.asciiValue!
    settings.decimalComma = decimalComma
    return CSVTranscoder(settings: settings)
  }

  static let written: [(text: String, json: String)] = [
    ("a,b\r\n1,x\r\n2,y\r\n", #"[{"a":1,"b":"x"},{"a":2,"b":"y"}]"#),
    ("a,b\n1,x\n2,y", #"[{"a":1,"b":"x"},{"a":2,"b":"y"}]"#),
    ("a,b", "[]"), ("a,b\r\n", "[]"),
    // RFC 4180, section 2, examples 5 to 7.
    (
      "a,b,c\n\"aaa\",\"b \r\nbb\",\"ccc\"\nzzz,yyy,xxx",
      #"[{"a":"aaa","b":"b \r\nbb","c":"ccc"},{"a":"zzz","b":"yyy","c":"xxx"}]"#
    ),
    ("a,b,c\n\"aaa\",\"b\"\"bb\",\"ccc\"", #"[{"a":"aaa","b":"b\"bb","c":"ccc"}]"#),
    ("\"a,\"\"b\"\"\",\"c\nd\"\n1,2", #"[{"a,\"b\"":1,"c\nd":2}]"#),
    // Numbers are what JSON calls so; spaces belong to the field.
    (
      "a,b,c,d,e,f,g,h\n-1.50,1e5,007,.5,+1, 1,true,0x1",
      #"[{"a":-1.50,"b":1e5,"c":"007","d":".5","e":"+1","f":" 1","g":"true","h":"0x1"}]"#
    ),
    ("a\n12345678901234567890.123456789", #"[{"a":12345678901234567890.123456789}]"#),
    ("a,b\n\"1\",\"\"\n,", #"[{"a":1,"b":null},{"a":null,"b":null}]"#),
    // An empty line is a row only where there is one column.
    ("a,b\n\n1,2\n\n\n", #"[{"a":1,"b":2}]"#), ("a\n1\n\n2\n", #"[{"a":1},{"a":null},{"a":2}]"#),
    ("a;b\t\n1;2\n", #"[{"a;b\t":"1;2"}]"#), ("é\n\\\n", #"[{"é":"\\"}]"#), ("\u{FEFF}a\n1", #"[{"a":1}]"#),
  ]

  @Test("Rows become objects", arguments: written)
  func writing(text: String, json: String) {
    #expect(CSVTests.csv().json(text) == json)
  }

  @Test("Columns may be named in the settings, and then the first line is a row")
  func columns() {
    let transcoder = CSVTests.csv(["t", "a\"b"])
    #expect(transcoder.json("1,2\n3,4\n") == #"[{"t":1,"a\"b":2},{"t":3,"a\"b":4}]"#)
    #expect(transcoder.json("") == "[]")
    #expect(transcoder.rule("1\n") == .csvColumns)
  }

  @Test("With decimal commas a text with a point is none of the numbers, for the point may group digits")
  func decimalComma() {
    let transcoder = CSVTests.csv(delimiter: ";", decimalComma: true)
    #expect(
      transcoder.json("a;b;c;d;e;f\n21,5;-0,25e3;1.5;1.000,5;7;1,5,2")
        == #"[{"a":21.5,"b":-0.25e3,"c":"1.5","d":"1.000,5","e":7,"f":"1,5,2"}]"#)
    #expect(CSVTests.csv(decimalComma: true).json("a,b\n\"21,5\",1") == #"[{"a":21.5,"b":1}]"#)
    #expect(CSVTests.csv(delimiter: ";").json("a\n21,5") == #"[{"a":"21,5"}]"#)
    #expect(transcoder.json("a\n" + String(repeating: "1", count: 2_000))?.hasPrefix(#"[{"a":"1"#) == true)
  }

  @Test("Any ASCII character may stand between the fields, but not a quote, a line end or NUL")
  func delimiters() {
    for delimiter in [";", "\t", "|", " ", "\u{1}"] as [Character] {
      #expect(CSVTests.csv(delimiter: delimiter).json("a\(delimiter)b\n1\(delimiter)2") == #"[{"a":1,"b":2}]"#)
    }
    let wrong = (UInt8.min...UInt8.max).filter { !CSVTranscoder.Settings.isDelimiter($0) }
    #expect(wrong == [0x00, 0x0A, 0x0D, 0x22] + Array(0x80...0xFF))
  }

  static let refused: [(text: String, rule: Refusal.Rule, reason: String)] = [
    ("a,b\n1,2\n3\n", .csvColumns, "line 3 has 1 fields and there are 2 columns"),
    ("a,b\n\"1\n\",2\n3,4,5\n", .csvColumns, "line 4 has 3 fields and there are 2 columns"),
    ("a,b\n\"\"\n", .csvColumns, "line 2 has 1 fields and there are 2 columns"),
    ("", .csvHeader, "the payload is empty and should begin with the columns' names; or name them in the settings"),
    ("a,,b\n", .csvHeader, "column 2 of the first line has no name"),
    ("\n1\n", .csvHeader, "column 1 of the first line has no name"),
    ("a,b,a\n", .csvHeader, "column 3 of the first line has the name of an earlier one"),
    ("a\nx\"y\n", .csvSyntax, "line 2: a quote stands within a field that does not begin with one"),
    ("a\n\"x\"y\n", .csvSyntax, "line 2: there is something behind a closing quote, or a carriage return ends no line"),
    ("a\n1\r2\n", .csvSyntax, "line 2: there is something behind a closing quote, or a carriage return ends no line"),
    ("a\n1\r", .csvSyntax, "line 2: there is something behind a closing quote, or a carriage return ends no line"),
    ("a\n1\n\"x\n\n", .csvSyntax, "line 3: a quoted field has no closing quote"),
  ]

  @Test("What is no table is refused with the line's number", arguments: refused)
  func refusing(text: String, rule: Refusal.Rule, reason: String) {
    #expect(CSVTests.csv().result(Array(text.utf8)).error == Refusal(rule, reason))
  }

  @Test("A header that every row repeats cannot fill the memory")
  func amplification() {
    let header = String(repeating: "x", count: 100_000)
    #expect(CSVTests.csv().rule(header + String(repeating: "\n1", count: 10_000)) == .outputSize)
  }

  @Test("Payloads that are cut or damaged anywhere are taken or refused, never a crash")
  func damage() {
    for (text, _) in CSVTests.written {
      CSVTests.csv().takesCuts(of: Array(text.utf8))
      CSVTests.csv().takesDamage(to: Array(text.utf8))
      CSVTests.csv(["a", "b"], delimiter: ";", decimalComma: true).takesDamage(to: Array(text.utf8))
    }
    #expect(CSVTests.csv().rule(String(repeating: ",", count: 1_000_000)) == .csvHeader)
    #expect(CSVTests.csv().rule(String(repeating: "\"", count: 1_000_001)) == .csvSyntax)
  }
}

@Suite("Scalars and raw bytes")
struct ScalarTests {
  static let written: [(text: String, json: String)] = [
    ("21.5", "21.5"), (" 21.50\r\n", "21.50"), ("-1e-5", "-1e-5"), ("0", "0"),
    ("123456789012345678901234567890", "123456789012345678901234567890"),
    ("true", "true"), ("false\n", "false"), ("True", #""True""#), ("ON", #""ON""#), ("21,5", #""21,5""#),
    ("007", #""007""#), ("NaN", #""NaN""#), ("1 2", #""1 2""#), (" two words\n", #"" two words\n""#),
    ("\"q\"", #""\"q\"""#), ("{\"a\":1}", #""{\"a\":1}""#), ("null", #""null""#), ("-", #""-""#), ("é", #""é""#),
    ("\u{FEFF}1", "1"), ("\u{0}", #""\u0000""#),
  ]

  @Test("A payload is a number or a boolean where JSON has one, and a text otherwise", arguments: written)
  func writing(text: String, json: String) {
    #expect(ScalarTranscoder().json(text) == #"[{"value":\#(json)}]"#)
  }

  @Test("With decimal commas 21,5 is a number and 21.5 is a text")
  func decimalComma() {
    var settings = ScalarTranscoder.Settings()
    settings.decimalComma = true
    let transcoder = ScalarTranscoder(settings: settings)
    #expect(transcoder.json("21,5\n") == #"[{"value":21.5}]"#)
    #expect(transcoder.json("21.5") == #"[{"value":"21.5"}]"#)
    #expect(transcoder.json("21") == #"[{"value":21}]"#)
    #expect(transcoder.json(",") == #"[{"value":","}]"#)
  }

  @Test("A payload without a value is refused, as is one that is not UTF-8")
  func refusing() {
    #expect(ScalarTranscoder().rule("") == .scalarEmpty)
    #expect(ScalarTranscoder().rule(" \t\r\n") == .scalarEmpty)
    #expect(ScalarTranscoder().result([0x31, 0xFF]).error?.rule == .characterSet)
    for (text, _) in ScalarTests.written {
      ScalarTranscoder().takesCuts(of: Array(text.utf8))
      ScalarTranscoder().takesDamage(to: Array(text.utf8))
    }
  }

  /// RFC 4648, section 10, and the two symbols that its alphabets differ in.
  static let base64: [(bytes: [UInt8], text: String)] = [
    ([], ""), (Array("f".utf8), "Zg=="), (Array("fo".utf8), "Zm8="), (Array("foo".utf8), "Zm9v"),
    (Array("foob".utf8), "Zm9vYg=="), (Array("fooba".utf8), "Zm9vYmE="), (Array("foobar".utf8), "Zm9vYmFy"),
    ([0xFB, 0xFF, 0x00], "+/8A"),
  ]

  @Test("Raw bytes are one field in base 64", arguments: base64)
  func raw(bytes: [UInt8], text: String) throws {
    #expect(try RawTranscoder().result(bytes).get() == #"[{"base64":"\#(text)"}]"#)
  }
}
