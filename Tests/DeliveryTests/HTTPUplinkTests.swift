@testable import Delivery
import Telemetry
import TestSupport
import Testing

extension RealIO {
  /// The whole answer table against a real server.
  @Suite("HTTP uplink")
  struct HTTPUplinkTests {
    typealias Reply = FaultyUpstream.Reply

    /// What one reply comes out as.
    static func answer(
      to reply: Reply, timeout: Int64 = 10_000_000_000,
      change: @Sendable (inout UplinkSettings.HTTP) -> Void = { _ in }
    ) async throws -> Answer {
      let upstream = try await FaultyUpstream { _, _ in reply }
      let uplink = Sample.uplink(upstream.url(), timeout: timeout, change: change)
      let answer = await uplink.send(Sample.batch(1), attempt: 1)
      await uplink.shutdown()
      await upstream.shutdown()
      return answer
    }

    private static func unreachable(_ answer: Answer) -> Unreachable.Kind? {
      if case .unreachable(let cause) = answer { cause.kind } else { nil }
    }

    private static let receipt =
      #"{"identity":"\#(Sample.batch(1).identity)","digest":"\#(Sample.batch(1).digest)","more":[1]}"#

    @Test("sends what the protocol's page says")
    func request() async throws {
      let upstream = try await FaultyUpstream { _, _ in .receipt }
      let directory = try TemporaryDirectory("delivery")
      let token = try directory.write(" s3cret\n", to: "token")
      let uplink = Sample.uplink(upstream.url(path: "/in/v1?x=1")) { $0.tokenFile = token }
      var batch = Sample.batch(2, previous: Digest(of: [7]))
      batch.possibleDuplicate = true
      #expect(await uplink.send(batch, attempt: 1) == .hasIt)
      let part = try Splitting.halves(of: Sample.batch(3, compression: .none))[1]
      #expect(await uplink.send(part, attempt: 3) == .hasIt)
      await uplink.shutdown()
      await upstream.shutdown()

      let first = try #require(upstream.requests.first)
      #expect(first.method == "POST" && first.target == "/in/v1?x=1" && first.body == batch.body)
      let expected = [
        "Content-Type": "application/x-ndjson", "Content-Encoding": "gzip",
        "Content-Length": "\(batch.body.count)", "Idempotency-Key": "\"gw-1/climate/0123456789abcdef/2\"",
        "Forebay-Digest": batch.digest.hex, "Forebay-Previous": Digest(of: [7]).hex,
        "Forebay-Count": "3", "Forebay-Length": "\(batch.length)", "Forebay-Version": "v1",
        "Forebay-Offsets": "00000000000000aa 20-22", "Forebay-Possible-Duplicate": "true",
        "traceparent": "00-\(batch.digest.hex.prefix(32))-\(batch.digest.hex.dropFirst(32).prefix(16))-01",
        "Authorization": "Bearer s3cret", "User-Agent": "forebay/0.0.1",
      ]
      for (name, value) in expected { #expect(first[name] == value, "\(name)") }
      #expect(first["Forebay-Parent"] == nil && first["Expect"] == nil && first["Transfer-Encoding"] == nil)
      let wire = try ChildProcess.run(
        "python3",
        [
          "-c",
          "import hashlib,base64,sys;print(base64.b64encode(hashlib.sha256(bytes.fromhex(sys.argv[1])).digest()).decode())",
          Hex.encode(batch.body),
        ]
      ).output.filter { $0 != "\n" }
      #expect(first["Content-Digest"] == "sha-256=:\(wire):")

      let second = try #require(upstream.requests.last)
      let whole = Sample.batch(3, compression: .none)
      #expect(second["Content-Encoding"] == nil && second["Forebay-Possible-Duplicate"] == nil)
      #expect(second["Idempotency-Key"] == "\"gw-1/climate/0123456789abcdef/3.2/2\"")
      #expect(
        second["Forebay-Parent"]
          == "digest=\(whole.digest);previous=\(whole.previous);count=3;length=\(whole.length)")
      #expect(second["traceparent"]?.hasPrefix("00-\(whole.digest.hex.prefix(32))-") == true, "the trace of its batch")
      #expect(second["traceparent"]?.contains(part.digest.hex.dropFirst(32).prefix(16)) == false)
    }

    @Test("a 2xx counts only with a receipt that echoes identity and digest", arguments: [200, 201, 202])
    func receipts(_ status: Int) async throws {
      #expect(try await Self.answer(to: .answer(status, body: Self.receipt)) == .hasIt)
      let other = Sample.batch(2)
      for body in [
        "", "{}", "null", "[]", "OK", "<html><body>Please log in</body></html>",
        #"{"identity":"\#(Sample.batch(1).identity)"}"#, #"{"identity":1,"digest":2}"#,
        Self.receipt.dropLast().description, String(repeating: "[", count: 60_000),
        #"{"identity":"\#(other.identity)","digest":"\#(Sample.batch(1).digest)"}"#,
        #"{"identity":"\#(Sample.batch(1).identity)","digest":"\#(other.digest)"}"#,
      ] {
        let answer = try await Self.answer(to: .answer(status, body: body))
        #expect(answer.kind == .unknownUpstream, "\(body.prefix(40))")
        let lenient = try await Self.answer(to: .answer(status, body: body)) { $0.receipt = .status }
        #expect(lenient == .hasIt)
      }
    }

    @Test("204 is a receipt only where any 2xx is one")
    func noContent() async throws {
      #expect(try await Self.answer(to: .raw("HTTP/1.1 204 No Content\r\n\r\n")).kind == .unknownUpstream)
      let lenient = try await Self.answer(to: .raw("HTTP/1.1 204 No Content\r\n\r\n")) { $0.receipt = .status }
      #expect(lenient == .hasIt)
    }

    @Test("409 with this batch's digest has it; any other 409 is still taking it in")
    func conflict409() async throws {
      #expect(try await Self.answer(to: .answer(409, body: Self.receipt)) == .hasIt)
      for body in ["", "{}", #"{"identity":"\#(Sample.batch(1).identity)","digest":"\#(Digest.zero)"}"#] {
        #expect(try await Self.answer(to: .answer(409, body: body)) == .stillTakingIn)
      }
    }

    @Test(
      "each status is the answer that the table says",
      arguments: [
        (408, Answer.Kind.notNow), (425, .notNow), (429, .notNow), (500, .notNow), (502, .notNow),
        (503, .notNow), (504, .notNow), (599, .notNow), (401, .credentials), (403, .credentials),
        (413, .tooLarge), (400, .refused), (415, .refused), (422, .refused), (300, .unknownUpstream),
        (301, .unknownUpstream), (302, .unknownUpstream), (304, .unknownUpstream), (307, .unknownUpstream),
        (308, .unknownUpstream), (402, .unknownUpstream), (404, .unknownUpstream), (405, .unknownUpstream),
        (407, .unknownUpstream), (410, .unknownUpstream), (418, .unknownUpstream), (451, .unknownUpstream),
        (600, .unknownUpstream), (999, .unknownUpstream),
      ])
    func table(_ status: Int, _ kind: Answer.Kind) async throws {
      #expect(try await Self.answer(to: .answer(status, body: Self.receipt)).kind == kind)
      // Third parties' upstreams are read alike.
      let lenient = try await Self.answer(to: .answer(status)) { $0.receipt = .status }
      #expect(lenient.kind == kind)
    }

    @Test("a redirect is not followed")
    func redirect() async throws {
      let target = try await FaultyUpstream { _, _ in .receipt }
      let answer = try await Self.answer(to: .answer(307, fields: [("Location", target.url())]))
      #expect(answer.kind == .unknownUpstream && target.requests.isEmpty)
      await target.shutdown()
    }

    @Test("Retry-After is read in seconds and as a date")
    func retryAfter() async throws {
      #expect(
        try await Self.answer(to: .answer(429, fields: [("Retry-After", "17")]))
          == .notNow(status: 429, retryAfter: 17_000_000_000))
      let fields = [
        ("Date", "Sun, 06 Nov 1994 08:49:07 GMT"), ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
      ]
      #expect(
        try await Self.answer(to: .answer(503, fields: fields))
          == .notNow(status: 503, retryAfter: 30_000_000_000))
      #expect(
        try await Self.answer(to: .answer(503, fields: [("Retry-After", "soon")]))
          == .notNow(status: 503, retryAfter: nil))
    }

    @Test("the upstream's reason is kept, on one line, and cut")
    func reasons() async throws {
      let long = String(repeating: "x", count: 300)
      #expect(
        try await Self.answer(to: .answer(400, body: #"{"error":"e","reason":"bad\nfield \#(long)"}"#))
          == .refused(status: 400, reason: "bad field " + long.prefix(190)))
      #expect(
        try await Self.answer(to: .answer(422, body: #"{"error":"digest"}"#))
          == .refused(status: 422, reason: "digest"))
      #expect(
        try await Self.answer(to: .answer(415, body: "<html>")) == .refused(status: 415, reason: ""))
    }

    @Test("422 that names an identity conflict is one")
    func identityConflict() async throws {
      let held = Digest(of: [1])
      let body = #"{"error":"identity-conflict","identity":"\#(Sample.batch(1).identity)","digest":"\#(held)"}"#
      #expect(try await Self.answer(to: .answer(422, body: body)) == .identityConflict(held: held))
      #expect(
        try await Self.answer(to: .answer(422, body: #"{"error":"identity-conflict"}"#))
          == .identityConflict(held: nil))
    }

    @Test(
      "an upstream that never answers, or stops half-way, costs the timeout and no more",
      arguments: [Reply.never, .stallHalfway(200), .stallHalfway(503)])
    func silence(_ reply: Reply) async throws {
      let start = monotonic()
      let answer = try await Self.answer(to: reply, timeout: 300_000_000)
      #expect(Self.unreachable(answer) == .timedOut, "\(answer)")
      #expect((250_000_000...5_000_000_000).contains(monotonic() - start))
    }

    @Test(
      "a connection that ends before the answer does is no answer, whatever had come of it",
      arguments: [Reply.close, .closeHalfway(200), .closeHalfway(400), .closeHalfway(503)])
    func cutOff(_ reply: Reply) async throws {
      let answer = try await Self.answer(to: reply)
      #expect(Self.unreachable(answer) == .closed, "\(answer)")
    }

    @Test(
      "garbage is no answer",
      arguments: [
        "hello\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/9.9 abc\r\n\r\n", "\u{0}\u{1}\u{2}\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
      ])
    func garbage(_ text: String) async throws {
      let answer = try await Self.answer(to: .raw(text))
      #expect([.garbage, .closed].contains(Self.unreachable(answer)), "\(answer)")
    }

    @Test("an answer without end is cut off after 64 KiB")
    func endless() async throws {
      let start = monotonic()
      #expect(try await Self.answer(to: .endless).kind == .unknownUpstream)
      #expect(try await Self.answer(to: .endless) { $0.receipt = .status } == .hasIt)
      #expect(monotonic() - start < 8_000_000_000)
    }

    @Test("an answer that comes before the body has been read is an answer")
    func early() async throws {
      var batch = Sample.batch(1, compression: .none)
      batch.body = [UInt8](repeating: UInt8(ascii: "x"), count: 200_000)
      let upstream = try await FaultyUpstream(readsBodies: false) { _, _ in .early(413) }
      let uplink = Sample.uplink(upstream.url())
      #expect(await uplink.send(batch, attempt: 1) == .tooLarge(reason: ""))
      await uplink.shutdown()
      await upstream.shutdown()
    }

    @Test("a port where nobody listens, and a name that nobody has, show at once")
    func nobody() async throws {
      let closed = try ClosedPort()
      for url in ["http://127.0.0.1:\(closed.port)/", "http://nobody.invalid/"] {
        let uplink = Sample.uplink(url)
        let start = monotonic()
        let answer = await uplink.send(Sample.batch(1), attempt: 1)
        #expect(Self.unreachable(answer) == .notConnected, "\(answer)")
        #expect(monotonic() - start < 8_000_000_000)
        await uplink.shutdown()
      }
    }

    @Test("connections are used again, and a server that closes them in between does no harm")
    func keepAlive() async throws {
      let upstream = try await FaultyUpstream { _, _ in .receipt }
      let uplink = Sample.uplink(upstream.url())
      for batch in Sample.chain(20) { #expect(await uplink.send(batch, attempt: 1) == .hasIt) }
      #expect(Set(upstream.requests.map(\.connection)).count == 1)
      await uplink.shutdown()
      await upstream.shutdown()
    }

    @Test("shutting down ends what is on its way")
    func shutdown() async throws {
      let upstream = try await FaultyUpstream { _, _ in .never }
      let uplink = Sample.uplink(upstream.url(), timeout: 60_000_000_000)
      async let answer = uplink.send(Sample.batch(1), attempt: 1)
      #expect(try await eventually { upstream.requests.count == 1 })
      await uplink.shutdown()
      #expect(Self.unreachable(await answer) == .cancelled)
      #expect(Self.unreachable(await uplink.send(Sample.batch(1), attempt: 1)) == .cancelled)
      await upstream.shutdown()
    }
  }
}
