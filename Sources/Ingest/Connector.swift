import CMosquitto
import Glibc
import Telemetry

/// Makes connections. Runs on threads of its own, because resolving a name and connecting block, and
/// the library has no other way.
enum Connector {
  /// Loads the library once per process; `mosquitto_lib_init` is not thread-safe.
  static let library: Void = { _ = mosquitto_lib_init() }()

  /// Connects TCP, begins TLS and queues CONNECT; the intake loop does the rest.
  /// - Parameter old: a password to show instead of the one in the file.
  static func connect(
    _ settings: SourceSettings, clientID: String, password old: Secret? = nil
  ) throws(SourceFault) -> Connection {
    _ = library
    guard let handle = mosquitto_new(clientID, false, nil) else {
      throw .settings(detail: "the client id was refused: \(String(cString: strerror(errno)))")
    }
    let password: Secret?
    do throws(SourceFault) {
      if let old { password = old } else { password = try Connector.password(of: settings) }
    } catch {
      mosquitto_destroy(handle)
      throw error
    }
    let connection = Connection(handle: handle, settings: settings, password: password)
    // Nothing is written but by `mosquitto_loop_write`.
    try check(mosquitto_threaded_set(handle, true))
    try check(
      mosquitto_int_option(
        handle, MOSQ_OPT_PROTOCOL_VERSION,
        settings.version == .mqtt5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311))
    // With Nagle and delayed acknowledgements a session is capped at about 25 groups a second.
    try check(mosquitto_int_option(handle, MOSQ_OPT_TCP_NODELAY, 1))
    try setCredentials(handle, settings, password)
    if let tls = settings.tls { try setTLS(handle, tls) }

    var properties: OpaquePointer?
    defer { mosquitto_property_free_all(&properties) }
    if settings.version == .mqtt5 {
      try check(
        mosquitto_property_add_int32(
          &properties, Int32(MQTT_PROP_SESSION_EXPIRY_INTERVAL.rawValue), settings.sessionExpiry))
      try check(
        mosquitto_property_add_int16(
          &properties, Int32(MQTT_PROP_RECEIVE_MAXIMUM.rawValue), settings.receiveMaximum))
      try check(
        mosquitto_property_add_int32(
          &properties, Int32(MQTT_PROP_MAXIMUM_PACKET_SIZE.rawValue), settings.maximumPacketSize))
    }
    let code = mosquitto_connect_bind_v5(
      handle, settings.host, Int32(settings.port), Int32(settings.keepalive), nil, properties)
    let number = errno
    switch mosq_err_t(rawValue: code) {
    case MOSQ_ERR_SUCCESS:
      connection.judgeCertificate()
      return connection
    case MOSQ_ERR_EAI: throw .lookup(detail: String(cString: gai_strerror(number)))
    case MOSQ_ERR_ERRNO: throw .unreachable(detail: String(cString: strerror(number)))
    default: throw connection.fault(code, number)
    }
  }

  static func check(_ code: Int32) throws(SourceFault) {
    if code != 0 { throw .settings(detail: String(cString: mosquitto_strerror(code))) }
  }

  /// As the file has it now; nil without a user or a file.
  static func password(of settings: SourceSettings) throws(SourceFault) -> Secret? {
    guard settings.user != nil, let path = settings.passwordFile else { return nil }
    return try readSecret(path)
  }

  static func setCredentials(
    _ handle: OpaquePointer, _ settings: SourceSettings, _ password: Secret?
  ) throws(SourceFault) {
    guard let user = settings.user else { return }
    if let password {
      guard !password.revealed.contains(0), password.count <= 65_535 else {
        throw .file(
          role: "password file", path: settings.passwordFile ?? "",
          detail: "a password has no zero byte and at most 65535 bytes")
      }
      let code = (password.revealed + [0]).withUnsafeBytes { bytes in
        mosquitto_username_pw_set(handle, user, bytes.baseAddress?.assumingMemoryBound(to: CChar.self))
      }
      try check(code)
    } else {
      try check(mosquitto_username_pw_set(handle, user, nil))
    }
  }

  static func setTLS(
    _ handle: OpaquePointer, _ tls: SourceSettings.TLS
  ) throws(SourceFault) {
    try checkReadable("CA file", tls.caFile)
    try checkReadable("certificate", tls.certificateFile)
    try checkReadable("key", tls.keyFile)
    try check(
      mosquitto_tls_set(
        handle, tls.caFile, tls.caFile == nil ? "/etc/ssl/certs" : nil, tls.certificateFile,
        tls.keyFile, { _, _, _, _ in 0 }))  // An encrypted key fails; it does not ask a terminal.
    // Nil: TLS 1.2 and later.
    try check(mosquitto_tls_opts_set(handle, 1, nil, TransportSecurity.cipherSuites))
    try check(mosquitto_tls_insecure_set(handle, false))
  }

  private static func checkReadable(_ role: String, _ path: String?) throws(SourceFault) {
    guard let path else { return }
    let fd = open(path, O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else {
      throw .file(role: role, path: path, detail: String(cString: strerror(errno)))
    }
    close(fd)
  }

  /// The bytes of a file without one newline at its end.
  private static func readSecret(_ path: String) throws(SourceFault) -> Secret {
    let role = "password file"
    let fd = open(path, O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else {
      throw .file(role: role, path: path, detail: String(cString: strerror(errno)))
    }
    defer { close(fd) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
      let n = chunk.withUnsafeMutableBytes { read(fd, $0.baseAddress, $0.count) }
      if n == 0 { break }
      guard n > 0 else {
        if errno == EINTR { continue }
        throw .file(role: role, path: path, detail: String(cString: strerror(errno)))
      }
      bytes += chunk[..<n]
      guard bytes.count <= 65_537 else {
        throw .file(role: role, path: path, detail: "it is longer than a password can be")
      }
    }
    if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
    return Secret(bytes)
  }
}
