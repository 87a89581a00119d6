import Glibc
import Ingest
import Synchronization
import Telemetry
import TestSupport
import Testing

@Suite struct IntakeTests {
  @Test("messages are taken with topic, payload, QoS, packet identifier and properties")
  func takes() throws {
    let broker = try MosquittoBroker()
    let rig = try Rig([.floor(broker.port)])
    try #require(rig.isReady())
    try broker.publish(
      "t/a", ["hello"],
      options: [
        "-V", "5", "-D", "publish", "user-property", "k", "v", "-D", "publish", "content-type", "text/plain",
        "-D", "publish", "response-topic", "r", "-D", "publish", "correlation-data", "c",
        "-D", "publish", "payload-format-indicator", "1", "-D", "publish", "message-expiry-interval", "1000",
      ])
    try broker.publish("t/b", ["zero"], qos: 0)
    try broker.publish("t/c", ["two"], qos: 2)
    #expect(eventually { rig.log.count == 3 })
    let messages = rig.log.messages.sorted { $0.origin.topic < $1.origin.topic }
    try #require(messages.count == 3)
    #expect(messages[0].origin == Origin(source: "floor", topic: "t/a"))
    #expect(messages[0].payload == Array("hello".utf8))
    #expect(messages[0].qos == .atLeastOnce)
    #expect(messages[0].packetID != nil)
    #expect(!messages[0].retained)
    let properties = Set(messages[0].properties)
    #expect(properties.contains(.user(name: "k", value: "v")))
    #expect(properties.contains(.contentType("text/plain")))
    #expect(properties.contains(.responseTopic("r")))
    #expect(properties.contains(.correlationData(Array("c".utf8))))
    #expect(properties.contains(.payloadFormatIndicator(1)))
    #expect(properties.contains { if case .messageExpiryInterval = $0 { true } else { false } })
    #expect(properties.count == 6)
    #expect(messages[1].qos == .atMostOnce)
    #expect(messages[1].packetID == nil)
    #expect(messages[1].properties.isEmpty)
    #expect(messages[2].qos == .atLeastOnce, "subscribed at QoS 1, the broker downgrades")
    #expect(rig.status()?.messages == 3)
    #expect(rig.status()?.bytes == 12)
  }

  @Test("many topics and empty and large payloads arrive byte for byte")
  func bytes() throws {
    let broker = try MosquittoBroker("message_size_limit 0\nmax_packet_size 2000000")
    let rig = try Rig([.floor(broker.port) { $0.maximumPacketSize = 2_000_000 }])
    try #require(rig.isReady())
    let large = String(repeating: "x", count: 1_500_000)
    try broker.publish("t/large", [large])
    try broker.publish("t/empty", [""])
    for i in 0..<20 { try broker.publish("t/\(i)/ünïcode", ["p\(i)"]) }
    #expect(eventually { rig.log.count == 22 })
    let byTopic = Dictionary(
      rig.log.messages.map { ($0.origin.topic, $0.payload) }, uniquingKeysWith: { $1 })
    #expect(byTopic["t/large"] == Array(large.utf8))
    #expect(byTopic["t/7/ünïcode"] == Array("p7".utf8))
    #expect(byTopic.count == 22)
  }

  @Test("no acknowledgement leaves before the commit has returned")
  func acknowledgesAfterCommit() throws {
    let broker = try MosquittoBroker("log_type all\nmax_inflight_messages 0")
    let rig = try Rig([.floor(broker.port)])
    try #require(rig.isReady())
    let clientID = try rig.sessions.clientID(source: "floor")
    rig.log.state.withLock { $0.isBlocked = true }
    try broker.publish("t/a", numbers(0..<200))
    #expect(eventually { rig.log.attempts == 1 })
    #expect(eventually { broker.log.contains("Sending PUBLISH to \(clientID) (d0, q1, r0, m200") })
    #expect(!broker.log.contains("Received PUBACK from \(clientID)"))
    rig.log.state.withLock { $0.isBlocked = false }
    #expect(eventually { rig.log.count == 200 })
    #expect(eventually { broker.acknowledgements(from: clientID) == 200 })
    #expect(Set(rig.log.payloads) == Set(numbers(0..<200)))
  }

  @Test("a failed commit acknowledges nothing, the log is recovered, and the broker sends all again")
  func commitFails() throws {
    let broker = try MosquittoBroker("log_type all\nmax_inflight_messages 0")
    let rig = try Rig([.floor(broker.port)])
    try #require(rig.isReady())
    let clientID = try rig.sessions.clientID(source: "floor")
    rig.log.state.withLock {
      $0.failures = 1
      $0.failedRecoveries = 1
    }
    try broker.publish("t/a", numbers(0..<150))
    #expect(eventually { rig.log.attempts == 1 })
    #expect(eventually { rig.log.count == 150 })
    #expect(rig.log.payloads == numbers(0..<150))
    #expect(rig.log.state.withLock { $0.recoveries } == 2)
    #expect(eventually { broker.acknowledgements(from: clientID) == 150 })
    let lines = broker.log.split(separator: "\n")
    let reconnected = lines.lastIndex { $0.contains("New client connected") && $0.contains(clientID) }
    let acknowledged = lines.firstIndex { $0.contains("Received PUBACK from \(clientID)") }
    #expect(try #require(acknowledged) > (try #require(reconnected)))
    #expect(rig.status()?.reconnects == 1)
  }

  @Test("a log without room parks the session, and nothing is lost or repeated when it has room again")
  func parks() throws {
    let broker = try MosquittoBroker("max_queued_messages 0\nmax_inflight_messages 0")
    var group = GroupSettings()
    group.maximumCount = 50
    let rig = try Rig([.floor(broker.port) { $0.receiveMaximum = 20 }], group: group)
    try #require(rig.isReady())
    rig.log.state.withLock { $0.closesAt = 100 }
    try broker.publish("t/a", numbers(0..<500))
    #expect(eventually { rig.status()?.state == .parked })
    #expect(rig.status()?.parkedFor == "full for the test")
    let taken = rig.log.count
    #expect(taken >= 100 && taken < 200)
    rig.log.state.withLock {
      $0.closesAt = .max
      $0.admission = .open
    }
    #expect(eventually { rig.log.count >= 500 })
    #expect(rig.log.payloads == numbers(0..<500))
    #expect(rig.status()?.parkedFor == nil)
  }

  @Test("a log without room at the start keeps the sessions from connecting")
  func parkedAtStart() throws {
    let broker = try MosquittoBroker()
    let log = MemoryLog()
    log.state.withLock { $0.admission = .closed(reason: "no room") }
    let rig = try Rig([.floor(broker.port)], log: log)
    #expect(eventually { rig.status()?.state == .parked })
    #expect(!broker.log.contains("New client connected"))
    log.state.withLock { $0.admission = .open }
    #expect(rig.isReady())
  }

  @Test("a broker that is stopped and started loses and repeats nothing")
  func brokerRestarts() throws {
    let broker = try MosquittoBroker("log_type all\nmax_queued_messages 0", persistence: true)
    let rig = try Rig([.floor(broker.port)])
    try #require(rig.isReady())
    let clientID = try rig.sessions.clientID(source: "floor")
    try broker.publish("t/a", numbers(0..<100))
    #expect(eventually { broker.acknowledgements(from: clientID) == 100 })
    broker.stop()
    #expect(eventually { rig.status()?.state == .waiting || rig.status()?.state == .connecting })
    #expect(rig.status()?.fault?.contains("127.0.0.1:\(broker.port)") == true)
    try broker.start()
    try broker.publish("t/a", numbers(100..<200))
    #expect(eventually(within: 20) { rig.log.count == 200 })
    #expect(rig.log.payloads == numbers(0..<200))
    #expect(rig.status()?.fault == nil)
  }

  @Test("a broker killed with -9 has lost the session: everything is subscribed again")
  func brokerForgets() throws {
    let broker = try MosquittoBroker()
    let rig = try Rig([.floor(broker.port)])
    try #require(rig.isReady())
    broker.kill9()
    try broker.start()
    #expect(eventually(within: 20) { rig.status()?.reconnects == 1 })
    try #require(rig.isReady())
    try broker.publish("t/a", ["after"])
    #expect(eventually { rig.log.payloads == ["after"] })
  }

  @Test("stopping commits and acknowledges what is staged, and the next start begins where it ended")
  func stops() throws {
    let broker = try MosquittoBroker("log_type all\nmax_inflight_messages 0\nmax_queued_messages 0")
    let log = MemoryLog()
    let sessions = MemorySessions()
    var group = GroupSettings()
    group.linger = 60_000_000_000
    let rig = try Rig([.floor(broker.port)], group: group, log: log, sessions: sessions)
    try #require(rig.isReady())
    let clientID = try sessions.clientID(source: "floor")
    try broker.publish("t/a", numbers(0..<30))
    #expect(eventually { broker.log.contains("Sending PUBLISH to \(clientID) (d0, q1, r0, m30") })
    rig.stop()
    #expect(log.payloads == numbers(0..<30))
    #expect(rig.status()?.state == .stopped)
    #expect(eventually { broker.log.contains("Received DISCONNECT from \(clientID)") })
    #expect(broker.acknowledgements(from: clientID) == 30)
    try broker.publish("t/a", numbers(30..<60))
    let next = try Rig([.floor(broker.port)], log: log, sessions: sessions)
    #expect(eventually { log.count >= 60 })
    #expect(log.payloads == numbers(0..<60))
    _ = next
  }

  @Test("stopping in the middle of the flow loses and repeats nothing")
  func stopsInTheFlow() throws {
    let broker = try MosquittoBroker("max_inflight_messages 0\nmax_queued_messages 0")
    let log = MemoryLog()
    let sessions = MemorySessions()
    try #require(Rig([.floor(broker.port)], log: log, sessions: sessions).isReady())
    let publisher = try ChildProcess(
      "sh",
      ["-c", "seq 1 20000 | mosquitto_pub -h 127.0.0.1 -p \(broker.port) -t t/flow -q 1 -l"])
    for round in 1...4 {
      let rig = try Rig([.floor(broker.port)], log: log, sessions: sessions)
      #expect(eventually { log.count >= round * 2500 })
      rig.stop()
    }
    let rig = try Rig([.floor(broker.port)], log: log, sessions: sessions)
    #expect(publisher.wait(seconds: 60) == 0)
    #expect(eventually(within: 30) { log.count >= 20_000 })
    rig.stop()
    #expect(log.payloads == (1...20_000).map(String.init))
  }

  @Test("with MQTT 3.1.1 a broker that has 20 messages on the way at most is not held up by the linger")
  func window311() throws {
    let broker = try MosquittoBroker("max_inflight_messages 20\nmax_queued_messages 0")
    let rig = try Rig([.floor(broker.port) { $0.version = .mqtt311 }])
    try #require(rig.isReady())
    try broker.publish("t/a", numbers(0..<2000))
    #expect(eventually(within: 20) { rig.log.count == 2000 })
    #expect(try #require(rig.status()).groupsEndedByLinger <= 5)
    #expect(rig.log.payloads == numbers(0..<2000))
  }

  @Test("a strict in-flight window is learned, and groups end when it is full")
  func strictWindow() throws {
    let broker = try FakeBroker { client in
      try client.accept()
      try client.acknowledgeSubscriptions(2)
      for first in stride(from: 1, through: 1000, by: 20) {
        for id in first..<first + 20 {
          try client.send(.publish("t/a", Array("m\(id - 1)".utf8), id: id))
        }
        for _ in 0..<20 {
          guard try client.receive()?.kind == .puback else { return }
        }
      }
      _ = try client.receive()
    }
    let rig = try Rig([.floor(broker.port) { $0.version = .mqtt311 }])
    #expect(eventually(within: 20) { rig.log.count == 1000 })
    #expect(eventually { rig.status()?.messages == 1000 })
    let status = try #require(rig.status())
    #expect(status.window == 20)
    #expect(status.groupsEndedByWindow >= 40)
    #expect(status.groupsEndedByLinger <= 5, "a linger of 250 ms for every 20 messages is 80 a second")
    #expect(rig.log.payloads == numbers(0..<1000))
  }

  @Test("a connection with nothing to say is kept alive")
  func keepsAlive() throws {
    let broker = try MosquittoBroker("log_type all")
    let rig = try Rig([.floor(broker.port) { $0.keepalive = 5 }])
    try #require(rig.isReady())
    let clientID = try rig.sessions.clientID(source: "floor")
    #expect(
      eventually(within: 20) {
        broker.log.split(separator: "\n").count { $0.contains("Sending PINGRESP to \(clientID)") } == 2
      })
    #expect(rig.status()?.reconnects == 0)
  }

  @Test("a long linger does not keep a session from giving its sign of life")
  func keepaliveEndsGroup() throws {
    let broker = try MosquittoBroker("log_type all")
    var group = GroupSettings()
    group.linger = 600_000_000_000
    let rig = try Rig([.floor(broker.port) { $0.keepalive = 5 }], group: group)
    try #require(rig.isReady())
    try broker.publish("t/a", ["waits"])
    #expect(rig.log.count == 0)
    #expect(eventually(within: 7) { rig.log.count == 1 })
    #expect(rig.status()?.reconnects == 0)
  }

  @Test("a slow log does not cost the connection")
  func slowLog() throws {
    let broker = try MosquittoBroker("max_queued_messages 0")
    let rig = try Rig([
      .floor(broker.port) {
        $0.keepalive = 5; $0.receiveMaximum = 10
      }
    ])
    try #require(rig.isReady())
    rig.log.state.withLock { $0.milliseconds = 900 }
    try broker.publish("t/a", numbers(0..<100))
    #expect(eventually(within: 30) { rig.log.count == 100 })
    #expect(rig.status()?.reconnects == 0)
    #expect(rig.log.payloads == numbers(0..<100))
  }

  @Test("two sources flow side by side, and one that does not answer delays nobody")
  func severalSources() throws {
    let one = try MosquittoBroker("max_queued_messages 0")
    let two = try MosquittoBroker("max_queued_messages 0")
    var second = SourceSettings.floor(two.port)
    second.name = "roof"
    var dead = SourceSettings.floor(try freePort())
    dead.name = "dead"
    // TEST-NET-1 (RFC 5737): connecting hangs or fails, by the network that the test runs in.
    var far = SourceSettings(name: "far", host: "192.0.2.1", port: 1883)
    far.filters = ["t/#"]
    let rig = try Rig([dead, far, .floor(one.port), second])
    try #require(rig.isReady())
    try #require(rig.isReady("roof"))
    try one.publish("t/a", numbers(0..<300))
    try two.publish("t/a", numbers(0..<300))
    #expect(eventually { rig.log.count == 600 })
    for name in ["floor", "roof"] {
      let payloads = rig.log.messages.filter { $0.origin.source == name }
        .map { String(decoding: $0.payload, as: UTF8.self) }
      #expect(payloads == numbers(0..<300))
      #expect(rig.status(name)?.messages == 300)
    }
    #expect(rig.intake.status().map(\.name) == ["dead", "far", "floor", "roof"])
    #expect(rig.status("dead")?.fault?.contains("no connection") == true)
  }
}

extension MosquittoBroker {
  /// PUBACKs that a client sent, from the broker's log; it needs `log_type all`.
  func acknowledgements(from clientID: String) -> Int {
    log.split(separator: "\n").count { $0.contains("Received PUBACK from \(clientID)") }
  }
}
