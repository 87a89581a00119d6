import Testing

@testable import Ingest

@Suite struct PropertyScanTests {
  private func publish(_ properties: [UInt8], topic: String = "t/a", payload: [UInt8] = [0x7F, 0x7F]) -> [UInt8] {
    let body =
      [0, UInt8(topic.utf8.count)] + Array(topic.utf8) + [0, 7, UInt8(properties.count)] + properties + payload
    return [0x32, UInt8(body.count)] + body
  }

  private func isOrderly(_ packet: [UInt8], seen: Int? = nil) -> Bool {
    Array(packet.prefix(seen ?? packet.count)).withUnsafeBytes {
      PropertyScan.isOrderly($0, header: 2, size: packet.count)
    }
  }

  private static let good: [[UInt8]] = [
    [], [1, 1], [2, 0, 0, 0, 9], [3, 0, 1, 0x61], [8, 0, 0], [9, 0, 2, 0, 0], [0x0B, 0xFF, 0x7F], [0x23, 0, 1],
    [0x26, 0, 1, 0x6B, 0, 1, 0x76, 0x26, 0, 0, 0, 0], [1, 0, 1, 0],
  ]
  private static let bad: [[UInt8]] = [
    [0x7F], [0x7F, 0], [0], [4, 0], [0x80, 1], [1, 0, 0x7F, 0], [2, 0, 0], [1], [3, 0], [3, 0, 9, 0x61],
    [0x26, 0, 1, 0x6B, 0, 9], [0x26, 0, 1, 0x6B], [0x0B, 0xFF, 0xFF, 0xFF, 0xFF, 1],
  ]

  @Test("properties that MQTT 5 knows are in order, whatever follows them", arguments: good)
  func orderly(_ properties: [UInt8]) {
    let packet = publish(properties)
    // However much of it has come.
    for seen in 2...packet.count { #expect(isOrderly(packet, seen: seen), "\(seen) of \(packet)") }
  }

  @Test("an unknown identifier, and a value that is cut off, are not", arguments: bad)
  func disorderly(_ properties: [UInt8]) {
    #expect(!isOrderly(publish(properties)), "\(properties)")
  }

  @Test("properties that end behind their packet are not, in any packet that has some")
  func others() {
    #expect(!isOrderly([0x32, 8, 0, 3, 0x74, 0x2F, 0x61, 0, 7, 9]))
    for packet: [UInt8] in [
      [0x20, 5, 0, 0, 2, 0x7F, 0], [0x40, 6, 0, 1, 0, 2, 0x7F, 0], [0x90, 6, 0, 1, 2, 0x7F, 0, 1],
      [0xB0, 6, 0, 1, 2, 0x7F, 0, 1], [0xE0, 4, 0, 2, 0x7F, 0], [0xF0, 4, 0, 2, 0x7F, 0], [0x90, 3, 0, 1, 9],
    ] { #expect(!isOrderly(packet), "\(packet)") }
    for packet: [UInt8] in [
      [0x20, 3, 0, 0, 0], [0x20, 6, 0, 0, 3, 0x21, 0, 9], [0x40, 2, 0, 1], [0x40, 3, 0, 1, 0], [0x90, 4, 0, 1, 0, 1],
      [0xE0, 0], [0xE0, 1, 0x8E], [0xD0, 0], [0xF0, 0], [0x32, 0], [0x32, 2, 0, 9],
    ] { #expect(isOrderly(packet), "\(packet)") }
  }

  @Test("the scan of packets stops before such a packet, and gives those before it")
  func scan() {
    let bytes = publish([]) + publish([0x7F, 0]) + publish([])
    bytes.withUnsafeBytes { bytes in
      let scan = PacketScan(bytes, publishLimit: 1_000, controlLimit: 1_000, hasProperties: true)
      #expect(scan.packets == 1 && scan.rest == .malformed)
      let older = PacketScan(bytes, publishLimit: 1_000, controlLimit: 1_000)
      #expect(older.packets == 3 && older.rest == .nothing)
    }
  }
}
