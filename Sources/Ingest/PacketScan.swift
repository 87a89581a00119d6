/// Finds MQTT packets in bytes that are about to be read (MQTT 5.0, section 2.1). Pure.
///
/// The library allocates what a packet announces, up to 256 MB, before it has read it, and has no limit
/// of its own. So on plain sockets the bytes are looked at first (`MSG_PEEK`); one look serves all the
/// packets it shows, and tells that a socket is dry as well.
package struct PacketScan: Sendable, Hashable {
  /// What follows the whole packets.
  package enum Rest: Sendable, Hashable {
    case nothing
    /// Part of a fixed header.
    case header
    /// The beginning of a PUBLISH whose size is in order, with all its properties.
    case publish
    /// The same, without the end of its properties.
    case properties
    /// The beginning of another packet whose size is in order.
    case control
    /// A packet that is larger than it may be: all its bytes, as announced.
    case tooLarge(bytes: Int, limit: Int)
    /// What no broker may send us: a malformed length, properties that end the library, or a PUBLISH at QoS 2, for we
    /// subscribe at QoS 1 and the library answers QoS 2 before the message is committed.
    case malformed
  }

  /// Whole packets at the beginning.
  package var packets = 0
  package var rest = Rest.nothing

  /// - Parameters:
  ///   - bytes: begins at a packet's first byte.
  ///   - publishLimit: bytes of the largest PUBLISH, its fixed header included.
  ///   - controlLimit: the same for every other packet.
  ///   - hasProperties: whether packets have properties (MQTT 5), which are looked at as far as they can be seen.
  package init(
    _ bytes: UnsafeRawBufferPointer, publishLimit: Int, controlLimit: Int, hasProperties: Bool = false
  ) {
    var position = 0
    while position < bytes.count {
      let first = bytes[position]
      let isPublish = first >> 4 == 3
      if isPublish, first & 0b100 != 0 {
        rest = .malformed
        return
      }
      var length = 0
      var shift = 0
      var header = 1
      while true {
        guard position + header < bytes.count else {
          rest = .header
          return
        }
        let byte = bytes[position + header]
        length |= Int(byte & 0x7f) << shift
        header += 1
        if byte & 0x80 == 0 { break }
        shift += 7
        if header > 4 {
          rest = .malformed
          return
        }
      }
      let size = header + length
      let limit = isPublish ? publishLimit : controlLimit
      guard size <= limit else {
        rest = .tooLarge(bytes: size, limit: limit)
        return
      }
      if hasProperties {
        let packet = UnsafeRawBufferPointer(rebasing: bytes[position..<min(position + size, bytes.count)])
        guard PropertyScan.isOrderly(packet, header: header, size: size) else {
          rest = .malformed
          return
        }
      }
      guard position + size <= bytes.count else {
        let seen = UnsafeRawBufferPointer(rebasing: bytes[position...])
        if !isPublish {
          rest = .control
        } else {
          rest = hasProperties && !PropertyScan.areSeen(seen, header: header, size: size) ? .properties : .publish
        }
        return
      }
      packets += 1
      position += size
    }
  }
}
