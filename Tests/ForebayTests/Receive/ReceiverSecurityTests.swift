import Glibc
import NIOSSL
import Telemetry
import TestSupport
import Testing

@testable import forebay

/// What a receiver agrees to, and what strangers can take of it.
@Suite("Receiver: who may send")
struct ReceiverSecurityTests {
  @Test("while a token is replaced both count, and afterwards one")
  func tokens() async throws {
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"), token: "old")
    let batches = try FixtureBatch.chain([3, 3, 3])
    func status(_ batch: FixtureBatch, _ token: String) throws -> Int? {
      try receiver.send(batch, fields: ["Authorization": "Bearer \(token)"]).status
    }
    var answers = [try status(batches[0], "old"), try status(batches[0], "new")]
    #expect(answers == [200, 401])
    receiver.service.reload(faults: FaultPlan(), tokens: [Secret("old"), Secret("new")])
    answers = [try status(batches[1], "old"), try status(batches[1], "new")]
    // It has it: the same answer once more.
    #expect(answers == [200, 200])
    answers = [try status(batches[2], "new"), try status(batches[2], "")]
    #expect(answers == [200, 401])
    receiver.service.reload(faults: FaultPlan(), tokens: [Secret("new")])
    answers = [try status(batches[2], "old"), try status(batches[2], "new")]
    #expect(answers == [401, 200])
    try await receiver.stop()
  }

  @Test("TLS below 1.2 and weak cipher suites are refused; strong ones are not")
  func versionsAndSuites() async throws {
    let certificates = try Certificates()
    let receiver = try await RunningReceiver(
      TemporaryDirectory("receiver"),
      tls: ReceiverServer.tls(
        certificate: certificates.server.certificate, key: certificates.server.key, clientAuthorities: nil))
    for (offers, isTaken) in [(TLSOffer.weak, false), (TLSOffer.strong, true)] {
      for offer in offers {
        let (isConnected, output) = try OpenSSLPeer.connect(
          port: receiver.server.port, offer, authority: certificates.authority)
        #expect(isConnected == isTaken, "\(offer.name): \(output)")
      }
    }
    try await receiver.stop()
  }

  @Test("another certificate counts for new connections, without a restart")
  func renewed() async throws {
    let (old, new) = (try Certificates(), try Certificates())
    func context(_ certificates: Certificates) throws -> NIOSSLContext {
      try ReceiverServer.tls(
        certificate: certificates.server.certificate, key: certificates.server.key, clientAuthorities: nil)
    }
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"), tls: try context(old))
    func isShown(_ certificates: Certificates) throws -> Bool {
      try OpenSSLPeer.connect(
        port: receiver.server.port, TLSOffer.strong[1], authority: certificates.authority
      ).isConnected
    }
    var shown = [try isShown(old), try isShown(new)]
    #expect(shown == [true, false])
    receiver.server.adopt(try context(new))
    shown = [try isShown(old), try isShown(new)]
    #expect(shown == [false, true])
    try await receiver.stop()
  }

  @Test("a body without a token is read, not kept, and refused")
  func strangersBody() async throws {
    let receiver = try await RunningReceiver(
      TemporaryDirectory("receiver"), token: "sesame", maximumBytes: 32 << 20)
    let batch = try FixtureBatch.chain([3])[0]
    let before = Self.resident()
    let body = [UInt8](repeating: 0x20, count: 24 << 20)
    for _ in 0..<4 {
      let answer = try RawHTTP.send(
        port: receiver.server.port, request: RawHTTP.request(batch, .none, body: body))
      #expect(answer.status == 401 && answer.isWhole)
    }
    // What the test itself holds is in it: the body, its copy as a request.
    #expect(Self.resident() - before < 160 << 20)
    #expect(try receiver.send(batch, fields: ["Authorization": "Bearer sesame"]).status == 200)
    try await receiver.stop()
  }

  /// As soon as there is room.
  private static func isServed(_ receiver: RunningReceiver, _ batch: FixtureBatch) throws -> Bool {
    try eventually { try receiver.send(batch).status == 200 }
  }

  private static func resident() -> Int64 {
    let fields = TemporaryDirectory.read("/proc/self/statm").split(separator: " ")
    return (fields.count > 1 ? Int64(fields[1]) ?? 0 : 0) * Int64(sysconf(Int32(_SC_PAGESIZE)))
  }

  @Test("who says nothing, or stops in the middle of a body, is cut off; connections beyond the limit are refused")
  func silence() async throws {
    var limits = ReceiverLimits()
    limits.silence = 300_000_000
    limits.connections = 4
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"), limits: limits)
    let http = PlainHTTP(port: receiver.server.port)
    for begun in ["", "POST / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123"] {
      let fd = try http.connected(seconds: 20)
      _ = Array(begun.utf8).withUnsafeBytes { send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      var byte: UInt8 = 0
      // The end, and no answer and no timeout of ours.
      #expect(recv(fd, &byte, 1, 0) == 0, "\(begun)")
      close(fd)
    }
    let batch = try FixtureBatch.chain([3])[0]
    #expect(try Self.isServed(receiver, batch))
    // Trickling a head without an end takes no longer.
    let slow = try http.connected(seconds: 20)
    let isCut = eventually {
      _ = [UInt8]("X-A: 1\r\n".utf8).withUnsafeBytes { send(slow, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      var byte: UInt8 = 0
      return recv(slow, &byte, 1, Int32(MSG_DONTWAIT)) == 0 || errno == ECONNRESET
    }
    #expect(isCut)
    close(slow)
    try await receiver.stop()
  }

  @Test("connections beyond the limit are ended at once, and there is room when others go")
  func connections() async throws {
    var limits = ReceiverLimits()
    limits.connections = 4
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"), limits: limits)
    let http = PlainHTTP(port: receiver.server.port)
    let open = try (0..<4).map { _ in try http.connected(seconds: 20) }
    let beyond = try http.connected(seconds: 20)
    var byte: UInt8 = 0
    #expect(recv(beyond, &byte, 1, 0) <= 0)
    close(beyond)
    for fd in open { close(fd) }
    let batch = try FixtureBatch.chain([3])[0]
    #expect(try Self.isServed(receiver, batch))
    try await receiver.stop()
  }

  @Test("one address has its own limit, and others still get in")
  func perClient() async throws {
    var limits = ReceiverLimits()
    limits.perClient = 2
    #expect(limits.connections == 4 * ReceiverLimits().perClient)
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"), limits: limits)
    let http = PlainHTTP(port: receiver.server.port)
    let open = try (0..<2).map { _ in try http.connected(seconds: 20) }
    let beyond = try http.connected(seconds: 20)
    var byte: UInt8 = 0
    #expect(recv(beyond, &byte, 1, 0) <= 0)
    close(beyond)
    for fd in open { close(fd) }
    let batch = try FixtureBatch.chain([3])[0]
    #expect(try Self.isServed(receiver, batch))
    try await receiver.stop()
  }

  @Test("what smuggles a second request in one is taken for none", arguments: HostileRequest.smuggling)
  func smuggling(_ request: HostileRequest) async throws {
    let receiver = try await RunningReceiver(TemporaryDirectory("receiver"))
    let answer = try RawHTTP.send(
      port: receiver.server.port, request: request.bytes(method: "POST", path: "/v1/batches"), seconds: 3)
    #expect(answer.status == nil || answer.status == 400, "\(request.name): \(answer)")
    #expect(receiver.service.totals.requests <= 1 && receiver.service.totals.batches == 0, "\(request.name)")
    try await receiver.stop()
  }
}
