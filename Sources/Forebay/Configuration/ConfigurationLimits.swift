internal import Pipeline

/// `limits`, at the top and of a pipeline.
extension ConfigurationDecoder {
  /// - Parameter usual: what holds for what is left out.
  func limits(_ value: ConfigurationValue?, from usual: MessageLimits = MessageLimits()) -> MessageLimits {
    var limits = usual
    guard let section = value?.section() else { return limits }
    func size(_ field: WritableKeyPath<MessageLimits, Int>, _ key: String, _ range: ClosedRange<Int>) {
      section.set(&limits[keyPath: field], from: key) {
        $0.byteSize(in: Int64(range.lowerBound)...Int64(range.upperBound)).map { Int($0) }
      }
    }
    size(\.payload, "payload", MessageLimits.payloads)
    size(\.topic, "topic", MessageLimits.topics)
    section.set(&limits.levels, from: "levels") { $0.integer(in: MessageLimits.depths) }
    size(\.key, "key", MessageLimits.keys)
    section.set(&limits.properties, from: "properties") { $0.integer(in: MessageLimits.counts) }
    size(\.propertyBytes, "property_bytes", MessageLimits.sizes)
    section.close()
    return limits
  }
}
