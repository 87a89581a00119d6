import Ingest
import Testing

@Suite struct OversizePublishTests {
  /// PUBLISH at QoS 1: a topic of 300 bytes, identifier 0x1234, a payload of 5.
  private static let packet: [UInt8] = {
    let body = [1, 44] + [UInt8](repeating: 0x74, count: 300) + [0x12, 0x34] + [1, 2, 3, 4, 5]
    return [0x32, UInt8(body.count & 0x7F) | 0x80, UInt8(body.count >> 7)] + body
  }()

  private func begin(_ bytes: [UInt8]) -> OversizePublish? { bytes.withUnsafeBytes { OversizePublish($0) } }

  @Test("the identifier is found however the bytes are cut, and is there when all of them have gone")
  func cuts() throws {
    for step in 1...Self.packet.count {
      var packet = try #require(begin(Self.packet))
      #expect(packet.remaining == Self.packet.count)
      var rest = Self.packet[...]
      while !rest.isEmpty {
        #expect(packet.acknowledgement == nil)
        Array(rest.prefix(step)).withUnsafeBytes { packet.drop($0) }
        rest = rest.dropFirst(step)
        #expect(packet.remaining == rest.count)
      }
      #expect(packet.acknowledgement == [0x40, 2, 0x12, 0x34], "in pieces of \(step)")
    }
  }

  @Test("a packet at QoS 0, one whose topic is longer than it, and one without room for an identifier have no PUBACK")
  func silent() throws {
    let cases: [[UInt8]] = [
      [0x30, 7, 0, 3, 0x74, 0x2F, 0x61, 1, 2], [0x32, 4, 0xFF, 0xFF, 1, 2], [0x32, 1, 0], [0x32, 0],
      [0x32, 6, 0, 3, 0x74, 0x2F, 0x61, 1], [0x32, 7, 0, 3, 0x74, 0x2F, 0x61, 0, 0],
    ]
    for bytes in cases {
      var packet = try #require(begin(bytes))
      bytes.withUnsafeBytes { packet.drop($0) }
      #expect(packet.remaining == 0)
      #expect(packet.acknowledgement == nil, "\(bytes)")
    }
  }

  @Test("only a PUBLISH at QoS 0 or 1 with a whole header is passed over")
  func others() {
    for bytes: [UInt8] in [
      [], [0x32], [0x32, 0x80], [0x34, 1, 0], [0x36, 1, 0], [0x90, 1, 0], [0x32, 0xFF, 0xFF, 0xFF, 0xFF, 1],
    ] {
      #expect(begin(bytes) == nil, "\(bytes)")
    }
    #expect(begin([0x3B, 0xFF, 0xFF, 0xFF, 0x7F])?.remaining == 268_435_460)
  }
}
