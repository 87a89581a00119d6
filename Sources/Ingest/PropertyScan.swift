/// Looks at the properties of an MQTT 5 packet before the library does (MQTT 5.0, section 2.2.2). Pure.
///
/// libmosquitto 2.0 ends the process (an assertion about a handle that it does not pass to its own log) when it meets
/// an identifier that it does not know, or one that it takes for such because the value before it was cut off. No
/// broker may send one, and one that does must not stop what other brokers send.
enum PropertyScan {
  /// What stands behind an identifier.
  private enum Form {
    case bytes(Int)
    case variableInteger
    /// Texts or binary data, each behind a length of two bytes.
    case texts(Int)
  }

  /// MQTT 5.0, table 2-4.
  private static func form(_ identifier: UInt8) -> Form? {
    switch identifier {
    case 0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A: .bytes(1)
    case 0x13, 0x21, 0x22, 0x23: .bytes(2)
    case 0x02, 0x11, 0x18, 0x27: .bytes(4)
    case 0x0B: .variableInteger
    case 0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F: .texts(1)
    case 0x26: .texts(2)
    default: nil
    }
  }

  /// Whether the properties of a packet are in order, as far as they can be seen.
  /// - Parameters:
  ///   - bytes: the packet from its first byte on, perhaps without its end.
  ///   - header: bytes of its fixed header, all of which are there.
  ///   - size: bytes of the whole packet.
  static func isOrderly(_ bytes: UnsafeRawBufferPointer, header: Int, size: Int) -> Bool {
    guard let start = start(bytes, header: header, size: size), start < size else { return true }
    var at = start
    guard let length = integer(bytes, &at) else { return bytes.count - start < 4 }
    let end = at + length
    guard end <= size else { return false }
    while at < end, at < bytes.count {
      guard let form = form(bytes[at]) else { return false }
      at += 1
      switch form {
      case .bytes(let count): at += count
      case .variableInteger:
        let place = at
        guard integer(bytes, &at) != nil else { return bytes.count - place < 4 }
      case .texts(let count):
        for _ in 0..<count {
          guard at + 2 <= end else { return false }
          guard at + 2 <= bytes.count else { return true }
          at += 2 + (Int(bytes[at]) << 8 | Int(bytes[at + 1]))
        }
      }
    }
    return at <= end
  }

  /// Whether the properties of a PUBLISH are there to their end, or it is too short for any. The parameters are those
  /// of ``isOrderly(_:header:size:)``.
  static func areSeen(_ bytes: UnsafeRawBufferPointer, header: Int, size: Int) -> Bool {
    guard let start = start(bytes, header: header, size: size) else { return false }
    guard start < size else { return true }
    var at = start
    guard let length = integer(bytes, &at) else { return false }
    return at + length <= bytes.count
  }

  /// Where the length of the properties stands; nil where there are none, or nobody can see yet.
  private static func start(_ bytes: UnsafeRawBufferPointer, header: Int, size: Int) -> Int? {
    switch bytes[0] >> 4 {
    case 3:
      guard header + 2 <= bytes.count else { return nil }
      let topic = Int(bytes[header]) << 8 | Int(bytes[header + 1])
      return header + 2 + topic + (bytes[0] & 0b110 == 0 ? 0 : 2)
    // CONNACK: flags and reason; SUBACK and UNSUBACK: identifier.
    case 2, 9, 11: return header + 2
    // PUBACK, PUBREC, PUBREL, PUBCOMP: identifier and reason, which may be left out with what follows.
    case 4, 5, 6, 7: return header + 3
    // DISCONNECT, AUTH: reason.
    case 14, 15: return header + 1
    default: return nil
    }
  }

  /// A variable byte integer; nil where its end cannot be seen, or it has more than four bytes.
  private static func integer(_ bytes: UnsafeRawBufferPointer, _ at: inout Int) -> Int? {
    var value = 0
    for shift in stride(from: 0, to: 28, by: 7) {
      guard at < bytes.count else { return nil }
      let byte = bytes[at]
      at += 1
      value |= Int(byte & 0x7F) << shift
      if byte & 0x80 == 0 { return value }
    }
    return nil
  }
}
