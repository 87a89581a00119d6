/// Event times from JSON numbers.
package enum EventTime {
  /// Nanoseconds since 1970-01-01T00:00:00Z of a JSON number that counts `unit`s.
  ///
  /// Exact, because it never goes through a floating-point number; what is finer than a nanosecond is
  /// dropped. Nil where the time lies before 1970 or beyond 2262-04-11T23:47:16.854775807Z.
  /// - Parameter number: a valid JSON number, exponents and fractions included.
  package static func nanoseconds(
    number: UnsafeRawBufferPointer, unit: PipelineSettings.TimeUnit
  ) -> Int64? {
    if let time = plain(number, unit) { return time }
    var index = 0
    var isNegative = false
    if index < number.count, number[index] == UInt8(ascii: "-") {
      isNegative = true
      index += 1
    }

    // The value is mantissa * 10^exponent. Up to 37 digits are kept, twice what the result can have;
    // those behind them can only be finer than a nanosecond, or the number is out of range.
    var mantissa: UInt128 = 0
    var digits = 0
    var exponent = unit.powerOfTen
    var inFraction = false
    while index < number.count {
      let byte = number[index]
      if byte &- 0x30 <= 9 {
        if digits > 0 || byte != 0x30 {
          if digits < 37 {
            mantissa = mantissa * 10 + UInt128(byte &- 0x30)
            digits += 1
            if inFraction { exponent -= 1 }
          } else if !inFraction {
            exponent += 1
          }
        } else if inFraction {
          exponent -= 1
        }
      } else if byte == UInt8(ascii: ".") {
        inFraction = true
      } else {
        break
      }
      index += 1
    }
    if mantissa == 0 { return 0 }
    if isNegative { return nil }

    if index < number.count {
      // Behind the `e`. No payload is long enough for the exponent to matter beyond this bound.
      index += 1
      var isDown = false
      if index < number.count, number[index] == UInt8(ascii: "-") || number[index] == UInt8(ascii: "+") {
        isDown = number[index] == UInt8(ascii: "-")
        index += 1
      }
      var written = 0
      while index < number.count {
        written = min(written * 10 + Int(number[index] &- 0x30), 1 << 50)
        index += 1
      }
      exponent += isDown ? -written : written
    }
    return scale(mantissa, exponent)
  }

  /// The same of what nearly all devices write, digits only, and few of them; nil for anything else.
  private static func plain(_ number: UnsafeRawBufferPointer, _ unit: PipelineSettings.TimeUnit) -> Int64? {
    guard number.count <= 18, let base = number.baseAddress else { return nil }
    var value: Int64 = 0
    var index = 0
    while number.count &- index >= 8 {
      let word = JSONWord(at: base + index)
      guard word.nonDigits == 0 else { return nil }
      value = value &* 100_000_000 &+ word.number
      index &+= 8
    }
    while index < number.count {
      let digit = base.load(fromByteOffset: index, as: UInt8.self) &- 0x30
      guard digit <= 9 else { return nil }
      value = value &* 10 &+ Int64(digit)
      index &+= 1
    }
    let (time, overflow) = value.multipliedReportingOverflow(by: unit.nanoseconds)
    return overflow ? nil : time
  }

  /// mantissa * 10^exponent rounded down; nil beyond `Int64`. The mantissa is not 0.
  private static func scale(_ mantissa: UInt128, _ exponent: Int) -> Int64? {
    if exponent >= 0 {
      guard exponent <= 18, var value = Int64(exactly: mantissa) else { return nil }
      for _ in 0..<exponent {
        let (product, overflow) = value.multipliedReportingOverflow(by: 10)
        if overflow { return nil }
        value = product
      }
      return value
    }
    guard exponent >= -38 else { return 0 }
    if exponent >= -19, let small = UInt64(exactly: mantissa) {
      var divisor: UInt64 = 1
      for _ in 0..<(-exponent) { divisor *= 10 }
      return Int64(exactly: small / divisor)
    }
    var divisor: UInt128 = 1
    for _ in 0..<(-exponent) { divisor *= 10 }
    return Int64(exactly: mantissa / divisor)
  }
}

extension PipelineSettings.TimeUnit {
  /// Nanoseconds in one.
  var nanoseconds: Int64 {
    switch self {
    case .seconds: 1_000_000_000
    case .milliseconds: 1_000_000
    case .microseconds: 1_000
    case .nanoseconds, .rfc3339: 1
    }
  }

  /// A unit is ten to this power nanoseconds; RFC 3339 counts nothing.
  var powerOfTen: Int {
    switch self {
    case .seconds: 9
    case .milliseconds: 6
    case .microseconds: 3
    case .nanoseconds, .rfc3339: 0
    }
  }
}
