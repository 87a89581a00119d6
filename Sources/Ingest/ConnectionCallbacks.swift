import CMosquitto
import Failpoints
import Glibc
import Telemetry

/// Where a connection's messages go: the intake thread's staging, and what belongs to the source.
final class MessageSink {
  let staging: Staging
  /// The source's number in `staging.core`.
  let source: Int
  var topics: TopicTable
  /// Messages flagged as retained are not taken.
  var ignoresRetained = false
  /// Filters whose retained messages are not taken again (MQTT 3.1.1 after the session was lost).
  var retainedKnown: [String] = []
  /// Whether the configuration itself asks for the `$SYS` topic that is watched.
  var takesDroppedTopic = false

  init(staging: Staging, source: Int, name: String) {
    self.staging = staging
    self.source = source
    topics = TopicTable(source: name)
  }
}

/// The functions that libmosquitto calls. They run on the thread that called the library, inside
/// `mosquitto_loop_read` and `mosquitto_loop_misc`, and only note what happened.
enum ConnectionCallbacks {
  static func set(on handle: OpaquePointer) {
    mosquitto_connect_v5_callback_set(handle) { _, context, code, flags, properties in
      guard let connection = connectionBehind(context) else { return }
      var keepalive: UInt16 = 0
      let found = mosquitto_property_read_int16(
        properties, Int32(MQTT_PROP_SERVER_KEEP_ALIVE.rawValue), &keepalive, false)
      // Here and not when the events are dealt with: the first messages may come in the same read.
      connection.isResuming = code == 0 && flags & 1 != 0 && !connection.inDoubt.isEmpty
      connection.events.acceptance = Connection.Events.Acceptance(
        code: Int(code), sessionPresent: flags & 1 != 0, keepalive: found == nil ? nil : Int(keepalive))
    }
    mosquitto_disconnect_v5_callback_set(handle) { _, context, code, _ in
      // Called with a reason code of MQTT when the broker sent DISCONNECT, and with the library's own
      // (small) error code, which the caller gets too, when the connection failed.
      guard let connection = connectionBehind(context), code >= 0x80 else { return }
      connection.events.disconnected = Int(code)
    }
    mosquitto_subscribe_v5_callback_set(handle) { _, context, mid, count, codes, _ in
      guard let connection = connectionBehind(context) else { return }
      connection.events.subscribed.append(
        (mid, Array(UnsafeBufferPointer(start: codes, count: Int(count)))))
    }
    mosquitto_unsubscribe_v5_callback_set(handle) { _, context, mid, _ in
      connectionBehind(context)?.events.unsubscribed.append(mid)
    }
    mosquitto_log_callback_set(handle) { handle, context, level, text in
      guard let connection = connectionBehind(context), let handle, let text else { return }
      if level == MOSQ_LOG_DEBUG, connection.isResuming {
        let line = UnsafeRawBufferPointer(start: text, count: strlen(text))
        if let announcement = PublishLine(line) { connection.announcement = announcement }
      } else if level == MOSQ_LOG_ERR, !connection.isAccepted {
        // There is no other way to the library's reasons. They are shown to people and never read.
        connection.errorLines.append(String(cString: text))
        connection.verdict = TLSVerdict(handle)
      }
    }
    mosquitto_message_v5_callback_set(handle) { _, context, message, properties in
      guard let connection = connectionBehind(context), let message else { return }
      connection.received(message, properties)
      // The library's wake-up socket is never read, fills up, and leaves EAGAIN in `errno` for ever
      // after. The library takes it for "the socket is dry" and would leave messages behind that TLS
      // has already decrypted. On the other hand it is the only way to make it stop when the group is
      // full.
      if connection.sink?.staging.core.isFull == true {
        connection.mayHoldDecrypted = connection.isTLS
        errno = EAGAIN
      } else {
        errno = 0
      }
    }
  }
}

/// The library's user data is the connection, which outlives its handle.
private func connectionBehind(_ context: UnsafeMutableRawPointer?) -> Connection? {
  guard let context else { return nil }
  return Unmanaged<Connection>.fromOpaque(context).takeUnretainedValue()
}

extension Connection {
  fileprivate func received(
    _ pointer: UnsafePointer<mosquitto_message>, _ properties: OpaquePointer?
  ) {
    events.publishes += 1
    guard let sink, let name = pointer.pointee.topic else { return }
    let topic = UnsafeRawBufferPointer(start: name, count: strlen(name))
    if topic.first == UInt8(ascii: "$"), isDroppedTopic(topic) {
      let payload = UnsafeRawBufferPointer(
        start: pointer.pointee.payload, count: Int(pointer.pointee.payloadlen))
      events.droppedByBroker =
        Int64(String(decoding: payload, as: UTF8.self)) ?? events.droppedByBroker
      if !sink.takesDroppedTopic { return }
    }
    if pointer.pointee.retain, ignoresRetained(sink, name) {
      events.ignoredRetained += 1
      return
    }
    if Int(pointer.pointee.payloadlen) > Int(settings.maximumPacketSize) {
      events.oversized += 1
      return
    }
    if isResuming, isRedelivery(pointer.pointee, topic) {
      events.redelivered += 1
      return
    }
    sink.staging.stage(
      source: sink.source, topics: &sink.topics, topic: topic, message: pointer.pointee,
      properties: properties == nil ? [] : MessageProperty.list(properties))
  }

  /// Whether the broker sends a committed message again, on a session that it has resumed. The first
  /// QoS 1 message that is none ends the resumption; QoS 0 messages, and those that are not taken anyway,
  /// do not.
  private func isRedelivery(
    _ message: borrowing mosquitto_message, _ topic: UnsafeRawBufferPointer
  ) -> Bool {
    #if Failpoints
      if Sabotage.noInDoubt.isOn { return false }
    #endif
    let announced = announcement
    announcement = nil
    guard message.qos == 1 else { return false }
    if announced == nil { events.isUnannounced = true }
    let packetID = UInt16(truncatingIfNeeded: message.mid)
    let payload = UnsafeRawBufferPointer(start: message.payload, count: Int(message.payloadlen))
    let isKnown =
      announced == PublishLine(isDuplicate: true, qos: 1, packetID: packetID)
      && inDoubt.take(packetID: packetID, topic: { Array(topic) }, payload: { Array(payload) })
    if !isKnown || inDoubt.isEmpty { endResumption() }
    return isKnown
  }

  private func ignoresRetained(_ sink: MessageSink, _ topic: UnsafePointer<CChar>) -> Bool {
    if sink.ignoresRetained { return true }
    return sink.retainedKnown.contains { filter in
      var matches = false
      mosquitto_topic_matches_sub(filter, topic, &matches)
      return matches
    }
  }

  private func isDroppedTopic(_ topic: UnsafeRawBufferPointer) -> Bool {
    topic.elementsEqual(Connection.droppedTopic.utf8)
  }
}
