internal import Pipeline
internal import Spool
internal import Telemetry

/// The times that pipelines read from the payloads of messages, for people who wonder why their readings are
/// dated 1970: no configuration can be checked for the wrong `time.unit`, but a message can.
struct EventTimes {
  private var pipelines: [ReadingPreview]

  init(_ pipelines: [PipelineSettings]) {
    // Of a receipt there is nothing to doubt.
    self.pipelines = pipelines.filter { if case .field = $0.time { true } else { false } }.map(ReadingPreview.init)
  }

  /// Of the configuration that ran last on a spool; of none where it is not to be had.
  init(spool directory: String, files: ConfigurationFiles = .system) {
    guard let origin = LastGoodConfiguration.copy(in: directory, files: files) else {
      self.init([])
      return
    }
    // What is done with readings behind the decoder does not matter here.
    let configuration = try? Configuration.decode(
      origin, shownAs: origin.path, files: files, toleratesSurroundings: true, toleratesAttachments: true)
    self.init(configuration?.pipelines ?? [])
  }

  /// By pipeline: nanoseconds since 1970, of the first of the message's readings.
  mutating func times(of message: Message) -> [String: Int64] {
    var times: [String: Int64] = [:]
    for index in pipelines.indices { times[pipelines[index].name] = pipelines[index].times(of: message).first }
    return times
  }

  /// Before the year 2000, or more than a day after the message came: no device measured then.
  static func isDoubtful(_ time: Int64, received: Int64) -> Bool {
    let year2000: Int64 = 946_684_800_000_000_000
    let day: Int64 = 86_400_000_000_000
    return time < year2000 || time - day > received
  }
}
