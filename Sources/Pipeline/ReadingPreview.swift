package import Telemetry

/// What a pipeline would read from a message, for people who look at one; nothing is booked.
package struct ReadingPreview: Sendable {
  /// The pipeline.
  package let name: String
  private var router: TopicRouter
  private var decoder: ReadingDecoder
  private let limits: MessageLimits

  package init(settings: PipelineSettings) {
    name = settings.name
    router = TopicRouter(settings: settings)
    decoder = ReadingDecoder(settings: settings)
    limits = settings.limits
  }

  private func excess(of message: Message, _ route: Route) -> Refusal? {
    route.excess ?? limits.excess(payload: message.payload.count, properties: message.properties)
  }

  /// Whether the pipeline takes messages of this origin.
  package func takes(_ origin: Origin) -> Bool { router.matches(origin) }

  /// What the decoder made of a message.
  package enum Outcome: Sendable, Hashable {
    /// The pipeline does not take the message.
    case unmatched
    /// Why the message is refused.
    case refused(String)
    case readings(Int)
  }

  /// Calls `body` with each of the message's readings as the decoder gives them, which is what a contract is about:
  /// the tape, the index of the reading's object on it, and the bytes that it points into.
  package mutating func forEachReading(
    of message: Message, _ body: (JSONTape, Int, UnsafeRawBufferPointer) -> Void
  ) -> Outcome {
    guard let route = router.route(message.origin) else { return .unmatched }
    if let excess = excess(of: message, route) { return .refused(excess.reason) }
    return message.payload.withUnsafeBytes { payload in
      do throws(Refusal) {
        try decoder.decode(
          payload, keyIsInTopic: route.hasKey, received: message.received.wall, offset: Offset(0))
      } catch { return .refused(error.reason) }
      func each(_ bytes: UnsafeRawBufferPointer) {
        for item in decoder.items { body(decoder.tape, item.index, bytes) }
      }
      if let text = decoder.text { text.withUnsafeBytes { each($0) } } else { each(payload) }
      return .readings(decoder.items.count)
    }
  }

  /// The event times of the message's readings, nanoseconds since 1970; none where the pipeline does not take
  /// the message or would refuse it.
  package mutating func times(of message: Message) -> [Int64] {
    guard let route = router.route(message.origin), excess(of: message, route) == nil else { return [] }
    message.payload.withUnsafeBytes { payload in
      try? decoder.decode(
        payload, keyIsInTopic: route.hasKey, received: message.received.wall, offset: Offset(0))
    }
    return decoder.items.map(\.reading.time)
  }
}
