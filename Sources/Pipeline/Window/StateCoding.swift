/// Why stored state cannot be restored. It names the row by its number: keys may be personal data.
package struct StateDamage: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Kind: Sendable, Hashable {
    /// The row's key has no known form.
    case key
    /// The row's first byte is no version that this release reads.
    case version(UInt8)
    /// The bytes end early, go on too long or say what cannot be.
    case content
    /// Two rows have the same key.
    case repeated
    /// The state was written under other window settings.
    case settings
    /// A row that must be there is not.
    case missing
  }

  package var kind: Kind
  /// Which of the rows handed in, from 0; the number of rows where one is missing.
  package var row: Int

  package init(_ kind: Kind, row: Int) {
    self.kind = kind
    self.row = row
  }

  package var description: String {
    let cause =
      switch kind {
      case .key: "its key has no known form"
      case .version(let version): "version \(version) of its encoding is not known to this release"
      case .content: "its bytes are damaged"
      case .repeated: "its key is there twice"
      case .settings: "it was written under other settings"
      case .missing: "it is missing"
      }
    return "pipeline state, row \(row): \(cause) (restore a backup of the state database, or let the pipeline "
      + "begin with empty state)"
  }
}

/// Writes the compact encoding of stored state.
package struct StateEncoder: Sendable {
  package private(set) var bytes: [UInt8] = []

  /// Most rows are no longer than the room that is taken at once.
  package init() { bytes.reserveCapacity(32) }

  package mutating func put(_ byte: UInt8) { bytes.append(byte) }

  package mutating func put(_ other: [UInt8]) { bytes.append(contentsOf: other) }

  /// LEB128: seven bits a byte, the lowest first; 1 to 10 bytes.
  package mutating func put(unsigned value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }

  /// Zigzag and LEB128, so that small values of either sign are short.
  package mutating func put(signed value: Int64) {
    put(unsigned: UInt64(bitPattern: (value << 1) ^ (value >> 63)))
  }

  /// The length, 0 to 8, and that many of the highest bytes of the IEEE 754 form; the others are zero.
  /// Zero takes one byte, small whole numbers three, any number nine.
  package mutating func put(double value: Double) {
    let bits = value.bitPattern
    let length = 8 - bits.trailingZeroBitCount / 8
    bytes.append(UInt8(truncatingIfNeeded: length))
    for index in 0..<length { bytes.append(UInt8(truncatingIfNeeded: bits >> UInt64(56 - 8 * index))) }
  }

  /// Eight bytes, the highest first.
  package mutating func put(fixed value: UInt64) {
    for shift in stride(from: UInt64(56), through: 0, by: -8) {
      bytes.append(UInt8(truncatingIfNeeded: value >> shift))
    }
  }
}

/// Reads what ``StateEncoder`` writes. Every read gives nil where the bytes cannot be that; none traps.
package struct StateDecoder: Sendable {
  private let bytes: [UInt8]
  private var position = 0

  package init(_ bytes: [UInt8]) { self.bytes = bytes }

  package var isAtEnd: Bool { position == bytes.count }
  /// Bytes not read yet. No count of things that take a byte or more each can be higher.
  package var remaining: Int { bytes.count - position }

  package mutating func byte() -> UInt8? {
    guard position < bytes.count else { return nil }
    defer { position += 1 }
    return bytes[position]
  }

  package mutating func bytes(_ count: Int) -> [UInt8]? {
    guard count >= 0, count <= remaining else { return nil }
    defer { position += count }
    return Array(bytes[position..<position + count])
  }

  /// Only the shortest form is taken, so that equal state has equal bytes.
  package mutating func unsigned() -> UInt64? {
    var value: UInt64 = 0
    for index in 0..<10 {
      guard let next = byte() else { return nil }
      if index == 9, next > 1 { return nil }
      if index > 0, next == 0 { return nil }
      value |= UInt64(next & 0x7F) << UInt64(7 * index)
      if next & 0x80 == 0 { return value }
    }
    return nil
  }

  package mutating func signed() -> Int64? {
    guard let value = unsigned() else { return nil }
    return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
  }

  /// A number of things of which each takes at least `size` bytes: so a damaged count cannot ask for memory
  /// that the row could never fill.
  package mutating func count(of size: Int, atMost limit: Int = .max) -> Int? {
    guard let value = unsigned(), value <= UInt64(limit), value <= UInt64(remaining / max(size, 1)) else {
      return nil
    }
    return Int(value)
  }

  /// A counter: 0 to `Int64.max`.
  package mutating func counter() -> Int64? { unsigned().flatMap { Int64(exactly: $0) } }

  package mutating func double() -> Double? {
    guard let length = byte(), length <= 8, Int(length) <= remaining else { return nil }
    var bits: UInt64 = 0
    for index in 0..<UInt64(length) {
      guard let next = byte() else { return nil }
      if index == UInt64(length) - 1, next == 0 { return nil }
      bits |= UInt64(next) << (56 - 8 * index)
    }
    return Double(bitPattern: bits)
  }

  package mutating func fixed() -> UInt64? {
    guard remaining >= 8 else { return nil }
    var value: UInt64 = 0
    for index in position..<position + 8 { value = value << 8 | UInt64(bytes[index]) }
    position += 8
    return value
  }
}
