import Glibc
import Telemetry

/// Where the archive lies that is tried; run.sh makes the folder and takes it away.
private let path =
  "\(getenv("FOREBAY_FUZZ_FOLDER").map { String(cString: $0) } ?? "/tmp")/backup-\(getpid()).tar"

private let names =
  SpoolFiles.databases + SpoolFiles.kept + [
    BackupNames.tokens, "attachments/" + String(repeating: "0", count: 64), "../lock", "attachments/../../lock",
    "/lock", "log.db-wal", "manifest.json",
  ]

/// By the first byte: a file as it is, a header whose checksum is made to fit, or an archive of files with a manifest
/// that fits, in which bytes are changed then. Nothing but a whole backup is taken for one, and only names that a
/// backup has get through.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzBackup(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  guard let kind = bytes.first else { return 0 }
  switch kind % 3 {
  case 0: _ = verified(Array(bytes.dropFirst()))
  case 1: header(Array(bytes.dropFirst()))
  default: archive(Array(bytes.dropFirst()))
  }
  return 0
}

private func verified(_ content: [UInt8]) -> BackupManifest? {
  do throws(SpoolError) {
    let file = try FileSystem.createAnew(path, mode: 0o600)
    defer { close(file) }
    try FileSystem.write(content, content.count, to: file, path: path)
  } catch { fatalError("no file: \(error)") }
  do throws(SpoolError) {
    return try Backup.verify(path)
  } catch {
    require(error.kind == .damaged || error.kind == .newer, "it is refused for another reason: \(error)")
    return nil
  }
}

private func header(_ bytes: [UInt8]) {
  var block = Array(bytes.prefix(TarHeader.blockSize))
  block += [UInt8](repeating: 0, count: TarHeader.blockSize - block.count)
  block.replaceSubrange(257..<263, with: Array("ustar\0".utf8))
  block.replaceSubrange(148..<156, with: Array("        ".utf8))
  let sum = String(block.reduce(0) { $0 + Int($1) }, radix: 8)
  block.replaceSubrange(148..<156, with: Array((String(repeating: "0", count: 6 - sum.count) + sum + "\0 ").utf8))
  guard let header = try? TarHeader(block) else { return }
  require((0...TarHeader.maximumSize).contains(header.size), "a size that is none: \(header.size)")
  require((1...100).contains(header.name.utf8.count), "a name that is none")
  let again = try? TarHeader(header.bytes)
  require(again?.name == header.name && again?.size == header.size, "a header does not read back")
}

/// Files, each a byte for the name and one for the length of what follows; behind 255 what is changed afterwards: two
/// bytes for the place, one for the byte.
private func archive(_ bytes: [UInt8]) {
  var files: [BackupManifest.File] = []
  var content: [UInt8] = []
  func add(_ name: String, _ bytes: [UInt8]) {
    let header = TarHeader(name: BackupNames.folder + name, size: Int64(bytes.count), time: 1)
    content += header.bytes + bytes + [UInt8](repeating: 0, count: header.padding)
  }
  var at = 0
  while at + 1 < bytes.count, bytes[at] != 255 {
    let name = names[Int(bytes[at]) % names.count]
    let body = Array(bytes[(at + 2)...].prefix(Int(bytes[at + 1])))
    at += 2 + body.count
    add(name, body)
    files.append(BackupManifest.File(name: name, size: Int64(body.count), sha256: Digest(of: body).hex))
  }
  var manifest = BackupManifest(
    forebay: "1", stateFormat: 1, logFormat: 1, wall: 1, time: "", gateways: ["gw"], spool: "/s",
    log: BackupManifest.Log(id: "l", start: 0, next: 0, received: 0), pipelines: [], balances: true)
  manifest.files = files
  guard let text = manifest.encoded() else { fatalError("no JSON can say it") }
  add(BackupNames.manifest, text)
  add(BackupNames.manifestDigest, Array("\(Digest(of: text).hex)  \(BackupNames.manifest)\n".utf8))
  content += [UInt8](repeating: 0, count: 2 * TarHeader.blockSize)
  var isChanged = false
  for edit in stride(from: at + 1, to: bytes.count - 2, by: 3) {
    let place = (Int(bytes[edit]) << 8 | Int(bytes[edit + 1])) % content.count
    isChanged = isChanged || content[place] != bytes[edit + 2]
    content[place] = bytes[edit + 2]
  }
  guard let found = verified(content) else {
    let isWhole =
      files.allSatisfy { BackupNames.isKnown($0.name) } && Set(files.map(\.name)).count == files.count
      && SpoolFiles.databases.allSatisfy { name in files.contains { $0.name == name } }
    require(isChanged || !isWhole, "a whole backup is refused")
    return
  }
  require(found.files == files, "files that were not put in")
  require(files.allSatisfy { BackupNames.isKnown($0.name) }, "a name that no backup has")
}
