import CMosquitto
import Glibc
import Telemetry

/// How to reach a broker as a device.
struct BrokerAccess: Sendable, Hashable {
  var host: String
  var port: Int
  /// Nil: no TLS.
  var tls: TLS?
  var user: String?
  var password: Secret?

  /// Paths of PEM files.
  struct TLS: Sendable, Hashable {
    /// The authorities that may vouch for the broker; nil: the system's.
    var caFile: String?
    var certificateFile: String?
    var keyFile: String?
  }
}

extension BrokerAccess {
  /// Reads `mqtt://host[:port]` or `mqtts://host[:port]`; nil for anything else. The default ports are
  /// those that IANA has assigned, 1883 and 8883.
  init?(url: String) {
    let secured = url.hasPrefix("mqtts://")
    guard secured || url.hasPrefix("mqtt://") else { return nil }
    var rest = url.dropFirst(secured ? 8 : 7)
    if rest.hasSuffix("/") { rest = rest.dropLast() }
    guard !rest.isEmpty, !rest.contains(where: { "/@?# ".contains($0) }) else { return nil }
    if let address = ListenAddress(String(rest)) {
      guard address.port > 0 else { return nil }
      host = address.host
      port = address.port
    } else if rest.hasPrefix("["), rest.hasSuffix("]") {
      host = String(rest.dropFirst().dropLast())
      port = secured ? 8883 : 1883
    } else {
      guard !rest.contains(":") else { return nil }
      host = String(rest)
      port = secured ? 8883 : 1883
    }
    tls = secured ? TLS() : nil
  }
}

/// Why a simulation cannot go on.
enum SimulationError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The broker was never reached.
  case unreachable(String, cause: String)
  /// The broker refused the connection (an MQTT reason code).
  case refused(String, cause: String)
  /// The library does not take what it was told.
  case settings(String)

  var description: String {
    switch self {
    case .unreachable(let broker, let cause): "cannot reach the broker at \(broker): \(cause)"
    case .refused(let broker, let cause): "the broker at \(broker) refuses the connection: \(cause)"
    case .settings(let cause): "the connection cannot be set up: \(cause)"
    }
  }
}

/// One connection to a broker that publishes, on the thread that made it.
///
/// libmosquitto keeps unacknowledged messages in memory and sends them again, flagged as duplicates,
/// when the connection is back; here they are only counted. It is driven by its external loop: what is
/// published is written at once by the calling thread, and acknowledgements are read in ``turn(until:)``.
final class BrokerPublisher {
  struct Totals: Sendable, Hashable {
    /// QoS 1 messages that the broker acknowledged.
    var acknowledged = 0
    /// QoS 1 messages that the broker answered with a reason to refuse them.
    var refused = 0
    /// QoS 1 messages sent again because the connection went before their acknowledgement came.
    var resent = 0
    var reconnects = 0
  }

  private let access: BrokerAccess
  private let handle: OpaquePointer
  private let limit: Int
  private let giveUp: Int64
  private(set) var totals = Totals()
  /// Handed to the library and not yet acknowledged (QoS 1) or written (QoS 0).
  private(set) var outstanding = 0
  private var isConnected = false
  private var wasConnected = false
  private var refusal: Int32?
  /// What the broker lets be on the way (MQTT 5.0, section 3.2.2.3.3).
  private var window: Int
  private var failures = 0
  private var nextAttempt: Int64 = 0
  private var cause = "no answer"
  private let notice: (Notice) -> Void
  /// Since the last connection something has failed, which ``notice`` was told.
  private var isTroubled = false

  /// What somebody who waits wants to know of a connection: each once, however often it is tried.
  enum Notice: Sendable, Hashable {
    /// It could never be made.
    case unreachable(cause: String)
    case lost(cause: String)
    /// It is there after one of the others.
    case back
  }

  /// Why nothing can be published now, with the broker's name; nil while it is connected or first connecting.
  var trouble: String? {
    guard isTroubled else { return nil }
    return wasConnected ? "the connection to \(broker) is lost: \(cause)" : "cannot connect to \(broker): \(cause)"
  }

  /// Loads the library once per process; `mosquitto_lib_init` is not thread-safe.
  private static let library: Void = { _ = mosquitto_lib_init() }()

  /// - Parameters:
  ///   - limit: messages on the way at once.
  ///   - giveUp: until when (monotonic nanoseconds) a broker that was never reached is tried again.
  ///   - notice: called on this thread.
  init(
    _ access: BrokerAccess, clientID: String, limit: Int, giveUp: Int64,
    notice: @escaping (Notice) -> Void = { _ in }
  ) throws(SimulationError) {
    _ = BrokerPublisher.library
    self.access = access
    self.limit = limit
    self.giveUp = giveUp
    self.notice = notice
    window = limit
    guard let handle = mosquitto_new(clientID, true, nil) else {
      throw .settings("client id \(clientID): \(String(cString: strerror(errno)))")
    }
    self.handle = handle
    mosquitto_user_data_set(handle, Unmanaged.passUnretained(self).toOpaque())
    setCallbacks()
    try check(mosquitto_int_option(handle, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5))
    try check(mosquitto_int_option(handle, MOSQ_OPT_TCP_NODELAY, 1))
    try check(mosquitto_int_option(handle, MOSQ_OPT_SEND_MAXIMUM, Int32(min(limit, 65_535))))
    if let user = access.user {
      try check(
        mosquitto_username_pw_set(handle, user, access.password.map { String(decoding: $0.revealed, as: UTF8.self) }))
    }
    if let tls = access.tls {
      if tls.caFile == nil {
        try check(mosquitto_int_option(handle, MOSQ_OPT_TLS_USE_OS_CERTS, 1))
      }
      let code = mosquitto_tls_set(
        handle, tls.caFile, nil, tls.certificateFile, tls.keyFile, nil)
      guard code == MOSQ_ERR_SUCCESS.rawValue else {
        let files = [tls.caFile, tls.certificateFile, tls.keyFile].compactMap { $0 }
        throw .settings("\(files.joined(separator: ", ")): \(String(cString: mosquitto_strerror(code)))")
      }
      try check(mosquitto_tls_opts_set(handle, 1, nil, TransportSecurity.cipherSuites))
    }
  }

  deinit { mosquitto_destroy(handle) }

  private func check(_ code: Int32) throws(SimulationError) {
    guard code == MOSQ_ERR_SUCCESS.rawValue else {
      throw .settings(String(cString: mosquitto_strerror(code)))
    }
  }

  /// The functions only note what happened; they run inside the calls of this thread.
  private func setCallbacks() {
    mosquitto_connect_v5_callback_set(handle) { _, context, code, _, properties in
      guard let publisher = BrokerPublisher.from(context) else { return }
      var maximum: UInt16 = 0
      let found = mosquitto_property_read_int16(
        properties, Int32(MQTT_PROP_RECEIVE_MAXIMUM.rawValue), &maximum, false)
      publisher.connected(code: code, receiveMaximum: found == nil ? 65_535 : Int(maximum))
    }
    mosquitto_publish_v5_callback_set(handle) { _, context, _, code, _ in
      BrokerPublisher.from(context)?.published(code: code)
    }
  }

  private static func from(_ context: UnsafeMutableRawPointer?) -> BrokerPublisher? {
    context.map { Unmanaged<BrokerPublisher>.fromOpaque($0).takeUnretainedValue() }
  }

  private func connected(code: Int32, receiveMaximum: Int) {
    guard code == 0 else {
      refusal = code
      return
    }
    if wasConnected {
      totals.reconnects += 1
      totals.resent += outstanding
    }
    isConnected = true
    wasConnected = true
    failures = 0
    window = min(limit, receiveMaximum)
    guard isTroubled else { return }
    isTroubled = false
    notice(.back)
  }

  private var publishesAcknowledged = true

  private func published(code: Int32) {
    guard outstanding > 0 else { return }
    outstanding -= 1
    guard publishesAcknowledged else { return }
    if code >= 0x80 { totals.refused += 1 } else { totals.acknowledged += 1 }
  }

  /// Whether another message may be published now.
  var hasRoom: Bool { isConnected && outstanding < window && !mosquitto_want_write(handle) }

  /// Publishes one message. Call it only while ``hasRoom``, always with the same QoS.
  ///
  /// - Returns: false when the connection was found broken and nothing was taken.
  func publish(topic: String, payload: [UInt8], qos: Int32) -> Bool {
    publishesAcknowledged = qos > 0
    // Before the call: at QoS 0 the callback runs within it.
    outstanding += 1
    let code = mosquitto_publish_v5(
      handle, nil, topic, Int32(payload.count), payload, qos, false, nil)
    if code == MOSQ_ERR_SUCCESS.rawValue { return true }
    lost(code)
    // At QoS 1 the library holds on to a message even if it could not write it; at QoS 0 it does not.
    if qos > 0, code == MOSQ_ERR_CONN_LOST.rawValue || code == MOSQ_ERR_ERRNO.rawValue { return true }
    if outstanding > 0 { outstanding -= 1 }
    return false
  }

  /// Connects if need be, waits for the broker until `deadline` at the latest, and reads and writes
  /// what there is. Times are monotonic nanoseconds.
  func turn(now: Int64, deadline: Int64) throws(SimulationError) {
    if !wasConnected, now >= giveUp { throw .unreachable(broker, cause: cause) }
    let socket = mosquitto_socket(handle)
    guard socket >= 0 else { return try connect(now: now, deadline: deadline) }
    let writes: Int16 = mosquitto_want_write(handle) ? Int16(POLLOUT) : 0
    var entry = pollfd(fd: socket, events: Int16(POLLIN) | writes, revents: 0)
    // Rounded up, so that it does not spin through the last millisecond.
    poll(&entry, 1, Int32(clamping: (max(0, deadline - now) + 999_999) / 1_000_000))
    // The library takes an EAGAIN that some other call left behind for "nothing more to read".
    errno = 0
    var code = mosquitto_loop_read(handle, 1)
    if code == 0 { code = mosquitto_loop_write(handle, 1) }
    if code == 0 { code = mosquitto_loop_misc(handle) }
    if code != 0 { lost(code) }
    if let refusal {
      throw .refused(broker, cause: String(cString: mosquitto_reason_string(refusal)))
    }
  }

  private var broker: String { "\(access.host):\(access.port)" }

  private func lost(_ code: Int32) {
    isConnected = false
    fail(code)
    // At QoS 0 what was not written is gone; there is nobody who would acknowledge it.
    if !publishesAcknowledged { outstanding = 0 }
    let socket = mosquitto_socket(handle)
    if socket >= 0 {
      shutdown(socket, Int32(SHUT_RDWR))
      // Lets the library notice and close it.
      errno = 0
      _ = mosquitto_loop_read(handle, 1)
    }
  }

  private func fail(_ code: Int32) {
    cause = BrokerPublisher.text(code)
    guard !isTroubled else { return }
    isTroubled = true
    notice(wasConnected ? .lost(cause: cause) : .unreachable(cause: cause))
  }

  private func connect(now: Int64, deadline: Int64) throws(SimulationError) {
    guard now >= nextAttempt else {
      var wait = timespec(nanoseconds: min(deadline, nextAttempt) - now)
      nanosleep(&wait, nil)
      return
    }
    let code =
      wasConnected
      ? mosquitto_reconnect(handle)
      : mosquitto_connect(handle, access.host, Int32(access.port), 60)
    if code == 0 { return }
    fail(code)
    failures += 1
    // 50 ms, doubled up to 2 s: it is a test tool, and a broker that is started again is to find its
    // devices there.
    nextAttempt = now + min(50_000_000 << Int64(min(failures, 10)), 2_000_000_000)
  }

  private static func text(_ code: Int32) -> String {
    code == MOSQ_ERR_ERRNO.rawValue
      ? String(cString: strerror(errno)) : String(cString: mosquitto_strerror(code))
  }

  /// Says goodbye, so that the broker does not take the end for a failure.
  func disconnect() {
    _ = mosquitto_disconnect(handle)
    while mosquitto_want_write(handle), mosquitto_loop_write(handle, 1) == 0 {}
  }
}

extension timespec {
  init(nanoseconds: Int64) {
    self.init(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
  }
}
