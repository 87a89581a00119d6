/// What a JSON number is to SQLite.
enum FieldNumber {
  case integer(Int64)
  case real(Double)

  /// From a valid JSON number; see ``Selection`` for the rule.
  init(_ text: UnsafeRawBufferPointer) {
    var index = 0
    let isNegative = text.first == UInt8(ascii: "-")
    if isNegative { index = 1 }
    // Up to 19 digits fit; the power of ten says where the point is.
    var mantissa: UInt64 = 0
    var digits = 0
    var exponent = 0
    var isInteger = true
    var isExact = true
    while index < text.count {
      let byte = text[index]
      if byte &- 0x30 <= 9 {
        if digits > 0 || byte != 0x30 {
          digits += 1
          if digits <= 19 { mantissa = mantissa &* 10 &+ UInt64(byte &- 0x30) } else { isExact = false }
        }
        if !isInteger { exponent -= 1 }
      } else if byte == UInt8(ascii: ".") {
        isInteger = false
      } else {
        break
      }
      index += 1
    }
    if isInteger, index == text.count, isExact {
      if mantissa <= UInt64(Int64.max) {
        self = .integer(isNegative ? -Int64(mantissa) : Int64(mantissa))
        return
      }
      if isNegative, mantissa == UInt64(Int64.max) + 1 {
        self = .integer(.min)
        return
      }
    }
    // Both factors are exact and there is one rounding, so the result is the nearest (W. D. Clinger, How to
    // read floating point numbers accurately, 1990).
    if isExact, index == text.count, mantissa <= 1 << 53, exponent >= -22 {
      let magnitude = Double(mantissa) / FieldNumber.powers[-exponent]
      self = .real(isNegative ? -magnitude : magnitude)
      return
    }
    self = .real(Double(String(decoding: text, as: UTF8.self)) ?? 0)
  }

  /// Ten to the 0...22, which a Double holds exactly.
  private static let powers: [Double] = [
    1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
  ]
}
