import Compression
import Pipeline
import Telemetry

/// A small generator with a seed, so that every run sees the same sequence.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

let boot = BootID(high: 1, low: 2)
let logA = LogID(rawValue: "aaaaaaaaaaaaaaaa")
let logB = LogID(rawValue: "bbbbbbbbbbbbbbbb")

/// 2026-11-21T03:18:00Z.
let receiptWall: Int64 = 1_795_231_080_000_000_000

/// A moment at so many milliseconds on both clocks.
func moment(_ milliseconds: Int64 = 0) -> Moment {
  Moment(
    boot: boot, monotonic: milliseconds * 1_000_000,
    wall: receiptWall + milliseconds * 1_000_000, quality: .synchronised)
}

func message(_ topic: String, _ payload: some Sequence<UInt8>) -> Message {
  Message(
    origin: Origin(source: "floor", topic: topic), payload: Array(payload), qos: .atLeastOnce,
    packetID: 1, received: moment())
}

func message(_ topic: String, _ payload: String) -> Message { message(topic, payload.utf8) }

func block(_ messages: [Message], first: Int64 = 0, log: LogID = logA) -> LogBlock {
  var group = MessageGroup(boot: boot)
  for message in messages { group.append(message) }
  return LogBlock(log: log, first: Offset(first), group: group)
}

func startState(_ checkpoint: Int64 = 0) -> PipelineState {
  PipelineState(
    gateway: "gw-1", epoch: Epoch(random: 42), nextSequence: 1, previousDigest: .zero, log: logA,
    checkpoint: Offset(checkpoint))
}

/// A pipeline that takes `sensors/{device}/climate` as it comes, unless told otherwise.
func makeSettings(
  _ filters: [String] = ["sensors/{device}/climate"], key: String? = "device",
  time: PipelineSettings.EventTime = .receipt(hold: 0), change: (inout PipelineSettings) -> Void = { _ in }
) throws -> PipelineSettings {
  var settings = PipelineSettings(
    name: "climate", from: try filters.map { try TopicFilter(parsing: $0) }, to: "central")
  settings.key = key
  settings.time = time
  settings.batch.compression = .none
  change(&settings)
  return settings
}

func makeCore(_ settings: PipelineSettings, _ state: PipelineState = startState()) throws -> PipelineCore {
  try PipelineCore(settings: settings, version: pipelineVersion(settings), state: state)
}

/// The lines of a batch, without their line feeds.
func linesOf(_ batch: Batch) throws -> [String] {
  let body =
    switch batch.compression {
    case .none: batch.body
    case .gzip: try Gzip.decompress(batch.body, maximumOutput: batch.length)
    case .zstd: try Zstd.decompress(batch.body, maximumOutput: batch.length)
    }
  var parts = body.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
  if parts.last?.isEmpty == true { parts.removeLast() }
  return parts.map { String(decoding: $0, as: UTF8.self) }
}

/// What one payload becomes: its line, or the rule and the reason that refused it.
enum Outcome: Equatable {
  case line(String)
  case refused(String, String)
  case unmatched

  var rule: String? { if case .refused(let rule, _) = self { rule } else { nil } }
  var line: String? { if case .line(let line) = self { line } else { nil } }
}

func outcome(
  _ settings: PipelineSettings, topic: String = "sensors/pump-1/climate",
  _ payload: some Sequence<UInt8>
) throws -> Outcome {
  var core = try makeCore(settings)
  core.process(block([message(topic, payload)]), now: moment())
  core.close(moment())
  guard let seal = try core.takeSeal() else { return .unmatched }
  if let rejection = seal.rejections.first { return .refused(rejection.rule, rejection.reason) }
  guard let batch = seal.batches.first, let line = try linesOf(batch).first else { return .unmatched }
  return .line(line)
}

func outcome(
  _ settings: PipelineSettings, topic: String = "sensors/pump-1/climate", _ payload: String
) throws -> Outcome {
  try outcome(settings, topic: topic, payload.utf8)
}

extension PipelineCore {
  /// The next seal, taken as stored.
  mutating func takeSeal() throws -> Seal? {
    guard let seal = try nextSeal() else { return nil }
    sealed(seal)
    return seal
  }
}

/// Paths that are known to be good.
extension FieldPath: ExpressibleByStringLiteral {
  public init(stringLiteral text: String) {
    guard let path = try? FieldPath(parsing: text) else { fatalError("\(text) is no path") }
    self = path
  }
}
