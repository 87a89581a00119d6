/// InfluxDB's line protocol: `measurement,tag=value field=1.5,other=2i 1465839830100400200`.
///
/// Each line is `{"measurement":…,"tags":{…},"fields":{…},"time":…}`; `time` counts nanoseconds and is absent
/// where the line has none. Integers (`i`, `u`) keep their digits, floats are written as JSON has numbers, and
/// a field that stands twice is written twice, so that the last counts. Where InfluxDB's manual is silent this
/// follows its own decoder, whose corpus it is tested with; see `docs/line-protocol.md`.
package struct LineProtocolTranscoder: Transcoder {
  /// What timestamps count.
  package enum Precision: String, Sendable, Hashable, CaseIterable {
    case nanoseconds = "ns"
    case microseconds = "us"
    case milliseconds = "ms"
    case seconds = "s"

    fileprivate var nanoseconds: Int64 {
      switch self {
      case .nanoseconds: 1
      case .microseconds: 1_000
      case .milliseconds: 1_000_000
      case .seconds: 1_000_000_000
      }
    }
  }

  package struct Settings: Sendable, Hashable {
    package var precision: Precision = .nanoseconds
    package var characterSet: CharacterSet = .utf8

    package init() {}
  }

  private let settings: Settings

  package init(settings: Settings = Settings()) {
    self.settings = settings
  }

  package mutating func transcode(
    _ payload: UnsafeRawBufferPointer, received: Int64, into output: inout [UInt8]
  ) throws(Refusal) {
    try settings.characterSet.withUTF8(payload) { text throws(Refusal) in
      var reader = LineReader(text: text, nanoseconds: settings.precision.nanoseconds)
      let start = output.count
      output.append(UInt8(ascii: "["))
      while try reader.skipEmptyLines() {
        if output.count > start + 1 { output.append(UInt8(ascii: ",")) }
        try reader.line(into: &output)
        try Transcoding.checkSize(output, since: start)
      }
      output.append(UInt8(ascii: "]"))
    }
  }
}

/// A place in the text, between the parts of a line.
private struct LineReader {
  let text: UnsafeRawBufferPointer
  /// Of a unit of the timestamps.
  let nanoseconds: Int64
  private var index = 0
  private var token: [UInt8] = []

  init(text: UnsafeRawBufferPointer, nanoseconds: Int64) {
    self.text = text
    self.nanoseconds = nanoseconds
  }

  private var atEnd: Bool { index >= text.count }

  private func isNext(_ byte: UInt8) -> Bool { index < text.count && text[index] == byte }

  private func fault(_ rule: Refusal.Rule, _ reason: String) -> Refusal {
    let before = text[..<min(index, text.count)]
    let line = before.reduce(1) { $0 + ($1 == 0x0A ? 1 : 0) }
    let column = before.count - (before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0) + 1
    return Refusal(rule, "line \(line), byte \(column): \(reason)")
  }

  private func syntax(_ reason: String) -> Refusal { fault(.lineProtocolSyntax, reason) }

  private mutating func skipSpaces() {
    while isNext(0x20) { index += 1 }
  }

  /// Reads over the end of a line, or of the text.
  private mutating func endLine() -> Bool {
    if atEnd { return true }
    if text[index] == 0x0A {
      index += 1
      return true
    }
    guard text[index] == 0x0D, index + 1 == text.count || text[index + 1] == 0x0A else { return false }
    index = min(index + 2, text.count)
    return true
  }

  /// Goes to the next line that is neither empty nor a comment; false where there is none.
  mutating func skipEmptyLines() throws(Refusal) -> Bool {
    while true {
      skipSpaces()
      if atEnd { return false }
      if text[index] == UInt8(ascii: "#") {
        while !atEnd, text[index] >= 0x20, text[index] != 0x7F { index += 1 }
        guard endLine() else { throw syntax("a control character stands in a comment") }
      } else if !endLine() {
        return true
      }
    }
  }

  /// Reads characters up to a comma, a space, an equals sign (but for measurements) or a control character
  /// into ``token``. A backslash before one of the first three makes it one of the characters; before
  /// anything else it stands for itself.
  private mutating func take(endsAtEquals: Bool = true) {
    func isEnd(_ byte: UInt8) -> Bool {
      byte == UInt8(ascii: ",") || byte == 0x20 || (byte == UInt8(ascii: "=") && endsAtEquals)
    }
    token.removeAll(keepingCapacity: true)
    var start = index
    while index < text.count {
      let byte = text[index]
      if byte == UInt8(ascii: "\\"), index + 1 < text.count, isEnd(text[index + 1]) {
        token.append(contentsOf: text[start..<index])
        start = index + 1
        index += 1
      } else if byte < 0x20 || byte == 0x7F || isEnd(byte) {
        break
      }
      index += 1
    }
    token.append(contentsOf: text[start..<index])
  }

  /// Appends one line as an object.
  mutating func line(into output: inout [UInt8]) throws(Refusal) {
    take(endsAtEquals: false)
    if token.isEmpty { throw syntax("a measurement's name was expected") }
    output.append(#"{"measurement":"#)
    output.append(jsonString: token)
    try tags(into: &output)
    output.append(#","fields":{"#)
    var isFirst = true
    repeat {
      if !isFirst { output.append(UInt8(ascii: ",")) }
      isFirst = false
      take()
      if token.isEmpty { throw syntax("a field's name was expected") }
      output.append(jsonString: token)
      guard isNext(UInt8(ascii: "=")) else { throw syntax("an equals sign was expected after a field's name") }
      index += 1
      output.append(UInt8(ascii: ":"))
      try value(into: &output)
    } while skip(UInt8(ascii: ","))
    output.append(UInt8(ascii: "}"))
    guard atEnd || [0x20, 0x0A, 0x0D].contains(text[index]) else {
      throw syntax("a comma, a space or the line's end was expected after a field")
    }
    skipSpaces()
    if !endLine() { try time(into: &output) }
    output.append(UInt8(ascii: "}"))
  }

  private mutating func skip(_ byte: UInt8) -> Bool {
    guard isNext(byte) else { return false }
    index += 1
    return true
  }

  private mutating func tags(into output: inout [UInt8]) throws(Refusal) {
    output.append(#","tags":{"#)
    var names: Set<[UInt8]> = []
    while skip(UInt8(ascii: ",")) {
      take()
      if token.isEmpty { throw syntax("a tag's name was expected") }
      guard names.insert(token).inserted else {
        throw fault(.lineProtocolTag, "a tag has the name of an earlier one")
      }
      if names.count > 1 { output.append(UInt8(ascii: ",")) }
      output.append(jsonString: token)
      guard skip(UInt8(ascii: "=")) else { throw syntax("an equals sign was expected after a tag's name") }
      take()
      if token.isEmpty { throw syntax("a tag's value was expected") }
      output.append(UInt8(ascii: ":"))
      output.append(jsonString: token)
    }
    output.append(UInt8(ascii: "}"))
    guard isNext(0x20) else { throw syntax("a comma or a space and the fields were expected") }
    skipSpaces()
  }

  // MARK: Values

  private mutating func value(into output: inout [UInt8]) throws(Refusal) {
    guard !atEnd else { throw syntax("a field's value was expected") }
    switch text[index] {
    case UInt8(ascii: "\""): try string(into: &output)
    case UInt8(ascii: "t"), UInt8(ascii: "T"), UInt8(ascii: "f"), UInt8(ascii: "F"):
      let word = plain()
      switch String(decoding: word.prefix(6), as: UTF8.self) {
      case "t", "T", "true", "True", "TRUE": output.append("true")
      case "f", "F", "false", "False", "FALSE": output.append("false")
      default: throw fault(.lineProtocolValue, "a value is neither true nor false")
      }
    case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "0")...UInt8(ascii: "9"):
      let number = plain()
      switch number.last {
      case UInt8(ascii: "i"):
        guard let value = Int64(digits: number.dropLast()) else {
          throw fault(.lineProtocolValue, "a value ends in i and is no integer of 64 bits")
        }
        output.append(contentsOf: "\(value)".utf8)
      case UInt8(ascii: "u"):
        guard number[number.startIndex] != UInt8(ascii: "-"), let value = UInt64(digits: number.dropLast()) else {
          throw fault(.lineProtocolValue, "a value ends in u and is no unsigned integer of 64 bits")
        }
        output.append(contentsOf: "\(value)".utf8)
      default:
        guard float(number, into: &output) else {
          throw fault(.lineProtocolValue, "a value is no number, or larger than a double can be")
        }
      }
    default: throw syntax("a value is neither a number, a string nor a boolean")
    }
  }

  /// Everything up to a comma, a space or the end of the line.
  private mutating func plain() -> Slice<UnsafeRawBufferPointer> {
    let start = index
    while !atEnd, ![UInt8(ascii: ","), 0x20, 0x0A, 0x0D].contains(text[index]) { index += 1 }
    return text[start..<index]
  }

  private mutating func string(into output: inout [UInt8]) throws(Refusal) {
    index += 1
    token.removeAll(keepingCapacity: true)
    while !atEnd {
      var byte = text[index]
      index += 1
      if byte == UInt8(ascii: "\"") {
        output.append(jsonString: token)
        return
      }
      if byte == UInt8(ascii: "\\"), !atEnd, let escaped = LineReader.unescape(text[index]) {
        byte = escaped
        index += 1
      }
      token.append(byte)
    }
    throw syntax("a string has no closing quote")
  }

  private static func unescape(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): byte
    case UInt8(ascii: "n"): 0x0A
    case UInt8(ascii: "r"): 0x0D
    case UInt8(ascii: "t"): 0x09
    default: nil
    }
  }

  /// The longest number, in bytes: every double can be written in fewer.
  private static let maximumNumber = 1_100

  /// Appends a decimal number as JSON has it: `.5` gets its zero, `5.` and `007` lose what is too much.
  private func float(_ number: Slice<UnsafeRawBufferPointer>, into output: inout [UInt8]) -> Bool {
    guard number.count <= LineReader.maximumNumber else { return false }
    var rest = number
    var written: [UInt8] = []
    func digits() -> Slice<UnsafeRawBufferPointer> {
      let digits = rest.prefix { $0 &- 0x30 <= 9 }
      rest = rest.dropFirst(digits.count)
      return digits
    }
    if rest.first == UInt8(ascii: "-") { written.append(rest.removeFirst()) }
    let whole = digits()
    let significant = whole.drop { $0 == 0x30 }
    written += significant.isEmpty ? [0x30] : Array(significant)
    var fraction = rest.prefix(0)
    if rest.first == UInt8(ascii: ".") {
      rest.removeFirst()
      fraction = digits()
      if !fraction.isEmpty { written += [UInt8(ascii: ".")] + Array(fraction) }
    }
    if whole.isEmpty, fraction.isEmpty { return false }
    if let sign = rest.first, sign | 0x20 == UInt8(ascii: "e") {
      written.append(rest.removeFirst())
      if let sign = rest.first, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") {
        written.append(rest.removeFirst())
      }
      let exponent = digits()
      if exponent.isEmpty { return false }
      written += exponent
    }
    guard rest.isEmpty, let value = Double(String(decoding: written, as: UTF8.self)), value.isFinite else {
      return false
    }
    output.append(contentsOf: written)
    return true
  }

  // MARK: Times

  private mutating func time(into output: inout [UInt8]) throws(Refusal) {
    let start = index
    while !atEnd, text[index] &- 0x30 <= 9 || text[index] == UInt8(ascii: "-") { index += 1 }
    let digits = text[start..<index]
    skipSpaces()
    guard !digits.isEmpty, endLine() else {
      throw syntax("a timestamp and the line's end were expected after the fields")
    }
    if let count = Int64(digits: digits) {
      let (time, overflow) = count.multipliedReportingOverflow(by: nanoseconds)
      if !overflow { return output.append(contentsOf: ",\"time\":\(time)".utf8) }
    }
    index = start
    throw fault(.lineProtocolTime, "a timestamp is no integer, or more nanoseconds than 64 bits count")
  }
}

extension FixedWidthInteger {
  /// Decimal digits with an optional minus, and nothing else; nil beyond the type.
  fileprivate init?(digits: Slice<UnsafeRawBufferPointer>) {
    guard digits.first != UInt8(ascii: "+") else { return nil }
    self.init(String(decoding: digits, as: UTF8.self), radix: 10)
  }
}
