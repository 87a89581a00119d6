/// Writes numbers and texts as few bytes: unsigned LEB128, as in Protocol Buffers ("Encoding", Base 128 Varints).
struct PackedWriter {
  private(set) var bytes: [UInt8] = []

  mutating func append(_ value: UInt64) {
    var rest = value
    while rest > 0x7F {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }

  /// Below zero: as zero.
  mutating func append(_ value: Int64) { append(UInt64(max(0, value))) }

  mutating func append(_ text: String) {
    append(UInt64(text.utf8.count))
    bytes += Array(text.utf8)
  }

  mutating func append(raw: some Sequence<UInt8>) { bytes += raw }
}

/// Reads what a ``PackedWriter`` wrote, and never beyond its end.
struct PackedReader {
  /// The bytes are not what a writer wrote.
  struct Damage: Error, Sendable, Hashable {}

  private let bytes: ArraySlice<UInt8>
  private var place: Int

  init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    place = bytes.startIndex
  }

  var isAtEnd: Bool { place == bytes.endIndex }

  mutating func number() throws(Damage) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: 0, to: 64, by: 7) {
      guard place < bytes.endIndex else { throw Damage() }
      let byte = bytes[place]
      place += 1
      guard shift < 63 || byte <= 1 else { throw Damage() }
      value |= UInt64(byte & 0x7F) << UInt64(shift)
      if byte < 0x80 { return value }
    }
    throw Damage()
  }

  mutating func integer() throws(Damage) -> Int64 {
    guard let value = Int64(exactly: try number()) else { throw Damage() }
    return value
  }

  /// A number that is reckoned with.
  mutating func integer(upTo largest: Int64) throws(Damage) -> Int64 {
    let value = try integer()
    guard value <= largest else { throw Damage() }
    return value
  }

  /// - Parameter longest: bytes at most.
  mutating func text(longest: Int) throws(Damage) -> String {
    let bytes = try raw(Int(clamping: try number()), longest: longest)
    guard let text = String(validating: bytes, as: UTF8.self) else { throw Damage() }
    return text
  }

  mutating func raw(_ count: Int, longest: Int = .max) throws(Damage) -> [UInt8] {
    guard count >= 0, count <= longest, count <= bytes.endIndex - place else { throw Damage() }
    defer { place += count }
    return Array(bytes[place..<place + count])
  }
}
