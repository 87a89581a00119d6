import Pipeline
import Telemetry
import Testing

private func parse(_ text: String) throws -> ContractFile { try ContractFile(parsing: Array(text.utf8)) }

/// A whole contract with one expectation.
private func parse(expectation: String) throws -> Pipeline.Expectation {
  let file = try parse(
    #"{"name":"climate","version":"1.2.0","schema":{},"expectations":[\#(expectation)]}"#)
  return try #require(file.contract.expectations.first)
}

/// What is said about a text, each with its place.
private func faults(_ text: String) -> [String] {
  do {
    _ = try parse(text)
    return []
  } catch {
    return (error as? ContractFileErrors)?.faults.map(\.description) ?? ["\(error)"]
  }
}

private func faults(expectation: String) -> [String] {
  faults(
    """
    {"name":"c","version":"1.0.0","schema":{},"expectations":[
    \(expectation)]}
    """)
}

@Suite("Contract files")
struct ContractFileTests {
  @Test("A whole file is read, with the digest of its bytes")
  func whole() throws {
    let text = """
      {
        "name": "climate",
        "version": "1.2.0",
        "owner": "maintenance, plant 7",
        "description": "room \\u0063limate",
        "compatibility": "full",
        "check_formats": true,
        "schema": { "type": "object", "properties": { "at": { "format": "date" } } },
        "expectations": [
          { "field": "temperature", "range": { "min": -40, "max": 85.0 }, "action": "dead-letter" }
        ]
      }

      """
    let file = try parse(text)
    #expect(file.id.description == "climate@1.2.0" && file.id.fileName == "climate@1.2.0.json")
    #expect(file.contract.digest == Digest(of: Array(text.utf8)))
    #expect(file.owner == "maintenance, plant 7" && file.description == "room climate")
    #expect(file.compatibility == .full)
    #expect(file.schema == Array(#"{ "type": "object", "properties": { "at": { "format": "date" } } }"#.utf8))
    #expect(
      file.contract.expectations == [
        Pipeline.Expectation(
          path: try FieldPath(parsing: "temperature"),
          rule: .range(minimum: ExactNumber("-40"), maximum: ExactNumber("85.0")), action: .deadLetter)
      ])
    let bytes = Array(#"{"at":"yesterday"}"#.utf8)
    let tape = try read(bytes).get()
    bytes.withUnsafeBytes { #expect(file.contract.schema.validate(tape, in: $0) != nil) }
  }

  @Test("What is left out has its default")
  func defaults() throws {
    let file = try parse(#"{"name":"c","version":"0.0.1","schema":{"format":"date"}}"#)
    #expect(file.owner == nil && file.description == nil && file.compatibility == .backward)
    #expect(file.contract.expectations == [])
    let bytes = Array(#""yesterday""#.utf8)
    let tape = try read(bytes).get()
    bytes.withUnsafeBytes { #expect(file.contract.schema.validate(tape, in: $0) == nil) }
    #expect(try parse(expectation: #"{"field":"v","step":{"max":1}}"#).action == .tag)
    #expect(try parse(expectation: #"{"field":"v","step":{"max":1},"action":"count"}"#).action == .count)
  }

  @Test(
    "Every rule is read",
    arguments: [
      (#""range":{"min":18446744073709551617}"#, .range(minimum: ExactNumber("18446744073709551617"), maximum: nil)),
      (#""range":{"max":1e2}"#, .range(minimum: nil, maximum: ExactNumber("1e2"))),
      (#""increasing":true"#, .increasing(strictly: false)),
      (#""increasing":"strictly""#, .increasing(strictly: true)),
      (#""decreasing":true"#, .decreasing(strictly: false)),
      (#""decreasing":"strictly""#, .decreasing(strictly: true)),
      (#""stuck":{"readings":20}"#, .changing(readings: 20, nanoseconds: nil)),
      (#""stuck":{"for":"1h30m"}"#, .changing(readings: nil, nanoseconds: 5_400_000_000_000)),
      (#""stuck":{"readings":2,"for":"10 s"}"#, .changing(readings: 2, nanoseconds: 10_000_000_000)),
      (#""step":{"max":0.5}"#, .step(maximum: 0.5)),
      (#""slope":{"max":2}"#, .slope(maximumPerSecond: 2)),
      (#""slope":{"max":3,"per":"1 min"}"#, .slope(maximumPerSecond: 0.05)),
      (#""null_share":{"max":0.25,"readings":1024}"#, .nullShare(maximum: 0.25, readings: 1024)),
    ] as [(String, Pipeline.Expectation.Rule)])
  func rules(_ test: (text: String, rule: Pipeline.Expectation.Rule)) throws {
    let read = try parse(expectation: #"{"field":"a[0].b",\#(test.text)}"#)
    #expect(read.rule == test.rule)
    #expect(read.path?.description == "a[0].b")
  }

  @Test("Freshness is about the reading, not about a field")
  func fresh() throws {
    let read = try parse(expectation: #"{"fresh":{"within":"5 min"}}"#)
    #expect(read.rule == .fresh(nanoseconds: 300_000_000_000) && read.path == nil)
    #expect(
      faults(expectation: #"{"fresh":{"within":"5 min"},"field":"v"}"#) == [
        "2:37: /expectations/0/field: 'fresh' is about the reading's own time and has no field"
      ])
  }

  @Test(
    "What is wrong is said with its place",
    arguments: [
      ("", "1:1: this is not JSON: there is no value"),
      ("{\n  \"name\": \"c\",\n}", "3:1: this is not JSON: a member's name in double quotes was expected"),
      ("[]", "1:1: a contract must be an object, not an array"),
      (
        #"{"nam":"c","version":"1.0.0","schema":{}}"#,
        "1:2: a contract has no member 'nam'; did you mean 'name'?"
      ),
      (#"{"name":"c","schema":{}}"#, "1:1: the member 'version' is missing"),
      (
        #"{"name":"c","version":"1.0","schema":{}}"#,
        "1:23: /version: '1.0' is not a version, expected three numbers such as 1.2.0"
      ),
      (
        #"{"name":"ä b","version":"1.0.0","schema":{}}"#,
        "1:9: /name: 'ä b' is not a name, expected 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a dot"
      ),
      (
        #"{"name":"ä","version":1,"schema":{}}"#,
        "1:9: /name: 'ä' is not a name, expected 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a dot\n"
          + "1:23: /version: must be a string, not a number"
      ),
      (
        #"{"name":"c","name":"d","version":"1.0.0","schema":{}}"#, "1:13: /name: the member is here a second time"
      ),
      (
        #"{"name":"c","version":"1.0.0","compatibility":"backwards","schema":{}}"#,
        "1:47: /compatibility: 'backwards' is not known here, expected one of backward, forward, full, none; "
          + "did you mean 'backward'?"
      ),
      (
        #"{"name":"c","version":"1.0.0","schema":true}"#, "1:40: /schema: a schema must be an object, not true or false"
      ),
      (
        "{\"name\":\"c\",\"version\":\"1.0.0\",\"schema\":{\"properties\":{\n\"a/b\":{\"type\":\"strin\"}}}}",
        "2:15: /schema/properties/a~1b/type: "
      ),
      (
        #"{"name":"c","version":"1.0.0","schema":{"$ref":"other.json"}}"#,
        "a contract's schema stands in one file: move it to $defs"
      ),
      (#"{"name":"c","version":"1.0.0","schema":{},"expectations":{}}"#, "must be an array, not an object"),
    ])
  func wrong(_ test: (text: String, says: String)) {
    let said = faults(test.text).joined(separator: "\n")
    #expect(said.contains(test.says), "\(said)")
  }

  @Test(
    "What is wrong with an expectation is said with its place",
    arguments: [
      (#"{"field":"v"}"#, "2:1: /expectations/0: an expectation has one rule, and this one has none; the rules are: "),
      (#"{"field":"v","step":{"max":1},"slope":{"max":1}}"#, "has one rule, and this one has 2"),
      (#"{"step":{"max":1}}"#, "2:1: /expectations/0: the member 'field' is missing"),
      (#"{"field":"v","rnage":{"min":1}}"#, "an expectation has no member 'rnage'; did you mean 'range'?"),
      (#"{"field":"a..b","step":{"max":1}}"#, "2:10: /expectations/0/field: the path 'a..b' is not valid"),
      (#"{"field":"v","range":{}}"#, "a range has 'min', 'max' or both"),
      (#"{"field":"v","range":{"min":2,"max":1.9}}"#, "no number is at least '2' and at most '1.9'"),
      (#"{"field":"v","range":{"min":"2"}}"#, "/expectations/0/range/min: must be a number, not a string"),
      (#"{"field":"v","increasing":false}"#, #"must be true, or "strictly""#),
      (#"{"field":"v","stuck":{}}"#, "'stuck' has 'readings', 'for' or both"),
      (#"{"field":"v","stuck":{"readings":1}}"#, "must be a whole number from 2 to "),
      (#"{"field":"v","stuck":{"readings":2.5}}"#, "must be a whole number from 2 to "),
      (#"{"field":"v","stuck":{"for":"10"}}"#, "'10' has no unit"),
      (#"{"field":"v","stuck":{"for":"0"}}"#, "must be more than 0"),
      (#"{"field":"v","stuck":{"for":"10 sec"}}"#, "unknown unit 'sec'"),
      (#"{"field":"v","stuck":{"for":10}}"#, "not a number"),
      (#"{"field":"v","step":{"max":-1}}"#, "must be a number from 0"),
      (#"{"field":"v","step":{"max":1e999}}"#, "must be a number from 0"),
      (#"{"field":"v","null_share":{"max":1.5,"readings":10}}"#, "must be a number from 0 to 1"),
      (#"{"field":"v","null_share":{"max":0.5,"readings":1025}}"#, "must be a whole number from 1 to 1024"),
      (#"{"field":"v","null_share":{"max":0.5}}"#, "the member 'readings' is missing"),
      (#"{"field":"v","step":{"max":1},"action":"dead_letter"}"#, "did you mean 'dead-letter'?"),
      (#"3"#, "an expectation must be an object, not a number"),
    ])
  func wrongExpectation(_ test: (text: String, says: String)) {
    let said = faults(expectation: test.text)
    #expect(said.count == 1 && said[0].contains(test.says), "\(said)")
  }

  @Test("All faults are told at once, and not without end")
  func many() {
    let good = #"{"field":"v","step":{"max":1}}"#
    let bad = #"{"field":"v","step":{"max":-1}}"#
    #expect(faults(expectation: [bad, good, bad].joined(separator: ",")).count == 2)
    #expect(faults(expectation: Array(repeating: bad, count: 100).joined(separator: ",")).count == 20)
    #expect(faults(expectation: Array(repeating: good, count: 128).joined(separator: ",")) == [])
    #expect(
      faults(expectation: Array(repeating: good, count: 129).joined(separator: ","))[0].contains(
        "has 129 expectations; a contract has at most 128"))
  }

  @Test("Nothing of a file is printed that a terminal would obey, and nothing without end")
  func hostile() {
    let name = #""\u001b[2J\#(String(repeating: "x", count: 5_000))""#
    for text in [
      #"{\#(name):1}"#, #"{"name":\#(name),"version":"1.0.0","schema":{}}"#,
      #"{"name":"c","version":"1.0.0","schema":{},\#(name):1,\#(name):2}"#,
    ] {
      for fault in faults(text) {
        #expect(fault.utf8.count < 500)
        #expect(!fault.utf8.contains(0x1B))
      }
    }
    #expect(faults(String(repeating: "[", count: 1 << 20)).count == 1)
    #expect(faults(String(repeating: " ", count: 1 << 20) + "{}")[0].contains("1048578 bytes"))
  }

  @Test("Files are named by contract and version, and nothing else is taken for one")
  func fileNames() {
    #expect(
      ContractID(fileName: "climate@1.2.0.json")
        == ContractID(name: "climate", version: ContractVersion(major: 1, minor: 2, patch: 0)))
    for name in [
      "climate@1.2.json", "climate@1.2.0", "climate@1.2.0.JSON", "climate.json", "@1.2.0.json", ".a@1.2.0.json",
      "climate@1.2.0.json.new", "a b@1.2.0.json", "a@b@1.2.0.json", "climate@01.2.0.json", "",
    ] { #expect(ContractID(fileName: name) == nil, "\(name)") }
    let ids = ["b@1.0.0.json", "a@1.10.0.json", "a@1.9.0.json"].compactMap { ContractID(fileName: $0) }
    #expect(ids.sorted().map(\.description) == ["a@1.9.0", "a@1.10.0", "b@1.0.0"])
  }

  @Test("A reference with fewer numbers means the newest of its kind")
  func references() {
    let ids = ["a@1.2.0", "a@1.2.9", "a@1.10.0", "a@2.0.0", "b@1.99.0"].compactMap {
      ContractID(fileName: "\($0).json")
    }
    func newest(_ text: String) -> String? { ContractReference(text)?.newest(of: ids)?.description }
    #expect(newest("a@1") == "a@1.10.0")
    #expect(newest("a@1.2") == "a@1.2.9")
    #expect(newest("a@1.2.0") == "a@1.2.0")
    #expect(newest("a@2") == "a@2.0.0")
    #expect(newest("a@3") == nil && newest("a@1.3") == nil && newest("a@1.2.1") == nil && newest("c@1") == nil)
    #expect(ContractReference("a@1.2")?.description == "a@1.2")
    for text in ["a", "a@", "@1", "a@1.2.3.4", "a@x", "a@1@2", "a b@1", "", "a@v1"] {
      #expect(ContractReference(text) == nil, "\(text)")
    }
  }
}
