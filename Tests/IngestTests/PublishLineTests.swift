import Glibc
import Ingest
import Telemetry
import TestSupport
import Testing

@Suite struct PublishLineTests {
  private func parse(_ text: String) -> PublishLine? {
    Array(text.utf8).withUnsafeBytes { PublishLine($0) }
  }

  @Test("the line tells DUP, QoS and identifier, whatever the topic contains")
  func forms() {
    #expect(
      parse("Client c received PUBLISH (d1, q1, r0, m7, 't/a', ... (12 bytes))")
        == PublishLine(isDuplicate: true, qos: 1, packetID: 7))
    #expect(
      parse("Client c received PUBLISH (d0, q0, r1, m0, 't/a', ... (0 bytes))")
        == PublishLine(isDuplicate: false, qos: 0, packetID: 0))
    #expect(
      parse("Client c received PUBLISH (d0, q1, r0, m65535, 'x received PUBLISH (d1, q1, r0, m7, '")
        == PublishLine(isDuplicate: false, qos: 1, packetID: 65_535))
    #expect(
      parse("Client c received PUBLISH (d1, q1, r0, m7, '") == PublishLine(isDuplicate: true, qos: 1, packetID: 7),
      "the library cuts long lines")
  }

  @Test(
    "a line of another form tells nothing",
    arguments: [
      "", "Client ", "Client c sending PUBACK (m7, rc0)", "Client c received PUBLISH (d2, q1, r0, m7, 't')",
      "Client c received PUBLISH (d1, q3, r0, m7, 't')", "Client c received PUBLISH (d1, q1, r0, m65536, 't')",
      "Client c received PUBLISH (d1, q1, r0, m99999999999999999999, 't')",
      "Client c received PUBLISH (d, q1, r0, m7, 't')", "Client c received PUBLISH (d1, q1, r0, m, 't')",
      "Client c received PUBLISH (d1, q1, r0, m-7, 't')", "Client c received PUBLISH (d1 q1 r0 m7 't')",
      "Client c received PUBLISH (d1, q1, r0, m7", "client c received PUBLISH (d1, q1, r0, m7, 't')",
      "Received PUBLISH from c (d1, q1, r0, m7, 't')",
    ])
  func otherForms(_ line: String) {
    #expect(parse(line) == nil)
  }

  @Test("no bytes make it trap")
  func fuzz() {
    var random = SplitMix(state: 7)
    let line = Array("Client c received PUBLISH (d1, q1, r0, m65535, 't/a', ... (12 bytes))".utf8)
    for _ in 0..<50_000 {
      var bytes = line
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(UInt8(ascii: "9"), at: place)
        default: bytes = Array(bytes[..<max(1, place)])
        }
        if bytes.isEmpty { bytes = [0] }
      }
      let parsed = bytes.withUnsafeBytes { PublishLine($0) }
      if let parsed { #expect(parsed.qos <= 2) }
    }
    #expect(UnsafeRawBufferPointer(start: nil, count: 0).isEmpty)
    #expect(PublishLine(UnsafeRawBufferPointer(start: nil, count: 0)) == nil)
  }

  @Test("this is the line that the installed library writes")
  func library() throws {
    let broker = try FakeBroker { client in
      try client.accept(sessionPresent: true)
      guard let subscribe = try client.receive() else { return }
      try client.send(FakeBroker.Packet(kind: .suback, body: Array(subscribe.body[..<2]) + [0, 1]))
      try client.send(.publish5("t/a, 'b'", "one", id: 258, dup: true))
      try client.send(.publish5("t/" + String(repeating: "x", count: 2_000), "two", id: 65_535))
      try client.send(.publish5("t/c", "three"))
      while try client.receive() != nil {}
    }
    // mosquitto_sub shows the library's debug log as it stands.
    let (status, output) = try ChildProcess.run(
      "mosquitto_sub",
      [
        "-h", "127.0.0.1", "-p", "\(broker.port)", "-V", "5", "-i", "line", "-c", "-x", "100", "-q", "1", "-t", "t/#",
        "-d", "-C", "3",
      ])
    #expect(status == 0)
    let lines = output.split(separator: "\n").compactMap { parse(String($0)) }
    #expect(
      lines == [
        PublishLine(isDuplicate: true, qos: 1, packetID: 258),
        PublishLine(isDuplicate: false, qos: 1, packetID: 65_535),
        PublishLine(isDuplicate: false, qos: 0, packetID: 0),
      ])
  }

  @Test("of several messages with one identifier only the newest is in doubt, and each serves once")
  func set() {
    func message(_ id: UInt16, _ payload: String) -> InDoubtMessage {
      InDoubtMessage(packetID: id, topic: Array("t".utf8), payload: Array(payload.utf8))
    }
    var set = InDoubtSet([message(1, "old"), message(2, "b"), message(1, "new")])
    func take(_ id: UInt16, _ topic: String, _ payload: String) -> Bool {
      set.take(packetID: id, topic: { Array(topic.utf8) }, payload: { Array(payload.utf8) })
    }
    #expect(!take(1, "t", "old"))
    #expect(!take(3, "t", "b"))
    #expect(!take(2, "tb", ""))
    #expect(take(1, "t", "new"))
    #expect(!take(1, "t", "new"))
    #expect(!set.isEmpty)
    #expect(take(2, "t", "b"))
    #expect(set.isEmpty)
  }
}

/// Numbers that are the same in every run.
private struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
