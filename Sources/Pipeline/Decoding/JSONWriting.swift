/// What all transcoders share.
package enum Transcoding {
  /// The most that one payload may become. Names that stand once in a payload (a CSV header, a SenML base
  /// name) stand in every reading behind it, so that a payload of a megabyte could ask for terabytes.
  package static let maximumBytes = 32 << 20

  /// Checked behind every reading.
  static func checkSize(_ output: [UInt8], since start: Int) throws(Refusal) {
    if output.count - start > maximumBytes {
      throw Refusal(
        .outputSize, "the readings are larger than \(maximumBytes >> 20) MiB when they are written out as JSON")
    }
  }
}

extension [UInt8] {
  /// Appends a JSON string with its quotes (RFC 8259, section 7): only what must be escaped is.
  /// - Parameter text: valid UTF-8.
  mutating func append(jsonString text: UnsafeRawBufferPointer) {
    append(UInt8(ascii: "\""))
    append(jsonContent: text)
    append(UInt8(ascii: "\""))
  }

  /// Appends the inside of a JSON string.
  /// - Parameter text: valid UTF-8.
  mutating func append(jsonContent text: UnsafeRawBufferPointer) {
    var copied = 0
    for (index, byte) in text.enumerated() where byte < 0x20 || byte == 0x22 || byte == 0x5C {
      append(contentsOf: text[copied..<index])
      copied = index + 1
      append(UInt8(ascii: "\\"))
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): append(byte)
      case 0x0A: append(UInt8(ascii: "n"))
      case 0x0D: append(UInt8(ascii: "r"))
      case 0x09: append(UInt8(ascii: "t"))
      default:
        let digit = byte & 15
        append(contentsOf: [UInt8(ascii: "u"), 0x30, 0x30, 0x30 + byte >> 4])
        append(digit < 10 ? 0x30 + digit : UInt8(ascii: "a") + digit - 10)
      }
    }
    append(contentsOf: text[copied...])
  }

  mutating func append(jsonString text: [UInt8]) {
    text.withUnsafeBytes { append(jsonString: $0) }
  }

  /// Appends ASCII that is known when this is compiled.
  mutating func append(_ text: StaticString) {
    append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  /// Appends bytes in base 64 (RFC 4648): section 4 with padding, or for `url` section 5 without.
  mutating func append(base64 bytes: UnsafeRawBufferPointer, url: Bool) {
    func symbol(_ value: UInt32) -> UInt8 {
      switch UInt8(truncatingIfNeeded: value & 63) {
      case let value where value < 26: UInt8(ascii: "A") + value
      case let value where value < 52: UInt8(ascii: "a") + value - 26
      case let value where value < 62: UInt8(ascii: "0") + value - 52
      case 62: UInt8(ascii: url ? "-" : "+")
      default: UInt8(ascii: url ? "_" : "/")
      }
    }
    reserveCapacity(count + (bytes.count + 2) / 3 * 4)
    var index = 0
    while index < bytes.count {
      let left = Swift.min(bytes.count - index, 3)
      var word: UInt32 = 0
      for offset in 0..<3 { word = word << 8 | (offset < left ? UInt32(bytes[index + offset]) : 0) }
      for place in 0..<4 {
        if place <= left {
          append(symbol(word >> UInt32(18 - 6 * place)))
        } else if !url {
          append(UInt8(ascii: "="))
        }
      }
      index += 3
    }
  }
}

extension JSONText {
  /// Whether all of the bytes are one JSON number (RFC 8259, section 6).
  static func isNumber(_ text: UnsafeRawBufferPointer) -> Bool {
    guard let base = text.baseAddress, let first = text.first,
      first == UInt8(ascii: "-") || first &- 0x30 <= 9
    else { return false }
    var cursor = JSONCursor(base, text.count)
    do throws(JSONError) { try cursor.number() } catch { return false }
    return cursor.atEnd
  }

  /// Whether all of the bytes are a JSON number once a decimal comma is a point. Such a text has no point
  /// of its own: where commas are decimal a point groups digits, and `1.500` may be fifteen hundred.
  /// - Parameter output: the number is appended here; nothing is where it is none.
  static func appendNumber(
    _ text: UnsafeRawBufferPointer, decimalComma: Bool, to output: inout [UInt8]
  ) -> Bool {
    guard decimalComma else {
      if isNumber(text) {
        output.append(contentsOf: text)
        return true
      }
      return false
    }
    // Longer ones exist in no device; their copies would only cost time.
    guard text.count <= 1_024, !text.contains(UInt8(ascii: ".")) else { return false }
    let point = text.map { $0 == UInt8(ascii: ",") ? UInt8(ascii: ".") : $0 }
    guard point.withUnsafeBytes({ isNumber($0) }) else { return false }
    output.append(contentsOf: point)
    return true
  }
}
