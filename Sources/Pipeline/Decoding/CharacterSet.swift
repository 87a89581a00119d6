/// How a payload's text is written in bytes.
package enum CharacterSet: String, Sendable, Hashable, CaseIterable {
  case utf8 = "utf-8"
  /// Every byte is the character of that number.
  case latin1 = "iso-8859-1"
  /// As ISO 8859-1 but for 0x80...0x9F, of which five stand for nothing and are refused.
  case windows1252 = "windows-1252"
  /// With a byte order mark, which says how the two bytes of a unit lie; without one it is refused.
  case utf16 = "utf-16"
  case utf16LittleEndian = "utf-16le"
  case utf16BigEndian = "utf-16be"

  /// The payload as UTF-8, without a byte order mark. What is no text in this character set is refused,
  /// because a replaced character would be data that nobody sent.
  package func utf8(from payload: UnsafeRawBufferPointer) throws(Refusal) -> [UInt8] {
    switch self {
    case .utf8:
      let text = try CharacterSet.validated(payload)
      return Array(text)
    case .latin1, .windows1252:
      var output: [UInt8] = []
      output.reserveCapacity(payload.count + payload.count / 8)
      for (index, byte) in payload.enumerated() {
        if byte < 0x80 {
          output.append(byte)
          continue
        }
        var unit = UInt16(byte)
        if self == .windows1252, byte < 0xA0 {
          unit = CharacterSet.windows1252Upper[Int(byte - 0x80)]
          if unit == 0 { throw refusal(at: index) }
        }
        if unit >= 0x800 {
          output.append(0xE0 | UInt8(unit >> 12))
          output.append(0x80 | UInt8(unit >> 6 & 0x3F))
        } else {
          output.append(0xC0 | UInt8(unit >> 6))
        }
        output.append(0x80 | UInt8(unit & 0x3F))
      }
      return output
    case .utf16:
      guard payload.count >= 2 else { throw refusal(at: 0) }
      switch (payload[0], payload[1]) {
      case (0xFF, 0xFE): return try units(payload, isBigEndian: false)
      case (0xFE, 0xFF): return try units(payload, isBigEndian: true)
      default:
        throw Refusal(
          .characterSet,
          "the payload has no UTF-16 byte order mark; name utf-16le or utf-16be where devices write none")
      }
    case .utf16LittleEndian: return try units(payload, isBigEndian: false)
    case .utf16BigEndian: return try units(payload, isBigEndian: true)
    }
  }

  /// Calls `body` with the payload as UTF-8, without a byte order mark. UTF-8 itself is not copied.
  func withUTF8<Result>(
    _ payload: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) throws(Refusal) -> Result
  ) throws(Refusal) -> Result {
    if self == .utf8 { return try body(try CharacterSet.validated(payload)) }
    let text = try utf8(from: payload)
    return try text.withUnsafeBufferPointer { buffer throws(Refusal) in
      try body(UnsafeRawBufferPointer(buffer))
    }
  }

  /// Windows' characters 0x80...0x9F; 0 where there is none.
  private static let windows1252Upper: [UInt16] = [
    0x20AC, 0, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0, 0x017D, 0,
    0, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0, 0x017E,
    0x0178,
  ]

  private func refusal(at index: Int) -> Refusal {
    Refusal(.characterSet, "the payload is not \(rawValue) (byte \(index + 1))")
  }

  private static func validated(_ payload: UnsafeRawBufferPointer) throws(Refusal) -> UnsafeRawBufferPointer {
    if let fault = firstInvalidUTF8(in: payload) { throw CharacterSet.utf8.refusal(at: fault) }
    let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
    return payload.starts(with: mark) ? UnsafeRawBufferPointer(rebasing: payload.dropFirst(3)) : payload
  }

  /// Where the bytes stop being UTF-8 (RFC 3629); nil if they do not.
  static func firstInvalidUTF8(in bytes: UnsafeRawBufferPointer) -> Int? {
    bytes.withMemoryRebound(to: UInt8.self) { bytes in
      do throws(UTF8.ValidationError) {
        _ = try UTF8Span(validating: bytes.span)
        return nil
      } catch { return error.byteOffsets.lowerBound }
    }
  }

  private func units(_ payload: UnsafeRawBufferPointer, isBigEndian: Bool) throws(Refusal) -> [UInt8] {
    guard payload.count % 2 == 0 else { throw refusal(at: payload.count - 1) }
    func unit(_ index: Int) -> UInt16 {
      let (first, second) = (UInt16(payload[index]), UInt16(payload[index + 1]))
      return isBigEndian ? first << 8 | second : second << 8 | first
    }
    var output: [UInt8] = []
    output.reserveCapacity(payload.count)
    var index = payload.count >= 2 && unit(0) == 0xFEFF ? 2 : 0
    while index < payload.count {
      let start = index
      var scalar = UInt32(unit(index))
      index += 2
      if (0xD800...0xDBFF).contains(scalar) {
        guard index < payload.count, case let low = UInt32(unit(index)), (0xDC00...0xDFFF).contains(low) else {
          throw refusal(at: start)
        }
        scalar = 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
        index += 2
      }
      guard let character = Unicode.Scalar(scalar) else { throw refusal(at: start) }
      output.append(contentsOf: UTF8.encode(character) ?? UTF8.encodedReplacementCharacter)
    }
    return output
  }
}
