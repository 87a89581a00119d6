/// The sign, digits and power of ten of a JSON number, and where in its text the digits stand: numbers are
/// compared as they are written, without ever becoming floating-point numbers.
struct DecimalShape: Sendable {
  /// As many digits always fit a `UInt64`.
  static let shortDigits = 19

  var isNegative: Bool
  /// The digits from the first to the last that is not 0, perhaps with the point among them.
  var significant: Range<Int>
  /// How many digits these are; 0 for zero.
  var digits: Int
  /// The value is the digits as an integer, times ten to this.
  var exponent: Int
  /// The digits as an integer; means something only where ``isShort``.
  var mantissa: UInt64

  var isZero: Bool { digits == 0 }
  var isInteger: Bool { digits == 0 || exponent >= 0 }
  /// Whether ``mantissa`` holds all of the digits.
  var isShort: Bool { digits <= DecimalShape.shortDigits }
}

/// A JSON number looked at as sign, digits and power of ten, without ever becoming a floating-point number:
/// integers beyond 2^53, long fractions and exponents of any size are compared as they are written.
///
/// Nothing is copied; `text` must stay valid as long as this is used. The work is in proportion to the
/// length of the text, never to the size of the number.
struct DecimalText {
  /// Exponents beyond this in either direction count as this: the digits of no payload (less than 2 GiB)
  /// can make up for it.
  private static let largestExponent = 1 << 50

  let text: UnsafeRawBufferPointer
  let shape: DecimalShape

  /// - Parameter text: a valid JSON number.
  init(_ text: UnsafeRawBufferPointer) {
    self.text = text
    var index = 0
    var isNegative = false
    if text.count > 0, text[0] == UInt8(ascii: "-") {
      isNegative = true
      index = 1
    }
    var first = -1
    var last = -1
    /// Digits behind the point; digits from the first one that is not 0, and those of them up to the last one
    /// that is not 0.
    var behindPoint = 0
    var count = 0
    var kept = 0
    var mantissa: UInt64 = 0
    var pendingZeros = 0
    var inFraction = false
    while index < text.count {
      let byte = text[index]
      let digit = byte &- 0x30
      if digit <= 9 {
        if inFraction { behindPoint += 1 }
        if first >= 0 || digit != 0 {
          if first < 0 { first = index }
          count += 1
          if digit == 0 {
            pendingZeros += 1
          } else {
            last = index
            kept = count
            if kept <= DecimalShape.shortDigits {
              while pendingZeros > 0 {
                mantissa &*= 10
                pendingZeros -= 1
              }
              mantissa = mantissa &* 10 &+ UInt64(digit)
            }
            pendingZeros = 0
          }
        }
      } else if byte == UInt8(ascii: ".") {
        inFraction = true
      } else {
        break
      }
      index += 1
    }
    var power = 0
    if index < text.count {
      index += 1
      var isDown = false
      if index < text.count, text[index] == UInt8(ascii: "-") || text[index] == UInt8(ascii: "+") {
        isDown = text[index] == UInt8(ascii: "-")
        index += 1
      }
      while index < text.count {
        power = min(power * 10 + Int(text[index] &- 0x30), DecimalText.largestExponent)
        index += 1
      }
      if isDown { power = -power }
    }
    shape = DecimalShape(
      isNegative: isNegative && kept > 0, significant: kept > 0 ? first..<last + 1 : 0..<0, digits: kept,
      exponent: kept > 0 ? power - behindPoint + (count - kept) : 0, mantissa: mantissa)
  }

  /// A number whose shape is known already.
  init(_ text: UnsafeRawBufferPointer, shape: DecimalShape) {
    self.text = text
    self.shape = shape
  }

  // MARK: Comparing

  static func == (left: DecimalText, right: DecimalText) -> Bool { left.compare(right) == 0 }

  /// Below 0 where this is the smaller one, 0 where both are the same number, otherwise above 0. The texts are
  /// looked at only where one of them is not short.
  func compare(_ other: DecimalText) -> Int {
    if shape.isNegative != other.shape.isNegative { return shape.isNegative ? -1 : 1 }
    let magnitude = compareMagnitude(other)
    return shape.isNegative ? -magnitude : magnitude
  }

  private func compareMagnitude(_ other: DecimalText) -> Int {
    let (one, two) = (shape, other.shape)
    if one.isZero || two.isZero { return one.isZero ? (two.isZero ? 0 : -1) : 1 }
    let place = one.digits + one.exponent
    let otherPlace = two.digits + two.exponent
    if place != otherPlace { return place < otherPlace ? -1 : 1 }
    if one.isShort, two.isShort {
      // The first digits stand at the same place, so that the shorter one lacks only zeros.
      let left = UInt128(one.mantissa) * DecimalText.power(max(0, two.digits - one.digits))
      let right = UInt128(two.mantissa) * DecimalText.power(max(0, one.digits - two.digits))
      return left == right ? 0 : left < right ? -1 : 1
    }
    let significant = one.significant
    let otherSignificant = two.significant
    var position = significant.lowerBound
    var otherPosition = otherSignificant.lowerBound
    while true {
      if position < significant.upperBound, text[position] == UInt8(ascii: ".") { position += 1 }
      if otherPosition < otherSignificant.upperBound, other.text[otherPosition] == UInt8(ascii: ".") {
        otherPosition += 1
      }
      // What ends first lacks a last digit that is not 0.
      let isDone = position >= significant.upperBound
      let otherIsDone = otherPosition >= otherSignificant.upperBound
      if isDone || otherIsDone { return isDone ? (otherIsDone ? 0 : -1) : 1 }
      let digit = text[position]
      let otherDigit = other.text[otherPosition]
      if digit != otherDigit { return digit < otherDigit ? -1 : 1 }
      position += 1
      otherPosition += 1
    }
  }

  /// Ten to a power of at most 19.
  private static func power(_ exponent: Int) -> UInt128 {
    var value: UInt128 = 1
    for _ in 0..<exponent { value *= 10 }
    return value
  }

  // MARK: Dividing

  /// Whether this is a whole multiple of `divisor`, which is short and greater than 0.
  ///
  /// Both are digits that do not end in 0, times a power of ten. Where this one's power is the smaller, ten
  /// would have to divide its digits; otherwise the remainder is found digit by digit, and the missing power
  /// of ten by squaring.
  func isMultiple(of divisor: DecimalText) -> Bool {
    if shape.isZero { return true }
    guard divisor.shape.mantissa > 0, shape.exponent >= divisor.shape.exponent else { return false }
    let modulus = UInt128(divisor.shape.mantissa)
    var rest: UInt128 = 0
    if shape.isShort {
      rest = UInt128(shape.mantissa) % modulus
    } else {
      for position in shape.significant where text[position] != UInt8(ascii: ".") {
        rest = (rest * 10 + UInt128(text[position] &- 0x30)) % modulus
      }
    }
    var shift = shape.exponent - divisor.shape.exponent
    var factor: UInt128 = 10 % modulus
    while shift > 0, rest != 0 {
      if shift & 1 == 1 { rest = rest * factor % modulus }
      factor = factor * factor % modulus
      shift >>= 1
    }
    return rest == 0
  }

  /// The same for every way to write the same number.
  var hash: UInt64 {
    var hash = UInt64(truncatingIfNeeded: shape.exponent) &* 0x9E37_79B9_7F4A_7C15 ^ (shape.isNegative ? 1 : 0)
    if shape.isShort { return (hash ^ shape.mantissa) &* 0xFF51_AFD7_ED55_8CCD }
    for position in shape.significant where text[position] != UInt8(ascii: ".") {
      hash = (hash ^ UInt64(text[position])) &* 0x0000_0100_0000_01B3
    }
    return hash
  }
}
