/// Small services around JSON texts that have already been found valid.
package enum JSONText {
  static func hexadecimal(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
    default: nil
    }
  }

  /// The UTF-8 bytes that the inside of a valid string stands for.
  package static func unescape(_ text: UnsafeRawBufferPointer) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(text.count)
    var index = 0
    func unit(at start: Int) -> UInt32 {
      text[start..<start + 4].reduce(0) { $0 << 4 | UInt32(hexadecimal($1) ?? 0) }
    }
    while index < text.count {
      guard text[index] == UInt8(ascii: "\\"), index + 1 < text.count else {
        output.append(text[index])
        index += 1
        continue
      }
      let code = text[index + 1]
      index += 2
      switch code {
      case UInt8(ascii: "b"): output.append(0x08)
      case UInt8(ascii: "f"): output.append(0x0C)
      case UInt8(ascii: "n"): output.append(0x0A)
      case UInt8(ascii: "r"): output.append(0x0D)
      case UInt8(ascii: "t"): output.append(0x09)
      case UInt8(ascii: "u"):
        var scalar = unit(at: index)
        index += 4
        if (0xD800...0xDBFF).contains(scalar) {
          scalar = 0x10000 + (scalar - 0xD800) << 10 + (unit(at: index + 2) - 0xDC00)
          index += 6
        }
        output.append(contentsOf: Unicode.Scalar(scalar).map { Array(String($0).utf8) } ?? [])
      default: output.append(code)
      }
    }
    return output
  }

  /// `text` as the inside of a JSON string (RFC 8259, section 7): only what must be escaped is.
  package static func escape(_ text: String) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(text.utf8.count)
    Array(text.utf8).withUnsafeBytes { output.append(jsonContent: $0) }
    return output
  }

  /// Copies a valid text without the whitespace outside of its strings; everything else stays as it is,
  /// byte for byte.
  /// - Parameter target: room for at least as many bytes as `text` has.
  /// - Returns: the bytes written.
  package static func compact(
    _ text: UnsafeRawBufferPointer, into target: UnsafeMutableRawPointer
  ) -> Int {
    var written = 0
    var index = 0
    var inString = false
    while index < text.count {
      let byte = text[index]
      index += 1
      if byte == UInt8(ascii: "\"") {
        inString.toggle()
      } else if inString {
        if byte == UInt8(ascii: "\\"), index < text.count {
          target.storeBytes(of: byte, toByteOffset: written, as: UInt8.self)
          target.storeBytes(of: text[index], toByteOffset: written + 1, as: UInt8.self)
          written += 2
          index += 1
          continue
        }
      } else if byte <= 0x20 {
        continue
      }
      target.storeBytes(of: byte, toByteOffset: written, as: UInt8.self)
      written += 1
    }
    return written
  }
}
