import CMosquitto
import Glibc

/// Publishes single messages to a broker that is configured as a source, on a connection of its own that lives only
/// for that: the session that is subscribed writes nothing but by its own rule (docs/architecture.md, "Acknowledging
/// after the commit"), and a second session under its client id would take it over.
package enum Publication {
  /// One message, retained, at QoS 1.
  package struct Message: Sendable, Hashable {
    /// A topic name: without wildcards.
    package var topic: String
    package var payload: [UInt8]

    package init(topic: String, payload: [UInt8]) {
      self.topic = topic
      self.payload = payload
    }
  }

  /// A message did not arrive, or nobody knows whether it did.
  package struct Failure: Error, Sendable, Hashable {
    package var fault: SourceFault
    /// It was sent, and the broker did not say what became of it.
    package var mayHaveArrived: Bool
  }

  /// What the callbacks note; they run within the calls of the thread that made it.
  private final class Progress {
    var accepted = false
    /// The message was given to the connection, and the broker has not refused it.
    var sent = false
    var acknowledged = false
    var fault: SourceFault?
    let version: SourceSettings.ProtocolVersion

    init(version: SourceSettings.ProtocolVersion) { self.version = version }

    static func from(_ context: UnsafeMutableRawPointer?) -> Progress? {
      context.map { Unmanaged<Progress>.fromOpaque($0).takeUnretainedValue() }
    }
  }

  /// Connects under a client id that the broker draws, publishes, and returns when the broker has acknowledged it.
  /// Blocks.
  /// - Parameters:
  ///   - seconds: at most that many after the connection was made; making it takes as long as the system lets it.
  package static func publish(
    _ message: Message, to settings: SourceSettings, within seconds: Int = 10
  ) throws(Failure) {
    let progress = Progress(version: settings.version)
    do throws(SourceFault) {
      try publish(message, to: settings, within: seconds, progress)
    } catch {
      throw Failure(fault: error, mayHaveArrived: progress.sent)
    }
  }

  private static func publish(
    _ message: Message, to settings: SourceSettings, within seconds: Int, _ progress: Progress
  ) throws(SourceFault) {
    _ = Connector.library
    guard let handle = mosquitto_new(nil, true, Unmanaged.passUnretained(progress).toOpaque()) else {
      throw .settings(detail: String(cString: strerror(errno)))
    }
    defer {
      mosquitto_destroy(handle)
      withExtendedLifetime(progress) {}
    }
    try Connector.check(
      mosquitto_int_option(
        handle, MOSQ_OPT_PROTOCOL_VERSION,
        settings.version == .mqtt5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311))
    try Connector.setCredentials(handle, settings, try Connector.password(of: settings))
    if let tls = settings.tls { try Connector.setTLS(handle, tls) }
    setCallbacks(handle)
    let code = mosquitto_connect(handle, settings.host, Int32(settings.port), Int32(settings.keepalive))
    let number = errno
    switch mosq_err_t(rawValue: code) {
    case MOSQ_ERR_SUCCESS: break
    case MOSQ_ERR_EAI: throw .lookup(detail: String(cString: gai_strerror(number)))
    case MOSQ_ERR_ERRNO: throw .unreachable(detail: String(cString: strerror(number)))
    case MOSQ_ERR_TLS: throw .tls(.other, detail: String(cString: mosquitto_strerror(code)))
    default: throw .settings(detail: String(cString: mosquitto_strerror(code)))
    }
    var left = seconds * 10
    try turn(handle, progress, &left) { progress.accepted }
    try Connector.check(
      mosquitto_publish_v5(
        handle, nil, message.topic, Int32(message.payload.count), message.payload, 1, true, nil))
    progress.sent = true
    try turn(handle, progress, &left) { progress.acknowledged }
    _ = mosquitto_disconnect(handle)
    while mosquitto_want_write(handle), mosquitto_loop_write(handle, 1) == 0 {}
  }

  private static func setCallbacks(_ handle: OpaquePointer) {
    mosquitto_connect_v5_callback_set(handle) { _, context, code, _, _ in
      guard let progress = Progress.from(context) else { return }
      if code == 0 {
        progress.accepted = true
      } else {
        progress.fault = .refused(code: Int(code), version: progress.version)
      }
    }
    mosquitto_publish_v5_callback_set(handle) { _, context, _, code, _ in
      guard let progress = Progress.from(context) else { return }
      // MQTT 5.0, section 3.4.2.1.
      if code < 0x80 {
        progress.acknowledged = true
      } else {
        progress.sent = false
        progress.fault = .settings(
          detail: "the broker refused the message: \(String(cString: mosquitto_reason_string(code)))")
      }
    }
  }

  /// Goes round, a tenth of a second at a time, until `isDone`.
  private static func turn(
    _ handle: OpaquePointer, _ progress: Progress, _ left: inout Int, until isDone: () -> Bool
  ) throws(SourceFault) {
    while !isDone() {
      guard left > 0 else { throw .noAnswer }
      left -= 1
      let code = mosquitto_loop(handle, 100, 1)
      let number = errno
      if let fault = progress.fault { throw fault }
      guard code == 0 || isDone() else {
        switch mosq_err_t(rawValue: code) {
        case MOSQ_ERR_TLS: throw .tls(.other, detail: String(cString: mosquitto_strerror(code)))
        case MOSQ_ERR_ERRNO: throw .connectionLost(detail: String(cString: strerror(number)))
        default: throw .connectionLost(detail: String(cString: mosquitto_strerror(code)))
        }
      }
    }
  }
}
