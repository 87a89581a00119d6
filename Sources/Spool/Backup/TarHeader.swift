/// The header of a file in a tar archive, in the POSIX form `ustar` (pax(1), "ustar Interchange Format"): regular
/// files only, names of at most 100 bytes. A size beyond 8 GiB is written as GNU tar does, in base 256.
struct TarHeader: Sendable, Hashable {
  var name: String
  /// Bytes.
  var size: Int64
  /// Seconds since 1970.
  var time: Int64

  static let blockSize = 512
  /// More than any disk of a gateway: a larger size is no size.
  static let maximumSize: Int64 = 1 << 48

  /// What is wrong with a header.
  struct Fault: Error, Sendable, Hashable, CustomStringConvertible {
    var description: String
  }

  /// Bytes that follow a file's own up to the next header.
  var padding: Int { Int((512 - size % 512) % 512) }

  var bytes: [UInt8] {
    var block = [UInt8](repeating: 0, count: TarHeader.blockSize)
    func put(_ text: String, at place: Int) {
      for (index, byte) in text.utf8.enumerated() { block[place + index] = byte }
    }
    func octal(_ value: Int64, _ digits: Int) -> String {
      let text = String(value, radix: 8)
      return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
    put(name, at: 0)
    put(octal(0o600, 7), at: 100)
    put(octal(0, 7), at: 108)
    put(octal(0, 7), at: 116)
    if size < 1 << 33 {
      put(octal(size, 11), at: 124)
    } else {
      block[124] = 0x80
      for index in 0..<8 { block[128 + index] = UInt8(truncatingIfNeeded: size >> (56 - 8 * Int64(index))) }
    }
    put(octal(max(0, min(time, (1 << 33) - 1)), 11), at: 136)
    put("        ", at: 148)
    put("0", at: 156)
    put("ustar", at: 257)
    put("00", at: 263)
    put("root", at: 265)
    put("root", at: 297)
    put(octal(block.reduce(0) { $0 + Int64($1) }, 6) + "\0 ", at: 148)
    return block
  }

  init(name: String, size: Int64, time: Int64) {
    self.name = name
    self.size = size
    self.time = time
  }

  /// - Parameter block: of 512 bytes.
  init(_ block: [UInt8]) throws(Fault) {
    guard block.count == TarHeader.blockSize, Array(block[257..<263]) == Array("ustar\0".utf8) else {
      throw Fault(description: "it is no ustar header")
    }
    var sum: Int64 = 0
    for (index, byte) in block.enumerated() { sum += (148..<156).contains(index) ? 32 : Int64(byte) }
    guard try TarHeader.octal(block[148..<156]) == sum else { throw Fault(description: "its checksum does not fit") }
    // '0', or nothing at all, is a regular file.
    guard block[156] == UInt8(ascii: "0") || block[156] == 0 else {
      throw Fault(description: "it is no regular file")
    }
    guard block[345..<500].allSatisfy({ $0 == 0 }), block[157..<257].allSatisfy({ $0 == 0 }) else {
      throw Fault(description: "it has a link or a prefix, which a backup never has")
    }
    let bytes = block[0..<100].prefix { $0 != 0 }
    guard !bytes.isEmpty, bytes.allSatisfy({ (0x21...0x7E).contains($0) }) else {
      throw Fault(description: "its name is none that a backup has")
    }
    name = String(decoding: bytes, as: UTF8.self)
    if block[124] & 0x80 != 0 {
      guard block[124] == 0x80, block[125..<128].allSatisfy({ $0 == 0 }), block[128] < 0x80 else {
        throw Fault(description: "its size makes no sense")
      }
      size = block[128..<136].reduce(0) { $0 << 8 | Int64($1) }
    } else {
      size = try TarHeader.octal(block[124..<136])
    }
    guard size <= TarHeader.maximumSize else { throw Fault(description: "its size makes no sense") }
    time = (try? TarHeader.octal(block[136..<148])) ?? 0
  }

  private static func octal(_ field: ArraySlice<UInt8>) throws(Fault) -> Int64 {
    let digits = field.drop { $0 == UInt8(ascii: " ") }.prefix { $0 != 0 && $0 != UInt8(ascii: " ") }
    guard !digits.isEmpty, digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) }) else {
      throw Fault(description: "a number in it is none")
    }
    return digits.reduce(0) { $0 << 3 | Int64($1 - UInt8(ascii: "0")) }
  }
}
