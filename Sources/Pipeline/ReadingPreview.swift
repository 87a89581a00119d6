package import Telemetry

/// What a pipeline would read from a message, for people who look at one; nothing is booked.
package struct ReadingPreview: Sendable {
  /// The pipeline.
  package let name: String
  private var router: TopicRouter
  private var decoder: ReadingDecoder

  package init(settings: PipelineSettings) {
    name = settings.name
    router = TopicRouter(settings: settings)
    decoder = ReadingDecoder(settings: settings)
  }

  /// The event times of the message's readings, nanoseconds since 1970; none where the pipeline does not take
  /// the message or would refuse it.
  package mutating func times(of message: Message) -> [Int64] {
    guard let route = router.route(message.origin) else { return [] }
    message.payload.withUnsafeBytes { payload in
      try? decoder.decode(
        payload, keyIsInTopic: route.hasKey, received: message.received.wall, offset: Offset(0))
    }
    return decoder.items.map(\.reading.time)
  }
}
