import Foundation
import Pipeline
import Testing

/// json-schema-org/JSON-Schema-Test-Suite, where it is there.
enum SchemaVectors {
  static let folder = JSONVectors.folder.deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("json-schema")
  static let exist = FileManager.default.fileExists(atPath: folder.path)

  struct Case: Sendable {
    var name: String
    var schema: [UInt8]
    var data: [UInt8]
    var isValid: Bool
  }

  /// The documents under `remotes`, which the schemas know under this address.
  static let remotes: @Sendable (String) -> [UInt8]? = { uri in
    let prefix = "http://localhost:1234/"
    guard uri.hasPrefix(prefix) else { return nil }
    let path = folder.appendingPathComponent("remotes/\(uri.dropFirst(prefix.count))")
    return (try? Data(contentsOf: path)).map { Array($0) }
  }

  /// The cases of the files in a folder, read with our own tape so that numbers keep their text.
  static func cases(_ path: String) throws -> [Case] {
    let folder = folder.appendingPathComponent("draft2020-12/\(path)")
    var cases: [Case] = []
    for file in try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    where file.hasSuffix(".json") {
      let text = Array(try Data(contentsOf: folder.appendingPathComponent(file)))
      let tape = try read(text).get()
      func children(_ index: Int) -> [Int] {
        var list: [Int] = []
        var child = index + 1
        while child < tape.values[index].next {
          list.append(child)
          child = tape.values[child].next
        }
        return list
      }
      func member(_ name: String, _ index: Int) throws -> [UInt8] {
        try text.withUnsafeBytes { bytes in
          let index = try #require(tape.member(Array(name.utf8), of: index, in: bytes))
          return Array(text[tape.values[index].range])
        }
      }
      func string(_ name: String, _ index: Int) throws -> String {
        try JSONDecoder().decode(String.self, from: Data(try member(name, index)))
      }
      for group in children(0) {
        let tests = text.withUnsafeBytes { tape.member(Array("tests".utf8), of: group, in: $0) }
        for test in children(try #require(tests)) {
          cases.append(
            Case(
              name: "\(file): \(try string("description", group)): \(try string("description", test))",
              schema: try member("schema", group), data: try member("data", test),
              isValid: try member("valid", test) == Array("true".utf8)))
        }
      }
    }
    return cases
  }

  /// What goes wrong with each case that does.
  static func failures(_ cases: [Case], _ options: JSONSchema.Options = .init()) throws -> [String: String] {
    var failures: [String: String] = [:]
    for test in cases {
      do throws(SchemaError) {
        let schema = try JSONSchema(compiling: test.schema, options: options, resources: remotes)
        let violation = try? violation(of: test.data, schema)
        if (violation == nil) != test.isValid {
          failures[test.name] = violation?.description ?? "was taken"
        }
      } catch {
        failures[test.name] = "\(error)"
      }
    }
    return failures
  }
}

/// The first thing that does not fit.
func violation(of text: [UInt8], _ schema: JSONSchema) throws -> Violation? {
  let tape = try read(text).get()
  return text.withUnsafeBytes { schema.validate(tape, in: $0) }
}

@Suite(
  "JSON Schema vectors",
  .enabled(
    if: SchemaVectors.exist,
    "SKIPPED: the JSON Schema vectors are not at ../shared/vectors; set FOREBAY_VECTORS to their folder"))
struct JSONSchemaVectorTests {
  @Test("All 1,299 required cases of draft 2020-12 pass")
  func required() throws {
    let cases = try SchemaVectors.cases("")
    #expect(cases.count == 1_299)
    for (name, failure) in try SchemaVectors.failures(cases).sorted(by: { $0.key < $1.key }) {
      Issue.record("\(name): \(failure)")
    }
  }

  @Test("Of the 162 optional cases exactly the one named here does not pass")
  func optional() throws {
    let cases = try SchemaVectors.cases("optional")
    #expect(cases.count == 162)
    // A schema of an earlier draft is refused, where the case would have it read by that draft's rules.
    #expect(
      try SchemaVectors.failures(cases).keys.sorted() == [
        "cross-draft.json: refs to historic drafts are processed as historic drafts: "
          + "first item not a string is valid"
      ])
  }

  @Test("Of the 764 cases for formats, asserted, exactly those named in FormatExceptions do not pass")
  func formats() throws {
    let cases = try SchemaVectors.cases("optional/format")
    #expect(cases.count == 764)
    let failures = try SchemaVectors.failures(cases, .init(assertsFormat: true)).keys.map { name in
      let parts = name.split(separator: ": ", maxSplits: 1)
      return "\(parts[0]): \(parts[1].unicodeScalars.prefix(100).map(String.init).joined())"
    }
    #expect(FormatExceptions.names.count == 191)
    #expect(failures.sorted() == FormatExceptions.names.sorted())
  }

  @Test("The suite's schemas with bytes changed or cut off are taken or refused, never a crash")
  func changed() throws {
    var state: UInt64 = 1
    func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    let letters = Array(#"{}[]",:0129-eE.#$/~%\tfn"#.utf8)
    var (taken, refused) = (0, 0)
    for test in try SchemaVectors.cases("") {
      for round in 0..<4 {
        var text = test.schema
        for _ in 0..<round { text[next(text.count)] = letters[next(letters.count)] }
        if round == 3 { text.removeLast(next(text.count)) }
        do {
          _ = try violation(of: test.data, try JSONSchema(compiling: text, resources: SchemaVectors.remotes))
          taken += 1
        } catch is SchemaError { refused += 1 }
      }
    }
    #expect(taken > 1_500 && refused > 1_500)
  }

  @Test("Of the cases for formats, not asserted, the text is never looked at")
  func describedFormats() throws {
    let cases = try SchemaVectors.cases("optional/format")
    let failures = try SchemaVectors.failures(cases)
    #expect(failures.count == cases.count { !$0.isValid })
  }
}
