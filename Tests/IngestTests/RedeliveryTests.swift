import Glibc
import Ingest
import Synchronization
import Telemetry
import TestSupport
import Testing

/// What a broker sends again, against a real mosquitto behind a link that swallows acknowledgements.
@Suite struct RedeliveryTests {
  private static let limits = "log_type all\nmax_inflight_messages 0\nmax_queued_messages 0"

  @Test("after a crash between commit and acknowledgement nothing is taken twice, and all is acknowledged")
  func crash() throws {
    let broker = try MosquittoBroker(Self.limits)
    let proxy = try HoldingProxy(to: broker.port)
    let (log, sessions) = (MemoryLog(), MemorySessions())
    let first = try Rig([.floor(proxy.port)], log: log, sessions: sessions)
    try #require(first.isReady())
    let clientID = try sessions.clientID(source: "floor")
    proxy.hold()
    try broker.publish("t/a", numbers(0..<150))
    #expect(eventually { log.count == 150 })
    // To the broker it died here, whatever it still says.
    first.stop()
    proxy.cut()
    proxy.release()
    #expect(broker.acknowledgements(from: clientID) == 0)
    let second = try Rig([.floor(proxy.port)], log: log, sessions: sessions)
    #expect(eventually { second.status()?.redelivered == 150 })
    try broker.publish("t/a", numbers(150..<200))
    #expect(eventually { log.count >= 200 })
    #expect(log.payloads == numbers(0..<200))
    #expect(eventually { broker.acknowledgements(from: clientID) == 200 })
    #expect(eventually { second.status()?.messages == 50 })
  }

  @Test("after a lost connection nothing that was committed is taken twice, the second time neither")
  func lostConnection() throws {
    let broker = try MosquittoBroker(Self.limits)
    let proxy = try HoldingProxy(to: broker.port)
    let rig = try Rig([.floor(proxy.port)])
    try #require(rig.isReady())
    let clientID = try rig.sessions.clientID(source: "floor")
    proxy.hold()
    try broker.publish("t/a", numbers(0..<100))
    #expect(eventually { rig.log.count == 100 })
    proxy.cut()
    // The acknowledgements of what comes again are lost once more.
    #expect(eventually { rig.status()?.redelivered == 0 && rig.status()?.state != .connected })
    proxy.release()
    #expect(eventually(within: 20) { rig.status()?.redelivered == 100 })
    proxy.hold()
    try broker.publish("t/a", numbers(100..<150))
    #expect(eventually { rig.log.count >= 150 })
    proxy.cut()
    proxy.release()
    #expect(eventually(within: 20) { rig.status()?.reconnects == 2 })
    try broker.publish("t/a", numbers(150..<160))
    #expect(eventually { rig.log.count >= 160 })
    #expect(rig.log.payloads == numbers(0..<160))
    #expect(eventually { broker.acknowledgements(from: clientID) == 160 })
  }

  @Test("what was staged when the connection broke is committed before the broker sends it again")
  func stagedAtLoss() throws {
    let broker = try MosquittoBroker(Self.limits)
    let proxy = try HoldingProxy(to: broker.port)
    var group = GroupSettings()
    group.linger = 600_000_000_000
    let rig = try Rig([.floor(proxy.port)], group: group)
    try #require(rig.isReady())
    let clientID = try rig.sessions.clientID(source: "floor")
    let before = proxy.bytesToClient
    try broker.publish("t/a", numbers(0..<30))
    // Each is of eleven bytes at least; to see that it was staged there is no way from outside.
    #expect(eventually { proxy.bytesToClient >= before + 30 * 11 })
    #expect(rig.log.count == 0)
    proxy.cut()
    #expect(eventually(within: 20) { rig.status()?.redelivered == 30 })
    rig.stop()
    #expect(rig.log.payloads == numbers(0..<30))
    #expect(eventually { broker.acknowledgements(from: clientID) == 30 })
  }

  @Test("a broker that restarts from its persistence sends again what is then recognised")
  func brokerRestarts() throws {
    let broker = try MosquittoBroker(Self.limits, persistence: true)
    let proxy = try HoldingProxy(to: broker.port)
    let rig = try Rig([.floor(proxy.port)])
    try #require(rig.isReady())
    proxy.hold()
    try broker.publish("t/a", numbers(0..<60))
    #expect(eventually { rig.log.count == 60 })
    broker.stop()
    proxy.cut()
    proxy.release()
    try broker.start()
    #expect(eventually(within: 30) { rig.status()?.redelivered == 60 })
    try broker.publish("t/a", numbers(60..<80))
    #expect(eventually { rig.log.count >= 80 })
    #expect(rig.log.payloads == numbers(0..<80))
  }

  @Test("a commit that fails and is kept all the same is not taken twice")
  func failedCommitThatIsKept() throws {
    let broker = try MosquittoBroker(Self.limits)
    let rig = try Rig([.floor(broker.port)])
    try #require(rig.isReady())
    let clientID = try rig.sessions.clientID(source: "floor")
    rig.log.state.withLock {
      $0.failures = 1
      $0.failuresKeep = true
    }
    try broker.publish("t/a", numbers(0..<40))
    #expect(eventually(within: 20) { broker.acknowledgements(from: clientID) == 40 })
    #expect(rig.log.payloads == numbers(0..<40))
    #expect(rig.log.state.withLock { $0.recoveries } == 1)
    #expect(eventually { rig.status()?.redelivered ?? 0 > 0 })
  }

  @Test("a session that was parked with acknowledgements lost takes nothing twice")
  func parked() throws {
    let broker = try MosquittoBroker(Self.limits)
    let proxy = try HoldingProxy(to: broker.port)
    let rig = try Rig([.floor(proxy.port)])
    try #require(rig.isReady())
    proxy.hold()
    rig.log.state.withLock { $0.closesAt = 50 }
    try broker.publish("t/a", numbers(0..<50))
    #expect(eventually { rig.status()?.state == .parked })
    proxy.cut()
    proxy.release()
    rig.log.state.withLock {
      $0.closesAt = .max
      $0.admission = .open
    }
    #expect(eventually { rig.status()?.redelivered == 50 })
    try broker.publish("t/a", numbers(50..<60))
    #expect(eventually { rig.log.count >= 60 })
    #expect(rig.log.payloads == numbers(0..<60))
  }

  @Test("two sources are in doubt each for itself")
  func twoSources() throws {
    let brokers = [try MosquittoBroker(Self.limits), try MosquittoBroker(Self.limits)]
    let proxies = try brokers.map { try HoldingProxy(to: $0.port) }
    var roof = SourceSettings.floor(proxies[1].port)
    roof.name = "roof"
    let rig = try Rig([.floor(proxies[0].port), roof])
    try #require(rig.isReady() && rig.isReady("roof"))
    for proxy in proxies { proxy.hold() }
    // The same identifiers, topics and, for a part, payloads.
    try brokers[0].publish("t/a", numbers(0..<40))
    try brokers[1].publish("t/a", numbers(20..<50))
    #expect(eventually { rig.log.count == 70 })
    for proxy in proxies {
      proxy.cut()
      proxy.release()
    }
    #expect(eventually(within: 20) { rig.status()?.redelivered == 40 && rig.status("roof")?.redelivered == 30 })
    try brokers[0].publish("t/a", ["fresh"])
    try brokers[1].publish("t/a", ["fresh"])
    #expect(eventually { rig.log.count >= 72 })
    func payloads(_ source: String) -> [String] {
      rig.log.messages.filter { $0.origin.source == source }.map { String(decoding: $0.payload, as: UTF8.self) }
    }
    #expect(payloads("floor") == numbers(0..<40) + ["fresh"])
    #expect(payloads("roof") == numbers(20..<50) + ["fresh"])
  }

  @Test("DUP is seen through TLS as well")
  func tls() throws {
    let certificates = try Certificates()
    let broker = try MosquittoBroker(
      Self.limits + "\ncertfile \(certificates.server.certificate)\nkeyfile \(certificates.server.key)")
    let proxy = try HoldingProxy(to: broker.port)
    let settings = SourceSettings.floor(proxy.port) {
      $0.host = "localhost"
      $0.tls = .init(caFile: certificates.authority)
    }
    let rig = try Rig([settings])
    try #require(rig.isReady())
    proxy.hold()
    try broker.publish("t/a", numbers(0..<30), options: ["--cafile", certificates.authority])
    #expect(eventually { rig.log.count == 30 })
    proxy.cut()
    proxy.release()
    #expect(eventually(within: 20) { rig.status()?.redelivered == 30 })
    #expect(rig.log.payloads == numbers(0..<30))
  }

  @Test("with MQTT 3.1.1 a message that is sent again is taken again: at least once")
  func olderProtocol() throws {
    let broker = try MosquittoBroker(Self.limits)
    let proxy = try HoldingProxy(to: broker.port)
    let rig = try Rig([.floor(proxy.port) { $0.version = .mqtt311 }])
    try #require(rig.isReady())
    proxy.hold()
    try broker.publish("t/a", numbers(0..<10))
    #expect(eventually { rig.log.count == 10 })
    proxy.cut()
    proxy.release()
    #expect(eventually(within: 20) { rig.log.count == 20 })
    #expect(rig.log.payloads == numbers(0..<10) + numbers(0..<10))
    #expect(rig.status()?.redelivered == 0)
  }

  @Test("a flow with broken links and crashes, each time with acknowledgements lost, arrives exactly once")
  func brokenFlow() throws {
    let broker = try MosquittoBroker("max_inflight_messages 0\nmax_queued_messages 0")
    let proxy = try HoldingProxy(to: broker.port)
    let (log, sessions) = (MemoryLog(), MemorySessions())
    var rig = try Rig([.floor(proxy.port)], log: log, sessions: sessions)
    try #require(rig.isReady())
    var redelivered: Int64 = 0
    for round in 0..<4 {
      let first = round * 2_500
      try broker.publish("t/flow", numbers(first..<first + 1_000))
      #expect(eventually(within: 30) { log.count >= first + 1_000 })
      proxy.hold()
      let before = proxy.bytesSwallowed
      // Thirty portions, over more than a second: the link breaks and comes back meanwhile.
      let publisher = try ChildProcess(
        "sh",
        [
          "-c",
          "for i in $(seq 30); do seq -f m%.0f $((\(first)+950+i*50)) $((\(first)+999+i*50)); sleep 0.04; done"
            + " | mosquitto_pub -h 127.0.0.1 -p \(broker.port) -t t/flow -q 1 -l",
        ])
      #expect(eventually { proxy.bytesSwallowed > before })
      proxy.cut()
      proxy.release()
      #expect(eventually(within: 20) { rig.status()?.redelivered ?? 0 > 0 })
      proxy.hold()
      // Nothing new comes where the broker has sent all that it may.
      let again = log.count
      _ = eventually(within: 0.3) { log.count > again }
      rig.stop()
      redelivered += try #require(rig.status()).redelivered
      proxy.cut()
      proxy.release()
      rig = try Rig([.floor(proxy.port)], log: log, sessions: sessions)
      #expect(publisher.wait(seconds: 60) == 0)
    }
    #expect(eventually(within: 30) { log.count >= 10_000 })
    rig.stop()
    let payloads = log.payloads
    #expect(payloads.count == 10_000)
    #expect((payloads == numbers(0..<10_000)) == true, "\(repeats(payloads)) repeats")
    #expect(redelivered > 0)
  }

  private func repeats(_ payloads: [String]) -> Int { payloads.count - Set(payloads).count }
}

/// What counts as sent again, message by message, against a broker that says whatever it is told.
@Suite struct RedeliveryRuleTests {
  private typealias Client = FakeBroker.Client
  private typealias Packet = FakeBroker.Packet

  /// One script for each connection; after the last one the broker only answers.
  private func broker(_ scripts: (@Sendable (Client) throws -> Void)...) throws -> FakeBroker {
    let connection = Counter()
    return try FakeBroker { client in
      let number = connection.next()
      if number < scripts.count { return try scripts[number](client) }
      try client.accept(sessionPresent: true)
      while try client.next() != nil {}
    }
  }

  /// The first connection: one message for each payload, with identifiers from 1, acknowledged to nobody.
  private func taken(_ payloads: String...) -> @Sendable (Client) throws -> Void {
    { client in
      try client.accept()
      for (index, payload) in payloads.enumerated() {
        try client.send(.publish5("t/a", payload, id: index + 1))
      }
      for _ in payloads { _ = try client.next() }
    }
  }

  /// The second connection, on the resumed session, until everything with an identifier is acknowledged.
  private func sends(
    sessionPresent: Bool = true, _ packets: FakeBroker.Packet..., closing: Bool = false
  ) -> @Sendable (Client) throws -> Void {
    { client in
      try client.accept(sessionPresent: sessionPresent)
      for packet in packets { try client.send(packet) }
      for _ in packets.filter({ $0.flags & 6 != 0 }) { _ = try client.next() }
      if !closing { while try client.next() != nil {} }
    }
  }

  private func expect(
    _ payloads: [String], redelivered: Int64, from broker: FakeBroker,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let rig = try Rig([.floor(broker.port)])
    #expect(
      eventually { rig.log.count >= payloads.count && rig.status()?.redelivered ?? 0 >= redelivered },
      sourceLocation: sourceLocation)
    // What comes too much comes a moment later.
    #expect(!eventually(within: 0.4) { rig.log.count > payloads.count }, sourceLocation: sourceLocation)
    #expect(rig.log.payloads == payloads, sourceLocation: sourceLocation)
    #expect(rig.status()?.redelivered == redelivered, sourceLocation: sourceLocation)
  }

  @Test("identifier, topic, payload and DUP make a redelivery")
  func redelivery() throws {
    try expect(
      ["a", "b", "new"], redelivered: 2,
      from: broker(
        taken("a", "b"),
        sends(
          .publish5("t/a", "a", id: 1, dup: true), .publish5("t/a", "b", id: 2, dup: true),
          .publish5("t/a", "new", id: 3))))
  }

  @Test("the same identifier, topic and payload without DUP is a new message of a stuck sensor")
  func withoutDUP() throws {
    try expect(
      ["a", "a"], redelivered: 0, from: broker(taken("a"), sends(.publish5("t/a", "a", id: 1))))
  }

  @Test("another payload, topic or identifier is a new message, DUP or not")
  func differs() throws {
    try expect(
      ["a", "A"], redelivered: 0, from: broker(taken("a"), sends(.publish5("t/a", "A", id: 1, dup: true))))
    try expect(
      ["a", "a"], redelivered: 0, from: broker(taken("a"), sends(.publish5("t/b", "a", id: 1, dup: true))))
    try expect(
      ["a", "a"], redelivered: 0, from: broker(taken("a"), sends(.publish5("t/a", "a", id: 2, dup: true))))
  }

  @Test("each message is recognised once on a session")
  func once() throws {
    try expect(
      ["a", "b", "a"], redelivered: 1,
      from: broker(
        taken("a", "b"),
        sends(.publish5("t/a", "a", id: 1, dup: true), .publish5("t/a", "a", id: 1, dup: true))))
  }

  @Test("the first message at QoS 1 that is new ends it: what comes behind is taken, DUP or not")
  func freshEnds() throws {
    try expect(
      ["a", "b", "new", "b"], redelivered: 1,
      from: broker(
        taken("a", "b"),
        sends(
          .publish5("t/a", "a", id: 1, dup: true), .publish5("t/a", "new", id: 9),
          .publish5("t/a", "b", id: 2, dup: true))))
  }

  @Test("messages at QoS 0 in between end nothing")
  func atMostOnce() throws {
    try expect(
      ["a", "b", "x", "y"], redelivered: 2,
      from: broker(
        taken("a", "b"),
        sends(
          .publish5("t/a", "x"), .publish5("t/a", "a", id: 1, dup: true), .publish5("t/a", "y"),
          .publish5("t/a", "b", id: 2, dup: true))))
  }

  @Test("retained messages that are ignored by rule end nothing")
  func ignoredRetained() throws {
    var retained = FakeBroker.Packet.publish5("t/r", "old", id: 7)
    retained.flags |= 1
    let broker = try broker(
      taken("a"), sends(retained, .publish5("t/a", "a", id: 1, dup: true), .publish5("t/a", "new", id: 8)))
    let rig = try Rig([.floor(broker.port) { $0.retained = .ignore }])
    #expect(eventually { rig.log.count >= 2 })
    #expect(rig.log.payloads == ["a", "new"])
    #expect(rig.status()?.redelivered == 1)
  }

  @Test("a broker that has lost the session numbers anew: nothing of before is in doubt, also later")
  func sessionLost() throws {
    try expect(
      ["a", "b", "a", "b"], redelivered: 0,
      from: broker(
        taken("a", "b"),
        sends(sessionPresent: false, .publish5("t/a", "a", id: 1, dup: true), closing: true),
        // New on the new session, sent before, and lost on the way.
        sends(.publish5("t/a", "b", id: 2, dup: true))))
  }

  @Test("another source's messages are no matter")
  func otherSource() throws {
    let one = try broker(taken("a"))
    let two = try broker(taken("other"), sends(.publish5("t/a", "a", id: 1, dup: true)))
    var roof = SourceSettings.floor(two.port)
    roof.name = "roof"
    let rig = try Rig([.floor(one.port), roof])
    #expect(eventually { rig.log.count == 3 })
    #expect(rig.status("roof")?.redelivered == 0)
  }
}
