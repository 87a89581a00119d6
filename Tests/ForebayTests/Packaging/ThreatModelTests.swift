import Foundation
import TestSupport
import Testing

@testable import forebay

@Suite("The threat model")
struct ThreatModelTests {
  private static func text(_ path: String) throws -> String { try CentralTools.text("\(CentralTools.root)/\(path)") }

  /// Every test by the name of the type it stands in, and every type that has tests.
  private struct Suites {
    var sentences: [String: Set<String>] = [:]

    init() throws {
      let folder = CentralTools.root + "/Tests"
      let files = try #require(FileManager.default.enumerator(atPath: folder)).compactMap { $0 as? String }
      for file in files where file.hasSuffix(".swift") {
        let text = try CentralTools.text("\(folder)/\(file)")
        // What stands between the head of one type and that of the next is the first one's.
        let heads = try NSRegularExpression(pattern: #"(?:struct|class|enum) (\w+Tests)\b"#)
        let whole = NSRange(text.startIndex..., in: text)
        let found = heads.matches(in: text, range: whole)
        for (index, head) in found.enumerated() {
          guard let name = Range(head.range(at: 1), in: text) else { continue }
          let end = index + 1 < found.count ? found[index + 1].range.lowerBound : whole.upperBound
          let part = NSRange(location: head.range.upperBound, length: end - head.range.upperBound)
          guard let range = Range(part, in: text) else { continue }
          let own = try CentralTools.matches(#"@Test\(\s*"((?:[^"\\]|\\.)*)""#, in: String(text[range]))
          if !own.isEmpty { sentences[String(text[name]), default: []].formUnion(own) }
        }
      }
    }
  }

  @Test("every test that it names is there, and every boundary names some")
  func proofs() throws {
    let page = try Self.text("docs/threat-model.md")
    let suites = try Suites()
    #expect(suites.sentences.count > 100)
    let sections = page.components(separatedBy: "\n## ").dropFirst()
    #expect(sections.filter { $0.first?.isNumber == true }.count == 6)
    for section in sections where section.first?.isNumber == true {
      for row in section.split(separator: "\n") where row.hasPrefix("| ") {
        let cells = row.split(separator: "|", omittingEmptySubsequences: false)
        #expect(cells.count == 6, "\(row)")
        guard cells.count == 6, !cells[4].contains("proof") else { continue }
        #expect(cells[4].contains("`"), "no proof: \(row)")
        #expect(["S", "T", "R", "I", "D", "E"].contains(cells[1].trimmingCharacters(in: .whitespaces)), "\(row)")
      }
      #expect(section.contains("**Not mitigated:**"), "\(section.prefix(40))")
    }
    let names = try CentralTools.matches("`([A-Z][A-Za-z0-9]*Tests)`", in: page)
    #expect(names.count > 60)
    for name in names { #expect(suites.sentences[name] != nil, "there is no suite \(name)") }
    let pairs = try CentralTools.matches("`([A-Z][A-Za-z0-9]*Tests`: \"[^\"]+)\"", in: page)
    #expect(pairs.count > 50)
    for pair in pairs {
      let parts = pair.components(separatedBy: "`: \"")
      #expect(suites.sentences[parts[0]]?.contains(parts[1]) == true, "\(parts[0]) has no test \"\(parts[1])\"")
    }
    // Of the tests that install the packages: a function of the file.
    for pair in try CentralTools.matches("`(packaging/test/[a-z]+\\.py`: `[a-z_]+)`", in: page) {
      let parts = pair.components(separatedBy: "`: `")
      #expect(try Self.text(parts[0]).contains("\ndef \(parts[1])("), "\(pair)")
    }
  }

  @Test("what it says the service may write is what its unit lets it")
  func writable() throws {
    let unit = try Self.text("packaging/debian/forebay.service")
    #expect(unit.contains("\nStateDirectory=forebay forebay-out\n") && unit.contains("\nPrivateTmp=yes\n"))
    #expect(unit.contains("\nProtectSystem=strict\n") && !unit.contains("\nReadWritePaths="))
    let page = try Self.text("docs/threat-model.md").replacingOccurrences(of: "\n", with: " ")
    #expect(page.contains("**It may write** to `/var/lib/forebay`, `/var/lib/forebay-out` and a `/tmp` of its own"))
  }

  @Test("what the build has resolved is what is listed, to the version")
  func resolved() throws {
    struct Resolved: Decodable {
      struct Pin: Decodable {
        struct State: Decodable { var version: String? }
        var identity: String
        var state: State
      }
      var pins: [Pin]
    }
    struct Listed: Decodable {
      struct Package: Decodable {
        var version: String
        var licence: String
      }
      var packages: [String: Package]
    }
    let resolved = try JSONDecoder().decode(Resolved.self, from: Data(try Self.text("Package.resolved").utf8))
    let listed = try JSONDecoder().decode(Listed.self, from: Data(try Self.text("packaging/dependencies.json").utf8))
    let versions = Dictionary(uniqueKeysWithValues: listed.packages.map { ($0.key.lowercased(), $0.value) })
    #expect(resolved.pins.count > 20 && Set(resolved.pins.map(\.identity)) == Set(versions.keys))
    for pin in resolved.pins {
      let package = versions[pin.identity]
      #expect(package?.version == pin.state.version && package?.licence.isEmpty == false, "\(pin.identity)")
    }
  }
}
