import Telemetry
import TestSupport
import Testing

@testable import forebay

@Suite("Configuration: where spool and socket are, whatever else is wrong")
struct ConfiguredPlacesTests {
  private static let path = "/etc/f.yaml"

  /// The bytes of a kept copy, as ``LastGoodConfiguration`` writes them.
  private static func kept(_ text: String) -> String {
    "\(text)\n# forebay-kept: bytes=\(text.utf8.count) sha256=\(Digest(of: Array(text.utf8))) path=\(path)\n"
  }

  private static func find(
    _ contents: [String: String], refused: Set<String> = []
  ) throws(ConfiguredPlaces.Fault) -> ConfiguredPlaces {
    try ConfiguredPlaces.find(
      config: path, files: Sample.machine(contents, refused: refused),
      kept: LastGoodConfiguration(stateDirectory: "/state"))
  }

  @Test("the file says it, also to those who may not read its secrets or write to its folders")
  func file() throws {
    let text = Sample.replacing("url: mqtts://broker.example", "url: mqtts://b\n      user: u\n      password_file: s")
    let places = try Self.find([Self.path: text], refused: ["/etc/s"])
    #expect(places == ConfiguredPlaces(spool: "/spool", socket: "/spool/forebay.sock", note: nil))
    let named = try Self.find([Self.path: Sample.text + "status: { socket: run/f.sock }\n"])
    #expect(named.socket == "/etc/run/f.sock")
  }

  @Test(
    "where the file is refused, the copy says it that the daemon runs on",
    arguments: ["gateway: [", "bogus: 1\n", "spool: { directory: /elsewhere, max: 1 B }\n"])
  func keptCopy(_ text: String) throws {
    let contents = [Self.path: text, "/state/configuration.yaml": Self.kept(Sample.text)]
    let places = try Self.find(contents)
    #expect(places.spool == "/spool" && places.socket == "/spool/forebay.sock")
    #expect(places.note?.contains("/state/configuration.yaml") == true)
    // Also where the file cannot be read.
    let unreadable = try Self.find(contents, refused: [Self.path])
    #expect(unreadable.spool == "/spool" && unreadable.note?.contains("Permission denied") == true)
  }

  @Test("where a daemon runs on the copy, because it could not start on the file, the copy says it")
  func startedOnCopy() throws {
    let contents = [
      Self.path: Sample.replacing("/spool", "/elsewhere"), "/state/configuration.yaml": Self.kept(Sample.text),
    ]
    func find(sockets: Set<String>) throws(ConfiguredPlaces.Fault) -> ConfiguredPlaces {
      try ConfiguredPlaces.find(
        config: Self.path, files: Sample.machine(contents, others: sockets),
        kept: LastGoodConfiguration(stateDirectory: "/state"))
    }
    #expect(
      try find(sockets: []) == ConfiguredPlaces(spool: "/elsewhere", socket: "/elsewhere/forebay.sock", note: nil))
    let places = try find(sockets: ["/spool/forebay.sock"])
    #expect(places.spool == "/spool" && places.note?.contains("is not the one that runs") == true)
    #expect(try find(sockets: ["/spool/forebay.sock", "/elsewhere/forebay.sock"]).spool == "/elsewhere")
  }

  @Test("where no copy is kept, what the refused file says of these two counts")
  func lenient() throws {
    let places = try Self.find([Self.path: Sample.replacing("gw-1", "g w") + "bogus: 1\n"])
    #expect(places.spool == "/spool" && places.socket == "/spool/forebay.sock")
    #expect(places.note?.contains("is refused") == true)
    let none = try Self.find([Self.path: "bogus: 1\n"])
    #expect(none.spool == Configuration.defaultSpoolDirectory)
  }

  @Test("where nothing says it, the reason is told", arguments: [true, false])
  func nothing(_ exists: Bool) {
    let fault = #expect(throws: ConfiguredPlaces.Fault.self) {
      try Self.find(exists ? [Self.path: "gateway: ["] : [:])
    }
    #expect(fault?.description.contains(exists ? "is refused" : "does not exist") == true)
  }
}

@Suite("Configuration: folders that cannot be made")
struct FolderObstacleTests {
  @Test("what stands against a folder is found on the disk")
  func disk() throws {
    let box = try TemporaryDirectory("folders")
    let file = try box.write("", to: "plain")
    let obstacle = FolderObstacle.onDisk
    #expect(obstacle(box.path) == nil && obstacle(box.file("new")) == nil)
    #expect(obstacle(file) == .notAFolder(file))
    #expect(obstacle("\(file)/spool") == .notAFolder(file))
    #expect(obstacle("\(file)/a/b") == .notAFolder(file))
    #expect(obstacle(box.file("no/such")) == .missingParent(box.file("no")))
    let long = box.file(String(repeating: "x", count: 300))
    guard case .refused(let path, _) = obstacle(long) else {
      Issue.record("a name of 300 bytes is refused")
      return
    }
    #expect(path == long)
  }

  @Test(
    "it is refused at its place in the file, and only warned of where the configuration has run before",
    arguments: [
      FolderObstacle.notAFolder("/x"), .missingParent("/x"), .refused(path: "/x", reason: "Permission denied"),
    ])
  func places(_ obstacle: FolderObstacle) throws {
    let spool = Sample.machine(obstacles: ["/spool": obstacle])
    #expect(Sample.places(Sample.text, files: spool) == ["7:14 error spool.directory"])
    #expect(Sample.diagnostics(Sample.text, files: spool)[0].message.contains("/x"))
    #expect(try Sample.decode(Sample.text, files: spool, toleratesSurroundings: true).warnings.count == 1)
    let text = Sample.replacing("    http:\n      url: https://ingest.example/v1", "    file: { directory: /out }")
    #expect(
      Sample.places(text, files: Sample.machine(obstacles: ["/out": obstacle]))
        == ["15:24 error uplinks.central.file.directory"])
  }

  @Test("a socket replaces nothing but a socket; a folder that the unit may make is only warned of")
  func socket() {
    let text = Sample.text + "status: { socket: /run/f/s.sock }\n"
    func places(_ files: ConfigurationFiles) -> [String] { Sample.places(text, files: files) }
    #expect(places(Sample.machine(folders: ["/run/f"])) == [])
    #expect(places(Sample.machine()) == ["17:19 warning status.socket"])
    #expect(places(Sample.machine(others: ["/run/f/s.sock"], folders: ["/run/f"])) == ["17:19 error status.socket"])
    #expect(places(Sample.machine(folders: ["/run/f", "/run/f/s.sock"])) == ["17:19 error status.socket"])
    #expect(places(Sample.machine(obstacles: ["/run/f": .notAFolder("/run")])) == ["17:19 error status.socket"])
    // Not writable for us, and not there: who makes it decides who may write.
    let refused = FolderObstacle.refused(path: "/run", reason: "Permission denied")
    #expect(places(Sample.machine(obstacles: ["/run/f": refused])) == ["17:19 warning status.socket"])
    #expect(
      places(Sample.machine(folders: ["/run/f"], obstacles: ["/run/f": refused])) == ["17:19 error status.socket"])
  }
}
