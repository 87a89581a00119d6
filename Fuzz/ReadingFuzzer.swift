import Pipeline
import Telemetry

private let boot = BootID(high: 0, low: 0)
private let now = Moment(boot: boot, monotonic: 0, wall: 0, quality: .synchronised)
private let log = LogID(rawValue: "0123456789abcdef")

private func settings(_ unit: PipelineSettings.TimeUnit) -> PipelineSettings {
  guard let filter = try? TopicFilter(parsing: "{site}/#"),
    let other = try? TopicFilter(parsing: "{site}/{kind}"), let ts = try? FieldPath(parsing: "ts")
  else { fatalError("filters and path are valid") }
  var settings = PipelineSettings(name: "fuzz", from: [other, filter], to: "nowhere")
  settings.key = "a"
  settings.time = .field(ts, unit)
  settings.batch.compression = .none
  return settings
}

private let all = PipelineSettings.TimeUnit.allCases.map(settings)

/// A topic in the first line and a payload behind it, through the whole pipeline: each message becomes
/// one line that is JSON again, one rejection, or is unmatched.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzReading(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = UnsafeRawBufferPointer(start: start, count: count)
  let end = bytes.firstIndex(of: UInt8(ascii: "\n")) ?? count
  let topic = String(decoding: bytes[..<end], as: UTF8.self)
  let payload = Array(bytes[min(end + 1, count)...])
  for settings in all {
    let state = PipelineState(
      gateway: "gw", epoch: Epoch(random: 0), nextSequence: 1, previousDigest: .zero, log: log,
      checkpoint: Offset(0))
    guard var core = try? PipelineCore(settings: settings, version: "", state: state) else {
      fatalError("the settings are valid")
    }
    var group = MessageGroup(boot: boot)
    group.append(
      Message(
        origin: Origin(source: "s", topic: topic), payload: payload, qos: .atMostOnce, received: now))
    core.process(LogBlock(log: log, first: Offset(0), group: group), now: now)
    core.close(now)
    guard let seal = try? core.nextSeal() else { fatalError("a seal must come") }
    require(seal.decoded + seal.rejected + seal.unmatched == 1, "one message, one fate")
    require(seal.batches.count == Int(seal.decoded), "one reading, one batch")
    for rejection in seal.rejections { require(rejection.payload == payload, "the payload is kept") }
    for batch in seal.batches {
      require(batch.body.last == UInt8(ascii: "\n"), "a line ends with a line feed")
      batch.body.dropLast().withUnsafeBytes { line in
        require(!line.contains(UInt8(ascii: "\n")), "one reading, one line")
        var tape = JSONTape()
        do throws(JSONError) { try tape.read(line) } catch { fatalError("line: \(error)") }
        for (name, kind) in [("key", JSONKind.string), ("time", .string), ("data", .object)] {
          let index = tape.member(Array(name.utf8), of: 0, in: line)
          require(index.map { tape.values[$0].kind } == kind, "\(name)")
        }
      }
    }
  }
  return 0
}
