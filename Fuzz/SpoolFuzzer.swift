import Glibc
import Telemetry

private let boot = BootID(high: 1, low: 2)
private let now = Moment(boot: boot, monotonic: 1, wall: 1_795_231_080_000_000_000, quality: .synchronised)

/// A spool with a bit of everything, and a folder in which it is damaged again and again.
private struct Bench {
  let directory: String
  let names = ["log.db", "state.db", "mirror.json"]
  var files: [[UInt8]] = []

  init() {
    // run.sh makes it and takes it away.
    let place = getenv("FOREBAY_FUZZ_FOLDER").map { String(cString: $0) } ?? "/tmp"
    directory = "\(place)/spool-\(getpid())"
    do {
      let spool = try Bench.open(directory)
      try Bench.fill(spool)
      spool.close()
      for name in names { files.append(try FileSystem.read("\(directory)/\(name)")) }
    } catch { fatalError("no bench: \(error)") }
  }

  static func open(_ directory: String) throws(SpoolError) -> Spool {
    var settings = SpoolSettings(directory: directory)
    settings.minimumFree = 0
    var drawn: UInt64 = 0
    return try Spool.open(settings, machine: Machine(id: "m"), now: now) {
      drawn += 1
      return drawn &* 0x9E37_79B9_7F4A_7C15
    }
  }

  private static func message(_ number: Int) -> Message {
    Message(
      origin: Origin(source: "floor", topic: "a/\(number % 3)"), payload: Array("{\"n\":\(number)}".utf8),
      qos: .atLeastOnce, packetID: UInt16(number + 1), received: now)
  }

  static func register(_ spool: Spool) throws(SpoolError) -> PipelineState? {
    try spool.register(
      [PipelineRegistration(name: "climate", uplink: "central", version: "v1")], configuration: Array("x: 1".utf8),
      gateway: "gw", wall: now.wall, random: { 7 }
    ).states["climate"]
  }

  private static func fill(_ spool: Spool) throws(SpoolError) {
    guard var state = try register(spool) else { fatalError("no pipeline") }
    for start in stride(from: 0, to: 240, by: 8) {
      var group = MessageGroup(boot: boot)
      for number in start..<start + 8 { group.append(message(number)) }
      try spool.log.append(group)
    }
    for sequence in 0..<3 {
      let body = Array("{\"n\":\(sequence)}\n".utf8)
      let identity = BatchIdentity(
        gateway: state.gateway, pipeline: "climate", epoch: state.epoch, sequence: state.nextSequence)
      let digest = Batch.digest(identity: identity, previous: state.previousDigest, count: 1, body: body)
      let batch = Batch(
        identity: identity, version: "v1", log: state.log, firstOffset: Offset(Int64(2 * sequence)),
        lastOffset: Offset(Int64(2 * sequence + 1)), count: 1, encoding: .ndjson, compression: .none, body: body,
        length: body.count, digest: digest, previous: state.previousDigest, sealed: now)
      let rejection = Rejection(
        stage: .decode, rule: "json.syntax", reason: "no", origin: Origin(source: "floor", topic: "a/1"),
        log: state.log, offset: Offset(Int64(2 * sequence + 1)), received: now, payload: Array("{oops".utf8))
      state.nextSequence += 1
      state.previousDigest = digest
      state.checkpoint = Offset(Int64(2 * sequence + 2))
      var seal = Seal(
        batches: [batch], rejections: [rejection],
        counters: .init {
          $0.decoded = 1
          $0.rejected = 1
          $0.produced = 1
        }, state: state)
      seal.stages = [StageState(stage: .dedupe, rows: [StateRow(key: [1], value: [2, 3])])]
      try spool.state.seal(seal, pipeline: "climate")
    }
    let first = try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 1)
    try spool.state.confirm(first.map(\.id), at: now.wall)
    _ = try spool.state.clientID(source: "floor") { "client" }
    try spool.mirror()
  }

  func lay(_ files: [[UInt8]]) {
    for name in FileSystem.names(in: directory) where name != "ballast" && name != "lock" {
      unlink("\(directory)/\(name)")
    }
    for name in FileSystem.names(in: directory + "/quarantine") { unlink("\(directory)/quarantine/\(name)") }
    for (name, bytes) in zip(names, files) {
      let file = Glibc.open("\(directory)/\(name)", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o640)
      _ = bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
      Glibc.close(file)
    }
  }
}

private let bench = Bench()

/// The databases of the spool with bytes changed: five for each change, the file, the place and the new byte; 255 as
/// the file cuts one (or packed lineage behind an L). Whatever has become of them the spool opens, or says in its own words why not, and everything
/// that is in it can be asked for.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSpool(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let changes = Array(UnsafeBufferPointer(start: start, count: count))
  guard changes.first != UInt8(ascii: "L") else {
    lineage(Array(changes.dropFirst()))
    return 0
  }
  var files = bench.files
  for start in stride(from: 0, to: changes.count - 4, by: 5) {
    let which = Int(changes[start] & 0x7F) % files.count
    guard !files[which].isEmpty else { continue }
    let place = changes[start + 1...start + 3].reduce(0) { $0 << 8 | Int($1) } % files[which].count
    if changes[start] & 0x80 != 0 {
      files[which].removeSubrange(place...)
    } else {
      files[which][place] = changes[start + 4]
    }
  }
  bench.lay(files)
  do throws(SpoolError) {
    let spool = try Bench.open(bench.directory)
    defer { spool.close() }
    look(spool)
  } catch {
    // What is wrong with the content is dealt with; what is left is about the file's format.
    require(error.kind == .newer || error.kind == .older, "it does not open: \(error)")
  }
  return 0
}

private func lineage(_ bytes: [UInt8]) {
  guard let chunk = try? LineageChunk(decoding: bytes) else { return }
  _ = chunk.sequences
  _ = chunk.wall
  guard !chunk.batches.isEmpty else { return }
  require((try? LineageChunk(decoding: chunk.encoded())) == chunk, "a chunk does not read back")
}

/// Asks for all of it. An answer may be an error, for damage can lie where the opening does not look.
private func look(_ spool: Spool) {
  _ = try? Bench.register(spool)
  if let reader = try? spool.reader() {
    var offset = Offset(0)
    for _ in 0..<1_000 {
      guard let next = try? reader.next(from: offset), let stretch = next as LogStretch? else { break }
      let end =
        switch stretch {
        case .block(let block): block.end
        case .uninteresting(_, let end), .unreadable(_, let end, _): end
        }
      require(end > offset, "the reader does not go on")
      offset = end
    }
  }
  let items = (try? spool.state.outbox(pipelines: ["climate"], after: nil, limit: 99)) ?? []
  try? spool.state.confirm(items.map(\.id), at: now.wall)
  _ = try? Audit.take(directory: bench.directory)
  _ = try? spool.retain(now: now)
  _ = try? spool.mirror()
  _ = try? spool.log.inDoubt(source: "floor", window: 20)
}
