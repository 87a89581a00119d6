import Glibc
import Ingest
import Synchronization
import Telemetry
import TestSupport
import Testing

@Suite struct SubscriptionTests {
  @Test("a reload subscribes and unsubscribes the difference, on the same connection")
  func difference() throws {
    let broker = try MosquittoBroker("log_type all")
    let rig = try Rig([.floor(broker.port, filters: ["a/#", "b/#"])])
    try #require(rig.isReady(filters: ["a/#", "b/#"]))
    rig.intake.reload(sources: [.floor(broker.port, filters: ["b/#", "c/#"])])
    try #require(rig.isReady(filters: ["b/#", "c/#"]))
    for topic in ["a/1", "b/1", "c/1"] { try broker.publish(topic, [topic]) }
    #expect(eventually { rig.log.count == 2 })
    #expect(rig.log.payloads == ["b/1", "c/1"])
    #expect(rig.status()?.reconnects == 0)
    let clientID = try rig.sessions.clientID(source: "floor")
    let subscriptions = broker.log.split(separator: "\n").filter { $0.contains("\(clientID) 1 ") }
    #expect(subscriptions.map { String($0.split(separator: " ").last ?? "") } == ["a/#", "b/#", "c/#"])
  }

  @Test(
    "after a restart of ours dropped filters are gone, and what is subscribed again (MQTT 5) brings nothing retained",
    arguments: SourceSettings.ProtocolVersion.allCases)
  func restart(_ version: SourceSettings.ProtocolVersion) throws {
    let broker = try MosquittoBroker("log_type all")
    let sessions = MemorySessions()
    let rig = try Rig([.floor(broker.port, filters: ["a/#", "b/#"]) { $0.version = version }], sessions: sessions)
    try #require(rig.isReady(filters: ["a/#", "b/#"]))
    try broker.publish("b/0", ["retained"], options: ["-r"])
    #expect(eventually { rig.log.payloads == ["retained"] })
    rig.stop()
    let before = broker.log.split(separator: "\n").count { $0.contains(" 1 b/#") }
    let next = try Rig([.floor(broker.port, filters: ["b/#"]) { $0.version = version }], sessions: sessions)
    try #require(next.isReady(filters: ["b/#"]))
    try broker.publish("a/1", ["a"])
    try broker.publish("b/1", ["b"])
    #expect(eventually { next.log.payloads == ["b"] })
    let asked = broker.log.split(separator: "\n").count { $0.contains(" 1 b/#") }
    #expect(asked == before + (version == .mqtt5 ? 1 : 0))
  }

  @Test(
    "where the CONNACK of a new session did not come, the filters are asked for again, and nothing retained comes twice",
    arguments: SourceSettings.ProtocolVersion.allCases)
  func lostAnswer(_ version: SourceSettings.ProtocolVersion) throws {
    let sessions = MemorySessions()
    let number = Counter()
    let asked = Mutex<[Int: String]>([:])
    let isHeld: @Sendable () -> Bool = {
      (try? sessions.subscribedFilters(source: "floor")) == ["t/#": .held]
    }
    let broker = try FakeBroker { client in
      let connection = number.next()
      if connection == 1 {
        // The broker has lost the session: this CONNECT makes another, and the answer gets lost.
        _ = try client.receive()
        return
      }
      try client.accept(sessionPresent: connection > 0)
      while let packet = try client.receive() {
        guard packet.kind == .subscribe else { continue }
        try client.send(.init(kind: .suback, body: Array(packet.body[..<2]) + (version == .mqtt5 ? [0, 1] : [1])))
        let text = asked.withLock {
          $0[connection, default: ""] += String(decoding: packet.body, as: UTF8.self)
          return $0[connection] ?? ""
        }
        // The filters come before it.
        guard text.contains("$SYS"), connection < 3 else { continue }
        guard eventually(isHeld) else { return }
        if connection == 2, version == .mqtt311 {
          var retained = FakeBroker.Packet.publish("t/a", Array("old".utf8), id: 5)
          retained.flags |= 1
          try client.send(retained)
          while let packet = try client.receive(), packet.kind != .puback {}
        }
        return
      }
    }
    let settings = SourceSettings.floor(broker.port) {
      $0.version = version
      $0.retained = .once
    }
    let rig = try Rig([settings], sessions: sessions)
    #expect(
      eventually(within: 30) { asked.withLock { $0[3]?.contains("$SYS") == true } }, "\(rig.status()?.fault ?? "")")
    let texts = asked.withLock { $0 }
    // Behind the filter its options: QoS 1, and with MQTT 5 no retained messages.
    #expect(texts[2]?.contains("t/#" + (version == .mqtt5 ? "!" : "\u{1}")) == true, "\(texts)")
    #expect(texts[3]?.contains("t/#") == (version == .mqtt5), "\(texts)")
    #expect(rig.log.payloads == [])
    #expect(rig.status()?.ignoredRetained == (version == .mqtt5 ? 0 : 1))
  }

  @Test("sources come and go with a reload, and the others do not notice")
  func sources() throws {
    let one = try MosquittoBroker()
    let two = try MosquittoBroker()
    var roof = SourceSettings.floor(two.port)
    roof.name = "roof"
    let rig = try Rig([.floor(one.port)])
    try #require(rig.isReady())
    rig.intake.reload(sources: [roof, .floor(one.port)])
    try #require(rig.isReady("roof"))
    #expect(rig.intake.status().map(\.name) == ["roof", "floor"])
    try two.publish("t/a", ["two"])
    try one.publish("t/a", ["one"])
    #expect(eventually { rig.log.count == 2 })
    rig.intake.reload(sources: [.floor(one.port)])
    #expect(eventually { rig.intake.status().map(\.name) == ["floor"] })
    #expect(rig.status()?.reconnects == 0)
    #expect(rig.status()?.state == .connected)
    // What comes meanwhile is kept by the broker for the source's return.
    try two.publish("t/a", ["kept"])
    rig.intake.reload(sources: [.floor(one.port), roof])
    #expect(eventually { rig.log.payloads.last == "kept" })
  }

  @Test("a source that is changed in the middle of the flow loses and repeats nothing")
  func changedInTheFlow() throws {
    let broker = try MosquittoBroker("max_inflight_messages 0\nmax_queued_messages 0")
    let rig = try Rig([.floor(broker.port)])
    try #require(rig.isReady())
    let publisher = try ChildProcess(
      "sh",
      ["-c", "seq 1 10000 | mosquitto_pub -h 127.0.0.1 -p \(broker.port) -t t/flow -q 1 -l"])
    for round in 1...3 {
      #expect(eventually { rig.log.count >= round * 1000 })
      rig.intake.reload(sources: [.floor(broker.port) { $0.receiveMaximum = UInt16(500 + round) }])
    }
    #expect(publisher.wait(seconds: 60) == 0)
    #expect(eventually(within: 30) { rig.log.count >= 10_000 })
    rig.stop()
    #expect(rig.log.payloads == (1...10_000).map(String.init))
  }

  @Test("a filter that the broker refuses is named in the status, and the others work")
  func refusedFilter() throws {
    // Mosquitto's own rules grant everything and deliver less; MQTT's answer for a refusal is 0x80.
    let broker = try FakeBroker { client in
      try client.accept()
      guard let packet = try client.receive() else { return }
      try client.send(.init(kind: .suback, body: Array(packet.body[..<2]) + [0x80, 1, 0]))
      try client.send(.publish("b", Array("works".utf8), id: 1))
      _ = try client.receive()
      _ = try client.receive()
    }
    let rig = try Rig([.floor(broker.port, filters: ["a", "b", "c"]) { $0.version = .mqtt311 }])
    #expect(eventually { rig.log.payloads == ["works"] })
    #expect(eventually { rig.status()?.refusedFilters.keys.sorted() == ["a"] })
    #expect(rig.status()?.weakFilters == ["c"])
    #expect(try rig.sessions.subscribedFilters(source: "floor") == ["b": .held, "c": .uncertain])
  }

  /// Connects with a retained message at the broker, and again after the broker has lost the session.
  private func retained(
    _ rule: SourceSettings.RetainedRule, _ version: SourceSettings.ProtocolVersion
  ) throws -> (first: [String], second: [String], ignored: Int64) {
    let broker = try MosquittoBroker()
    let rig = try Rig([
      .floor(broker.port) {
        $0.retained = rule; $0.version = version
      }
    ])
    try broker.publish("t/state", ["old"], options: ["-r"])
    rig.stop()
    let log = MemoryLog()
    let sessions = MemorySessions()
    func visit() throws -> [String] {
      let rig = try Rig(
        [
          .floor(broker.port) {
            $0.retained = rule; $0.version = version
          }
        ], log: log, sessions: sessions)
      try #require(rig.isReady())
      try broker.publish("t/live", ["live"])
      #expect(eventually { log.payloads.contains("live") })
      rig.stop()
      ignored += rig.status()?.ignoredRetained ?? 0
      defer { log.state.withLock { $0 = .init() } }
      return log.payloads
    }
    var ignored: Int64 = 0
    let first = try visit()
    // The broker forgets the session and not the message.
    broker.stop()
    try broker.start()
    try broker.publish("t/state", ["old"], options: ["-r"])
    let second = try visit()
    return (first, second, ignored)
  }

  @Test("take: retained messages come with each new subscription", arguments: SourceSettings.ProtocolVersion.allCases)
  func take(_ version: SourceSettings.ProtocolVersion) throws {
    let result = try retained(.take, version)
    #expect(result.first == ["old", "live"])
    #expect(result.second == ["old", "live"])
    #expect(result.ignored == 0)
  }

  @Test("once: not again when the session was lost", arguments: SourceSettings.ProtocolVersion.allCases)
  func once(_ version: SourceSettings.ProtocolVersion) throws {
    let result = try retained(.once, version)
    #expect(result.first == ["old", "live"])
    #expect(result.second == ["live"])
    #expect(result.ignored == (version == .mqtt5 ? 0 : 1))
  }

  @Test("ignore: never", arguments: SourceSettings.ProtocolVersion.allCases)
  func ignore(_ version: SourceSettings.ProtocolVersion) throws {
    let result = try retained(.ignore, version)
    #expect(result.first == ["live"])
    #expect(result.second == ["live"])
    #expect(result.ignored == (version == .mqtt5 ? 0 : 2))
  }

  @Test("a source says when its last message was committed, and nothing while there was none")
  func lastMessage() throws {
    let broker = try MosquittoBroker()
    let rig = try Rig([.floor(broker.port)])
    try #require(rig.isReady())
    #expect(rig.status()?.lastMessage == nil)
    try broker.publish("t/a", ["m"])
    #expect(eventually { rig.status()?.lastMessage != nil })
    let first = try #require(rig.status()?.lastMessage)
    try broker.publish("t/a", ["n"])
    #expect(eventually { rig.status()?.lastMessage ?? 0 > first })
  }

  @Test("what the broker dropped of all its clients' messages is shown, and is not taken as a message")
  func droppedByBroker() throws {
    let broker = try MosquittoBroker("sys_interval 1\nmax_queued_messages 1\nmax_inflight_messages 1")
    let sleeper = try Rig([.floor(broker.port, filters: ["lost/#"]) { $0.version = .mqtt311 }])
    try #require(sleeper.isReady(filters: ["lost/#"]))
    sleeper.stop()
    let rig = try Rig([.floor(broker.port)])
    try #require(rig.isReady())
    #expect(eventually { rig.status()?.droppedByBroker != nil })
    try broker.publish("lost/a", numbers(0..<50))
    #expect(eventually { rig.status()?.droppedByBroker?.sinceConnected ?? 0 >= 40 })
    try broker.publish("t/a", ["m"])
    #expect(eventually { rig.log.payloads == ["m"] })
  }
}
