import ArgumentParser
import Status
import TestSupport
import Testing

@testable import forebay

/// What the collector of a fleet agrees to, as a client of gateways and as a server of its own pages.
@Suite("Fleet: strong TLS alone") struct FleetTLSTests {
  /// What is said of the one gateway that is asked.
  private func reason(port: Int, authority: String, host: String = "localhost") async throws -> String {
    var sources = FleetSources()
    sources.urls = ["https://\(host):\(port)"]
    sources.credentials.authorities = authority
    var settings = FleetMonitor.Settings()
    settings.limits.total = 5_000_000_000
    let monitor = FleetMonitor(settings)
    monitor.watch(try sources.load().fleet)
    await monitor.finish()
    let entry = try #require(monitor.board.entries.first)
    await monitor.stop()
    return entry.reason
  }

  @Test("a gateway with TLS below 1.2, weak suites, a wrong name, an expired or a self-signed certificate is refused")
  func asked() async throws {
    let certificates = try Certificates()
    let directory = try TemporaryDirectory("self-signed")
    let own = try Certificates.selfSigned("localhost", days: 1, in: directory)
    for offer in TLSOffer.weak {
      let server = try OpenSSLPeer(certificates.server, offer)
      let said = try await reason(port: server.port, authority: certificates.authority)
      let words = offer.name.hasPrefix("TLS") ? "neither TLS 1.2 nor TLS 1.3" : "none of the cipher suites"
      #expect(said.contains(words), "\(offer.name): \(said)")
      server.stop()
    }
    for (identity, words) in [
      (certificates.otherHost, "not for this host"), (certificates.expiredServer, "it has expired"),
      (own, "no authority that is trusted"),
    ] {
      let server = try OpenSSLPeer(identity, TLSOffer.strong[0])
      let said = try await reason(port: server.port, authority: certificates.authority)
      #expect(said.contains("wrong certificate") && said.contains(words), "\(words): \(said)")
      server.stop()
    }
    for offer in TLSOffer.strong {
      let server = try OpenSSLPeer(certificates.server, offer)
      let said = try await reason(port: server.port, authority: certificates.authority)
      // It answers, and is no gateway.
      #expect(!said.contains("certificate") && !said.contains("TLS"), "\(offer.name): \(said)")
      server.stop()
    }
  }

  @Test("its own pages are given over TLS 1.2 and later with strong suites alone")
  func served() async throws {
    let certificates = try Certificates()
    let folder = try TemporaryDirectory("fleet")
    let tokens = try folder.write("", to: "tokens")
    let settings = try #require(
      try FleetServing.parse([
        "--serve", "127.0.0.1:0", "--serve-tokens-file", tokens, "--serve-cert-file", certificates.server.certificate,
        "--serve-key-file", certificates.server.key,
      ]).settings())
    let (server, port) = try await FleetServer.start(settings) { FleetBoard(targets: []) }
    // On a thread of its own: what blocks must not take one of the few that the server runs on.
    let result = await withCheckedContinuation { (done: CheckedContinuation<Result<Void, any Error>, Never>) in
      BlockingThread.start {
        done.resume(
          returning: Result {
            for (offers, isTaken) in [(TLSOffer.weak, false), (TLSOffer.strong, true)] {
              for offer in offers {
                let (isConnected, output) = try OpenSSLPeer.connect(
                  port: port, offer, authority: certificates.authority)
                #expect(isConnected == isTaken, "\(offer.name): \(output)")
              }
            }
          })
      }
    }
    await server.stop(grace: 0)
    try result.get()
  }
}
