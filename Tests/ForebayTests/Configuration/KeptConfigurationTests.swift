import Glibc
import Telemetry
import TestSupport
import Testing

@testable import forebay

@Suite("Configuration: what is kept with it")
struct KeptConfigurationTests {
  private static let origin = Configuration.Origin(
    path: "/etc/forebay/a b.yaml", bytes: Array("gateway: { id: g }\n# no line feed".utf8),
    attachments: [
      Attachment(path: "/etc/forebay/contracts/a path=x.json", digest: Digest(of: [1])),
      Attachment(path: "/etc/forebay/mask.key", digest: Digest(of: [2])),
    ])

  @Test("A kept configuration reads back with its attachments")
  func roundTrip() throws {
    #expect(Configuration.Origin(kept: Self.origin.kept) == Self.origin)
    var plain = Self.origin
    plain.attachments = []
    #expect(Configuration.Origin(kept: plain.kept) == plain)
    plain.bytes = []
    #expect(Configuration.Origin(kept: plain.kept) == plain)
  }

  @Test("Whatever byte of a kept configuration is another one, it is none")
  func damaged() throws {
    let kept = Self.origin.kept
    for index in kept.indices {
      var other = kept
      other[index] ^= 1
      let read = Configuration.Origin(kept: other)
      // The path that it was kept from is not what the digest is about: it is compared by whoever looks for it.
      #expect(read == nil || read?.path != Self.origin.path, "byte \(index)")
      #expect(Configuration.Origin(kept: Array(kept[..<index])) == nil)
    }
    #expect(Configuration.Origin(kept: []) == nil)
    #expect(Configuration.Origin(kept: Self.origin.bytes) == nil)
  }

  @Test("Attachments are for the daemon's user only, are written once, and go when nothing needs them")
  func store() throws {
    let folder = try TemporaryDirectory("attachments")
    let store = AttachmentStore(spool: folder.path)
    let (first, second) = (Digest(of: [1]), Digest(of: [2]))
    try store.keep([:])
    #expect(ConfigurationFiles.system.names(store.folder) == .failure(.missing))
    try store.keep([first: Secret([1]), second: Secret([2])])
    func status(_ path: String) -> stat {
      var status = stat()
      #expect(lstat(path, &status) == 0)
      return status
    }
    #expect(status(store.folder).st_mode & 0o777 == 0o700)
    let before = status("\(store.folder)/\(first.hex)")
    #expect(before.st_mode & 0o777 == 0o600)
    try store.keep([first: Secret([1])])
    #expect(status("\(store.folder)/\(first.hex)").st_ino == before.st_ino)
    store.prune(keeping: [first])
    #expect(ConfigurationFiles.system.names(store.folder) == .success([first.hex]))
  }

  @Test("A kept configuration sees its attachments as they were, and the disk where a copy is lost")
  func overlay() throws {
    let digest = Digest(of: Array("old".utf8))
    let store = AttachmentStore(spool: "/spool")
    var disk = [
      "/etc/c/a.json": "new", "/etc/c/b.json": "later", "/spool/attachments/\(digest.hex)": "old",
    ]
    let attachments = [Attachment(path: "/etc/c/a.json", digest: digest)]
    func text(_ path: String) throws -> String {
      let files = store.overlay(Sample.machine(disk), with: attachments)
      return String(decoding: try files.contents(of: path, kind: .contract).get().bytes, as: UTF8.self)
    }
    #expect(try text("/etc/c/a.json") == "old")
    #expect(try text("/etc/c/b.json") == "later")
    let files = store.overlay(Sample.machine(disk), with: attachments)
    #expect(files.attachmentNames(in: "/etc/c") == .success(["a.json"]))
    #expect(Sample.machine(disk).attachmentNames(in: "/etc/c") == .success(["a.json", "b.json"]))
    disk["/spool/attachments/\(digest.hex)"] = "damaged"
    #expect(try text("/etc/c/a.json") == "new")
    disk["/spool/attachments/\(digest.hex)"] = nil
    #expect(try text("/etc/c/a.json") == "new")
  }
}
