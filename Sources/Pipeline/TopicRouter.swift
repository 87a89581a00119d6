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
  /// Why nothing on the topic is read: it is beyond ``MessageLimits``. Nothing else is known of it then.
  let excess: Refusal?

  init(
    key: String?, captures: [String?], lineStart: [UInt8], captureObject: [UInt8], excess: Refusal? = nil
  ) {
    self.excess = excess
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

  /// Of a topic that is beyond the limits.
  convenience init(excess: Refusal) {
    self.init(key: nil, captures: [], lineStart: [], captureObject: [], excess: excess)
  }

  /// About what it holds in memory, in bytes.
  var footprint: Int {
    var bytes = 256 + key.count + keyContent.count
    bytes += lineStart.count + captureObject.count + lineMiddle.count
    for capture in captures { bytes += 16 + (capture?.utf8.count ?? 0) }
    return bytes
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

    var route: Route? { if case .route(let route) = self { route } else { nil } }
  }

  /// Topics remembered at most. Beyond that the memory starts anew: whoever publishes under ever new
  /// topics must not make it grow.
  static let capacity = 4_096
  /// Bytes of them and of their routes, at most, in each of the two memories: an eighth of what long topics of the
  /// usual limit could take.
  static let capacityBytes = 4 << 20

  private let filters: [TopicFilter]
  private let sources: Set<String>?
  private let key: String?
  private let captureNames: [String]
  private let limits: MessageLimits
  private var known: [Topic: Answer] = [:]
  /// About what `known` and `recent` hold.
  private(set) var knownBytes = 0
  private(set) var recentBytes = 0
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
    limits = settings.limits
  }

  private static func footprint(_ topic: String, _ route: Route?) -> Int {
    topic.utf8.count + 64 + (route?.footprint ?? 0)
  }

  /// The same as ``route(_:)``, for the origin at this place of a block.
  mutating func route(_ origin: Origin, at place: Int) -> Route? {
    guard reads(origin.source) else { return nil }
    if place < recent.count, recent[place].topic.text.hasSameBytes(as: origin.topic) {
      return recent[place].answer.route
    }
    let route = route(origin)
    guard origin.topic.utf8.count <= limits.topic else { return route }
    let bytes = TopicRouter.footprint(origin.topic, route)
    if recentBytes + bytes > TopicRouter.capacityBytes {
      recent.removeAll(keepingCapacity: true)
      recentBytes = 0
    }
    let entry = (Topic(text: origin.topic), route.map { Answer.route($0) } ?? .unmatched)
    if place < recent.count {
      recentBytes -= TopicRouter.footprint(recent[place].topic.text, recent[place].answer.route)
      recent[place] = entry
    } else if place == recent.count, place < TopicRouter.places {
      recent.append(entry)
    } else {
      return route
    }
    recentBytes += bytes
    return route
  }

  /// Nil where the pipeline does not read the source, or no filter matches the topic.
  mutating func route(_ origin: Origin) -> Route? {
    guard reads(origin.source) else { return nil }
    let topic = origin.topic
    // Such topics are not even remembered.
    guard topic.utf8.count <= limits.topic else { return matches(origin) ? beyond(topic) : nil }
    if let answer = known[Topic(text: topic)] { return answer.route }
    let route = resolve(topic)
    let bytes = TopicRouter.footprint(topic, route)
    if known.count >= TopicRouter.capacity || knownBytes + bytes > TopicRouter.capacityBytes {
      known.removeAll(keepingCapacity: true)
      knownBytes = 0
    }
    known[Topic(text: topic)] = route.map { .route($0) } ?? .unmatched
    knownBytes += bytes
    return route
  }

  func matches(_ origin: Origin) -> Bool {
    reads(origin.source) && filters.contains { $0.matches(origin.topic) }
  }

  private func reads(_ source: String) -> Bool { sources?.contains(source) ?? true }

  private func beyond(_ topic: String) -> Route? { limits.excess(topic: topic).map { Route(excess: $0) } }

  private func resolve(_ topic: String) -> Route? {
    for filter in filters {
      guard let captures = filter.captures(topic) else { continue }
      if let route = beyond(topic) { return route }
      let named = captures.first { $0.name == key }
      if let excess = named.flatMap({ limits.excess(keyOf: $0.value.utf8.count) }) { return Route(excess: excess) }
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
