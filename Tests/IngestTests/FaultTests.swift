import Glibc
import Ingest
import Synchronization
import Telemetry
import TestSupport
import Testing

@Suite struct FaultTests {
  private static func certificates() throws -> Certificates { try shared.get() }
  /// Made once: each takes several runs of openssl.
  private static let shared = Result { try Certificates() }

  private func tlsBroker(
    _ identity: (Certificates) -> Certificates.Identity = { $0.server }, clients: Bool = false
  ) throws -> MosquittoBroker {
    let certificates = try Self.certificates()
    let identity = identity(certificates)
    return try MosquittoBroker(
      """
      certfile \(identity.certificate)
      keyfile \(identity.key)
      cafile \(certificates.authority)
      require_certificate \(clients)
      max_inflight_messages 0
      max_queued_messages 0
      """)
  }

  private func tls(_ broker: MosquittoBroker, _ tls: SourceSettings.TLS) -> SourceSettings {
    .floor(broker.port) {
      $0.host = "localhost"
      $0.tls = tls
    }
  }

  /// Waits for a fault and checks that its text names the source, the address, the cause and a hint.
  private func expectRefused(_ rig: Rig, _ port: Int, host: String = "127.0.0.1", cause: String, hint: String) {
    #expect(eventually { rig.status()?.state == .refused })
    let fault = rig.status()?.fault ?? ""
    #expect(fault.contains("floor") && fault.contains("\(host):\(port)"))
    #expect(fault.contains(cause), "\(fault)")
    #expect(fault.contains(hint), "\(fault)")
    #expect(rig.log.count == 0)
  }

  @Test("TLS with the authority and a client certificate carries a flow, nothing lost or repeated")
  func tlsFlow() throws {
    let certificates = try Self.certificates()
    let broker = try tlsBroker(clients: true)
    let rig = try Rig([
      tls(
        broker,
        .init(
          caFile: certificates.authority, certificateFile: certificates.client.certificate,
          keyFile: certificates.client.key))
    ])
    try #require(rig.isReady())
    try broker.publish(
      "t/a", numbers(0..<5000),
      options: [
        "--cafile", certificates.authority, "--cert", certificates.client.certificate, "--key",
        certificates.client.key,
      ])
    #expect(eventually(within: 20) { rig.log.count >= 5000 })
    #expect(rig.log.payloads == numbers(0..<5000))
    #expect(rig.status()?.reconnects == 0)
  }

  @Test("a small group does not strand messages that TLS has decrypted")
  func tlsSmallGroups() throws {
    let certificates = try Self.certificates()
    let broker = try tlsBroker()
    var group = GroupSettings()
    group.maximumCount = 3
    let rig = try Rig([tls(broker, .init(caFile: certificates.authority))], group: group)
    try #require(rig.isReady())
    try broker.publish("t/a", numbers(0..<1000), options: ["--cafile", certificates.authority])
    #expect(eventually(within: 20) { rig.log.count == 1000 })
    #expect(rig.log.payloads == numbers(0..<1000))
    #expect(rig.log.state.withLock { $0.groupSizes.allSatisfy { $0 <= 3 } })
  }

  @Test("messages that share a TLS record with others are not left behind")
  func coalescedRecords() throws {
    let certificates = try Self.certificates()
    let broker = try MosquittoBroker("max_inflight_messages 0\nmax_queued_messages 0")
    let proxy = try TLSProxy(to: broker.port, certificates.server)
    var settings = SourceSettings.floor(proxy.port) { $0.tls = .init(caFile: certificates.authority) }
    settings.host = "localhost"
    let rig = try Rig([settings])
    try #require(rig.isReady())
    // The last ones have nothing behind them that would push them out.
    for first in stride(from: 0, to: 5000, by: 500) {
      try broker.publish("t/a", numbers(first..<first + 500))
      #expect(eventually { rig.log.count == first + 500 })
    }
    #expect(rig.log.payloads == numbers(0..<5000))
    #expect(rig.status()?.reconnects == 0)
  }

  @Test("a certificate of an unknown authority is refused")
  func wrongAuthority() throws {
    let certificates = try Self.certificates()
    let broker = try tlsBroker()
    let rig = try Rig([tls(broker, .init(caFile: certificates.otherAuthority))])
    expectRefused(rig, broker.port, host: "localhost", cause: "not vouched for", hint: "ca_file")
  }

  @Test("an expired certificate is refused")
  func expired() throws {
    let certificates = try Self.certificates()
    let broker = try tlsBroker { $0.expiredServer }
    let rig = try Rig([tls(broker, .init(caFile: certificates.authority))])
    expectRefused(rig, broker.port, host: "localhost", cause: "has expired", hint: "clock")
  }

  @Test("a certificate for another host is refused")
  func otherHost() throws {
    let certificates = try Self.certificates()
    let broker = try tlsBroker { $0.otherHost }
    let rig = try Rig([tls(broker, .init(caFile: certificates.authority))])
    expectRefused(rig, broker.port, host: "localhost", cause: "another host name", hint: "url")
  }

  @Test("a broker that refuses our client certificate, or misses it, is told apart")
  func clientCertificate() throws {
    let certificates = try Self.certificates()
    let broker = try tlsBroker(clients: true)
    let without = try Rig([tls(broker, .init(caFile: certificates.authority))])
    expectRefused(without, broker.port, host: "localhost", cause: "client certificate", hint: "key_file")
    let strange = try Rig([
      tls(
        broker,
        .init(
          caFile: certificates.authority, certificateFile: certificates.strangeClient.certificate,
          keyFile: certificates.strangeClient.key))
    ])
    expectRefused(strange, broker.port, host: "localhost", cause: "client certificate", hint: "key_file")
  }

  @Test("TLS to a port without it is a fault with a hint")
  func tlsToPlain() throws {
    let certificates = try Self.certificates()
    let broker = try MosquittoBroker()
    let rig = try Rig([tls(broker, .init(caFile: certificates.authority))])
    #expect(eventually(within: 20) { rig.status()?.fault != nil })
    #expect(rig.status()?.state != .connected)
  }

  @Test("files that are not there are named")
  func missingFiles() throws {
    let broker = try MosquittoBroker()
    let noAuthority = try Rig([tls(broker, .init(caFile: "/nowhere/ca.pem"))])
    expectRefused(noAuthority, broker.port, host: "localhost", cause: "/nowhere/ca.pem", hint: "exists")
    let noPassword = try Rig([
      .floor(broker.port) {
        $0.user = "u"; $0.passwordFile = "/nowhere/password"
      }
    ])
    expectRefused(noPassword, broker.port, cause: "password file /nowhere/password", hint: "exists")
  }

  @Test(
    "a wrong password is refused, and a rotated one is read without a restart",
    arguments: SourceSettings.ProtocolVersion.allCases)
  func password(_ version: SourceSettings.ProtocolVersion) throws {
    let directory = try TemporaryDirectory()
    let users = try directory.write("", to: "users")
    #expect(try ChildProcess.run("mosquitto_passwd", ["-b", users, "gateway", "right"]).status == 0)
    let broker = try MosquittoBroker("allow_anonymous false\npassword_file \(users)")
    let file = try directory.write("wrong\n", to: "password")
    let rig = try Rig([
      .floor(broker.port) {
        $0.version = version
        $0.user = "gateway"
        $0.passwordFile = file
      }
    ])
    expectRefused(rig, broker.port, cause: "refused the connection", hint: "password_file")
    try directory.write("right\n", to: "password")
    #expect(rig.isReady())
    #expect(rig.status()?.fault == nil)
  }

  @Test("a broker of the older protocol is told by its answer")
  func olderBroker() throws {
    let broker = try FakeBroker { client in
      _ = try client.receive()
      try client.send([0x20, 2, 0, 1])
      _ = try client.receive()
    }
    let rig = try Rig([.floor(broker.port)])
    expectRefused(rig, broker.port, cause: "does not speak MQTT 5", hint: "3.1.1")
  }

  @Test("a session taken over is an alarm, and we do not fight for it")
  func takenOver() throws {
    let broker = try FakeBroker { client in
      try client.accept()
      _ = try client.receive()
      try client.send([0xe0, 1, 0x8e])
      _ = try client.receive()
    }
    let rig = try Rig([.floor(broker.port)])
    #expect(eventually { rig.status()?.state == .takenOver })
    #expect(rig.status()?.fault?.contains("another client") == true)
    #expect(rig.status()?.fault?.contains("cloned card") == true)
    // Who lost waits at least ten seconds.
    #expect(!eventually(within: 3) { broker.connections != 1 })
  }

  @Test("mosquitto does not say that a session was taken over: two boxes with one client id notice it all the same")
  func contested() throws {
    let broker = try MosquittoBroker()
    let first = try Rig([.floor(broker.port)], sessions: MemorySessions(clientID: "twin"))
    try #require(first.isReady())
    let second = try Rig([.floor(broker.port)], sessions: MemorySessions(clientID: "twin"))
    let boxes = [first, second]
    #expect(eventually(within: 30) { boxes.contains { $0.status()?.state == .takenOver } })
    let waiting = try #require(boxes.first { $0.status()?.state == .takenOver })
    let other = try #require(boxes.first { $0 !== waiting })
    #expect(waiting.status()?.fault?.contains("client id") == true)
    #expect(eventually(within: 5) { other.status()?.state == .connected })
    #expect(!eventually(within: 3) { other.status()?.state != .connected })
  }

  @Test("a name that does not exist and a port where nobody listens are told apart")
  func unreachable() throws {
    let port = try freePort()
    let nobody = try Rig([.floor(port)])
    #expect(eventually { nobody.status()?.fault?.contains("Connection refused") == true })
    let noName = try Rig([.floor(port) { $0.host = "no-such-host.invalid" }])
    #expect(eventually(within: 30) { noName.status()?.fault?.contains("host name was not found") == true })
  }

  @Test(
    "a message of 256 MB is passed over: acknowledged, counted, nothing allocated for it, and the next one is taken",
    arguments: SourceSettings.ProtocolVersion.allCases)
  func hugePacket(_ version: SourceSettings.ProtocolVersion) throws {
    let acknowledged = Mutex<[[UInt8]]>([])
    let broker = try FakeBroker { client in
      try client.accept()
      try client.send([0x32, 0xff, 0xff, 0xff, 0x7f, 0, 3] + Array("t/a".utf8) + [0x12, 0x34])
      let chunk = [UInt8](repeating: 0x55, count: 1 << 20)
      for _ in 0..<255 { try client.send(chunk) }
      try client.send([UInt8](chunk[..<((1 << 20) - 1 - 7)]))
      try client.send(
        version == .mqtt5 ? .publish5("t/a", "small", id: 7) : .publish("t/a", Array("small".utf8), id: 7))
      while let packet = try client.receive() {
        if packet.kind == .puback { acknowledged.withLock { $0.append(packet.body) } }
      }
    }
    let before = residentBytes()
    let rig = try Rig([.floor(broker.port) { $0.version = version }])
    #expect(eventually(within: 30) { rig.log.payloads == ["small"] }, "\(rig.status()?.fault ?? "no fault")")
    #expect(eventually { acknowledged.withLock { $0 == [[0x12, 0x34], [0, 7]] } })
    #expect(rig.status()?.oversized == 1)
    #expect(broker.connections == 1)
    #expect(residentBytes() - before < 64 << 20)
  }

  @Test("what was passed over is counted, though the connection is lost in the same breath")
  func passedOverAndLost() throws {
    let number = Counter()
    let broker = try FakeBroker { client in
      let isFirst = number.next() == 0
      try client.accept()
      guard let subscribe = try client.receive(), isFirst else { return }
      let large: [UInt8] = [0x32, 0x88, 0x27, 0, 3] + Array("t/a".utf8) + [0, 9] + [UInt8](repeating: 7, count: 4_993)
      // Behind it a PUBLISH at QoS 2, which ends the connection.
      try client.send([0x90, 3, subscribe.body[0], subscribe.body[1], 1] + large + [0x34, 2, 0, 0])
      while try client.receive() != nil {}
    }
    let rig = try Rig([
      .floor(broker.port) {
        $0.version = .mqtt311; $0.maximumPacketSize = 1_024
      }
    ])
    #expect(eventually { broker.connections >= 2 })
    #expect(rig.status()?.oversized == 1)
  }

  @Test("a control packet that announces too much ends the connection, and attempts go on")
  func hugeControlPacket() throws {
    let broker = try FakeBroker { client in
      try client.accept()
      try client.send([0x90, 0xff, 0xff, 0xff, 0x7f])
      while try client.receive() != nil {}
    }
    let rig = try Rig([.floor(broker.port)])
    #expect(eventually { rig.status()?.fault?.contains("268435460 bytes") == true })
    #expect(rig.status()?.fault?.contains("max_packet") == true)
    #expect(eventually { broker.connections >= 2 }, "it goes on trying")
  }

  @Test("a packet above the limit of a broker that cannot know it is acknowledged, counted and not taken")
  func oversized311() throws {
    let broker = try MosquittoBroker()
    let rig = try Rig([
      .floor(broker.port) {
        $0.version = .mqtt311; $0.maximumPacketSize = 10_000
      }
    ])
    try #require(rig.isReady())
    try broker.publish("t/large", [String(repeating: "x", count: 10_000_000)])
    try broker.publish("t/small", ["small"])
    #expect(eventually { rig.log.payloads == ["small"] })
    #expect(rig.status()?.oversized == 1)
    #expect(rig.status()?.reconnects == 0)
  }

  @Test("garbage, silence and a connection that breaks off in a packet are survived")
  func garbage() throws {
    let broker = try FakeBroker { client in
      // Each connection gets the next of these.
      switch number.next() {
      case 0: try client.send(Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8))
      case 1: break
      case 2:
        try client.accept()
        try client.send([0x32, 0x80, 0x80, 0x80, 0x80, 0x80])
      case 3:
        try client.accept()
        try client.send([0x32, 100, 0])
      case 4:
        try client.accept()
        try client.send([0x32, 6, 0, 2, 0xff, 0xfe, 0, 1])
      case 5:
        _ = try client.receive()
        try client.send([0x20])
      case 6:
        try client.accept()
        try client.send([0x90, 50, 0])
      default:
        try client.accept()
        try client.acknowledgeSubscriptions(2)
        try client.send(.publish("t/a", Array("fine".utf8), id: 1))
        _ = try client.receive()
        _ = try client.receive()
      }
    }
    let rig = try Rig([.floor(broker.port) { $0.version = .mqtt311 }])
    #expect(eventually(within: 60) { rig.log.payloads == ["fine"] })
    #expect(broker.connections >= 8)
  }

  private let number = Counter()

  /// Bytes of this process in memory (`/proc/self/statm`).
  private func residentBytes() -> Int {
    let fields = TemporaryDirectory.read("/proc/self/statm").split(separator: " ")
    return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * Int(getpagesize())
  }
}
