import Pipeline

/// JSON read one byte after the other by the grammar of RFC 8259, as plainly as it can be: what the tape is compared
/// with.
struct JSONReference {
  struct Value: Hashable {
    var kind: JSONKind
    var hasEscapes = false
    var nameHasEscapes = false
    var range: Range<Int>
    var name = 0..<0
    var next = 0
    var count = 0
  }

  private let text: [UInt8]
  private var index = 0
  private var depth = 0
  private(set) var values: [Value] = []
  private(set) var hasWhitespace = false

  static func read(_ text: [UInt8]) -> Result<JSONReference, JSONError> {
    var reference = JSONReference(text: text)
    do throws(JSONError) {
      try reference.readAll()
      return .success(reference)
    } catch { return .failure(error) }
  }

  private init(text: [UInt8]) { self.text = text }

  private func fail(_ kind: JSONError.Kind) -> JSONError { JSONError(kind, at: index) }

  private mutating func readAll() throws(JSONError) {
    if text.starts(with: [0xEF, 0xBB, 0xBF]) { throw JSONError(.byteOrderMark, at: 0) }
    skipWhitespace()
    if index == text.count { throw fail(.empty) }
    try value(name: 0..<0, false)
    skipWhitespace()
    if index != text.count { throw fail(.afterValue) }
  }

  private mutating func skipWhitespace() {
    while index < text.count, [0x20, 0x09, 0x0A, 0x0D].contains(text[index]) {
      index += 1
      hasWhitespace = true
    }
  }

  private mutating func peek() throws(JSONError) -> Character {
    skipWhitespace()
    if index == text.count { throw fail(.unexpectedEnd) }
    return Character(Unicode.Scalar(text[index]))
  }

  private mutating func value(name: Range<Int>, _ nameHasEscapes: Bool) throws(JSONError) {
    let first = try peek()
    let start = index
    let place = values.count
    values.append(Value(kind: .null, nameHasEscapes: nameHasEscapes, range: start..<start, name: name))
    switch first {
    case "\"":
      values[place].kind = .string
      values[place].hasEscapes = try string()
    case "-", "0"..."9":
      values[place].kind = .number
      try number()
    case "t", "f":
      values[place].kind = .boolean
      try literal(first == "t" ? "true" : "false")
    case "n": try literal("null")
    case "{", "[":
      if depth == JSONTape.maximumDepth { throw fail(.tooDeep) }
      values[place].kind = first == "{" ? .object : .array
      depth += 1
      index += 1
      values[place].count = try elements(isObject: first == "{")
      depth -= 1
    default: throw fail(.expectedValue)
    }
    values[place].range = start..<index
    values[place].next = values.count
  }

  private mutating func elements(isObject: Bool) throws(JSONError) -> Int {
    let close: Character = isObject ? "}" : "]"
    var count = 0
    if try peek() == close {
      index += 1
      return 0
    }
    while true {
      var name = 0..<0
      var nameHasEscapes = false
      if isObject {
        guard try peek() == "\"" else { throw fail(.expectedName) }
        let start = index + 1
        nameHasEscapes = try string()
        name = start..<index - 1
        guard try peek() == ":" else { throw fail(.expectedColon) }
        index += 1
      }
      try value(name: name, nameHasEscapes)
      count += 1
      let mark = try peek()
      if mark != ",", mark != close { throw fail(isObject ? .expectedCommaOrBrace : .expectedCommaOrBracket) }
      index += 1
      if mark == close { return count }
    }
  }

  private mutating func literal(_ word: String) throws(JSONError) {
    guard text[index...].starts(with: word.utf8) else { throw fail(.literal) }
    index += word.utf8.count
  }

  private func isDigit(_ place: Int) -> Bool { place < text.count && (0x30...0x39).contains(text[place]) }

  private mutating func digits() throws(JSONError) {
    guard isDigit(index) else { throw fail(.number) }
    while isDigit(index) { index += 1 }
  }

  private func at(_ set: String) -> Bool {
    index < text.count && set.utf8.contains(text[index])
  }

  private mutating func number() throws(JSONError) {
    if at("-") { index += 1 }
    let startsWithZero = at("0")
    if startsWithZero { index += 1 } else { try digits() }
    if at(".") {
      index += 1
      try digits()
    } else if startsWithZero, isDigit(index) {
      throw fail(.number)
    }
    if at("eE") {
      index += 1
      if at("+-") { index += 1 }
      try digits()
    }
  }

  private mutating func string() throws(JSONError) -> Bool {
    var hasEscapes = false
    index += 1
    while true {
      guard index < text.count else { throw fail(.unexpectedEnd) }
      switch text[index] {
      case UInt8(ascii: "\""):
        index += 1
        return hasEscapes
      case UInt8(ascii: "\\"):
        hasEscapes = true
        try escape()
      case 0x00..<0x20: throw fail(.controlCharacter)
      case 0x20..<0x80: index += 1
      default:
        // The library's own check, on every length that a character may have.
        let length = (1...4).first { length in
          index + length <= text.count
            && String(validating: text[index..<index + length], as: UTF8.self)?.unicodeScalars.count == 1
        }
        guard let length else { throw fail(.invalidUTF8) }
        index += length
      }
    }
  }

  private mutating func escape() throws(JSONError) {
    guard index + 1 < text.count else { throw fail(.unexpectedEnd) }
    if "\"\\/bfnrt".utf8.contains(text[index + 1]) {
      index += 2
      return
    }
    guard text[index + 1] == UInt8(ascii: "u") else { throw fail(.escape) }
    let unit = try codeUnit(index)
    if (0xDC00...0xDFFF).contains(unit) { throw fail(.loneSurrogate) }
    if (0xD800...0xDBFF).contains(unit) {
      guard index + 8 <= text.count, text[index + 6] == UInt8(ascii: "\\"), text[index + 7] == UInt8(ascii: "u")
      else { throw fail(.loneSurrogate) }
      guard (0xDC00...0xDFFF).contains(try codeUnit(index + 6)) else { throw fail(.loneSurrogate) }
      index += 6
    }
    index += 6
  }

  private func codeUnit(_ start: Int) throws(JSONError) -> UInt32 {
    guard start + 6 <= text.count else { throw JSONError(.unexpectedEnd, at: text.count) }
    let digits = String(decoding: text[start + 2..<start + 6], as: UTF8.self)
    guard digits.allSatisfy({ $0.isASCII && $0.isHexDigit }), let unit = UInt32(digits, radix: 16) else {
      throw JSONError(.escape, at: start)
    }
    return unit
  }
}
