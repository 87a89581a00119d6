/// A QoS 1 message that was committed, and whose acknowledgement its broker may not have seen: the
/// broker may send it again (docs/architecture.md, "Exactly once from a QoS 1 session").
///
/// Topic and payload stand here as half a SHA-256: thousands of payloads of up to a megabyte would not
/// fit into the memory that is meant for them, and 128 bits of it tell two messages apart as surely as
/// their bytes do.
package struct InDoubtMessage: Sendable, Hashable {
  /// 1...65535, the broker's number of the message in its session.
  package var packetID: UInt16
  /// The first 16 bytes, big-endian, of the SHA-256 of the topic, a zero byte (which no topic contains,
  /// MQTT 5.0, section 1.5.4) and the payload.
  package var high: UInt64
  package var low: UInt64

  package init(packetID: UInt16, high: UInt64, low: UInt64) {
    self.packetID = packetID
    self.high = high
    self.low = low
  }

  /// - Parameter topic: UTF-8, without a zero byte.
  package init(packetID: UInt16, topic: [UInt8], payload: [UInt8]) {
    let digest = Digest(of: topic, [0], payload).bytes
    func join(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
    self.init(packetID: packetID, high: join(digest[0..<8]), low: join(digest[8..<16]))
  }
}
