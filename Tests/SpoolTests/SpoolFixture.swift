import CSQLite
import Glibc
import Telemetry
import Testing

@testable import Spool

/// A spool in a folder of its own that goes with the test.
final class SpoolFolder {
  let path: String
  private var drawn: UInt64

  /// - Parameter drawn: another number for a box of its own, which never draws what this one does.
  init(drawn: UInt64 = 0) throws {
    self.drawn = drawn
    var template = Array("/tmp/forebay-spool-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SpoolFolderError() }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit {
    removeTree(path)
  }

  struct SpoolFolderError: Error {}

  var settings: SpoolSettings {
    var settings = SpoolSettings(directory: path + "/spool")
    settings.minimumFree = 0
    return settings
  }

  func open(machine: String = "machine-a", wall: Int64 = 1_000) throws -> Spool {
    try unlocked {
      try Spool.open(settings, machine: Machine(id: machine), now: Fixture.moment(wall: wall), random: random)
    }
  }

  /// A process that another test starts at this moment has our lock, too, until it becomes another program.
  private func unlocked(_ open: () throws -> Spool) throws -> Spool {
    for _ in 0..<50 {
      do {
        return try open()
      } catch let error as SpoolError where error.kind == .busy {
        usleep(10_000)
      }
    }
    return try open()
  }

  /// As a version with these formats opens it.
  func open(
    _ formats: SpoolFormats, now: Moment = Fixture.moment(wall: 1_000), settings: SpoolSettings? = nil,
    free: @escaping (String) throws(SpoolError) -> Int64 = FileSystem.free,
    report: @escaping (String) -> Void = { _ in }
  ) throws -> Spool {
    let settings = settings ?? self.settings
    let upgrade = FormatUpgrade(directory: settings.directory, formats: formats, report: report, free: free)
    return try unlocked {
      try Spool.open(settings, machine: Machine(id: "machine-a"), now: now, upgrade: upgrade, random: random)
    }
  }

  func random() -> UInt64 {
    drawn += 1
    return drawn &* 0x9E37_79B9_7F4A_7C15
  }

  var statePath: String { Spool.statePath(settings.directory) }
  var logPath: String { Spool.logPath(settings.directory) }

  /// Runs SQL on one of the files behind the store's back.
  func tamper(_ path: String, _ sql: String) {
    var handle: OpaquePointer?
    sqlite3_open(path, &handle)
    sqlite3_exec(handle, sql, nil, nil, nil)
    sqlite3_close(handle)
  }

  func overwrite(_ path: String, at offset: Int, with bytes: [UInt8]) {
    let file = Glibc.open(path, O_WRONLY)
    pwrite(file, bytes, bytes.count, off_t(offset))
    Glibc.close(file)
  }

  struct Filled {
    var log: LogID
    var epoch: Epoch
    var client: String
  }

  /// Fills a spool: 6 messages taken in 3 blocks, 4 of them sealed as one batch, mirrored, closed.
  func fill() throws -> Filled {
    let spool = try open()
    var state = try spool.register(self)
    for start in [0, 2, 4] { try spool.log.append(Fixture.group(start..<start + 2)) }
    try spool.state.seal(Fixture.seal(&state, readings: 0..<4), pipeline: "climate")
    let client = try spool.state.clientID(source: "floor") { "client-1" }
    try spool.mirror()
    spool.close()
    return Filled(log: spool.log.id, epoch: state.epoch, client: client)
  }

  func copy(_ from: String, _ to: String) throws {
    try FileSystem.replace(to, with: try FileSystem.read(from))
  }

  private func removeTree(_ path: String) {
    if let directory = opendir(path) {
      while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
          String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != ".", name != ".." { removeTree(path + "/" + name) }
      }
      closedir(directory)
      rmdir(path)
    } else {
      unlink(path)
    }
  }
}

enum Fixture {
  static let boot = BootID(high: 1, low: 2)

  static func moment(wall: Int64) -> Moment {
    Moment(boot: boot, monotonic: wall, wall: wall, quality: .synchronised)
  }

  static func message(_ number: Int, topic: String = "sensors/a/climate") -> Message {
    Message(
      origin: Origin(source: "floor", topic: topic), payload: Array("{\"n\":\(number)}".utf8),
      qos: .atLeastOnce, packetID: UInt16(number % 65_535 + 1),
      received: moment(wall: Int64(number) * 1_000))
  }

  static func group(_ numbers: Range<Int>, topic: String = "sensors/a/climate") -> MessageGroup {
    var group = MessageGroup(boot: boot)
    for number in numbers { group.append(message(number, topic: topic)) }
    return group
  }

  static let registration = PipelineRegistration(name: "climate", uplink: "central", version: "v1")

  static func batch(_ state: PipelineState, readings: Range<Int>) -> Batch {
    let body = Array(readings.map { "{\"n\":\($0)}\n" }.joined().utf8)
    let identity = BatchIdentity(
      gateway: state.gateway, pipeline: "climate", epoch: state.epoch, sequence: state.nextSequence)
    return Batch(
      identity: identity, version: "v1", log: state.log,
      firstOffset: Offset(Int64(readings.lowerBound)), lastOffset: Offset(Int64(readings.upperBound - 1)),
      count: readings.count, encoding: .ndjson, compression: .none, body: body, length: body.count,
      digest: Batch.digest(
        identity: identity, previous: state.previousDigest, count: readings.count, body: body),
      previous: state.previousDigest, sealed: moment(wall: 5_000))
  }

  /// The seal of the messages `readings`, which are one batch; the state goes on behind it.
  static func seal(_ state: inout PipelineState, readings: Range<Int>) -> Seal {
    let batch = batch(state, readings: readings)
    state.nextSequence += 1
    state.previousDigest = batch.digest
    state.checkpoint = Offset(Int64(readings.upperBound))
    return Seal(
      batches: [batch],
      counters: .init {
        $0.decoded = Int64(readings.count)
        $0.produced = Int64(readings.count)
      }, state: state)
  }

  static func rejection(_ state: PipelineState, offset: Int) -> Rejection {
    Rejection(
      stage: .decode, rule: "json.syntax", reason: "expected a value at byte 0",
      origin: Origin(source: "floor", topic: "sensors/a/climate"), log: state.log,
      offset: Offset(Int64(offset)), received: moment(wall: 7), payload: Array("{oops".utf8))
  }
}

extension Spool {
  func register(_ folder: SpoolFolder) throws -> PipelineState {
    try #require(try register(folder, [Fixture.registration]).states["climate"])
  }

  func register(
    _ folder: SpoolFolder, _ registrations: [PipelineRegistration], gateway: String = "gw",
    configuration: String = "pipelines: {}"
  ) throws -> StateStore.Registered {
    try register(
      registrations, configuration: Array(configuration.utf8), gateway: gateway, wall: 1,
      random: folder.random)
  }

  func audit() throws -> Audit { try Audit.take(directory: settings.directory) }
}
