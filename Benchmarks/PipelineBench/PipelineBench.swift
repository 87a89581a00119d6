import Glibc
import Pipeline
import Spool
import Telemetry

// pipeline-bench FOLDER RECORDS MODE: one pipeline on one core, from the log to sealed batches.
//
// Fills a spool with RECORDS messages of 200 bytes of JSON from a thousand devices, as the intake would, and then
// reads, runs and seals them all, as the daemon does. MODE is `fill` (the filling alone, to be subtracted from
// what a counter of instructions says of the whole), or what the pipeline does: `pass`. The compression follows a
// colon: `pass:gzip`. Prints one JSON object with the nanoseconds of processor time that reading to sealing took.

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
    {"device":"pump-\(1_000 + device)","ts":\(1_793_000_000_000 + number * 10),"temperature":\(value(7_919, 9_000)),\
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

private func settings(_ mode: Substring, _ compression: Substring) throws -> PipelineSettings {
  var settings = PipelineSettings(
    name: name, from: [try TopicFilter(parsing: "sensors/{device}/climate")], to: "upstream")
  settings.key = "device"
  settings.time = .field(try FieldPath(parsing: "ts"), .milliseconds)
  guard let compression = BatchCompression(rawValue: String(compression)) else { throw Usage() }
  settings.batch.compression = compression
  guard mode == "pass" else { throw Usage() }
  return settings
}

private struct Usage: Error {}

private func run(_ spool: Spool, _ core: inout PipelineCore) throws -> Int {
  let reader = try LogReader(path: spool.log.path)
  var batches = 0
  while let stretch = try reader.next(from: core.readPosition, interested: core.interested) {
    guard case .block(let block) = stretch else { throw Usage() }
    core.process(block, now: now())
    if core.sealableBytes >= 1 << 20 { batches += try seal(spool, &core) }
  }
  core.close(now())
  return batches + (try seal(spool, &core))
}

private func seal(_ spool: Spool, _ core: inout PipelineCore) throws -> Int {
  guard let seal = try core.nextSeal() else { return 0 }
  try spool.state.seal(seal, pipeline: name)
  core.sealed(seal)
  return seal.batches.count
}

private func main() throws {
  guard CommandLine.arguments.count == 4, let records = Int(CommandLine.arguments[2]), records > 0 else {
    throw Usage()
  }
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
  let start = clock(CLOCK_PROCESS_CPUTIME_ID)
  let batches = only ? 0 : try run(spool, &core)
  let time = clock(CLOCK_PROCESS_CPUTIME_ID) - start
  print("{\"records\":\(records),\"batches\":\(batches),\"nanoseconds\":\(time)}")
}

do {
  try main()
} catch is Usage {
  fputs("usage: pipeline-bench FOLDER RECORDS fill|pass[:none|:gzip|:zstd]\n", stderr)
  exit(64)
} catch {
  fputs("pipeline-bench: \(error)\n", stderr)
  exit(1)
}
