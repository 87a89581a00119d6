import Foundation
import Spool
import TestSupport
import Testing

@testable import forebay

@Suite("Packaging: what is said in several places")
struct PackagingTests {
  private static func text(_ path: String) throws -> String { try CentralTools.text("\(CentralTools.root)/\(path)") }

  @Test("the version is that of the package's changelog, and of the manual page")
  func version() throws {
    let changelog = try CentralTools.matches(#"^forebay \(([^)]+)\)"#, in: try Self.text("packaging/debian/changelog"))
    #expect(changelog.first == Version.current)
    let manual = try CentralTools.matches(#"^\.TH FOREBAY 1 "[^"]+" "forebay ([^"]+)""#, in: try Self.text(Self.manual))
    #expect(manual == [Version.current])
  }

  private static let manual = "packaging/man/forebay.1"

  /// Where this build has its dependencies' sources: beside the products that it is run from.
  private static func checkouts() throws -> String {
    let candidates = try FileManager.default.contentsOfDirectory(atPath: CentralTools.root)
      .filter { $0 == ".build" || $0.hasPrefix(".build-") }.sorted()
      .map { "\(CentralTools.root)/\($0)/checkouts" }
    return try #require(candidates.first { FileManager.default.fileExists(atPath: $0 + "/swift-nio/LICENSE.txt") })
  }

  @Test("every dependency is pinned and listed with its version and the licence that it has")
  func dependencies() throws {
    let checked = try ChildProcess.run(
      "\(CentralTools.root)/packaging/sbom", ["check", "--checkouts", try Self.checkouts()])
    #expect(checked.status == 0, "\(checked.output)")
    let (status, listed) = try ChildProcess.run("\(CentralTools.root)/packaging/sbom", ["list"])
    #expect(status == 0)
    let pinned = try CentralTools.matches(
      #"\.package\(url: "[^"]+/([^"/]+)", exact: "[^"]+""#, in: try Self.text("Package.swift"))
    #expect(pinned.count > 20)
    let lines = listed.split(separator: "\n").map { $0.split(separator: " ", omittingEmptySubsequences: true) }
    for name in pinned {
      let line = lines.first { $0.first.map(String.init) == name }
      #expect((line?.count ?? 0) >= 4, "\(name): a name, a version, a licence, whether it is in the binary")
    }
  }

  @Test("a dependency that changes without the list is found")
  func unlisted() throws {
    let folder = try TemporaryDirectory("sbom")
    let (_, copied) = try ChildProcess.run(
      "sh",
      [
        "-c",
        """
        mkdir -p '\(folder.path)/packaging' && cd '\(CentralTools.root)' && cp -r packaging/sbom packaging/debian \
          packaging/dependencies.json '\(folder.path)/packaging/' && \
        sed 's/swift-nio", exact: "[^"]*"/swift-nio", exact: "9.9.9"/' Package.swift > '\(folder.path)/Package.swift'
        """,
      ])
    let (status, output) = try ChildProcess.run(folder.file("packaging/sbom"), ["check"])
    #expect(status == 1 && output.contains("swift-nio: Package.swift has 9.9.9"), "\(copied) \(output)")
  }

  @Test("the bill of materials is the same for the same sources, and dated by the changelog")
  func bill() throws {
    let arguments = ["write", "--version", "1.2.3", "--epoch", "1795262400"]
    let (status, bill) = try ChildProcess.run("\(CentralTools.root)/packaging/sbom", arguments)
    #expect(status == 0 && bill.contains("\"bomFormat\": \"CycloneDX\"") && bill.contains("2026-11-21T12:00:00Z"))
    #expect(try ChildProcess.run("\(CentralTools.root)/packaging/sbom", arguments).output == bill)
  }

  @Test("every unit is checked for its exposure, keeps to the system calls of a service and is never given up")
  func units() throws {
    let folder = CentralTools.root + "/packaging/debian"
    let units = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".service") }
    #expect(units.count == 3)
    let harness = try Self.text("packaging/test/inspection.py")
    for unit in units {
      let text = try CentralTools.text("\(folder)/\(unit)")
      #expect(harness.contains("\"\(unit)\""), "\(unit)")
      for line in [
        "SystemCallFilter=@system-service", "ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet=",
        "StartLimitIntervalSec=0", "Restart=always",
      ] { #expect(text.contains("\n\(line)\n"), "\(unit) lacks \(line)") }
    }
    let daemon = try CentralTools.text(folder + "/forebay.service")
    #expect(daemon.contains("\nType=notify\n") && daemon.contains("\nWatchdogSec=60s\n"))
    // The times that messages are kept with need both; they are read only.
    #expect(!daemon.contains("\nProtectClock=") && !daemon.contains("\nProcSubset="))
  }

  @Test("the package is refused by the versions that could not read its databases, as their formats say")
  func oldestReader() throws {
    let named = try CentralTools.matches(#"^oldest_reader=(.*)$"#, in: try Self.text("packaging/debian/forebay.prerm"))
    let readers = Spool.oldestReaders.map { $0.split(separator: ".").compactMap { Int($0) } }
    let newest = try #require(readers.max { $0.lexicographicallyPrecedes($1) })
    #expect(newest.count == 3)
    // Behind the tilde, so that a version before its release is among them.
    #expect(named == [newest.map(String.init).joined(separator: ".") + "~"])
  }

  @Test("systemd does not try again where only another version can start")
  func anotherVersion() throws {
    let unit = try Self.text("packaging/debian/forebay.service")
    #expect(unit.contains("\nRestartPreventExitStatus=\(StartFailure.statusForAnotherVersion)\n"))
  }

  @Test("the default configuration's folders and the snippet's limits are those that the package makes and tells")
  func places() throws {
    let folders = try Self.text("packaging/debian/forebay.tmpfiles")
    for path in ["/var/lib/forebay ", "/var/lib/forebay-out "] {
      #expect(folders.contains("d \(path)"))
      #expect(try Self.text("packaging/forebay.yaml").contains("directory: \(path.dropLast())\n"))
    }
    let snippet = try Self.text("packaging/mosquitto/forebay.conf")
    // Texts that mosquitto refuses to read twice (2.0.11, conf.c): the broker's own file may have them.
    for key in ["persistence_location", "persistence_file", "log_dest", "user", "pid_file", "listener"] {
      #expect(try CentralTools.matches(#"^\#(key)( .*)$"#, in: snippet).isEmpty, "\(key)")
    }
  }
}
