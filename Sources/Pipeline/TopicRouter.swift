internal import Telemetry

/// What the topic alone says about every reading of one origin, worked out once.
final class Route: Sendable {
  /// Whether the filter that matched captures the key.
  let hasKey: Bool
  /// The key that it captures, UTF-8; empty where it captures none.
  let key: [UInt8]
  /// The same as it stands in a JSON string.
  let keyContent: [UInt8]
  /// Of that, for ``DeviceView``.
  let keyHash: UInt64
  /// The values of all captures of the pipeline's filters, in the order of
  /// ``PipelineSettings/captureNames``; nil for those that the filter that matched has not.
  let captures: [String?]
  /// The line up to where the key from the payload, or else the event time, begins.
  let lineStart: [UInt8]
  /// The captures beside the key as one JSON object; empty where there are none.
  let captureObject: [UInt8]
  /// What stands between the event time and the data.
  let lineMiddle: [UInt8]
  /// The last bytes of ``lineMiddle``, before which further members of a line stand.
  static let dataName = Array(#","data":"#.utf8)

  init(key: String?, captures: [String?], lineStart: [UInt8], captureObject: [UInt8]) {
    hasKey = key != nil
    self.key = Array((key ?? "").utf8)
    keyContent = JSONText.escape(key ?? "")
    keyHash = keyContent.withUnsafeBytes { DeviceView.hash($0) }
    self.captures = captures
    self.lineStart = lineStart
    self.captureObject = captureObject
    let captures = captureObject.isEmpty ? [] : Array(#","captures":"#.utf8) + captureObject
    lineMiddle = [UInt8(ascii: "\"")] + captures + Route.dataName
  }
}

/// Finds the first filter of a pipeline that matches a topic, and remembers the answer: a gateway hears
/// the same topics again and again.
struct TopicRouter: Sendable {
  /// Topics as MQTT compares them, byte for byte; `String ==` would take two spellings of one accented
  /// letter for the same.
  private struct Topic: Hashable, Sendable {
    let text: String

    static func == (a: Topic, b: Topic) -> Bool { a.text.hasSameBytes(as: b.text) }
    func hash(into hasher: inout Hasher) { text.hashBytes(into: &hasher) }
  }

  private enum Answer: Sendable {
    case route(Route)
    case unmatched
  }

  /// Topics remembered at most. Beyond that the memory starts anew: whoever publishes under ever new
  /// topics must not make it grow.
  static let capacity = 4_096

  private let filters: [TopicFilter]
  private let sources: Set<String>?
  private let key: String?
  private let captureNames: [String]
  private var known: [Topic: Answer] = [:]
  /// What stood at each place of the block before: gateways hear the same topics in much the same order, and a look
  /// at the neighbour costs less than hashing.
  private var recent: [(topic: Topic, answer: Answer)] = []
  /// Places remembered at most; a block has no more messages.
  private static let places = 65_536

  init(settings: PipelineSettings) {
    filters = settings.from
    sources = settings.sources
    key = settings.key
    captureNames = settings.captureNames
  }

  /// The same as ``route(_:)``, for the origin at this place of a block.
  mutating func route(_ origin: Origin, at place: Int) -> Route? {
    guard reads(origin.source) else { return nil }
    if place < recent.count, recent[place].topic.text.hasSameBytes(as: origin.topic) {
      if case .route(let route) = recent[place].answer { return route }
      return nil
    }
    let route = route(origin)
    let entry = (Topic(text: origin.topic), route.map { Answer.route($0) } ?? .unmatched)
    if place < recent.count {
      recent[place] = entry
    } else if place == recent.count, place < TopicRouter.places {
      recent.append(entry)
    }
    return route
  }

  /// Nil where the pipeline does not read the source, or no filter matches the topic.
  mutating func route(_ origin: Origin) -> Route? {
    guard reads(origin.source) else { return nil }
    let topic = origin.topic
    if let answer = known[Topic(text: topic)] {
      if case .route(let route) = answer { return route }
      return nil
    }
    let route = resolve(topic)
    if known.count >= TopicRouter.capacity { known.removeAll(keepingCapacity: true) }
    known[Topic(text: topic)] = route.map { .route($0) } ?? .unmatched
    return route
  }

  func matches(_ origin: Origin) -> Bool {
    reads(origin.source) && filters.contains { $0.matches(origin.topic) }
  }

  private func reads(_ source: String) -> Bool { sources?.contains(source) ?? true }

  private func resolve(_ topic: String) -> Route? {
    for filter in filters {
      guard let captures = filter.captures(topic) else { continue }
      let named = captures.first { $0.name == key }
      var start = Array("{".utf8)
      if key != nil { start += Array(#""key":""#.utf8) }
      if let named { start += JSONText.escape(named.value) + Array(#"","time":""#.utf8) }
      if key == nil { start += Array(#""time":""#.utf8) }

      // Names of captures are plain ASCII and need no escapes.
      let others = captures.filter { $0.name != key }.map {
        Array("\"\($0.name)\":\"".utf8) + JSONText.escape($0.value) + Array("\"".utf8)
      }
      let object =
        others.isEmpty ? [] : Array("{".utf8) + Array(others.joined(separator: Array(",".utf8))) + Array("}".utf8)
      return Route(
        key: named?.value, captures: captureNames.map { name in captures.first { $0.name == name }?.value },
        lineStart: start, captureObject: object)
    }
    return nil
  }
}
