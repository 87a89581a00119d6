import Glibc
import Telemetry
import Testing

@testable import Spool

@Suite("A backup")
struct BackupTests {
  let folder: SpoolFolder

  init() throws { folder = try SpoolFolder() }

  private var archive: String { folder.path + "/backup.tar" }
  private var source: Backup.Source {
    var source = Backup.Source(directory: folder.settings.directory, version: "1.2.3")
    source.minimumFree = 0
    return source
  }

  private func write(_ progress: (Backup.Progress) -> Void = { _ in }) throws -> BackupManifest {
    try Backup.write(source, to: archive, wall: 5_000_000_000, time: "then", progress: progress)
  }

  private func bytes() throws -> [UInt8] { try FileSystem.read(archive) }

  /// Puts other bytes in the place of the archive and verifies that.
  private func refusal(_ bytes: [UInt8]) throws -> SpoolError {
    try FileSystem.replace(archive, with: bytes)
    return try #require(throws: SpoolError.self) { try Backup.verify(archive) }
  }

  @Test("of a spool that nobody runs holds both databases, the small files and a manifest, for its owner only")
  func whole() throws {
    let before = try folder.fill()
    let directory = folder.settings.directory
    let digest = Digest(of: Array("a contract".utf8)).hex
    mkdir(directory + "/attachments", 0o700)
    try FileSystem.replace(directory + "/attachments/\(digest)", with: Array("a contract".utf8))
    try FileSystem.replace(directory + "/attachments/half.new", with: Array("a con".utf8))
    try FileSystem.replace(directory + "/audit-log.jsonl", with: Array("{\"a\":1}\n{\"b\"".utf8))
    try FileSystem.replace(folder.path + "/tokens", with: Array("admin x y\n".utf8))
    var source = source
    source.tokens = folder.path + "/tokens"
    let manifest = try Backup.write(source, to: archive, wall: 5_000_000_000, time: "then")
    #expect(
      manifest.files.map(\.name) == [
        "mirror.json", "audit-log.jsonl", "tokens", "attachments/\(digest)", "state.db", "log.db",
      ])
    #expect(manifest.files[1].size == 8, "a line that is half written is none")
    #expect(manifest.log.id == before.log.rawValue && manifest.log.next == 6 && manifest.log.start == 0)
    #expect(manifest.pipelines.map(\.checkpoint) == [4] && manifest.pipelines.map(\.epoch) == [before.epoch.rawValue])
    #expect(manifest.gateways == ["gw"] && manifest.balances && manifest.tokens == source.tokens)
    #expect(try Backup.verify(archive) == manifest)
    var info = stat()
    #expect(stat(archive, &info) == 0 && info.st_mode & 0o777 == 0o600)
    #expect(FileSystem.names(in: folder.path).sorted() == ["backup.tar", "spool", "tokens"], "nothing else is left")
  }

  @Test("is taken while the intake commits as much as it likes, and holds what was there when it began")
  func underTraffic() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    // 100 MB.
    let filled = 1_600
    // Incompressible, so that there is something to copy.
    let noise = (0..<2_000).flatMap { Digest(of: Array("\($0)".utf8)).bytes }
    func group(_ number: Int) -> MessageGroup {
      var message = Fixture.message(number)
      message.payload += noise
      var group = MessageGroup(boot: Fixture.boot)
      group.append(message)
      return group
    }
    for number in 0..<filled { try spool.log.append(group(number)) }
    try spool.state.seal(Fixture.seal(&state, readings: 0..<4), pipeline: "climate")
    var taken = 0
    var deleted = 0
    let manifest = try write { _ in
      // Committed and synced within the copying, and a step further sealed and let go by retention.
      do {
        try spool.log.append(group(filled + taken))
        taken += 1
        guard taken == 3 else { return }
        try spool.state.seal(Fixture.seal(&state, readings: 4..<100), pipeline: "climate")
        deleted = try spool.log.retain(
          passed: Offset(100), now: .max, keepAge: 0, keepBytes: 0, inDoubt: 0, inDoubtBytes: 0)
      } catch {
        Issue.record("\(error)")
      }
    }
    #expect(deleted > 0)
    #expect(taken > 100)
    #expect(manifest.bytes > 100_000_000)
    #expect(try spool.log.end().next == Offset(Int64(filled + taken)))
    #expect(manifest.log.next == Int64(filled) && manifest.log.start == 0 && manifest.pipelines[0].checkpoint == 4)
    #expect(try spool.audit().balances)
    spool.close()
    // What was copied can be used, and balances.
    let other = folder.path + "/other"
    _ = try Backup.restore(Backup.Order(path: archive, directory: other), wall: 1) { _ in }
    let audit = try Audit.take(directory: other)
    #expect(audit.balances && audit.entries[0].ledger.received == Int64(filled))
  }

  @Test("is refused within the spool itself, and where the disk has no room for it")
  func noPlace() throws {
    _ = try folder.fill()
    let inside = #expect(throws: SpoolError.self) {
      try Backup.write(source, to: folder.settings.directory + "/x.tar", wall: 1, time: "")
    }
    #expect(inside?.kind == .misuse)
    var greedy = source
    greedy.minimumFree = 1 << 60
    let full = #expect(throws: SpoolError.self) { try Backup.write(greedy, to: archive, wall: 1, time: "") }
    #expect(full?.kind == .full)
    #expect("\(try #require(full))".contains("on the same disk"))
    #expect(!FileSystem.exists(archive) && !FileSystem.exists(archive + ".part"))
  }

  @Test("takes no folder for its file, and says of an empty one that it is")
  func folderAndNothing() throws {
    _ = try folder.fill()
    try FileSystem.makeDirectory(archive)
    let error = #expect(throws: SpoolError.self) { try write() }
    #expect(error?.kind == .misuse)
    #expect("\(try #require(error))".contains("\(archive)/gateway.tar"))
    #expect(rmdir(archive) == 0 && FileSystem.names(in: folder.path) == ["spool"])
    #expect("\(try refusal([]))".contains("it is empty"))
  }

  @Test("takes no file of the spool that leads elsewhere, and waits for no pipe")
  func links() throws {
    _ = try folder.fill()
    let place = folder.settings.directory + "/paused-uplinks.json"
    try FileSystem.replace(folder.path + "/secret", with: Array("secret".utf8))
    #expect(symlink(folder.path + "/secret", place) == 0)
    #expect("\(try #require(#expect(throws: SpoolError.self) { try write() }))".contains(place))
    #expect(unlink(place) == 0 && mkfifo(place, 0o600) == 0)
    #expect("\(try #require(#expect(throws: SpoolError.self) { try write() }))".contains("no regular file"))
    #expect(!FileSystem.exists(archive))
  }

  @Test("that is not finished leaves the one before as it was, and nothing beside it")
  func cutOff() throws {
    _ = try folder.fill()
    _ = try write()
    let before = try bytes()
    // The log's file is not SQLite's any more behind its first page: the copy of it fails in the middle.
    folder.tamper(folder.statePath, "PRAGMA writable_schema = ON; DELETE FROM sqlite_master WHERE name = 'pipeline'")
    #expect(throws: SpoolError.self) { try write() }
    #expect(try bytes() == before)
    #expect(FileSystem.names(in: folder.path).sorted() == ["backup.tar", "spool"])
  }

  @Test("is refused wherever it was cut off")
  func truncated() throws {
    _ = try folder.fill()
    _ = try write()
    let whole = try bytes()
    for length in stride(from: 0, to: whole.count, by: 2_040) + [511, 512, 513, whole.count - 1, whole.count - 512] {
      #expect(try refusal(Array(whole[..<length])).kind == .damaged, "cut off at \(length)")
    }
    // What tar fills its records with is no harm.
    try FileSystem.replace(archive, with: whole + [UInt8](repeating: 0, count: 1_024))
    #expect(throws: Never.self) { try Backup.verify(archive) }
    #expect(try refusal(whole + [1] + [UInt8](repeating: 0, count: 511)).kind == .damaged)
  }

  @Test("is refused with any byte changed that means something")
  func changed() throws {
    _ = try folder.fill()
    _ = try write()
    let whole = try bytes()
    let header = try TarHeader(Array(whole[..<512]))
    // The padding behind a file means nothing.
    let padding = 512 + Int(header.size)..<512 + Int(header.size) + header.padding
    for place in stride(from: 0, to: whole.count, by: 1_777) where !padding.contains(place) {
      var bytes = whole
      bytes[place] ^= 0x20
      #expect(try refusal(bytes).kind == .damaged, "byte \(place)")
    }
  }

  /// An archive of these files, each with its header as it is said.
  private func archive(_ files: [(TarHeader, [UInt8])]) -> [UInt8] {
    files.flatMap { header, content in
      let padding = TarHeader(name: "", size: Int64(content.count), time: 0).padding
      return header.bytes + content + [UInt8](repeating: 0, count: padding)
    } + [UInt8](repeating: 0, count: 1_024)
  }

  private func header(_ name: String, _ size: Int) -> TarHeader {
    TarHeader(name: name, size: Int64(size), time: 0)
  }

  @Test(
    "is refused with names that lead elsewhere, that are none of a backup's, or that come twice",
    arguments: [
      "/etc/passwd", "forebay-backup/../state.db", "forebay-backup//etc/passwd", "forebay-backup/attachments/../x",
      "forebay-backup/attachments/" + String(repeating: "A", count: 64), "forebay-backup/lock", "state.db",
      "forebay-backup/attachments/" + String(repeating: "a", count: 63), "forebay-backup/",
      "forebay-backup/attachments/", "forebay-backup/state.db-wal", "forebay-backup/restoring",
      "forebay-backup/manifest.sha256",
    ])
  func hostileNames(name: String) throws {
    #expect(try refusal(archive([(header(name, 1), [1])])).kind == .damaged)
    let target = folder.path + "/target"
    #expect(throws: SpoolError.self) {
      try Backup.restore(Backup.Order(path: archive, directory: target), wall: 1) { _ in }
    }
    #expect(!FileSystem.exists(target), "it is looked at before anything is made")
  }

  @Test("is refused with a name twice, a size beyond its end, links, or no manifest")
  func hostileHeaders() throws {
    let name = "forebay-backup/state.db"
    #expect(try refusal(archive([(header(name, 1), [1]), (header(name, 1), [1])])).cause.contains("twice"))
    for size in [2_000, Int(TarHeader.maximumSize)] {
      #expect(try refusal(archive([(header(name, size), [1])])).cause.contains("cut off"))
    }
    #expect(try refusal(archive([(header(name, 1 << 60), [1])])).kind == .damaged)
    #expect(try refusal(archive([(header(name, 1), [1])])).cause.contains("manifest"))
    #expect(try refusal([]).kind == .damaged)
    #expect(try refusal(Array("this is no archive".utf8)).kind == .damaged)
    for (place, byte) in [(156, UInt8(ascii: "2")), (156, UInt8(ascii: "5")), (157, UInt8(ascii: "x")), (345, 47)] {
      var block = header(name, 1).bytes
      block[place] = byte
      // With a checksum that fits.
      let sum = block.enumerated().reduce(0) { $0 + ((148..<156).contains($1.offset) ? 32 : Int($1.element)) }
      let digits = Array(String(sum, radix: 8).utf8)
      for (index, digit) in ([UInt8](repeating: 48, count: 6 - digits.count) + digits).enumerated() {
        block[148 + index] = digit
      }
      #expect(throws: TarHeader.Fault.self) { try TarHeader(block) }
    }
  }

  @Test("of a later version is refused by what it is, not as damaged")
  func newer() throws {
    _ = try folder.fill()
    var manifest = try write()
    manifest.format = 2
    let text = try #require(manifest.encoded())
    let digest = Array("\(Digest(of: text).hex)  manifest.json\n".utf8)
    let error = try refusal(
      archive([
        (header("forebay-backup/manifest.json", text.count), text),
        (header("forebay-backup/manifest.sha256", digest.count), digest),
      ]))
    #expect(error.kind == .newer)
  }

  @Test("has headers that say any size")
  func sizes() throws {
    for size: Int64 in [0, 1, 511, 512, (1 << 33) - 1, 1 << 33, 1 << 40, TarHeader.maximumSize] {
      let header = TarHeader(name: "forebay-backup/log.db", size: size, time: 1_800_000_000)
      #expect(try TarHeader(header.bytes) == header)
    }
  }
}
