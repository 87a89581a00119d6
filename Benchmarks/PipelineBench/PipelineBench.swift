import Glibc
import Pipeline
import Spool
import Telemetry

// pipeline-bench FOLDER RECORDS MODE: one pipeline on one core, from the log to sealed batches.
//
// Fills a spool with RECORDS messages of 200 bytes of JSON from a thousand devices, as the intake would, and then
// reads, runs and seals them all, as the daemon does. MODE is `fill` (the filling alone, to be subtracted from
// what a counter of instructions says of the whole), or what the pipeline does: `pass`; `checked`, which is JSON with a
// contract and dedupe; `windows`, the same and an average of ten seconds for each device. The compression follows a
// colon: `pass:gzip`, and how many devices the view of them has behind another: `pass:gzip:0`. Prints one JSON object
// with the nanoseconds of processor time that reading to sealing took, and the bytes of the batches before their
// compression, of which digests were made.
//
// pipeline-bench - KEYS memory: the resident bytes that open windows of KEYS devices take.

private let name = "bench"
private let devices = 1_000

private func now() -> Moment {
  Moment(
    boot: BootID(high: 1, low: 1), monotonic: clock(CLOCK_MONOTONIC), wall: clock(CLOCK_REALTIME),
    quality: .synchronised)
}

private func clock(_ id: clockid_t) -> Int64 {
  var time = timespec()
  clock_gettime(id, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// The values wander as measured ones do; names and state are what devices repeat.
private func payload(_ number: Int) -> [UInt8] {
  let device = number % devices
  func value(_ factor: Int, _ range: Int) -> String {
    let scaled = (number &* factor) % range
    return "\(scaled / 100).\(scaled / 10 % 10)\(scaled % 10)"
  }
  return Array(
    """
    {"device":"pump-\(1_000 + device)","ts":\(1_793_000_000_000 + number),"temperature":\(value(7_919, 9_000)),\
    "pressure":\(value(104_729, 80_000)),"flow":\(value(1_299_709, 20_000)),"rpm":\(1_000 + number % 2_000),\
    "state":"running","serial":"SN-\(10_000 + device)-A7","battery":\(value(15_485_863, 1_000)),"ok":true,"seq":\(number)}
    """.utf8)
}

private func fill(_ spool: Spool, records: Int) throws {
  var next = 0
  while next < records {
    let moment = now()
    var group = MessageGroup(boot: moment.boot)
    for number in next..<min(next + 1_000, records) {
      group.append(
        Message(
          origin: Origin(source: "broker", topic: "sensors/pump-\(number % devices)/climate"),
          payload: payload(number), qos: .atLeastOnce, packetID: UInt16(number % 65_535 + 1), received: moment))
    }
    try spool.log.append(group)
    next += 1_000
  }
}

private let schema = """
  {"type":"object","required":["device","ts","temperature","seq"],"properties":{
    "device":{"type":"string","pattern":"^pump-[0-9]+$"},"ts":{"type":"integer","minimum":0},
    "temperature":{"type":"number","minimum":-40,"maximum":125},"pressure":{"type":"number","minimum":0},
    "flow":{"type":"number"},"rpm":{"type":"integer","minimum":0,"maximum":6000},
    "state":{"enum":["running","stopped","fault"]},"serial":{"type":"string","maxLength":32},
    "battery":{"type":"number"},"ok":{"type":"boolean"},"seq":{"type":"integer"}}}
  """

private func settings(_ mode: Substring, _ compression: Substring) throws -> PipelineSettings {
  var settings = PipelineSettings(
    name: name, from: [try TopicFilter(parsing: "sensors/{device}/climate")], to: "upstream")
  settings.key = "device"
  settings.time = .field(try FieldPath(parsing: "ts"), .milliseconds)
  guard let compression = BatchCompression(rawValue: String(compression)) else { throw Usage() }
  settings.batch.compression = compression
  guard ["pass", "checked", "windows"].contains(mode) else { throw Usage() }
  if mode == "pass" { return settings }
  settings.contract = Contract(
    name: "pump", version: ContractVersion(major: 1, minor: 0, patch: 0),
    schema: try JSONSchema(compiling: Array(schema.utf8)), digest: Digest(of: Array(schema.utf8)))
  settings.dedupe = PipelineSettings.Dedupe(within: 600_000_000_000)
  settings.dedupe?.by = [try FieldPath(parsing: "seq")]
  if mode == "windows" { settings.window = windowing() }
  return settings
}

private func windowing() -> WindowingSettings {
  WindowingSettings(
    span: .tumbling(10_000_000_000),
    emit: [WindowingSettings.Emitted(name: "mean", function: .average, argument: "temperature")])
}

/// Resident bytes of this process: the second number of proc(5)'s `statm`, in pages.
private func resident() throws -> Int {
  let file = open("/proc/self/statm", O_RDONLY)
  guard file >= 0 else { throw Usage() }
  defer { close(file) }
  var text = [UInt8](repeating: 0, count: 128)
  let length = read(file, &text, text.count)
  let numbers = String(decoding: text.prefix(max(0, length)), as: UTF8.self).split(separator: " ")
  guard numbers.count > 1, let pages = Int(numbers[1]) else { throw Usage() }
  return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
}

/// One reading of each of so many devices, all within one window of ten seconds: none closes.
private func memory(keys: Int) throws {
  var settings = try settings("windows", "identity")
  settings.contract = nil
  settings.dedupe = nil
  settings.window?.maximumWindows = 2 * keys
  var core = try PipelineCore(
    settings: settings, version: "1",
    state: PipelineState(
      gateway: "bench", epoch: Epoch(random: 1), nextSequence: 1, previousDigest: .zero,
      log: LogID(rawValue: "bench"), checkpoint: Offset(0)))
  func block(_ first: Int, _ count: Int) -> LogBlock {
    let moment = now()
    var group = MessageGroup(boot: moment.boot)
    for number in first..<first + count {
      group.append(
        Message(
          origin: Origin(source: "broker", topic: "sensors/device-\(number)/climate"),
          payload: Array(#"{"ts":\#(1_793_000_000_000 + number % 9_000),"temperature":21.5}"#.utf8), qos: .atLeastOnce,
          packetID: 1, received: moment))
    }
    return LogBlock(log: LogID(rawValue: "bench"), first: Offset(Int64(first)), group: group)
  }
  core.process(block(0, 1), now: now())
  let idle = try resident()
  var next = 1
  while next < keys {
    core.process(block(next, min(1_000, keys - next)), now: now())
    next += min(1_000, keys - next)
    // What the daemon does every few seconds, and what it takes.
    if next % 20_000 == 0 || next == keys, let seal = try core.nextSeal() { core.sealed(seal) }
  }
  print(
    "{\"keys\":\(core.observations.windows?.keys ?? 0),\"idle\":\(idle),\"resident\":\(try resident())}")
}

private struct Usage: Error {}

/// What was sealed.
private struct Sealed {
  var batches = 0
  var bytes = 0
}

private func run(_ spool: Spool, _ core: inout PipelineCore) throws -> Sealed {
  let reader = try LogReader(path: spool.log.path)
  var sealed = Sealed()
  while let stretch = try reader.next(from: core.readPosition, interested: core.interested) {
    guard case .block(let block) = stretch else { throw Usage() }
    core.process(block, now: now())
    if core.sealableBytes >= 1 << 20 { try seal(spool, &core, &sealed) }
  }
  core.close(now())
  try seal(spool, &core, &sealed)
  return sealed
}

private func seal(_ spool: Spool, _ core: inout PipelineCore, _ sealed: inout Sealed) throws {
  guard let seal = try core.nextSeal() else { return }
  try spool.state.seal(seal, pipeline: name)
  core.sealed(seal)
  sealed.batches += seal.batches.count
  sealed.bytes += seal.batches.reduce(0) { $0 + $1.length }
}

private func main() throws {
  guard CommandLine.arguments.count == 4, let records = Int(CommandLine.arguments[2]), records > 0 else {
    throw Usage()
  }
  if CommandLine.arguments[3] == "memory" { return try memory(keys: records) }
  var seed: UInt64 = 1
  let random = {
    seed &+= 0x9E37_79B9_7F4A_7C15
    return seed
  }
  let spool = try Spool.open(
    SpoolSettings(directory: CommandLine.arguments[1]), machine: Machine(id: "bench"), now: now(), random: random)
  let parts = CommandLine.arguments[3].split(separator: ":")
  let only = parts.first == "fill"
  let settings = try settings(only ? "pass" : parts.first ?? "", parts.count > 1 ? parts[1] : "gzip")
  let registered = try spool.register(
    [PipelineRegistration(name: name, uplink: "upstream", version: pipelineVersion(settings))], configuration: [],
    gateway: "bench", wall: now().wall, random: random)
  guard let state = registered.states[name] else { throw Usage() }
  try fill(spool, records: records)
  var core = try PipelineCore(settings: settings, version: pipelineVersion(settings), state: state)
  let known = parts.count > 2 ? Int(parts[2]) ?? 0 : settings.devices
  core.devices = known > 0 ? DeviceView(limit: known) : nil
  let start = clock(CLOCK_PROCESS_CPUTIME_ID)
  let sealed = only ? Sealed() : try run(spool, &core)
  let time = clock(CLOCK_PROCESS_CPUTIME_ID) - start
  print(
    "{\"records\":\(records),\"batches\":\(sealed.batches),\"bytes\":\(sealed.bytes),\"nanoseconds\":\(time)}")
}

private func complain(_ text: String) {
  let line = text + "\n"
  _ = line.withCString { write(STDERR_FILENO, $0, strlen($0)) }
}

do {
  try main()
} catch is Usage {
  complain("usage: pipeline-bench FOLDER RECORDS fill|pass|checked|windows[:identity|:gzip|:zstd[:DEVICES]]")
  exit(64)
} catch {
  complain("pipeline-bench: \(error)")
  exit(1)
}
