import Logging
import Telemetry
import TestSupport

@testable import Spool
@testable import forebay

/// A spool that a configured gateway has filled, for the commands that look at it.
final class TrialPlant {
  let directory: TemporaryDirectory
  let config: String
  let spool: Spool
  private var work: Work
  private var clock: Int64 = 1_795_231_080_000_000_000

  var folder: String { directory.file("spool") }
  var figures: [String: PipelineWorker.Figures] { work.figures }

  /// - Parameter pipeline: the settings of the pipeline `climate` behind `from`, as YAML's members.
  init(_ pipeline: String = "key: device") throws {
    directory = try TemporaryDirectory("trial")
    let text = TrialPlant.text(pipeline, in: directory)
    config = try directory.write(text, to: "forebay.yaml")
    var settings = SpoolSettings(directory: directory.file("spool"))
    settings.minimumFree = 0
    spool = try Spool.open(
      settings, machine: Machine(id: "machine"), now: TrialPlant.moment(clock), random: { .random(in: 0 ... .max) })
    let configuration = try Configuration.decode(
      Configuration.Origin(path: config, bytes: Array(text.utf8)), shownAs: "test", files: .system,
      toleratesSurroundings: true)
    work = try Work(
      spool: spool, plan: PipelineWorker.Plan(configuration),
      read: PipelineWorker.assignments(keptIn: spool.settings.directory),
      now: TrialPlant.moment(clock), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  static func text(_ pipeline: String, in directory: TemporaryDirectory) -> String {
    """
    gateway: { id: gw }
    sources: { floor: { mqtt: { url: "mqtt://127.0.0.1:1883" } } }
    spool: { directory: \(directory.file("spool")) }
    pipelines:
      climate: { from: ["sensors/{device}/climate"], \(pipeline), batch: { max_age: 1 s }, to: central }
    uplinks: { central: { file: { directory: \(directory.file("out")) } } }

    """
  }

  /// Another configuration, beside the one that runs.
  func candidate(_ pipeline: String, name: String = "new.yaml") throws -> String {
    try directory.write(TrialPlant.text(pipeline, in: directory), to: name)
  }

  static func moment(_ nanoseconds: Int64) -> Moment {
    Moment(boot: BootID(high: 1, low: 2), monotonic: nanoseconds, wall: nanoseconds, quality: .synchronised)
  }

  /// Takes messages in, and seals what they are as one batch.
  /// - Parameter payloads: by device.
  func take(_ payloads: [(device: String, payload: String)]) throws {
    var group = MessageGroup(boot: BootID(high: 1, low: 2))
    for (device, payload) in payloads {
      group.append(
        Message(
          origin: Origin(source: "floor", topic: "sensors/\(device)/climate"), payload: Array(payload.utf8),
          qos: .atLeastOnce, packetID: 1, received: TrialPlant.moment(clock)))
    }
    try spool.log.append(group)
    while try work.pass(now: TrialPlant.moment(clock)) {}
    clock += 2_000_000_000
    while try work.pass(now: TrialPlant.moment(clock)) {}
  }

  /// The newest batch that waits.
  func lastBatch() throws -> Batch {
    let items = try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 100)
    return items[items.count - 1].batch
  }

  func deliver() throws {
    let items = try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 100)
    try spool.state.confirm(items.map(\.id), at: clock)
  }

  func account(_ identity: BatchIdentity) throws -> BatchAccount? {
    try BatchAccount(identity, in: spool.state, try spool.reader(), spool: spool.settings.directory)
  }

  /// Every file of the spool but the shared memory of readers, with its bytes.
  func files() throws -> [String: [UInt8]] {
    var files: [String: [UInt8]] = [:]
    for name in ["log.db", "log.db-wal", "state.db", "state.db-wal", "mirror.json", "configuration.yaml"] {
      let path = "\(folder)/\(name)"
      if FileSystem.exists(path) { files[name] = try FileSystem.read(path) }
    }
    return files
  }
}
