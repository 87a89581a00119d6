import Pipeline
import Telemetry

private let boot = BootID(high: 0, low: 0)
private let log = LogID(rawValue: "0123456789abcdef")
private let second: Int64 = 1_000_000_000
private let wall: Int64 = 1_795_231_080 * second

/// Pipelines whose stages all remember something.
private let pipelines: [PipelineSettings] = {
  let contract = """
    {"name":"a","version":"1.0.0","schema":{},"expectations":[
      {"field":"v","increasing":"strictly","action":"count"},{"field":"v","stuck":{"readings":3},"action":"count"},
      {"field":"v","slope":{"max":1,"per":"1 min"},"action":"tag"},
      {"field":"v","null_share":{"max":0.5,"readings":9},"action":"count"},{"fresh":{"within":"5 s"},"action":"count"}]}
    """
  guard let filter = try? TopicFilter(parsing: "{d}"), let file = try? ContractFile(parsing: Array(contract.utf8)),
    let time = try? FieldPath(parsing: "t"), let number = try? FieldPath(parsing: "n"),
    let value = try? FieldPath(parsing: "v")
  else { fatalError("filter, contract and paths are valid") }
  func settings(_ time: PipelineSettings.EventTime, _ span: WindowSettings.Span) -> PipelineSettings {
    var settings = PipelineSettings(name: "fuzz", from: [filter], to: "nowhere")
    settings.key = "d"
    settings.time = time
    settings.contract = file.contract
    settings.dedupe = PipelineSettings.Dedupe(within: 3_600 * second)
    settings.dedupe?.by = [number, value]
    settings.dedupe?.limit = 100
    settings.sequence = SequenceSettings(field: number)
    settings.sequence?.limit = 3
    settings.drift = DriftSettings()
    settings.drift?.vanishedAfter = 2
    let functions: [(String, WindowSettings.Function)] = [
      ("s", .sum), ("lo", .minimum), ("hi", .maximum), ("av", .average), ("f", .first), ("l", .last),
      ("d", .standardDeviation), ("p", .percentile(0.5)), ("r", .rate), ("w", .timeWeightedAverage), ("u", .distinct),
    ]
    settings.window = WindowingSettings(
      span: span,
      emit: [.init(name: "n", function: .count, argument: nil)]
        + functions.map { .init(name: $0, function: $1, argument: "v") })
    settings.window?.watermark = Watermark.Settings(allowedLateness: 5 * second, idleAfter: 20 * second)
    settings.window?.late = .correct(within: 60 * second)
    settings.window?.maximumWindows = 8
    settings.batch.compression = .none
    return settings
  }
  return [
    settings(.field(time, .seconds), .tumbling(10 * second)),
    settings(.receipt(hold: 5 * second), .session(gap: 10 * second)),
  ]
}()

/// What stages remember, as a worn card gives it back: readings (a line each: a digit for the device, and the payload)
/// make rows; the bytes behind the first empty line change them, three for each change. A pipeline refuses them, or
/// goes on and gives every message its fate.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzStage(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  var end = bytes.count
  if let gap = bytes.indices.dropLast().first(where: { bytes[$0] == 0x0A && bytes[$0 + 1] == 0x0A }) { end = gap }
  let lines = bytes[..<end].split(separator: UInt8(ascii: "\n")).prefix(12).map(Array.init)
  let changes = Array(bytes.dropFirst(end + 2))
  // One of them at a time: to make a pipeline takes a millisecond.
  for settings in [pipelines[count % pipelines.count]] {
    var state = PipelineState(
      gateway: "gw", epoch: Epoch(random: 0), nextSequence: 1, previousDigest: .zero, log: log,
      checkpoint: Offset(0))
    guard var core = try? PipelineCore(settings: settings, version: "", state: state) else {
      fatalError("the settings are valid")
    }
    var rows: [Row: [UInt8]] = [:]
    run(&core, lines, from: 0) { seal in
      state = seal.state
      for stage in seal.stages {
        for row in stage.rows { rows[Row(stage: stage.stage, key: row.key)] = row.value }
      }
    }
    let stored = stages(rows, changes)
    guard var again = try? PipelineCore(settings: settings, version: "", state: state, stages: stored) else {
      require(!changes.isEmpty, "what was stored cannot be read")
      continue
    }
    run(&again, lines, from: state.checkpoint.rawValue) { _ in }
  }
  return 0
}

private struct Row: Hashable {
  var stage: StageState.Stage
  var key: [UInt8]
}

/// Runs messages through it to the end, and counts them.
private func run(_ core: inout PipelineCore, _ lines: [[UInt8]], from first: Int64, _ take: (Seal) -> Void) {
  var group = MessageGroup(boot: boot)
  for (index, line) in lines.enumerated() {
    let time = Int64(index) * 3 * second
    let device = line.first.map { $0 & 3 } ?? 0
    group.append(
      Message(
        origin: Origin(source: "s", topic: "d\(device)"), payload: Array(line.dropFirst()), qos: .atMostOnce,
        received: Moment(
          boot: boot, monotonic: first * second + time, wall: wall + first * second + time,
          quality: index % 5 == 1 ? .unsynchronised : .synchronised)))
  }
  var fates: Int64 = 0
  var now = Moment(boot: boot, monotonic: first * second, wall: wall, quality: .synchronised)
  core.process(LogBlock(log: log, first: Offset(first), group: group), now: now)
  for _ in 0..<4 {
    now.monotonic += 100 * second
    core.tick(now)
    core.process(LogBlock(log: log, first: Offset(first), group: group), now: now)
  }
  core.close(now)
  for _ in 0..<100 {
    guard let next = try? core.nextSeal(), let seal = next as Seal? else { break }
    fates += seal.decoded + seal.rejected + seal.unmatched
    take(seal)
    core.sealed(seal)
  }
  require(fates == Int64(lines.count), "\(fates) fates of \(lines.count) messages")
}

/// The rows as a store gives them, with changes: which row, where in it, and the new byte; 254 cuts it there, 255 drops
/// the row.
private func stages(_ rows: [Row: [UInt8]], _ changes: [UInt8]) -> [StageState] {
  var values = rows.sorted {
    ($0.key.stage.rawValue, $0.key.key.map(String.init).joined(separator: ",")) < (
      $1.key.stage.rawValue, $1.key.key.map(String.init).joined(separator: ",")
    )
  }
  for start in stride(from: 0, to: changes.count - 2, by: 3) where !values.isEmpty {
    let which = Int(changes[start]) % values.count
    let value = values[which].value
    let place = value.isEmpty ? 0 : Int(changes[start + 1]) % value.count
    switch changes[start + 2] {
    case 255: values.remove(at: which)
    case 254: values[which].value = Array(value[..<place])
    default: if !value.isEmpty { values[which].value[place] = changes[start + 2] }
    }
  }
  return StageState.Stage.allCases.compactMap { stage in
    let own = values.filter { $0.key.stage == stage }.map { StateRow(key: $0.key.key, value: $0.value) }
    return own.isEmpty ? nil : StageState(stage: stage, rows: own.sorted(by: StateRow.precedes))
  }
}
