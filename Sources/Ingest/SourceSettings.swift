/// One broker session: where to connect, as whom, and how.
package struct SourceSettings: Sendable, Hashable {
  package enum ProtocolVersion: String, Sendable, Hashable, CaseIterable {
    case mqtt5 = "5"
    /// At least once only: 3.1.1 has no receive-maximum and no session expiry.
    case mqtt311 = "3.1.1"
  }

  /// What happens to messages that the broker sends because it had retained them.
  package enum RetainedRule: String, Sendable, Hashable, CaseIterable {
    /// Taken whenever the broker sends them: on each new subscription, also after the broker has
    /// lost the session.
    case take
    /// Acknowledged and not taken.
    case ignore
    /// Taken when a filter is subscribed for the first time, not again when the session was lost.
    case once
  }

  /// Verification of the broker and identity of this client. All paths are absolute.
  package struct TLS: Sendable, Hashable {
    /// PEM file of the authorities that may vouch for the broker; nil: the system's.
    package var caFile: String?
    package var certificateFile: String?
    package var keyFile: String?

    package init(caFile: String? = nil, certificateFile: String? = nil, keyFile: String? = nil) {
      self.caFile = caFile
      self.certificateFile = certificateFile
      self.keyFile = keyFile
    }
  }

  package var name: String
  package var host: String
  /// 1...65535; 1883 for `mqtt:`, 8883 for `mqtts:`.
  package var port: Int
  /// Nil: no TLS.
  package var tls: TLS?
  package var version: ProtocolVersion = .mqtt5
  package var user: String?
  /// Read anew at every connection, so that a rotated secret needs no restart.
  package var passwordFile: String?
  /// Seconds, 5...65535.
  package var keepalive: Int = 60
  /// Seconds for which the broker keeps the session while we are away; 4294967295: for ever.
  package var sessionExpiry: UInt32 = 4_294_967_295
  /// QoS 1 messages that the broker may have on the way to us, 1...65535.
  package var receiveMaximum: UInt16 = 1000
  /// Bytes of the largest packet that the broker may send us; larger ones it drops (MQTT 5.0,
  /// section 3.1.2.11.4).
  package var maximumPacketSize: UInt32 = 1 << 20
  package var retained: RetainedRule = .take
  /// The filters of every pipeline that reads from this source, as MQTT writes them, without overlaps.
  package var filters: [String] = []

  package init(name: String, host: String, port: Int, tls: TLS? = nil) {
    self.name = name
    self.host = host
    self.port = port
    self.tls = tls
  }
}

/// When a group is committed and how much may be staged (docs/architecture.md, "Acknowledging after
/// the commit").
package struct GroupSettings: Sendable, Hashable {
  /// Nanoseconds from a group's first message to its commit at the latest.
  package var linger: Int64 = 250_000_000
  package var maximumCount: Int = 1024
  /// Bytes of payloads, topics and properties.
  package var maximumBytes: Int = 1 << 20

  package init() {}
}
