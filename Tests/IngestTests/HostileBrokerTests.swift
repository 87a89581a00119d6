import Ingest
import Synchronization
import Telemetry
import TestSupport
import Testing

/// A packet that no broker may send, or that says nothing.
struct BadPacket: Sendable, CustomTestStringConvertible {
  enum Effect: Sendable {
    /// The connection is closed: nobody knows what comes behind it.
    case ends
    /// It is passed over, or taken for what it is.
    case ignored
  }

  var name: String
  var bytes: [UInt8]
  var effect: Effect

  var testDescription: String { name }

  /// PUBLISH at QoS 1 of MQTT 5, identifier 7, payload `bad`.
  private static func publish(
    _ topic: [UInt8] = Array("t/a".utf8), properties: [UInt8] = [], id: [UInt8] = [0, 7], first: UInt8 = 0x32
  ) -> [UInt8] {
    packet(first, text(topic) + id + [UInt8(properties.count)] + properties + Array("bad".utf8))
  }

  /// At most 127 bytes.
  private static func packet(_ first: UInt8, _ body: [UInt8]) -> [UInt8] { [first, UInt8(body.count)] + body }
  private static func text(_ bytes: [UInt8]) -> [UInt8] {
    [UInt8(bytes.count >> 8), UInt8(bytes.count & 0xff)] + bytes
  }

  private static let publishes: [(String, [UInt8], Effect)] = [
    ("a PUBLISH at QoS 2", publish(first: 0x34), .ends), ("a PUBLISH at QoS 3", publish(first: 0x36), .ends),
    ("a length of five bytes", [0x32, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], .ends),
    ("a PUBLISH without a body", [0x32, 0], .ends),
    ("a topic longer than its packet", [0x32, 4, 0, 9, 0x74, 0x2F], .ends),
    ("no room for the identifier", packet(0x32, text(Array("t/a".utf8))), .ends),
    ("identifier 0", publish(id: [0, 0]), .ends),
    ("no length of properties", packet(0x32, text(Array("t/a".utf8)) + [0, 7]), .ends),
    ("properties longer than the packet", packet(0x32, text(Array("t/a".utf8)) + [0, 7, 0x70, 1]), .ends),
    (
      "a length of properties of five bytes",
      packet(0x32, text(Array("t/a".utf8)) + [0, 7, 0xFF, 0xFF, 0xFF, 0xFF, 1]), .ends
    ),
    ("an unknown property", publish(properties: [0x7F, 0]), .ends),
    ("a property of CONNACK", publish(properties: [0x13, 0, 1]), .ends),
    ("a property twice", publish(properties: [1, 0, 1, 0]), .ends),
    ("a text that is cut off", publish(properties: [3, 0, 9, 0x61]), .ends),
    ("a number that is cut off", publish(properties: [2, 0, 0]), .ends),
    ("a content type that is no UTF-8", publish(properties: [3] + text([0xFF])), .ends),
    ("a user property with NUL", publish(properties: [0x26] + text([0]) + text([0x62])), .ends),
    ("a topic that is no UTF-8", publish([0x74, 0x2F, 0xC3, 0x28]), .ends),
    ("a topic with a surrogate", publish([0x74, 0x2F, 0xED, 0xA0, 0x80]), .ends),
    ("a topic with NUL", publish([0x74, 0x2F, 0]), .ends),
    ("a topic with an escape", publish([0x74, 0x2F, 0x1B]), .ends),
  ]

  private static let others: [(String, [UInt8], Effect)] = [
    ("a control packet of 20,000 bytes", [0x90, 0xA0, 0x9C, 1] + [UInt8](repeating: 0, count: 20_000), .ends),
    ("a packet of type 0", [0, 0], .ends),
    ("a CONNECT", packet(0x10, text(Array("MQTT".utf8)) + [5, 2, 0, 0, 0, 0, 0]), .ends),
    ("a SUBSCRIBE", packet(0x82, [0, 1, 0] + text(Array("t/a".utf8)) + [1]), .ends),
    ("a PINGREQ", [0xC0, 0], .ignored), ("a PINGRESP that nobody asked for", [0xD0, 0], .ignored),
    ("a PINGRESP with a body", [0xD0, 1, 0], .ignored),
    ("a PUBACK for what was never sent", [0x40, 2, 0, 9], .ignored),
    ("a PUBACK with identifier 0", [0x40, 2, 0, 0], .ends),
    ("a PUBREL for what was never sent", [0x62, 2, 0, 9], .ignored),
    ("a SUBACK for what was never asked", [0x90, 4, 0x70, 0, 0, 1], .ignored),
    ("a SUBACK without a body", [0x90, 0], .ends),
    ("an unknown property in a SUBACK", [0x90, 6, 0, 1, 2, 0x7F, 0, 1], .ends),
    ("an unknown property in a PUBACK", [0x40, 6, 0, 1, 0, 2, 0x7F, 0], .ends),
    ("an unknown property in a DISCONNECT", [0xE0, 4, 0, 2, 0x7F, 0], .ends),
    ("topic alias 0", publish(properties: [0x23, 0, 0]), .ends),
    ("an unknown topic alias", publish([], properties: [0x23, 0, 5]), .ends), ("an empty topic", publish([]), .ends),
    ("a second CONNACK", [0x20, 3, 0, 0, 0], .ignored), ("an empty AUTH", [0xF0, 0], .ends),
    ("a DISCONNECT without a reason", [0xE0, 0], .ends),
    ("a DISCONNECT with an unknown reason", [0xE0, 1, 0xFE], .ends),
  ]

  static let all = (publishes + others).map { BadPacket(name: $0.0, bytes: $0.1, effect: $0.2) }
}

@Suite struct HostileBrokerTests {
  @Test(
    "a packet that no broker may send harms nothing that came before it or comes after it", arguments: BadPacket.all)
  func badPacket(_ bad: BadPacket) throws {
    let number = Counter()
    let broker = try FakeBroker { client in
      let isFirst = number.next() == 0
      try client.accept()
      if isFirst {
        try client.send(.publish5("t/a", "first", id: 1))
        try client.send(bad.bytes)
        if bad.effect == .ends {
          while try client.next() != nil {}
          return
        }
      }
      try client.send(.publish5("t/a", "after", id: 2))
      while try client.next() != nil {}
    }
    let rig = try Rig([.floor(broker.port)])
    #expect(eventually(within: 30) { rig.log.payloads.contains("after") }, "\(rig.status()?.fault ?? "no fault")")
    #expect(rig.log.payloads == ["first", "after"])
    #expect((broker.connections > 1) == (bad.effect == .ends))
    rig.stop()
  }

  @Test("a broker that sends a packet a little above the limit that it was told is heard, not refused for ever")
  func slightlyAbove() throws {
    let limit = 4_096
    // The last of them as mosquitto 2.0 does it, which leaves out the first byte of a packet when it counts.
    let sizes = [limit - 1, limit, limit + 1]
    let broker = try FakeBroker { client in
      try client.accept()
      for (index, size) in sizes.enumerated() {
        // First byte, length, topic, identifier, no properties.
        try client.send(.publish5("t/a", String(repeating: "x", count: size - 1 - 2 - 5 - 2 - 1), id: index + 1))
      }
      while try client.next() != nil {}
    }
    let rig = try Rig([.floor(broker.port) { $0.maximumPacketSize = UInt32(limit) }])
    #expect(eventually { rig.log.count == sizes.count }, "\(rig.status()?.fault ?? "no fault")")
    #expect(broker.connections == 1)
    #expect(rig.status()?.oversized == 0)
  }

  @Test("topics and properties count as much as payloads when a group is filled")
  func groupsOfProperties() throws {
    let broker = try MosquittoBroker()
    var group = GroupSettings()
    group.maximumBytes = 100_000
    let rig = try Rig([.floor(broker.port)], group: group)
    try #require(rig.isReady())
    let long = String(repeating: "p", count: 60_000)
    try broker.publish("t/a", numbers(0..<20), options: ["-V", "5", "-D", "publish", "user-property", "k", long])
    try broker.publish("t/" + String(repeating: "x", count: 60_000), numbers(0..<20))
    #expect(eventually { rig.log.count == 40 })
    let sizes = rig.log.state.withLock { $0.groupSizes }
    // Two of the first kind fill a group; of the second, only the first message of a group brings its topic.
    #expect(sizes.prefix { $0 <= 2 }.reduce(0, +) >= 18, "\(sizes)")
    // What is reported as received is payload; the last group is reported behind its commit.
    let payload = Int64(2 * numbers(0..<20).reduce(0) { $0 + $1.utf8.count })
    #expect(eventually { rig.status()?.bytes == payload }, "\(rig.status()?.bytes ?? 0)")
  }
}
