/// A PUBLISH that is larger than it may be, on its way out of the socket: its bytes are read and dropped, and only its
/// packet identifier is kept, to acknowledge it with. Pure.
///
/// To close the connection would not help: the broker sends the packet again on the next one, first thing, and nothing
/// behind it would ever come. One message of a hostile device would stop the intake for good.
package struct OversizePublish: Sendable, Hashable {
  /// Bytes of the packet that are still to come.
  package private(set) var remaining: Int
  /// Bytes of it that have gone.
  private var position = 0
  private let header: Int
  private let isAcknowledged: Bool
  private var topicLength = 0
  private var identifier: UInt16 = 0

  /// - Parameter bytes: what there is of the packet, from its first byte on; none of it counts as gone.
  /// - Returns: nil where that is no PUBLISH at QoS 0 or 1 with a whole fixed header (MQTT 5.0, section 3.3).
  package init?(_ bytes: UnsafeRawBufferPointer) {
    guard let first = bytes.first, first >> 4 == 3, first & 0b100 == 0 else { return nil }
    var length = 0
    var header = 1
    while true {
      guard header < bytes.count, header <= 4 else { return nil }
      let byte = bytes[header]
      length |= Int(byte & 0x7F) << (7 * (header - 1))
      header += 1
      if byte & 0x80 == 0 { break }
    }
    self.header = header
    remaining = header + length
    isAcknowledged = first & 0b10 != 0
  }

  /// The next bytes of the packet, at most ``remaining``.
  package mutating func drop(_ bytes: UnsafeRawBufferPointer) {
    // Two bytes of the topic's length, the topic, and two of the identifier, wherever the bytes were cut.
    func byte(at place: Int) -> Int? {
      bytes.indices.contains(place - position) ? Int(bytes[place - position]) : nil
    }
    if let high = byte(at: header) { topicLength |= high << 8 }
    if let low = byte(at: header + 1) { topicLength |= low }
    if position + bytes.count > header + 1 {
      let place = header + 2 + topicLength
      if let high = byte(at: place) { identifier |= UInt16(high) << 8 }
      if let low = byte(at: place + 1) { identifier |= UInt16(low) }
    }
    position += bytes.count
    remaining -= bytes.count
  }

  /// The PUBACK, once nothing remains; nil where the packet asks for none, or has no identifier. Without a reason code
  /// it says success in either version (MQTT 5.0, section 3.4.2.1): any other would mean the same to a broker.
  package var acknowledgement: [UInt8]? {
    guard remaining == 0, isAcknowledged, position >= header + 2 + topicLength + 2, identifier != 0 else { return nil }
    return [0x40, 2, UInt8(identifier >> 8), UInt8(identifier & 0xFF)]
  }
}
