import TestSupport
import Testing

@testable import Status

/// What the API's server agrees to, asked by a real client of OpenSSL.
@Suite("The HTTP API over TLS")
struct ServerTLSTests {
  @Test("TLS below 1.2 and weak cipher suites are refused; strong ones are not")
  func versionsAndSuites() async throws {
    let certificates = try Certificates()
    try await StatusServerTests().with({
      $0.tls = .init(certificateFile: certificates.server.certificate, keyFile: certificates.server.key)
    }) { rig in
      for offer in TLSOffer.weak {
        let (isConnected, output) = try OpenSSLPeer.connect(
          port: rig.port, offer, authority: certificates.authority)
        #expect(!isConnected && output.contains("alert"), "\(offer.name): \(output)")
      }
      for offer in TLSOffer.strong {
        let (isConnected, output) = try OpenSSLPeer.connect(
          port: rig.port, offer, authority: certificates.authority)
        #expect(isConnected, "\(offer.name): \(output)")
      }
    }
  }

  @Test("a client's certificate that no authority of ours vouches for ends the handshake; none at all does not")
  func clients() async throws {
    let certificates = try Certificates()
    let directory = try TemporaryDirectory("self-signed")
    let own = try Certificates.selfSigned("client", days: 1, in: directory)
    try await StatusServerTests().with({
      $0.tls = .init(
        certificateFile: certificates.server.certificate, keyFile: certificates.server.key,
        clientAuthorityFile: certificates.authority)
    }) { rig in
      // With TLS 1.2 the client learns of it within the handshake.
      func isLetIn(_ identity: Certificates.Identity?) throws -> Bool {
        try OpenSSLPeer.connect(
          port: rig.port, TLSOffer.strong[0], authority: certificates.authority, identity: identity
        ).isConnected
      }
      let letIn = try [nil, certificates.client, certificates.strangeClient, own].map(isLetIn)
      #expect(letIn == [true, true, false, false])
    }
  }
}
