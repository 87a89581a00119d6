/// MQTT quality of service as the broker delivered the message (MQTT 5.0, section 4.3).
package enum QoS: UInt8, Sendable, Hashable, Codable {
  case atMostOnce = 0
  case atLeastOnce = 1
  case exactlyOnce = 2
}

/// An MQTT 5 PUBLISH property that says something about the payload (MQTT 5.0, section 3.3.2.3).
/// What concerns only the hop between broker and client (topic alias, subscription id) is not kept.
package enum MessageProperty: Sendable, Hashable {
  case payloadFormatIndicator(UInt8)
  /// Seconds.
  case messageExpiryInterval(UInt32)
  case contentType(String)
  case responseTopic(String)
  case correlationData([UInt8])
  case user(name: String, value: String)

  /// Bytes of what it says: of texts and binary data; 1 and 4 for the two that are numbers.
  package var byteCount: Int {
    switch self {
    case .payloadFormatIndicator: 1
    case .messageExpiryInterval: 4
    case .contentType(let text), .responseTopic(let text): text.utf8.count
    case .correlationData(let bytes): bytes.count
    case .user(let name, let value): name.utf8.count + value.utf8.count
    }
  }
}

/// Where a message came from: the configured source (a broker session) and the topic.
package struct Origin: Sendable, Hashable {
  package var source: String
  package var topic: String

  package init(source: String, topic: String) {
    self.source = source
    self.topic = topic
  }

  /// Topics compare byte for byte (MQTT 5.0, section 4.7.3); `String ==` would take two spellings of one
  /// accented letter for the same topic, and one device's messages for another's.
  package static func == (a: Origin, b: Origin) -> Bool {
    a.topic.hasSameBytes(as: b.topic) && a.source == b.source
  }

  package func hash(into hasher: inout Hasher) {
    // Sources are few: the topic tells.
    topic.hashBytes(into: &hasher)
  }
}

/// One message as a device published it, with the moment at which it was received.
package struct Message: Sendable, Hashable {
  package var origin: Origin
  package var payload: [UInt8]
  package var qos: QoS
  package var retained: Bool
  /// The packet identifier of a QoS 1 message (1...65535); nil at QoS 0 (MQTT 5.0, section 2.2.1).
  package var packetID: UInt16?
  package var properties: [MessageProperty]
  package var received: Moment

  package init(
    origin: Origin, payload: [UInt8], qos: QoS, retained: Bool = false, packetID: UInt16? = nil,
    properties: [MessageProperty] = [], received: Moment
  ) {
    self.origin = origin
    self.payload = payload
    self.qos = qos
    self.retained = retained
    self.packetID = packetID
    self.properties = properties
    self.received = received
  }
}

/// A position in the raw log: 64-bit, dense from 0 in a new installation, never reused.
package struct Offset: RawRepresentable, Sendable, Hashable, Comparable, CustomStringConvertible {
  package var rawValue: Int64

  package init(rawValue: Int64) { self.rawValue = rawValue }
  package init(_ value: Int64) { rawValue = value }

  package static func < (a: Offset, b: Offset) -> Bool { a.rawValue < b.rawValue }
  package static func + (a: Offset, n: Int) -> Offset { Offset(a.rawValue + Int64(n)) }
  package static func - (a: Offset, b: Offset) -> Int64 { a.rawValue - b.rawValue }
  package var description: String { String(rawValue) }
}

/// A message with its permanent place in the log.
package struct Record: Sendable, Hashable {
  package var offset: Offset
  package var message: Message

  package init(offset: Offset, message: Message) {
    self.offset = offset
    self.message = message
  }
}
