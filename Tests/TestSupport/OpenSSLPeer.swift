/// What one side of a handshake offers, as the `openssl` command takes it.
package struct TLSOffer: Sendable {
  package var name: String
  package var arguments: [String]

  /// What nobody is to agree to. At the security level 0 OpenSSL itself has nothing against it.
  package static let weak: [TLSOffer] = [
    TLSOffer("TLS 1.0", "-tls1", "-cipher", "DEFAULT:@SECLEVEL=0"),
    TLSOffer("TLS 1.1", "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"),
    // CBC with SHA-1: not authenticated as a whole.
    TLSOffer("a weak suite", "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0"),
  ]

  /// What everybody agrees to.
  package static let strong: [TLSOffer] = [
    TLSOffer("TLS 1.2", "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"), TLSOffer("TLS 1.3", "-tls1_3"),
  ]

  private init(_ name: String, _ arguments: String...) {
    self.name = name
    self.arguments = arguments
  }
}

/// The `openssl` command on the other side of a connection.
package final class OpenSSLPeer: Sendable {
  package let port: Int
  private let process: ChildProcess

  /// A server that offers no more than this. What is said after the handshake is no protocol of ours.
  package init(_ identity: Certificates.Identity, _ offer: TLSOffer) throws {
    port = try freePort()
    process = try ChildProcess(
      "openssl",
      ["s_server", "-accept", "127.0.0.1:\(port)", "-cert", identity.certificate, "-key", identity.key, "-www"]
        + offer.arguments)
    let port = port
    guard eventually(within: 10, { MosquittoBroker.accepts(port: port) }) else {
      throw POSIXFailure("wait for", "openssl s_server", code: 0)
    }
  }

  package func stop() {
    process.signal(9)
    _ = process.wait()
  }

  /// Connects to a server, offers no more than this and ends after the handshake.
  /// - Parameters:
  ///   - authority: whom it trusts to vouch for the server.
  ///   - identity: what it shows of itself.
  /// - Returns: whether there was a connection, and what `openssl s_client` wrote.
  package static func connect(
    port: Int, _ offer: TLSOffer, authority: String, identity: Certificates.Identity? = nil
  ) throws -> (isConnected: Bool, output: String) {
    var arguments = [
      "s_client", "-connect", "127.0.0.1:\(port)", "-servername", "localhost", "-CAfile", authority,
      "-verify_return_error",
    ]
    if let identity { arguments += ["-cert", identity.certificate, "-key", identity.key] }
    // A server that never answers must not hold the test.
    let (status, output) = try ChildProcess.run("timeout", ["30", "openssl"] + arguments + offer.arguments)
    return (status == 0 && output.contains("Verify return code: 0 (ok)") && !output.contains("alert"), output)
  }
}
