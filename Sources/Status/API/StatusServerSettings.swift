/// Where the HTTP server of the status listens, and for whom.
package struct StatusServerSettings: Sendable, Hashable {
  /// PEM files.
  package struct TLS: Sendable, Hashable {
    package var certificateFile: String
    package var keyFile: String
    /// The authorities that vouch for clients; nil: clients show no certificates.
    package var clientAuthorityFile: String?

    package init(certificateFile: String, keyFile: String, clientAuthorityFile: String? = nil) {
      self.certificateFile = certificateFile
      self.keyFile = keyFile
      self.clientAuthorityFile = clientAuthorityFile
    }
  }

  /// Nanoseconds that a connection may take.
  struct Limits: Sendable, Hashable {
    /// From the connection, TLS included, to the end of the first request's head.
    var head: Int64 = 10_000_000_000
    /// From the head to the last byte of the answer that the client has taken.
    var answer: Int64 = 60_000_000_000
    /// Between an answer and the head of the next request.
    var idle: Int64 = 75_000_000_000
    /// Between two pieces of a stream of events that the client has taken; several times its heartbeat.
    var stream: Int64 = 60_000_000_000
  }

  /// A literal address, or `localhost`.
  package var host: String
  /// 0 draws a free one.
  package var port: Int
  /// What somebody without a token is; nil: nobody.
  package var anonymous: Role?
  /// Names beside loopback's under which the server is asked; in lower case, without a port.
  package var hosts: Set<String> = []
  /// Nil: in the clear.
  package var tls: TLS?
  /// A file of tokens (``AccessTokenFile``), read anew when it has changed; nil: there are none.
  package var tokensFile: String?
  /// Roles of clients by a name in their certificate.
  package var certificates: [String: Role] = [:]
  /// Connections at once: a page, a scraper, a fleet's puller and a few people with room to spare; each may cost
  /// some 50 kB, and holds the answer that it is being sent.
  package var maximumConnections = 64
  var limits = Limits()

  package init(host: String, port: Int, anonymous: Role? = .viewer) {
    self.host = host
    self.port = port
    self.anonymous = anonymous
  }

  /// Whether nobody beyond this machine can reach it: its address is loopback's (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3).
  package var isLoopback: Bool {
    host == "localhost" || host == "::1" || (host.hasPrefix("127.") && StatusServerSettings.isIPv4(host))
  }

  private static func isIPv4(_ host: String) -> Bool {
    let parts = host.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
  }
}
