internal import CMosquitto

/// Why a source is not connected. Kinds are cases; the texts in them are for people only.
package enum SourceFault: Error, Sendable, Hashable {
  /// What the broker's certificate was refused for, or ours by the broker.
  package enum TLSCause: Sendable, Hashable {
    case untrusted
    case expired
    case notYetValid
    case hostName
    /// The broker wants a client certificate, or refuses the one it got.
    case clientCertificate
    case other
  }

  /// The host name could not be resolved.
  case lookup(detail: String)
  /// No TCP connection.
  case unreachable(detail: String)
  /// A file of the configuration cannot be used.
  case file(role: String, path: String, detail: String)
  /// The state of the session could not be read or written.
  case sessionStore(detail: String)
  case tls(TLSCause, detail: String)
  /// CONNACK with a reason code (MQTT 5.0, section 3.2.2.2; MQTT 3.1.1, section 3.2.2.3).
  case refused(code: Int, version: SourceSettings.ProtocolVersion)
  /// No CONNACK in time.
  case noAnswer
  /// DISCONNECT 0x8E: another client uses our client id.
  case takenOver
  /// The broker closes the connection again and again soon after it accepted it, and does not say why.
  case contested
  /// DISCONNECT from the broker with another reason code.
  case closedByBroker(code: Int)
  case connectionLost(detail: String)
  /// The broker did not answer a PINGREQ, or a packet never came to its end.
  case keepalive
  /// A packet larger than the configured maximum was announced.
  case packetTooLarge(bytes: Int, limit: Int)
  /// The broker sent what MQTT does not allow.
  case protocolViolation(detail: String)
  /// The library refused its settings.
  case settings(detail: String)
}

extension SourceFault {
  /// The cause, for people.
  package var cause: String {
    switch self {
    case .lookup(let detail): "the host name was not found: \(detail)"
    case .unreachable(let detail): "no connection: \(detail)"
    case .file(let role, let path, let detail): "the \(role) \(path) cannot be used: \(detail)"
    case .sessionStore(let detail): "the state of the session cannot be used: \(detail)"
    case .tls(let cause, let detail):
      switch cause {
      case .untrusted: "the broker's certificate is not vouched for by a known authority (\(detail))"
      case .expired: "the broker's certificate has expired (\(detail))"
      case .notYetValid: "the broker's certificate is not yet valid (\(detail))"
      case .hostName: "the broker's certificate is for another host name"
      case .clientCertificate:
        "the broker broke off after we had accepted its certificate: "
          + "it refuses or misses our client certificate (\(detail))"
      case .other: "TLS failed: \(detail)"
      }
    case .refused(let code, let version):
      "the broker refused the connection: \(Self.refusal(code: code, version: version))"
    case .noAnswer: "the broker accepted the connection and did not answer"
    case .takenOver: "another client connected with our client id and took the session over"
    case .contested:
      "the broker accepts the connection and closes it again and again: "
        + "another client probably uses our client id"
    case .closedByBroker(let code):
      "the broker closed the connection: \(String(cString: mosquitto_reason_string(Int32(code))))"
    case .connectionLost(let detail): "the connection was lost: \(detail)"
    case .keepalive: "the broker stopped answering"
    case .packetTooLarge(let bytes, let limit):
      "the broker announced a packet of \(bytes) bytes where \(limit) are allowed"
    case .protocolViolation(let detail): "the broker broke the protocol: \(detail)"
    case .settings(let detail): "the settings were refused: \(detail)"
    }
  }

  /// What to look at or do.
  package var hint: String {
    switch self {
    case .lookup: "check the host in `url`, and DNS"
    case .unreachable: "check that the broker runs and listens on this address and port"
    case .file: "check that the file exists, holds what it should and can be read by this user"
    case .sessionStore: "check the state directory"
    case .tls(let cause, _):
      switch cause {
      case .untrusted: "check `ca_file`"
      case .expired: "renew the broker's certificate, or check this machine's clock"
      case .notYetValid: "check this machine's clock"
      case .hostName: "use the name in the certificate as the host in `url`"
      case .clientCertificate: "check `certificate_file` and `key_file`, and which authority the broker trusts"
      case .other:
        "check that the port speaks TLS 1.2 or later, with ephemeral keys (ECDHE) and AES-GCM or ChaCha20"
      }
    case .refused(let code, let version):
      switch Self.refusalKind(code: code, version: version) {
      case .credentials, .authorisation: "check `user`, `password_file` and the broker's access rules"
      case .version: "set `version: \(version == .mqtt5 ? "3.1.1" : "5")`"
      case .clientID: "check the broker's rules for client ids"
      case .other: "see the broker's log"
      }
    case .noAnswer, .closedByBroker, .connectionLost, .keepalive: "see the broker's log"
    case .takenOver, .contested: "look for a copy of this box's state, such as a cloned card"
    case .packetTooLarge:
      "raise `max_packet`, and set `message_size_limit` or `max_packet_size` at the broker"
    case .protocolViolation: "check that an MQTT broker listens on this port"
    case .settings: "check the source's settings"
    }
  }

  /// Whether the broker, or its certificate, has to be dealt with before another attempt can succeed.
  package var isRefusal: Bool {
    switch self {
    case .refused, .tls, .file, .settings: true
    default: false
    }
  }

  /// The broker refuses the user or the password; mosquitto says "not authorised" (0x87) of a wrong one.
  var isRefusalOfPassword: Bool {
    guard case .refused(let code, let version) = self else { return false }
    return code == 0x87 || Self.refusalKind(code: code, version: version) == .credentials
  }

  private enum RefusalKind { case credentials, authorisation, version, clientID, other }

  private static func refusalKind(
    code: Int, version: SourceSettings.ProtocolVersion
  ) -> RefusalKind {
    // A broker of the older protocol answers an MQTT 5 CONNECT with the older codes.
    switch code {
    case 1, 0x84: .version
    case 2, 0x85: .clientID
    case 4, 0x86, 0x8c: .credentials
    case 5: .credentials
    case 0x87, 0x8a: .authorisation
    default: .other
    }
  }

  private static func refusal(code: Int, version: SourceSettings.ProtocolVersion) -> String {
    switch refusalKind(code: code, version: version) {
    case .version: "it does not speak MQTT \(version.rawValue)"
    case .clientID: "it does not take our client id"
    case .credentials: "bad user name or password, or not authorised"
    case .authorisation: "not authorised"
    case .other:
      code < 0x80
        ? String(cString: mosquitto_connack_string(Int32(code)))
        : String(cString: mosquitto_reason_string(Int32(code)))
    }
  }
}

extension SourceFault: CustomStringConvertible {
  package var description: String { "\(cause); \(hint)" }
}
