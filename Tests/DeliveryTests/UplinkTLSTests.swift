@testable import Delivery
import Telemetry
import Synchronization
import TestSupport
import Testing

extension RealIO {
  /// What an uplink agrees to, against a real server of OpenSSL.
  @Suite("HTTP uplink: strong TLS alone")
  struct UplinkTLSTests {
    private func answer(port: Int, authority: String, host: String = "localhost") async -> Unreachable? {
      let uplink = Sample.uplink("https://\(host):\(port)/v1/batches") { $0.caFile = authority }
      let answer = await uplink.send(Sample.batch(1), attempt: 1)
      await uplink.shutdown()
      if case .unreachable(let cause) = answer { return cause }
      return nil
    }

    @Test("TLS below 1.2 and weak cipher suites are refused, and the text says which; strong ones are not")
    func versionsAndSuites() async throws {
      let certificates = try Certificates()
      for offer in TLSOffer.weak {
        let server = try OpenSSLPeer(certificates.server, offer)
        let cause = await answer(port: server.port, authority: certificates.authority)
        #expect(cause?.kind == .tls, "\(offer.name): \(cause?.detail ?? "it was accepted")")
        let words = offer.name.hasPrefix("TLS") ? "neither TLS 1.2 nor TLS 1.3" : "none of the cipher suites"
        #expect(cause?.detail.contains(words) == true, "\(offer.name): \(cause?.detail ?? "")")
        server.stop()
      }
      for offer in TLSOffer.strong {
        let server = try OpenSSLPeer(certificates.server, offer)
        // It is no upstream, but there is an answer.
        let cause = await answer(port: server.port, authority: certificates.authority)
        #expect(cause?.kind != .tls, "\(offer.name): \(cause?.detail ?? "")")
        server.stop()
      }
    }

    @Test("a wrong name, an expired and a self-signed certificate are refused in words")
    func certificates() async throws {
      let certificates = try Certificates()
      let directory = try TemporaryDirectory("self-signed")
      let own = try Certificates.selfSigned("localhost", days: 1, in: directory)
      for (identity, words) in [
        (certificates.otherHost, "for another name"), (certificates.expiredServer, "has expired"),
        (own, "no authority that is trusted vouches for it"),
      ] {
        let server = try OpenSSLPeer(identity, TLSOffer.strong[0])
        let cause = await answer(port: server.port, authority: certificates.authority)
        let said = cause?.detail ?? "accepted"
        #expect(cause?.kind == .tls && said.contains(words), "\(words): \(said)")
        server.stop()
      }
    }

    @Test("one file with the old and the new authority trusts servers of both")
    func bothAuthorities() async throws {
      let (old, new) = (try Certificates(), try Certificates())
      let directory = try TemporaryDirectory("bundle")
      let bundle = try directory.write(
        TemporaryDirectory.read(old.authority) + TemporaryDirectory.read(new.authority), to: "ca.pem")
      for certificates in [old, new] {
        let upstream = try await FaultyUpstream(
          tls: .init(
            certificateFile: certificates.server.certificate, keyFile: certificates.server.key,
            clientAuthorityFile: nil)
        ) { _, _ in .receipt }
        #expect(await answer(port: upstream.port, authority: bundle) == nil)
        await upstream.shutdown()
      }
    }
  }

  @Suite("HTTP uplink: a token that is replaced")
  struct TokenOverlapTests {
    @Test("where the new token comes before the upstream knows it, the old one goes on, and that is said")
    func newTooEarly() async throws {
      let upstream = try await FaultyUpstream { request, _ in
        request["Authorization"] == "Bearer old" ? .receipt : .answer(401)
      }
      let directory = try TemporaryDirectory("tokens")
      let path = try directory.write("old", to: "token")
      let uplink = Sample.uplink(upstream.url()) { $0.tokenFile = path }
      #expect(await uplink.send(Sample.batch(1), attempt: 1) == .hasIt)
      try directory.write("new", to: "token")
      await uplink.reload()
      #expect(uplink.refusedCredential == nil)
      #expect(await uplink.send(Sample.batch(2), attempt: 1) == .hasIt)
      let said = try #require(uplink.refusedCredential)
      #expect(said.contains(path) && !said.contains("new ") && !said.contains("Bearer"))
      // No second request for every batch.
      #expect(await uplink.send(Sample.batch(3), attempt: 1) == .hasIt)
      #expect(
        upstream.requests.map { $0["Authorization"] } == ["Bearer old", "Bearer new", "Bearer old", "Bearer old"])
      // Then the upstream follows.
      upstream.follow { request, _ in request["Authorization"] == "Bearer new" ? .receipt : .answer(401) }
      #expect(await uplink.send(Sample.batch(4), attempt: 1) == .hasIt)
      #expect(uplink.refusedCredential == nil)
      #expect(await uplink.send(Sample.batch(5), attempt: 1) == .hasIt)
      #expect(upstream.requests.suffix(3).map { $0["Authorization"] } == ["Bearer old", "Bearer new", "Bearer new"])
      await uplink.shutdown()
      await upstream.shutdown()
    }

    @Test("an old token that served and is refused is forgotten, and nobody is told that it works")
    func revoked() async throws {
      let upstream = try await FaultyUpstream { request, _ in
        request["Authorization"] == "Bearer old" ? .receipt : .answer(401)
      }
      let directory = try TemporaryDirectory("tokens")
      let path = try directory.write("old", to: "token")
      let uplink = Sample.uplink(upstream.url()) { $0.tokenFile = path }
      #expect(await uplink.send(Sample.batch(1), attempt: 1) == .hasIt)
      try directory.write("new", to: "token")
      await uplink.reload()
      #expect(await uplink.send(Sample.batch(2), attempt: 1) == .hasIt)
      #expect(uplink.refusedCredential != nil)
      upstream.follow { _, _ in .answer(401) }
      #expect(await uplink.send(Sample.batch(3), attempt: 1) == .credentials(status: 401))
      #expect(uplink.refusedCredential == nil)
      let before = upstream.requests.count
      #expect(await uplink.send(Sample.batch(3), attempt: 2) == .credentials(status: 401))
      #expect(upstream.requests.dropFirst(before).map { $0["Authorization"] } == ["Bearer new"])
      await uplink.shutdown()
      await upstream.shutdown()
    }

    @Test("while the old token serves, the one on disk is shown after ten minutes again, and at once when it is new")
    func again() async throws {
      let upstream = try await FaultyUpstream { request, _ in
        request["Authorization"] == "Bearer old" ? .receipt : .answer(401)
      }
      let directory = try TemporaryDirectory("tokens")
      let path = try directory.write("old", to: "token")
      let now = Clock()
      var settings = UplinkSettings.HTTP(url: upstream.url())
      settings.tokenFile = path
      let uplink = HTTPUplink(settings: settings, concurrency: 4, version: "0.0.1", wall: { now.time.withLock { $0 } })
      func shown(_ sequence: Int64) async -> [String?] {
        let before = upstream.requests.count
        #expect(await uplink.send(Sample.batch(sequence), attempt: 1) == .hasIt)
        return upstream.requests.dropFirst(before).map { $0["Authorization"] }
      }
      #expect(await shown(1) == ["Bearer old"])
      try directory.write("new", to: "token")
      await uplink.reload()
      #expect(await shown(2) == ["Bearer new", "Bearer old"])
      now.time.withLock { $0 += 599_000_000_000 }
      #expect(await shown(3) == ["Bearer old"])
      now.time.withLock { $0 += 1_000_000_000 }
      #expect(await shown(4) == ["Bearer new", "Bearer old"])
      #expect(await shown(5) == ["Bearer old"])
      try directory.write("newer", to: "token")
      #expect(await shown(6) == ["Bearer newer", "Bearer old"])
      #expect(await shown(7) == ["Bearer old"])
      #expect(uplink.refusedCredential != nil)
      // The upstream is well again.
      upstream.follow { _, _ in .receipt }
      #expect(await shown(8) == ["Bearer old"])
      now.time.withLock { $0 += 600_000_000_000 }
      #expect(await shown(9) == ["Bearer newer"])
      #expect(uplink.refusedCredential == nil)
      #expect(await shown(10) == ["Bearer newer"])
      await uplink.shutdown()
      await upstream.shutdown()
    }

    private final class Clock: Sendable {
      let time = Mutex<Int64>(1_700_000_000_000_000_000)
    }

    @Test("where neither is accepted it is a matter of credentials, and each is tried once an attempt")
    func neither() async throws {
      let upstream = try await FaultyUpstream { _, _ in .receipt }
      let directory = try TemporaryDirectory("tokens")
      let path = try directory.write("old", to: "token")
      let uplink = Sample.uplink(upstream.url()) { $0.tokenFile = path }
      #expect(await uplink.send(Sample.batch(1), attempt: 1) == .hasIt)
      upstream.follow { _, _ in .answer(403) }
      try directory.write("new", to: "token")
      await uplink.reload()
      #expect(await uplink.send(Sample.batch(2), attempt: 1) == .credentials(status: 403))
      #expect(upstream.requests.count == 3)
      #expect(uplink.refusedCredential == nil)
      // What was refused is not shown again.
      #expect(await uplink.send(Sample.batch(2), attempt: 2) == .credentials(status: 403))
      #expect(upstream.requests.map { $0["Authorization"] }.suffix(3) == ["Bearer new", "Bearer old", "Bearer new"])
      await uplink.shutdown()
      await upstream.shutdown()
    }
  }
}
