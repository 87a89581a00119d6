import Glibc
import Ingest
import Pipeline
import Spool
import Testing

@testable import forebay

/// A folder of its own for one test, with a configuration, a secret, a spool and a state directory.
private final class Box {
  let root: String

  init() throws {
    var template = Array("/tmp/forebay-configuration-XXXXXX".utf8CString)
    root = String(cString: try #require(mkdtemp(&template)))
    for folder in ["etc", "spool", "state"] { #expect(mkdir("\(root)/\(folder)", 0o700) == 0) }
  }

  deinit { remove(root) }

  private func remove(_ path: String) {
    if let directory = opendir(path) {
      while let entry = readdir(directory) {
        let name = withUnsafePointer(to: entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != ".", name != ".." { remove("\(path)/\(name)") }
      }
      closedir(directory)
      rmdir(path)
    } else {
      unlink(path)
    }
  }

  var path: String { "\(root)/etc/forebay.yaml" }
  var kept: String { "\(root)/spool/configuration.yaml" }

  func write(_ text: String, to path: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    try #require(descriptor >= 0)
    defer { close(descriptor) }
    let bytes = Array(text.utf8)
    #expect(Glibc.write(descriptor, bytes, bytes.count) == bytes.count)
  }

  func read(_ path: String) -> String? {
    guard case .success(let contents) = ConfigurationFiles.system.read(path, 1 << 22) else { return nil }
    return String(decoding: contents.bytes, as: UTF8.self)
  }

  /// Relative paths, so that a kept copy that resolved them from its own folder would fail.
  static func text(gateway: String = "gw-1", spool: String = "../spool") -> String {
    """
    gateway: { id: \(gateway) }
    sources: { floor: { mqtt: { url: mqtt://127.0.0.1, user: u, password_file: secret } } }
    spool: { directory: \(spool), min_free: 0, max: 64 MiB }
    pipelines: { all: { from: "#", to: files } }
    uplinks: { files: { file: { directory: ../out } } }
    # the end, without a line feed
    """
  }

  /// Writes the configuration and its secret, loads it and keeps it, as a run does.
  func run(_ text: String = Box.text()) throws -> Configuration {
    try write("hunter2", to: "\(root)/etc/secret")
    try write(text, to: path)
    let boot = try lastGood.load(path: path)
    #expect(boot.alarm == nil)
    try lastGood.keep(boot.configuration, in: boot.configuration.spool.directory)
    return boot.configuration
  }

  var lastGood: LastGoodConfiguration { LastGoodConfiguration(stateDirectory: "\(root)/state") }
}

@Suite("Configuration: the last one that ran")
struct LastGoodConfigurationTests {
  @Test("A configuration that is in order runs, and nothing is kept before it has run")
  func inOrder() throws {
    let box = try Box()
    try box.write("hunter2", to: "\(box.root)/etc/secret")
    try box.write(Box.text(), to: box.path)
    let boot = try box.lastGood.load(path: box.path)
    #expect(boot.alarm == nil && boot.refused == nil)
    #expect(boot.configuration.sources[0].passwordFile == "\(box.root)/etc/secret")
    #expect(box.read(box.kept) == nil)
  }

  @Test(
    "Whatever became of the edited file, the box starts on the kept one and says why",
    arguments: [
      ("a syntax error on line 1", "gateway: { id: gw-1\n", "forebay.yaml:2:1: error:"),
      (
        "an unknown key", Box.text().replacing("max:", with: "maxx:"),
        "forebay.yaml:3:44: error: spool.maxx: unknown key"
      ),
      (
        "a missing secret", Box.text().replacing(": secret", with: ": secrets"),
        "forebay.yaml:2:76: error: sources.floor.mqtt.password_file: the file "
      ),
      ("an empty file", "", "forebay.yaml: error: the file is empty"),
      ("a file that is gone", nil, "forebay.yaml: error: the configuration file does not exist"),
    ] as [(String, String?, String)])
  func refused(_ test: (name: String, text: String?, says: String)) throws {
    let box = try Box()
    let before = try box.run()
    if let text = test.text {
      try box.write(text, to: box.path)
    } else {
      #expect(unlink(box.path) == 0)
    }
    let boot = try box.lastGood.load(path: box.path)
    #expect(boot.configuration.origin == before.origin)
    #expect(boot.configuration.gateway.id == "gw-1")
    #expect(boot.configuration.spool == before.spool)
    #expect(boot.configuration.sources == before.sources)
    #expect(boot.configuration.uplinks == before.uplinks)
    #expect(boot.refused?.errors.isEmpty == false)
    let alarm = try #require(boot.alarm)
    #expect(alarm.contains(test.says), "\(alarm)")
    #expect(alarm.contains(box.kept))
    #expect(!alarm.contains("\n"))
  }

  @Test("A file that cannot be read is one of those")
  func unreadable() throws {
    let box = try Box()
    _ = try box.run()
    // A folder, because to root every file is readable.
    #expect(unlink(box.path) == 0 && mkdir(box.path, 0o700) == 0)
    let boot = try box.lastGood.load(path: box.path)
    #expect(boot.alarm?.contains("is not a file") == true)
  }

  @Test("The kept file is a YAML file with the bytes that ran and where they came from")
  func keptFile() throws {
    let box = try Box()
    let configuration = try box.run()
    let kept = try #require(box.read(box.kept))
    #expect(kept.hasPrefix(Box.text() + "\n# forebay-kept: bytes=\(Box.text().utf8.count) sha256="))
    #expect(kept.hasSuffix(" path=\(box.path)\n"))
    #expect(configuration.origin.bytes == Array(Box.text().utf8))
    #expect(box.read(box.kept + ".new") == nil)
  }

  @Test("Keeping what is kept already writes nothing")
  func noWear() throws {
    let box = try Box()
    let configuration = try box.run()
    func inode() -> ino_t {
      var status = stat()
      #expect(stat(box.kept, &status) == 0)
      return status.st_ino
    }
    let before = inode()
    try box.lastGood.keep(configuration, in: configuration.spool.directory)
    #expect(inode() == before)
    _ = try box.run(Box.text(gateway: "gw-2"))
    #expect(inode() != before)
    #expect(box.read(box.kept)?.contains("gw-2") == true)
  }

  @Test("When the spool's directory was changed in the refused file, the kept one keeps the old one")
  func movedSpool() throws {
    let box = try Box()
    _ = try box.run()
    try box.write(Box.text(gateway: "a b", spool: "/nowhere"), to: box.path)
    #expect(try box.lastGood.load(path: box.path).configuration.spool.directory == "\(box.root)/spool")
  }

  @Test("After the spool was moved for good, the newer of two kept ones is taken")
  func movedForGood() throws {
    let box = try Box()
    _ = try box.run(Box.text(gateway: "old"))
    #expect(mkdir("\(box.root)/spool2", 0o700) == 0)
    _ = try box.run(Box.text(gateway: "new", spool: "../spool2"))
    try box.write("{", to: box.path)
    #expect(try box.lastGood.load(path: box.path).configuration.gateway.id == "new")
  }

  @Test("Without the location file, the spool's directory is read from the refused file")
  func withoutLocation() throws {
    let box = try Box()
    _ = try box.run()
    let elsewhere = LastGoodConfiguration(stateDirectory: "\(box.root)/none")
    try box.write(Box.text(gateway: "a b"), to: box.path)
    #expect(try elsewhere.load(path: box.path).configuration.gateway.id == "gw-1")
    try box.write("{", to: box.path)
    #expect(throws: ConfigurationErrors.self) { try elsewhere.load(path: box.path) }
  }

  @Test("By default the spool is the state directory, and that is enough")
  func stateIsSpool() throws {
    let box = try Box()
    let lastGood = LastGoodConfiguration(stateDirectory: "\(box.root)/spool")
    _ = try box.run()
    try box.write("{", to: box.path)
    #expect(try lastGood.load(path: box.path).configuration.gateway.id == "gw-1")
  }

  @Test("A kept file of another configuration, or one that is not whole, is not taken")
  func notOurs() throws {
    let box = try Box()
    _ = try box.run()
    let other = "\(box.root)/etc/other.yaml"
    try box.write(Box.text(gateway: "a b"), to: other)
    #expect(throws: ConfigurationErrors.self) { try box.lastGood.load(path: other) }

    let kept = try #require(box.read(box.kept))
    try box.write("{", to: box.path)
    for damaged in [kept.replacing("gw-1", with: "gw-9"), String(kept.dropLast()), "", "\n"] {
      try box.write(damaged, to: box.kept)
      #expect(throws: ConfigurationErrors.self) { try box.lastGood.load(path: box.path) }
    }
    try box.write(kept, to: box.kept)
    #expect(try box.lastGood.load(path: box.path).alarm != nil)
  }

  @Test("A secret that is gone does not keep the kept configuration from running")
  func secretGone() throws {
    let box = try Box()
    _ = try box.run()
    #expect(unlink("\(box.root)/etc/secret") == 0)
    let boot = try box.lastGood.load(path: box.path)
    #expect(boot.alarm?.contains("password_file") == true)
    #expect(boot.configuration.warnings.map(\.path) == ["sources.floor.mqtt.password_file"])
  }

  @Test("What cannot be kept is told with the operation, the path and the cause")
  func cannotKeep() throws {
    let box = try Box()
    let configuration = try box.run()
    let lastGood = LastGoodConfiguration(stateDirectory: "\(box.root)/no/such")
    #expect {
      try lastGood.keep(configuration, in: configuration.spool.directory)
    } throws: { error in
      let text = "\(error)"
      return text.contains("cannot create \(box.root)/no/such/") && text.contains("No such file")
        && text.contains("--state")
    }
    #expect(box.read(box.kept) != nil)
  }
}
