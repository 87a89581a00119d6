/// A token of an expression.
struct ExpressionToken: Hashable {
  enum Kind: Hashable {
    /// A name or keyword without quotes.
    case word
    /// A name in double quotes; its text is without them.
    case quoted
    /// A string literal; its text is as written.
    case text
    case number
    /// An operator, a comma or a parenthesis.
    case symbol
  }

  var kind: Kind
  var text: String
  /// UTF-8 bytes before it.
  var start: Int

  /// Whether it is this keyword; `name` in upper case.
  func isWord(_ name: String) -> Bool { kind == .word && text.uppercased() == name }
  func isSymbol(_ name: String) -> Bool { kind == .symbol && text == name }
}

/// Cuts an expression into the tokens of SQL (https://www.sqlite.org/lang_expr.html), comments left out.
///
/// What SQLite's own scanner takes beyond those - parameters, blobs, names in brackets or backticks, the
/// semicolon, NUL - is refused here, so that nothing of an expression has two readings.
struct ExpressionScanner {
  private let bytes: [UInt8]
  private var index = 0

  private init(_ source: String) { bytes = Array(source.utf8) }

  static func tokens(of source: String) throws(ExpressionFault) -> [ExpressionToken] {
    var scanner = ExpressionScanner(source)
    var tokens: [ExpressionToken] = []
    while let token = try scanner.next() { tokens.append(token) }
    return tokens
  }

  private func peek(_ distance: Int = 0) -> UInt8? {
    index + distance < bytes.count ? bytes[index + distance] : nil
  }

  private func text(from start: Int) -> String { String(decoding: bytes[start..<index], as: UTF8.self) }

  private static func startsWord(_ byte: UInt8) -> Bool {
    byte >= 0x80 || byte == UInt8(ascii: "_") || (byte | 0x20) &- UInt8(ascii: "a") < 26
  }

  private static func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") <= 9 }

  private mutating func next() throws(ExpressionFault) -> ExpressionToken? {
    try skipBlanks()
    guard let byte = peek() else { return nil }
    let start = index
    if Self.startsWord(byte) {
      while let byte = peek(), Self.startsWord(byte) || Self.isDigit(byte) { index += 1 }
      let word = text(from: start)
      if word.lowercased() == "x", peek() == UInt8(ascii: "'") {
        throw ExpressionFault(.notAvailable, at: start, "blobs are not available; write a text in single quotes")
      }
      return ExpressionToken(kind: .word, text: word, start: start)
    }
    if Self.isDigit(byte) || (byte == UInt8(ascii: ".") && peek(1).map(Self.isDigit) == true) {
      return try number()
    }
    switch byte {
    case UInt8(ascii: "'"):
      try skipQuoted("a string")
      return ExpressionToken(kind: .text, text: text(from: start), start: start)
    case UInt8(ascii: "\""):
      let name = try skipQuoted("a name")
      return ExpressionToken(kind: .quoted, text: name, start: start)
    default: return try symbol()
    }
  }

  private mutating func skipBlanks() throws(ExpressionFault) {
    while let byte = peek() {
      switch (byte, peek(1)) {
      case (0x20, _), (0x09, _), (0x0A, _), (0x0D, _): index += 1
      case (UInt8(ascii: "-"), UInt8(ascii: "-")):
        while let byte = peek(), byte != 0x0A { index += 1 }
      case (UInt8(ascii: "/"), UInt8(ascii: "*")):
        let start = index
        index += 2
        while peek() != UInt8(ascii: "*") || peek(1) != UInt8(ascii: "/") {
          guard peek() != nil else { throw ExpressionFault(.unterminated, at: start, "a comment has no end: */") }
          index += 1
        }
        index += 2
      default: return
      }
    }
  }

  /// Passes what stands in quotes, doubled ones within it included; what it means.
  @discardableResult
  private mutating func skipQuoted(_ what: String) throws(ExpressionFault) -> String {
    let start = index
    let quote = bytes[start]
    var meant: [UInt8] = []
    index += 1
    while let byte = peek() {
      if byte == 0 { throw ExpressionFault(.character, at: index, "a NUL character cannot stand in an expression") }
      index += 1
      if byte == quote {
        guard peek() == quote else { return String(decoding: meant, as: UTF8.self) }
        index += 1
      }
      meant.append(byte)
    }
    throw ExpressionFault(.unterminated, at: start, "\(what) has no closing quote")
  }

  private mutating func number() throws(ExpressionFault) -> ExpressionToken {
    let start = index
    if peek() == UInt8(ascii: "0"), peek(1).map({ $0 | 0x20 }) == UInt8(ascii: "x") {
      index += 2
      while let byte = peek(), JSONText.hexadecimal(byte) != nil { index += 1 }
      if index - start == 2 { throw ExpressionFault(.number, at: start, "hexadecimal digits are missing behind 0x") }
    } else {
      skipDigits()
      if peek() == UInt8(ascii: ".") {
        index += 1
        skipDigits()
      }
      if let byte = peek(), byte | 0x20 == UInt8(ascii: "e") {
        let sign = peek(1) == UInt8(ascii: "+") || peek(1) == UInt8(ascii: "-")
        guard let digit = peek(sign ? 2 : 1), Self.isDigit(digit) else {
          throw ExpressionFault(.number, at: start, "a number's exponent has no digits")
        }
        index += sign ? 2 : 1
        skipDigits()
      }
    }
    if let byte = peek(), Self.startsWord(byte) || Self.isDigit(byte) {
      throw ExpressionFault(
        .number, at: start, "a number runs into a word; a field whose name begins with a digit stands in double quotes")
    }
    return ExpressionToken(kind: .number, text: text(from: start), start: start)
  }

  private mutating func skipDigits() {
    while let byte = peek(), Self.isDigit(byte) { index += 1 }
  }

  private static let symbols = [
    "->>", "->", "||", "<<", ">>", "<=", ">=", "<>", "!=", "==", "=", "<", ">", "+", "-", "*", "/", "%", "&", "|",
    "~", ",", "(", ")",
  ].map { Array($0.utf8) }

  private mutating func symbol() throws(ExpressionFault) -> ExpressionToken {
    let start = index
    if let symbol = Self.symbols.first(where: { bytes[start...].starts(with: $0) }) {
      index += symbol.count
      return ExpressionToken(kind: .symbol, text: text(from: start), start: start)
    }
    let reason =
      switch bytes[start] {
      case UInt8(ascii: "."), UInt8(ascii: "["):
        "a path to a nested field stands in double quotes, as in \"object.temperature\" or \"rxInfo[0].rssi\""
      case UInt8(ascii: "`"): "a name is quoted with double quotes"
      case UInt8(ascii: ";"): "there is one expression only; leave the semicolon out"
      case UInt8(ascii: "?"), UInt8(ascii: ":"), UInt8(ascii: "@"), UInt8(ascii: "$"):
        "there are no parameters; write the field's name, in double quotes where it holds this character"
      case 0: "a NUL character cannot stand in an expression"
      default: "this character begins nothing that SQL has"
      }
    throw ExpressionFault(.character, at: start, reason)
  }
}
