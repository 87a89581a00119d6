internal import Telemetry

/// What a message may be at most to become readings. What is more is refused by the stage `decode`, under a rule of
/// its own, and kept as a dead letter like all that is refused.
///
/// Topics, keys and captures are remembered: by the router, with each open window, each device of `sequence`, `drift`
/// and expectations. MQTT lets a topic have 65,535 bytes, and whoever may publish chooses them. With these limits what
/// is remembered is bounded by numbers of devices, and by nothing that a device sends.
package struct MessageLimits: Sendable, Hashable {
  /// Payload bytes. The usual one is what MQTT can carry (MQTT 5.0, section 2.1.4): `max_packet` of the source decides.
  package var payload = 268_435_455
  /// UTF-8 bytes of a topic. Clouds allow 256 (AWS IoT) and devices use some 50.
  package var topic = 512
  /// Levels of a topic: one more than it has slashes.
  package var levels = 32
  /// Bytes of a key, as they stand in JSON.
  package var key = 256
  /// MQTT 5 properties of one message, those of the hop alone (topic alias, subscription id) not counted.
  package var properties = 64
  /// Bytes of what they say: texts and binary data.
  package var propertyBytes = 8 << 10

  package static let payloads = 1...268_435_455
  /// MQTT 5.0, section 1.5.4: a text has a length of two bytes.
  package static let topics = 1...65_535
  package static let depths = 1...65_536
  package static let keys = 1...65_535
  /// A packet of the largest size holds no more.
  package static let counts = 0...134_217_728
  package static let sizes = 0...268_435_455

  package init() {}

  /// Why nothing on this topic is read; nil where it is in order.
  func excess(topic name: String) -> Refusal? {
    let count = name.utf8.count
    if count > topic {
      return Refusal(.topicLength, "the topic has \(count) bytes, and limits.topic allows \(topic)")
    }
    // Most topics could not have so many if they had nothing else.
    guard count >= levels else { return nil }
    let depth = name.utf8.reduce(1) { $1 == UInt8(ascii: "/") ? $0 + 1 : $0 }
    guard depth > levels else { return nil }
    return Refusal(.topicLevels, "the topic has \(depth) levels, and limits.levels allows \(levels)")
  }

  /// The same of a key.
  func excess(keyOf count: Int) -> Refusal? {
    guard count > key else { return nil }
    return Refusal(.keyLength, "the key has \(count) bytes, and limits.key allows \(key)")
  }

  /// The same of a message.
  @inline(__always)
  func excess(payload count: Int, properties given: [MessageProperty]?) -> Refusal? {
    if count > payload {
      return Refusal(.payloadSize, "the payload has \(count) bytes, and limits.payload allows \(payload)")
    }
    return given.flatMap { excess(properties: $0) }
  }

  @inline(never)
  private func excess(properties given: [MessageProperty]) -> Refusal? {
    if given.count > properties {
      return Refusal(
        .propertyCount, "the message has \(given.count) properties, and limits.properties allows \(properties)")
    }
    let bytes = given.reduce(0) { $0 + $1.byteCount }
    guard bytes > propertyBytes else { return nil }
    return Refusal(
      .propertySize, "the message's properties have \(bytes) bytes, and limits.property_bytes allows \(propertyBytes)")
  }

  /// What differs from the usual, in one form, for the pipeline's version; nil where nothing does.
  var canonical: String? {
    self == MessageLimits() ? nil : "\(payload) \(topic) \(levels) \(key) \(properties) \(propertyBytes)"
  }

  /// What differs from the usual, for people.
  var phrases: [String] {
    let usual = MessageLimits()
    var all: [String] = []
    func add(_ value: Int, _ other: Int, _ text: String) {
      if value != other { all.append("\(text) at most \(value)") }
    }
    add(payload, usual.payload, "payload bytes")
    add(topic, usual.topic, "topic bytes")
    add(levels, usual.levels, "topic levels")
    add(key, usual.key, "key bytes")
    add(properties, usual.properties, "properties")
    add(propertyBytes, usual.propertyBytes, "property bytes")
    return all
  }
}
