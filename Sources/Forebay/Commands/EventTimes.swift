internal import FoundationEssentials
internal import Pipeline
internal import Spool
internal import Telemetry

/// The times that pipelines read from the payloads of messages, for people who wonder why their readings are
/// dated 1970: no configuration can be checked for the wrong `time.unit`, but a message can.
struct EventTimes {
  private struct Rule {
    var pipeline: String
    var filters: [TopicFilter]
    var sources: Set<String>?
    var field: String
    var unit: PipelineSettings.TimeUnit
  }

  /// A field that may be anything.
  private struct Field: Decodable {
    /// As JSON writes it.
    var number: String?
    var text: String?

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let value = try? container.decode(Int64.self) {
        number = String(value)
      } else if let value = try? container.decode(Double.self) {
        number = "\(value)"
      } else {
        text = try? container.decode(String.self)
      }
    }
  }

  private let rules: [Rule]

  init(_ pipelines: [PipelineSettings]) {
    rules = pipelines.compactMap { pipeline in
      guard case .field(let field, let unit) = pipeline.time else { return nil }
      return Rule(
        pipeline: pipeline.name, filters: pipeline.from, sources: pipeline.sources, field: field, unit: unit)
    }
  }

  /// Of the configuration that ran last on a spool; of none where it is not to be had.
  init(spool directory: String, files: ConfigurationFiles = .system) {
    let path = "\(directory)/\(LastGoodConfiguration.fileName)"
    guard case .success(let contents) = files.read(path, LastGoodConfiguration.limit) else {
      self.init([])
      return
    }
    // Relative paths lead nowhere from here, which does not matter for pipelines.
    let configuration = try? Configuration.decode(
      Configuration.Origin(path: path, bytes: contents.bytes), shownAs: path, files: files,
      toleratesSurroundings: true)
    self.init(configuration?.pipelines ?? [])
  }

  /// By pipeline: nanoseconds since 1970.
  func times(of message: Message) -> [String: Int64] {
    let meant = rules.filter { rule in
      rule.sources?.contains(message.origin.source) ?? true
        && rule.filters.contains { $0.matches(message.origin.topic) }
    }
    guard !meant.isEmpty,
      let fields = try? JSONDecoder().decode([String: Field].self, from: Data(message.payload))
    else { return [:] }
    var times: [String: Int64] = [:]
    for rule in meant {
      guard let field = fields[rule.field] else { continue }
      let text = Array((rule.unit == .rfc3339 ? field.text : field.number)?.utf8 ?? "".utf8)
      times[rule.pipeline] = text.withUnsafeBytes { bytes in
        guard !bytes.isEmpty else { return nil }
        return rule.unit == .rfc3339
          ? try? RFC3339.nanoseconds(bytes) : EventTime.nanoseconds(number: bytes, unit: rule.unit)
      }
    }
    return times
  }

  /// Before the year 2000, or more than a day after the message came: no device measured then.
  static func isDoubtful(_ time: Int64, received: Int64) -> Bool {
    let year2000: Int64 = 946_684_800_000_000_000
    let day: Int64 = 86_400_000_000_000
    return time < year2000 || time - day > received
  }
}
