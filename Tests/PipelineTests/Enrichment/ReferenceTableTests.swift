import Pipeline
import Testing

private func table(
  _ csv: String, key: String = "id", change: (inout ReferenceTable.Settings) -> Void = { _ in }
) throws -> ReferenceTable {
  var settings = ReferenceTable.Settings(key: key)
  change(&settings)
  return try Array(csv.utf8).withUnsafeBytes { try ReferenceTable(csv: $0, settings: settings) }
}

extension ReferenceTable {
  fileprivate func enrich(_ json: String, key: String) throws -> (text: String, found: Bool) {
    var output: [UInt8] = []
    let found = try withTape(json.utf8) { tape, bytes in
      Array(key.utf8).withUnsafeBytes { append(tape, 0, in: bytes, key: $0, to: &output) }
    }
    _ = try read(output).get()
    return (try #require(String(validating: output, as: UTF8.self)), found)
  }
}

private func error(_ make: () throws -> Void) -> ReferenceError? {
  do { try make() } catch { return error as? ReferenceError }
  return nil
}

@Suite("Reference table")
struct ReferenceTableTests {
  static let sites = """
    id,site,floor,note\r
    dev-1,North,3,"says ""hi"", twice"\r
    dev-2,"Süd\nOst",,\r
    \r
    "dev,3",East,-1.50,x
    """

  @Test("A row's columns become members behind the reading's own")
  func members() throws {
    let table = try table(Self.sites)
    #expect(table.count == 3)
    var result = try table.enrich(#"{ "t" : 21.50 }"#, key: "dev-1")
    #expect(result.text == #"{"t":21.50,"site":"North","floor":"3","note":"says \"hi\", twice"}"#)
    #expect(result.found)
    result = try table.enrich("{}", key: "dev-2")
    #expect(result.text == #"{"site":"Süd\nOst"}"#)
    result = try table.enrich("{}", key: "dev,3")
    #expect(result.text == #"{"site":"East","floor":"-1.50","note":"x"}"#)
    for missing in ["", "dev", "dev-", "dev-11", "zzz", "\u{0}"] {
      result = try table.enrich(#"{ "t" : 1 }"#, key: missing)
      #expect(result.text == #"{"t":1}"#)
      #expect(!result.found)
    }
  }

  @Test("Columns are chosen, renamed, typed, prefixed or put in an object")
  func placement() throws {
    let columns: [ReferenceTable.Column] = [.init("floor", as: "level", kind: .number), .init("site")]
    let prefixed = try table(Self.sites) {
      $0.columns = columns
      $0.placement = .members(prefix: "ref_")
    }
    #expect(try prefixed.enrich(#"{"t":1}"#, key: "dev,3").text == #"{"t":1,"ref_level":-1.50,"ref_site":"East"}"#)
    let object = try table(Self.sites) {
      $0.columns = columns
      $0.placement = .object("device \"x\"")
    }
    #expect(try object.enrich(#"{"t":1}"#, key: "dev-1").text == #"{"t":1,"device \"x\"":{"level":3,"site":"North"}}"#)
    #expect(try object.enrich("{}", key: "dev-2").text == #"{"device \"x\"":{"site":"Süd\nOst"}}"#)
    #expect(try object.enrich("{}", key: "dev-9").text == "{}")
  }

  @Test("A device cannot speak for the table: its own members of those names give way where there is a row")
  func spoofing() throws {
    let table = try table(Self.sites)
    let json = #"{"site":"mine","\u0073ite":"mine","floor":9,"t":1}"#
    #expect(try table.enrich(json, key: "dev-2").text == #"{"t":1,"site":"Süd\nOst"}"#)
    #expect(try table.enrich(json, key: "dev-9").text == json)
  }

  @Test("The key may stand in a field, as a string or a number")
  func field() throws {
    let table = try table("id,site\n7,North\né,South\n")
    let path = try FieldPath(parsing: "o.id")
    for (json, found) in [
      (#"{"o":{"id":7}}"#, true), (#"{"o":{"id":"7"}}"#, true), (#"{"o":{"id":"\u00e9"}}"#, true),
      (#"{"o":{"id":7.0}}"#, false), (#"{"o":{"id":null}}"#, false), (#"{"o":{"id":["7"]}}"#, false), ("{}", false),
    ] {
      var output: [UInt8] = []
      let result = try withTape(json.utf8) { table.append($0, 0, in: $1, keyAt: path, to: &output) }
      #expect(result == found, "\(json)")
      #expect((output.count > json.utf8.count) == found)
    }
  }

  @Test("Rows that the caller hands in keep their types")
  func rows() throws {
    var settings = ReferenceTable.Settings(key: "id")
    settings.placement = .object("o")
    let table = try ReferenceTable(
      header: ["big", "id", "x"],
      rows: [
        [.integer(.max), .text(Array("a".utf8)), .real(0.1)], [.null, .integer(7), .text(Array("\"".utf8))],
        [.null, .real(1.5), .real(.infinity)],
      ], settings: settings)
    #expect(try table.enrich("{}", key: "a").text == #"{"o":{"big":9223372036854775807,"x":0.1}}"#)
    #expect(try table.enrich("{}", key: "7").text == #"{"o":{"x":"\""}}"#)
    #expect(try table.enrich("{}", key: "1.5").text == #"{"o":{"x":null}}"#)
    func kind(_ rows: [[ReferenceTable.Cell]]) -> ReferenceError? {
      error { _ = try ReferenceTable(header: ["id", "x"], rows: rows, settings: settings) }
    }
    #expect(kind([[.integer(1), .null], [.null, .null]])?.kind == .emptyKey)
    #expect(kind([[.text([]), .null]])?.kind == .emptyKey)
    #expect(kind([[.integer(1)]])?.kind == .width)
    #expect(kind([[.integer(1), .text([0xFF])]])?.kind == .encoding)
    let twice = kind([[.integer(2), .null], [.integer(1), .null], [.text(Array("2".utf8)), .null]])
    #expect(twice?.kind == .duplicateKey && twice?.otherLine == 1 && twice?.line == 3)
  }

  static let wrong: [(csv: String, kind: ReferenceError.Kind, line: Int?)] = [
    ("", .empty, nil),
    ("\n\r\n", .empty, nil),
    ("\u{FEFF}", .empty, nil),
    ("name,site\nx,y", .column, nil),
    ("id,site,id\n", .column, nil),
    ("id,site,site\n", .column, nil),
    ("id,site\na,b\nc\n", .width, 3),
    ("id,site\na,b,c\n", .width, 2),
    ("id,site\n,b\n", .emptyKey, 2),
    ("id,site\n\"\",b\n", .emptyKey, 2),
    ("id,site\na,\"b\n\n", .quote, 2),
    ("id,site\na,\"b\"c\n", .quote, 2),
    ("id,site\na,b\"c\"\n", .quote, 2),
    ("id,site\nx,\"1\n2\"\ny\n", .width, 4),
    ("id,site\na,1\nb,2\na,3\nb,4\na,5\n", .duplicateKey, 4),
  ]

  @Test("A table that cannot be is refused with its line and kind", arguments: wrong)
  func refusing(csv: String, kind: ReferenceError.Kind, line: Int?) throws {
    let error = try #require(error { _ = try table(csv) })
    #expect(error.kind == kind, "\(error)")
    #expect(error.line == line, "\(error)")
  }

  @Test("Both lines of a key that stands there twice are named, and no cell is in any error")
  func words() throws {
    let twice = error { _ = try table("id,site\nsecret,1\nb,2\nsecret,3\n") }
    #expect(twice?.otherLine == 2)
    #expect(twice?.description == "line 4: the key, id, is the same as on line 2; a key may stand there once")
    let number = error {
      _ = try table("id,site\na,007\n") { $0.columns = [.init("site", kind: .number)] }
    }
    #expect(number?.kind == .number && number?.line == 2)
    #expect(number?.description.contains("007") == false)
    let names = error { _ = try table("id,site\n") { $0.columns = [.init("site"), .init("id", as: "site")] } }
    #expect(names?.kind == .column)
  }

  @Test("Bytes that are not UTF-8 are refused", arguments: [[0xFF] as [UInt8], [0xC3], [0x22, 0xE4, 0x22]])
  func encoding(cell: [UInt8]) throws {
    let csv = Array("id,site\na,b\nc,".utf8) + cell + Array("\n".utf8)
    let error = error {
      _ = try csv.withUnsafeBytes { try ReferenceTable(csv: $0, settings: .init(key: "id")) }
    }
    #expect(error?.kind == .encoding)
    #expect(error?.line == 3)
  }

  @Test(
    "Numbers are those of JSON, and an empty cell is no member",
    arguments: [
      ("1", true), ("-0.5e+3", true), ("123456789012345678901234567890", true), ("", true), ("01", false),
      ("1.", false),
      ("+1", false), ("1 ", false), ("-", false), ("NaN", false), ("\"\"", false), ("0x1", false), ("\"1,5\"", false),
    ])
  func numbers(cell: String, isTaken: Bool) throws {
    let result = Result { try table("id,n\na,\(cell)\n") { $0.columns = [.init("n", kind: .number)] } }
    switch result {
    case .success(let table):
      #expect(isTaken)
      #expect(try table.enrich("{}", key: "a").text == (cell.isEmpty ? "{}" : "{\"n\":\(cell)}"))
    case .failure: #expect(!isTaken)
    }
  }

  @Test("Rows and bytes are bounded")
  func bounds() throws {
    let csv = "id;site\n" + (0..<100).map { "d\($0);s\($0)\n" }.joined()
    func make(_ rows: Int, _ bytes: Int) -> ReferenceError? {
      error {
        let made = try table(csv) {
          $0.delimiter = UInt8(ascii: ";")
          $0.maximumRows = rows
          $0.maximumBytes = bytes
        }
        #expect(made.count == 100 && made.byteCount <= bytes)
      }
    }
    #expect(make(100, 10_000) == nil)
    #expect(make(99, 10_000)?.kind == .tooLarge)
    #expect(make(99, 10_000)?.line == 101)
    #expect(make(100, csv.utf8.count - 1)?.kind == .tooLarge)
    #expect(make(100, csv.utf8.count + 10)?.kind == .tooLarge)
  }

  @Test("Every key of many is found, with its own row")
  func many() throws {
    var generator = SeededGenerator(seed: 9)
    let keys = Array(Set((0..<2_000).map { _ in String(generator.next(), radix: 36) }))
    let csv = "id,v\n" + keys.shuffled(using: &generator).map { "\($0),v\($0)\n" }.joined()
    let table = try table(csv)
    #expect(table.count == keys.count)
    for key in keys { #expect(try table.enrich("{}", key: key).text == "{\"v\":\"v\(key)\"}") }
  }

  @Test("Whatever bytes a file holds, the answer is a table or an error")
  func soup() throws {
    var generator = SeededGenerator(seed: 11)
    let bytes = Array("id,x\n\r\"\u{FEFF}é;".utf8) + [0xFF, 0x00]
    var taken = 0
    for _ in 0..<5_000 {
      let csv =
        Array("id,x\n".utf8)
        + (0..<Int.random(in: 0..<20, using: &generator)).map { _ in
          bytes.randomElement(using: &generator)!
        }
      if let made = try? csv.withUnsafeBytes({ try ReferenceTable(csv: $0, settings: .init(key: "id")) }) {
        taken += 1
        _ = try made.enrich(#"{"a":1}"#, key: "i")
      }
    }
    #expect(taken > 100)
  }
}
