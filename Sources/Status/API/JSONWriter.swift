/// Writes JSON (RFC 8259) straight into bytes: for documents that are asked for every second, where JSONEncoder
/// costs a hundred times as much. Whoever writes keeps objects and arrays balanced; the tests read what comes out.
package struct JSONWriter: Sendable {
  package private(set) var bytes: [UInt8] = []
  private var needsComma = false

  package init(capacity: Int = 4096) { bytes.reserveCapacity(capacity) }

  /// - Parameter key: in an object; nil at the top and in arrays.
  package mutating func object(_ key: String? = nil, _ body: (inout JSONWriter) -> Void) {
    open(key, UInt8(ascii: "{"))
    body(&self)
    close(UInt8(ascii: "}"))
  }

  package mutating func array(_ key: String? = nil, _ body: (inout JSONWriter) -> Void) {
    open(key, UInt8(ascii: "["))
    body(&self)
    close(UInt8(ascii: "]"))
  }

  package mutating func value(_ key: String? = nil, _ text: String) {
    begin(key)
    quote(text)
  }

  package mutating func value(_ key: String? = nil, _ number: Int64) {
    begin(key)
    append(number)
  }

  /// To the thousandth, the nearest: figures for people and charts. What is no number is `null`.
  package mutating func value(_ key: String? = nil, _ number: Double) {
    begin(key)
    // Beyond 2^53 a double has no fractions, and an Int64 no room beyond 2^63.
    guard number.isFinite, number.magnitude < 9e15 else { return append("null") }
    let thousandths = Int64((number.magnitude * 1000).rounded())
    if number < 0, thousandths > 0 { bytes.append(UInt8(ascii: "-")) }
    append(thousandths / 1000)
    var fraction = thousandths % 1000
    guard fraction > 0 else { return }
    bytes.append(UInt8(ascii: "."))
    var unit: Int64 = 100
    while fraction > 0 {
      bytes.append(UInt8(ascii: "0") + UInt8(fraction / unit))
      fraction %= unit
      unit /= 10
    }
  }

  package mutating func value(_ key: String? = nil, _ flag: Bool) {
    begin(key)
    append(flag ? "true" : "false")
  }

  package mutating func null(_ key: String? = nil) {
    begin(key)
    append("null")
  }

  /// What is JSON already.
  package mutating func raw(_ key: String? = nil, _ json: some Sequence<UInt8>) {
    begin(key)
    bytes.append(contentsOf: json)
  }

  // Nothing is written for what is not known.

  package mutating func optional(_ key: String, _ text: String?) {
    if let text { value(key, text) }
  }

  package mutating func optional(_ key: String, _ number: Int64?) {
    if let number { value(key, number) }
  }

  package mutating func optional(_ key: String, _ number: Double?) {
    if let number { value(key, number) }
  }

  private mutating func open(_ key: String?, _ bracket: UInt8) {
    begin(key)
    bytes.append(bracket)
    needsComma = false
  }

  private mutating func close(_ bracket: UInt8) {
    bytes.append(bracket)
    needsComma = true
  }

  private mutating func begin(_ key: String?) {
    if needsComma { bytes.append(UInt8(ascii: ",")) }
    if let key {
      quote(key)
      bytes.append(UInt8(ascii: ":"))
    }
    needsComma = true
  }

  private mutating func append(_ text: StaticString) {
    text.withUTF8Buffer { bytes.append(contentsOf: $0) }
  }

  private mutating func append(_ number: Int64) {
    var text = number
    if text >= 0, text < 10 {
      bytes.append(UInt8(ascii: "0") + UInt8(text))
      return
    }
    if text < 0 { bytes.append(UInt8(ascii: "-")) }
    let start = bytes.count
    while text != 0 {
      bytes.append(UInt8(ascii: "0") + UInt8((text % 10).magnitude))
      text /= 10
    }
    bytes[start...].reverse()
  }

  private mutating func quote(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    // Nearly every text has nothing to escape and goes as one piece.
    let isWritten = text.utf8.withContiguousStorageIfAvailable { source in
      guard source.allSatisfy({ $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }) else {
        return false
      }
      bytes.append(contentsOf: source)
      return true
    }
    if isWritten != true { escape(text) }
    bytes.append(UInt8(ascii: "\""))
  }

  private mutating func escape(_ text: String) {
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(byte)
      case 0..<0x20:
        append("\\u00")
        let digits: StaticString = "0123456789abcdef"
        digits.withUTF8Buffer { digits in
          bytes.append(digits[Int(byte >> 4)])
          bytes.append(digits[Int(byte & 15)])
        }
      default: bytes.append(byte)
      }
    }
  }
}
