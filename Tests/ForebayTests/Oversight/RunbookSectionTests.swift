import Status
import Testing

@testable import forebay

@Suite("Runbooks and alarms")
struct RunbookSectionTests {
  @Test("every kind of alarm has a section in docs/operations.md, and every section a kind")
  func sections() throws {
    let root = #filePath.split(separator: "/").dropLast(4).map { "/\($0)" }.joined()
    let contents = try ConfigurationFiles.system.read("\(root)/docs/operations.md", 1 << 20).get()
    let headings = String(decoding: contents.bytes, as: UTF8.self).split(separator: "\n").filter { $0.hasPrefix("## ") }
      .map { String($0.dropFirst(3)) }
    #expect(headings == AlarmKind.allCases.map(\.rawValue).sorted())
  }
}
