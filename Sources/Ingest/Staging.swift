import CMosquitto
import Failpoints
import Glibc
import Telemetry

/// The one group that is being staged, of all sources together, and the core that decides its end.
/// Used by the intake thread only.
final class Staging {
  /// A `Moment` serves so many messages: they were read within microseconds.
  private static let messagesPerMoment = 64

  private(set) var group: MessageGroup
  var core: GroupCore
  private let moment: MomentSource
  private var stamp: Moment
  /// The loop's clock when `stamp` was taken.
  private var stampedAt: Int64 = 0
  private var stampServes = 0
  /// Names the group for the topic tables; never 0.
  private var number: UInt64 = 1

  init(settings: GroupSettings, moment: @escaping MomentSource) {
    let now = moment()
    self.moment = moment
    stamp = now
    group = MessageGroup(boot: now.boot)
    core = GroupCore(settings: settings)
  }

  /// A socket woke us up: the next message takes a new `Moment`.
  func beginBurst() { stampServes = 0 }

  /// Stages one message straight from the library's buffers.
  func stage(
    source: Int, topics: inout TopicTable, topic: UnsafeRawBufferPointer,
    message: borrowing mosquitto_message, properties: [MessageProperty]
  ) {
    if stampServes == 0 {
      stamp = moment()
      stampedAt = monotonicNanoseconds()
      stampServes = Staging.messagesPerMoment
    }
    stampServes -= 1
    let payload = UnsafeRawBufferPointer(start: message.payload, count: Int(message.payloadlen))
    let before = group.sideBytes
    group.append(
      origin: topics.index(of: topic, in: &group, number: number), payload: payload,
      qos: QoS(rawValue: UInt8(truncatingIfNeeded: message.qos)) ?? .atMostOnce,
      retained: message.retain, packetID: UInt16(truncatingIfNeeded: message.mid),
      properties: properties, monotonic: stamp.monotonic, wall: stamp.wall, quality: stamp.quality)
    core.staged(
      source: source, acknowledged: message.qos > 0, bytes: payload.count, beside: group.sideBytes - before,
      at: stampedAt)
    Failpoints.staged()
  }

  /// The group was committed or dropped: forgets the messages. `core` is told by the caller.
  func clear() {
    group.removeAll()
    number += 1
  }
}

extension MessageProperty {
  /// The properties of a PUBLISH that are kept, from the library's list.
  static func list(_ first: OpaquePointer?) -> [MessageProperty] {
    var list: [MessageProperty] = []
    var property = first
    while let current = property {
      if let kept = MessageProperty(current) { list.append(kept) }
      property = mosquitto_property_next(current)
    }
    return list
  }

  private init?(_ property: OpaquePointer) {
    let identifier = mosquitto_property_identifier(property)
    switch mqtt5_property(rawValue: UInt32(bitPattern: identifier)) {
    case MQTT_PROP_PAYLOAD_FORMAT_INDICATOR:
      var value: UInt8 = 0
      guard mosquitto_property_read_byte(property, identifier, &value, false) != nil else { return nil }
      self = .payloadFormatIndicator(value)
    case MQTT_PROP_MESSAGE_EXPIRY_INTERVAL:
      var value: UInt32 = 0
      guard mosquitto_property_read_int32(property, identifier, &value, false) != nil else { return nil }
      self = .messageExpiryInterval(value)
    case MQTT_PROP_CONTENT_TYPE:
      guard let value = MessageProperty.string(property, identifier) else { return nil }
      self = .contentType(value)
    case MQTT_PROP_RESPONSE_TOPIC:
      guard let value = MessageProperty.string(property, identifier) else { return nil }
      self = .responseTopic(value)
    case MQTT_PROP_CORRELATION_DATA:
      var value: UnsafeMutableRawPointer?
      var length: UInt16 = 0
      guard mosquitto_property_read_binary(property, identifier, &value, &length, false) != nil
      else { return nil }
      self = .correlationData(Array(UnsafeRawBufferPointer(start: value, count: Int(length))))
      free(value)
    case MQTT_PROP_USER_PROPERTY:
      var name: UnsafeMutablePointer<CChar>?
      var value: UnsafeMutablePointer<CChar>?
      guard
        mosquitto_property_read_string_pair(property, identifier, &name, &value, false) != nil
      else { return nil }
      self = .user(
        name: name.map { String(cString: $0) } ?? "", value: value.map { String(cString: $0) } ?? "")
      free(name)
      free(value)
    default:
      return nil
    }
  }

  private static func string(_ property: OpaquePointer, _ identifier: Int32) -> String? {
    var value: UnsafeMutablePointer<CChar>?
    guard mosquitto_property_read_string(property, identifier, &value, false) != nil, let value
    else { return nil }
    defer { free(value) }
    return String(cString: value)
  }
}
