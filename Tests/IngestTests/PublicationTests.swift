import TestSupport
import Testing

@testable import Ingest

@Suite("A single message to a broker")
struct PublicationTests {
  private let message = Publication.Message(topic: "plant/alarms/uplink/central", payload: Array("{\"a\":1}".utf8))

  private func settings(_ port: Int, _ version: SourceSettings.ProtocolVersion = .mqtt5) -> SourceSettings {
    var settings = SourceSettings(name: "floor", host: "127.0.0.1", port: port)
    settings.version = version
    return settings
  }

  @Test("is there, retained, when the call returns", arguments: SourceSettings.ProtocolVersion.allCases)
  func arrives(_ version: SourceSettings.ProtocolVersion) throws {
    let broker = try MosquittoBroker()
    try Publication.publish(message, to: settings(broker.port, version))
    let (status, output) = try ChildProcess.run(
      "mosquitto_sub",
      ["-h", "127.0.0.1", "-p", "\(broker.port)", "-t", "plant/#", "-C", "1", "-W", "10", "-v"])
    #expect(status == 0 && output == "plant/alarms/uplink/central {\"a\":1}\n", "\(output)")
  }

  @Test("does not disturb the session that is subscribed")
  func besideASession() throws {
    let broker = try MosquittoBroker()
    let rig = try Rig([.floor(broker.port)])
    try #require(rig.isReady())
    for _ in 0..<5 { try Publication.publish(message, to: .floor(broker.port)) }
    try broker.publish("t/a", ["x"])
    #expect(eventually { rig.log.count >= 1 })
    #expect(rig.status()?.reconnects == 0 && rig.status()?.state == .connected)
    rig.stop()
  }

  @Test("to nobody says so")
  func nobody() throws {
    let closed = try ClosedPort()
    let failure = Publication.Failure(fault: .unreachable(detail: "Connection refused"), mayHaveArrived: false)
    #expect(throws: failure) {
      try Publication.publish(message, to: settings(closed.port))
    }
  }

  @Test("to a broker that refuses us says so")
  func refused() throws {
    let broker = try MosquittoBroker("allow_anonymous false")
    do throws(Publication.Failure) {
      try Publication.publish(message, to: settings(broker.port))
      Issue.record("must be refused")
    } catch {
      #expect(error.fault.cause.contains("the broker refused the connection"), "\(error.fault.cause)")
      #expect(!error.mayHaveArrived)
    }
  }

  @Test("that was sent and not answered may have arrived; one that the broker refuses has not", arguments: [nil, 0x87])
  func inDoubt(_ code: UInt8?) throws {
    let broker = try FakeBroker { client in
      try client.accept()
      guard let packet = try client.receive(), packet.kind == .publish, let code else { return }
      let topic = Int(packet.body[0]) << 8 | Int(packet.body[1])
      try client.send(.init(kind: .puback, body: Array(packet.body[(2 + topic)..<(4 + topic)]) + [code, 0]))
      _ = try client.receive()
    }
    do throws(Publication.Failure) {
      try Publication.publish(message, to: settings(broker.port))
      Issue.record("it was not acknowledged")
    } catch {
      #expect(error.mayHaveArrived == (code == nil), "\(error)")
    }
  }
}
