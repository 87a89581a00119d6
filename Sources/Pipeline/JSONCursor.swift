/// A place in bytes that are being read as JSON, and the tokens of the grammar (RFC 8259).
///
/// Works on a bare pointer, because a bounds check per byte would double the cost of a message. Every
/// read is behind a comparison with `count`.
struct JSONCursor {
  private let base: UnsafeRawPointer
  private let count: Int
  var index = 0
  private(set) var sawWhitespace = false

  /// `base` must stay valid for `count` bytes as long as the cursor is used.
  @inline(__always)
  init(_ base: UnsafeRawPointer, _ count: Int) {
    self.base = base
    self.count = count
  }

  @inline(__always)
  var atEnd: Bool { index >= count }

  /// The byte at `index`, which must not be the end.
  @inline(__always)
  var byte: UInt8 { base.load(fromByteOffset: index, as: UInt8.self) }

  @inline(__always)
  private func byte(at index: Int) -> UInt8 { base.load(fromByteOffset: index, as: UInt8.self) }

  func error(_ kind: JSONError.Kind) -> JSONError { JSONError(kind, at: index) }

  @inline(__always)
  mutating func skipWhitespace() {
    guard index < count, byte <= 0x20 else { return }
    while index < count, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
      index += 1
      sawWhitespace = true
    }
  }

  mutating func literal(_ text: StaticString) throws(JSONError) {
    let length = text.utf8CodeUnitCount
    guard count - index >= length else { throw error(.literal) }
    for offset in 0..<length where byte(at: index + offset) != text.utf8Start[offset] {
      throw error(.literal)
    }
    index += length
  }

  /// The eight bytes from `index` on, which must be there.
  @inline(__always)
  private var word: JSONWord { JSONWord(at: base + index) }

  @inline(__always)
  private mutating func digits() -> Bool {
    let start = index
    while count - index >= 8 {
      let found = word.nonDigits
      if found != 0 {
        index += JSONWord.place(found)
        return index > start
      }
      index += 8
    }
    while index < count, byte &- 0x30 <= 9 { index += 1 }
    return index > start
  }

  mutating func number() throws(JSONError) {
    if byte == UInt8(ascii: "-") { index += 1 }
    if index < count, byte == UInt8(ascii: "0") {
      index += 1
    } else if !digits() {
      throw error(.number)
    }
    guard index < count else { return }
    if byte == UInt8(ascii: ".") {
      index += 1
      if !digits() { throw error(.number) }
      guard index < count else { return }
    }
    if byte | 0x20 == UInt8(ascii: "e") {
      index += 1
      if index < count, byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { index += 1 }
      if !digits() { throw error(.number) }
    }
    // A digit here follows a leading zero.
    if index < count, byte &- 0x30 <= 9 { throw error(.number) }
  }

  /// Reads a string, from its opening quote to behind its closing one; whether it has escapes.
  mutating func string() throws(JSONError) -> Bool {
    var hasEscapes = false
    index += 1
    while true {
      while count - index >= 8 {
        let found = word.stringSpecials
        if found != 0 {
          index += JSONWord.place(found)
          break
        }
        index += 8
      }
      guard index < count else { throw error(.unexpectedEnd) }
      let byte = self.byte
      if byte == UInt8(ascii: "\"") {
        index += 1
        return hasEscapes
      }
      if byte == UInt8(ascii: "\\") {
        hasEscapes = true
        try escape()
      } else if byte >= 0x80 {
        try multibyte()
      } else if byte < 0x20 {
        throw error(.controlCharacter)
      } else {
        index += 1
      }
    }
  }

  private mutating func escape() throws(JSONError) {
    guard count - index >= 2 else { throw error(.unexpectedEnd) }
    switch byte(at: index + 1) {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
      UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
      index += 2
    case UInt8(ascii: "u"):
      let unit = try codeUnit(at: index)
      switch unit {
      case 0xD800...0xDBFF:
        guard count - index >= 8, byte(at: index + 6) == UInt8(ascii: "\\"),
          byte(at: index + 7) == UInt8(ascii: "u"),
          case 0xDC00...0xDFFF = try codeUnit(at: index + 6)
        else { throw error(.loneSurrogate) }
        index += 12
      case 0xDC00...0xDFFF:
        throw error(.loneSurrogate)
      default:
        index += 6
      }
    default:
      throw error(.escape)
    }
  }

  /// The four hexadecimal digits behind the `\u` at `start`.
  private func codeUnit(at start: Int) throws(JSONError) -> UInt16 {
    guard count - start >= 6 else { throw JSONError(.unexpectedEnd, at: count) }
    var unit: UInt16 = 0
    for position in start + 2..<start + 6 {
      guard let digit = JSONText.hexadecimal(byte(at: position)) else {
        throw JSONError(.escape, at: start)
      }
      unit = unit << 4 | UInt16(digit)
    }
    return unit
  }

  /// One character of two to four bytes, by the table of RFC 3629, section 4.
  private mutating func multibyte() throws(JSONError) {
    let length: Int
    var second: ClosedRange<UInt8> = 0x80...0xBF
    switch byte {
    case 0xC2...0xDF: length = 2
    case 0xE0: (length, second) = (3, 0xA0...0xBF)
    case 0xED: (length, second) = (3, 0x80...0x9F)
    case 0xE1...0xEF: length = 3
    case 0xF0: (length, second) = (4, 0x90...0xBF)
    case 0xF1...0xF3: length = 4
    case 0xF4: (length, second) = (4, 0x80...0x8F)
    default: throw error(.invalidUTF8)
    }
    guard count - index >= length, second.contains(byte(at: index + 1)) else {
      throw error(.invalidUTF8)
    }
    for position in index + 2..<index + length where byte(at: position) & 0xC0 != 0x80 {
      throw error(.invalidUTF8)
    }
    index += length
  }
}
