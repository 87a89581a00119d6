internal import ArgumentParser
internal import Pipeline
internal import Spool
internal import Telemetry

struct DevicesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "devices",
    abstract: "Show what a pipeline knows of each device: when it was seen, its sequence numbers and fields.",
    discussion: """
      From the running daemon, where one answers on its local socket: when each device was last seen, how often it \
      sends (over its last 16 to 32 messages), and with --values its last reading as it is delivered, read from the \
      log: fields that are masked are masked here too. It knows the devices that have sent something since it started, \
      unless the pipeline has 'devices: off'.

      From the spool, as of the pipeline's last seal, also without a daemon: for pipelines with 'sequence', how many \
      numbers came, how many were left out and have not come since, came again or came after a higher one, how often \
      the device began to count anew, and its last number; for pipelines with 'drift', the fields that its readings \
      have, with their types. Devices that were silent for longest are forgotten past max_devices.

      EXAMPLES:
        forebay devices --pipeline climate
        forebay devices --pipeline climate --values
        forebay devices --pipeline climate --worst --limit 10
        forebay devices --pipeline climate --json | jq '.devices[].missing'

      EXIT STATUS: 0 shown, also when no device is known yet; 1 there is no such pipeline, or it has neither \
      'sequence' nor 'drift' and no daemon answers; 2 the spool, or what a stage remembers, cannot be read; 64 wrong usage.
      """)

  @Option(help: "The pipeline.") var pipeline: String
  @Flag(help: "Those first of which most is missing, instead of in the order of their names.") var worst = false
  @Option(help: "Show at most so many devices: \(DevicesCommand.shown) unless given, with --json all of them.")
  var limit: Int?
  @Flag(help: "Show the last reading of each device too, where the daemon runs.") var values = false
  @Flag(help: "Print JSON.") var json = false
  @OptionGroup var place: SpoolPlace

  private static let shown = 50
  /// Fields of a device that its line has.
  private static let shownFields = 6

  func validate() throws {
    if let limit, limit < 1 { throw ValidationError("--limit takes a number from 1") }
  }

  struct Fault: Error, CustomStringConvertible {
    var description: String
  }

  func run() throws {
    try orComplain("devices") {
      let spool = try place.existing()
      guard let stored = try StoredStages.read([.sequence, .drift], of: pipeline, in: spool) else {
        let names = try RegisteredPipeline.all(in: spool).map(\.name)
        Output.complain(
          "forebay devices: there is no pipeline \(quoted(pipeline)); "
            + (names.isEmpty ? "this spool knows none yet" : "there is: \(names.joined(separator: ", "))"))
        throw ExitCode(1)
      }
      guard let assignment = PipelineWorker.assignments(keptIn: spool)(pipeline, stored.configuration) else {
        throw Fault(
          description: "the settings that pipeline \(pipeline) runs under cannot be read; 'forebay check' may say why")
      }
      let settings = assignment.settings
      var live: LiveDevices?
      var silence = ""
      do { live = try LiveDevices.fetch(pipeline, socket: place.socket(of: spool)) } catch { silence = "\(error)" }
      guard settings.sequence != nil || settings.drift != nil || live != nil else {
        Output.complain(
          "forebay devices: nothing is known of the devices of pipeline \(pipeline): it has neither 'sequence' nor "
            + "'drift' in its configuration, and no daemon tells of them: \(silence)")
        throw ExitCode(1)
      }
      let list: DeviceList
      do throws(StageDamage) {
        list = try DeviceList(stored.stages, settings: settings)
      } catch {
        throw Fault(
          description: "what a stage of pipeline \(pipeline) remembers cannot be read: \(error); at its next start "
            + "the daemon forgets it, and books that")
      }
      let known = live?.merged(list, worst: worst) ?? list.devices(worst: worst, limit: .max)
      var devices = Array(known.prefix(limit ?? (json ? .max : Self.shown)))
      if values {
        if let live {
          devices = try live.withLines(devices)
        } else {
          Output.complain("forebay devices: no values are shown: \(silence)")
        }
      }
      if json {
        print(
          try Output.json(
            Document(
              pipeline: pipeline, version: stored.version, log: stored.log.rawValue,
              upToOffset: stored.checkpoint.rawValue, known: known.count, devices: devices)))
      } else {
        print(text(devices, known: known.count, list, stored, live))
      }
    }
  }

  private struct Document: Encodable {
    var pipeline: String
    var version: String
    var log: String
    /// The first message that is not counted.
    var upToOffset: Int64
    /// How many devices are remembered, shown or not.
    var known: Int
    var devices: [DeviceReport]
  }

  private func text(
    _ devices: [DeviceReport], known: Int, _ list: DeviceList, _ stored: StoredStages, _ live: LiveDevices?
  ) -> String {
    var head = "pipeline \(pipeline): \(Output.count(Int64(known), "device"))"
    if list.countsNumbers || list.knowsFields {
      head += ", as of the last seal, at offset \(stored.checkpoint) of log \(stored.log)"
    }
    if let live { head += "; \(Output.grouped(Int64(live.known))) seen by the running daemon" }
    guard !devices.isEmpty else { return head }
    func figure(_ number: Int64?) -> String { number.map(Output.grouped) ?? "-" }
    typealias Column = (title: String, text: (DeviceReport) -> String)
    var columns: [Column] = [("DEVICE", { $0.device.isEmpty ? "(no key)" : Output.plain($0.device) })]
    if live != nil {
      let now = SystemClock.wall()
      columns += [
        ("LAST SEEN", { $0.lastSeen.map { LiveDevices.ago($0, now: now) } ?? "-" }),
        ("RATE", { $0.perSecond.map(LiveDevices.rate) ?? "-" }),
      ]
    }
    if list.countsNumbers {
      columns += [
        ("RECEIVED", { figure($0.received) }), ("MISSING", { figure($0.missing) }),
        ("REPEATS", { figure($0.repeats) }), ("RESETS", { figure($0.resets) }),
        ("REORDERED", { figure($0.reordered) }), ("LAST", { figure($0.last) }),
      ]
    }
    if values, live != nil {
      columns.append(("LAST READING", Self.reading))
    } else if list.knowsFields {
      columns.append(("FIELDS", { Self.text($0.fields ?? []) }))
    }
    let rest = known - devices.count
    return head + "\n\n"
      + Output.table(columns.map(\.title), devices.map { device in columns.map { $0.text(device) } })
      + (rest > 0 ? "\nand \(Output.count(Int64(rest), "device")) more (--limit)" : "")
  }

  /// Characters of a reading that its line has.
  private static let shownReading = 200

  private static func reading(_ device: DeviceReport) -> String {
    let data = device.line.flatMap { LineParts(Array($0.utf8))?.data }
    guard let data else { return device.noValue.map { "(\($0))" } ?? "-" }
    return Output.plain(String(decoding: data, as: UTF8.self), limit: shownReading)
  }

  private static func text(_ fields: [DeviceReport.Field]) -> String {
    let named = fields.prefix(shownFields).map { "\(Output.plain($0.field)) \($0.type)" }.joined(separator: ", ")
    return fields.count > shownFields ? "\(named) and \(fields.count - shownFields) more" : named
  }
}
