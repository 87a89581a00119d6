import Foundation
import Pipeline
import Testing

/// nst/JSONTestSuite, where it is there.
enum JSONVectors {
  static let folder: URL = {
    let root =
      ProcessInfo.processInfo.environment["FOREBAY_VECTORS"].map { URL(fileURLWithPath: $0) }
      ?? URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("shared/vectors")
    return root.appendingPathComponent("json/test_parsing")
  }()

  static let exist = FileManager.default.fileExists(atPath: folder.path)

  static func cases(_ prefix: String) throws -> [(name: String, text: [UInt8])] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
      .filter { $0.hasPrefix(prefix) && $0.hasSuffix(".json") }
      .map { ($0, Array(try Data(contentsOf: folder.appendingPathComponent($0)))) }
  }
}

@Suite(
  "JSON vectors",
  .enabled(
    if: JSONVectors.exist,
    "SKIPPED: the JSON vectors are not at ../shared/vectors; set FOREBAY_VECTORS to their folder"))
struct JSONVectorTests {
  @Test("All 95 texts that must be accepted are, and mean the same once compacted")
  func accepted() throws {
    let cases = try JSONVectors.cases("y_")
    #expect(cases.count == 95)
    for (name, text) in cases {
      #expect(read(text).error == nil, "\(name)")
      let small = compact(text)
      #expect(try read(small).get().hasWhitespace == false, "\(name)")
      #expect(compact(small) == small, "\(name)")
      let original = try JSONSerialization.jsonObject(with: Data(text), options: .fragmentsAllowed)
      let compacted = try JSONSerialization.jsonObject(with: Data(small), options: .fragmentsAllowed)
      #expect((original as? NSObject) == (compacted as? NSObject), "\(name)")
    }
  }

  @Test("All 188 texts that must be refused are")
  func refused() throws {
    let cases = try JSONVectors.cases("n_")
    #expect(cases.count == 188)
    for (name, text) in cases {
      #expect(read(text).error != nil, "\(name)")
    }
  }

  @Test("None of the 35 texts that are left open crashes, and what is refused has its place inside")
  func open() throws {
    let cases = try JSONVectors.cases("i_")
    #expect(cases.count == 35)
    for (name, text) in cases {
      if let error = read(text).error { #expect(error.position <= text.count, "\(name)") }
    }
  }

  @Test("Every text cut at every place is taken or refused, never a crash")
  func cut() throws {
    for (_, text) in try JSONVectors.cases("y_") {
      for length in 0..<text.count { _ = read(Array(text.prefix(length))) }
    }
  }
}
