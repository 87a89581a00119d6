@testable import Delivery
import Glibc
import Telemetry
import TestSupport
import Testing

extension RealIO {
  /// Tokens, certificates and proxies against a real server.
  @Suite("HTTP uplink: credentials, TLS, proxies")
  struct HTTPSecurityTests {
    /// Made once: that takes a dozen processes.
    private static let made = Result { try Certificates() }
    private let certificates: Certificates
    private let directory: TemporaryDirectory

    init() throws {
      certificates = try Self.made.get()
      directory = try TemporaryDirectory("delivery")
    }

    private func server(_ identity: Certificates.Identity, clients: String? = nil) async throws -> FaultyUpstream {
      try await FaultyUpstream(
        tls: .init(
          certificateFile: identity.certificate, keyFile: identity.key, clientAuthorityFile: clients)
      ) { _, _ in .receipt }
    }

    private func answer(
      from upstream: FaultyUpstream, host: String = "localhost",
      change: (inout UplinkSettings.HTTP) -> Void
    ) async -> Answer {
      let uplink = Sample.uplink(upstream.url("https", host: host), change: change)
      let answer = await uplink.send(Sample.batch(1), attempt: 1)
      await uplink.shutdown()
      return answer
    }

    private func kind(_ answer: Answer) -> Unreachable.Kind? {
      if case .unreachable(let cause) = answer { cause.kind } else { nil }
    }

    @Test("trusts the authority it is given, for the name and for the address", arguments: ["localhost", "127.0.0.1"])
    func trusted(_ host: String) async throws {
      let upstream = try await server(certificates.server)
      let answer = await answer(from: upstream, host: host) { $0.caFile = certificates.authority }
      #expect(answer == .hasIt)
      await upstream.shutdown()
    }

    @Test("a certificate that is expired, for another name, or of another authority is not trusted")
    func untrusted() async throws {
      for (identity, authority) in [
        (certificates.expiredServer, certificates.authority as String?),
        (certificates.otherHost, certificates.authority),
        (certificates.server, certificates.otherAuthority), (certificates.server, nil),
      ] {
        let upstream = try await server(identity)
        let answer = await answer(from: upstream) { $0.caFile = authority }
        #expect(kind(answer) == .tls, "\(answer)")
        #expect(upstream.requests.isEmpty)
        await upstream.shutdown()
      }
    }

    @Test("a server that does not speak TLS is no upstream")
    func plain() async throws {
      let upstream = try await FaultyUpstream { _, _ in .receipt }
      let answer = await answer(from: upstream) {
        $0.caFile = certificates.authority
        $0.timeout = 300_000_000
      }
      // It waits for the end of a request, we wait for its part of the handshake.
      #expect([.notConnected, .tls, .timedOut].contains(kind(answer)), "\(answer)")
      await upstream.shutdown()
    }

    @Test("shows its client certificate where one is asked for; without, or with a strange one, it is not let in")
    func clientCertificate() async throws {
      let upstream = try await server(certificates.server, clients: certificates.authority)
      let shown = await answer(from: upstream) {
        $0.caFile = certificates.authority
        $0.certificateFile = certificates.client.certificate
        $0.keyFile = certificates.client.key
      }
      #expect(shown == .hasIt)
      let none = await answer(from: upstream) { $0.caFile = certificates.authority }
      #expect([.tls, .closed].contains(kind(none)), "\(none)")
      let strange = await answer(from: upstream) {
        $0.caFile = certificates.authority
        $0.certificateFile = certificates.strangeClient.certificate
        $0.keyFile = certificates.strangeClient.key
      }
      #expect([.tls, .closed].contains(kind(strange)), "\(strange)")
      #expect(upstream.requests.count == 1)
      await upstream.shutdown()
    }

    @Test("a certificate that was replaced after it failed is used without a restart")
    func replacedAuthority() async throws {
      let upstream = try await server(certificates.server)
      let path = try directory.write(TemporaryDirectory.read(certificates.otherAuthority), to: "ca.pem")
      let uplink = Sample.uplink(upstream.url("https", host: "localhost")) { $0.caFile = path }
      #expect(kind(await uplink.send(Sample.batch(1), attempt: 1)) == .tls)
      try directory.write(TemporaryDirectory.read(certificates.authority), to: "ca.pem")
      // The attempt that fails sees the new file, the next one uses it.
      #expect(kind(await uplink.send(Sample.batch(1), attempt: 2)) == .tls)
      #expect(await uplink.send(Sample.batch(1), attempt: 3) == .hasIt)
      try directory.write("no certificate", to: "ca.pem")
      await uplink.reload()
      #expect(kind(await uplink.send(Sample.batch(2), attempt: 1)) == .configuration)
      try directory.write(TemporaryDirectory.read(certificates.authority), to: "ca.pem")
      #expect(await uplink.send(Sample.batch(2), attempt: 2) == .hasIt)
      await uplink.shutdown()
      await upstream.shutdown()
    }

    @Test("secrets that cannot be read are named by their path, and never printed")
    func unreadable() async throws {
      let upstream = try await FaultyUpstream { _, _ in .receipt }
      let empty = try directory.write("\n", to: "empty")
      let two = try directory.write("s3cret\nlines", to: "two")
      let changes: [(String, (inout UplinkSettings.HTTP) -> Void)] = [
        ("/nonexistent", { $0.tokenFile = "/nonexistent" }), (empty, { $0.tokenFile = empty }),
        (two, { $0.tokenFile = two }), ("/nonexistent", { $0.caFile = "/nonexistent" }),
        (empty, { $0.certificateFile = empty }), (two, { $0.keyFile = two }),
        ("ftp://proxy", { $0.proxy = "ftp://proxy" }), ("http://proxy", { $0.proxy = "http://proxy" }),
      ]
      for (path, change) in changes {
        let uplink = Sample.uplink(upstream.url(), change: change)
        let answer = await uplink.send(Sample.batch(1), attempt: 1)
        #expect(kind(answer) == .configuration, "\(answer)")
        #expect(answer.description.contains(path) && !answer.description.contains("s3cret"))
        await uplink.shutdown()
      }
      #expect(upstream.requests.isEmpty)
      await upstream.shutdown()
    }

    @Test("a token that was rotated is read again when the old one is refused, within the same attempt")
    func tokenRotation() async throws {
      let upstream = try await FaultyUpstream { request, _ in
        request["Authorization"] == "Bearer one" ? .receipt : .answer(401)
      }
      let path = try directory.write("one", to: "token")
      let uplink = Sample.uplink(upstream.url()) { $0.tokenFile = path }
      #expect(await uplink.send(Sample.batch(1), attempt: 1) == .hasIt)
      upstream.follow { request, _ in request["Authorization"] == "Bearer two" ? .receipt : .answer(403) }
      #expect(await uplink.send(Sample.batch(2), attempt: 1) == .credentials(status: 403))
      #expect(upstream.requests.count == 2, "the same token is not tried twice")
      try directory.write("two\n", to: "token")
      #expect(await uplink.send(Sample.batch(2), attempt: 2) == .hasIt)
      #expect(
        upstream.requests.map { $0["Authorization"] } == ["Bearer one", "Bearer one", "Bearer one", "Bearer two"])
      try directory.write("three", to: "token")
      #expect(await uplink.send(Sample.batch(3), attempt: 1) == .hasIt, "read anew only when it must be")
      await uplink.reload()
      #expect(await uplink.send(Sample.batch(4), attempt: 1) == .hasIt, "the one that was accepted last goes on")
      #expect(uplink.refusedCredential != nil)
      await uplink.shutdown()
      await upstream.shutdown()
    }

    @Test("goes through a CONNECT proxy, and the proxy sees nothing but the name")
    func proxy() async throws {
      let upstream = try await server(certificates.server)
      let proxy = try await FaultyUpstream { _, _ in .tunnel }
      let answer = await answer(from: upstream) {
        $0.caFile = certificates.authority
        $0.proxy = "http://127.0.0.1:\(proxy.port)"
      }
      #expect(answer == .hasIt && upstream.requests.count == 1)
      #expect(proxy.requests.map(\.method) == ["CONNECT"])
      #expect(proxy.requests.map(\.target) == ["localhost:\(upstream.port)"])
      await proxy.shutdown()
      await upstream.shutdown()
    }

    @Test("a proxy that wants credentials, or cannot connect, is told apart from the upstream")
    func unwillingProxy() async throws {
      let upstream = try await server(certificates.server)
      let proxy = try await FaultyUpstream { _, _ in .answer(407) }
      func attempt(_ port: Int) async -> Answer {
        await answer(from: upstream) {
          $0.caFile = certificates.authority
          $0.proxy = "http://127.0.0.1:\(port)"
        }
      }
      #expect(await attempt(proxy.port).kind == .unknownUpstream)
      proxy.follow { _, _ in .answer(502) }
      let refused = await attempt(proxy.port)
      #expect(kind(refused) == .notConnected, "\(refused)")
      proxy.follow { _, _ in .close }
      #expect(kind(await attempt(proxy.port)) != nil)
      await proxy.shutdown()
      let closed = try ClosedPort()
      let gone = await attempt(closed.port)
      #expect(kind(gone) == .notConnected, "\(gone)")
      await upstream.shutdown()
    }
  }
}
