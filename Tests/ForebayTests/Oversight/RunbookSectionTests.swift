import ArgumentParser
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

  @Test("every command that its text and tables name can be typed as it stands, but for what is in capitals")
  func commandsInTheText() throws {
    let root = #filePath.split(separator: "/").dropLast(4).map { "/\($0)" }.joined()
    let contents = try ConfigurationFiles.system.read("\(root)/docs/operations.md", 1 << 20).get()
    var inBlock = false
    var commands: [Substring] = []
    for line in String(decoding: contents.bytes, as: UTF8.self).split(separator: "\n") {
      // Blocks are run by `RunbookTests`.
      if line.hasPrefix("```") { inBlock.toggle() }
      if !inBlock, !line.hasPrefix("```") {
        commands += line.split(separator: "`", omittingEmptySubsequences: false).enumerated()
          .filter { $0.offset % 2 == 1 && $0.element.hasPrefix("forebay ") }.map(\.element)
      }
    }
    #expect(commands.count >= 5)
    for command in commands {
      let words = command.split(separator: " ").dropFirst().map(String.init)
      #expect(throws: Never.self, "\(command)") { _ = try Forebay.parseAsRoot(words) }
    }
  }
}
