/// A JSON number as it is written, to the last digit: sign, digits, power of ten. Sums are exact, because
/// they never go through a floating-point number.
struct DecimalNumber: Sendable, Hashable {
  /// Every digit stands between 10 to this power and 10 to its negative: somewhat more than the range of a
  /// double (4.9e-324...1.8e308), and little enough for a sum to be written out.
  static let maximumScale = 400

  private(set) var isNegative: Bool
  /// 0...9 each, the first and the last not 0; none for zero. The value is 0.d₁d₂d₃… × 10^point.
  private(set) var digits: ArraySlice<UInt8>
  private(set) var point: Int

  private init(isNegative: Bool, digits: ArraySlice<UInt8>, point: Int) {
    let significant = digits.drop { $0 == 0 }
    self.isNegative = isNegative
    self.point = point - (digits.count - significant.count)
    self.digits = significant[..<(significant.lastIndex { $0 != 0 }.map { $0 + 1 } ?? significant.startIndex)]
    if self.digits.isEmpty { (self.isNegative, self.point) = (false, 0) }
  }

  private var isInRange: Bool {
    point <= DecimalNumber.maximumScale && point - digits.count >= -DecimalNumber.maximumScale
  }

  /// - Parameter number: a valid JSON number; nil where it needs more than ``maximumScale``.
  init?(_ number: UnsafeRawBufferPointer) {
    var digits: ArraySlice<UInt8> = []
    var point: Int?
    var exponent = 0
    var index = 0
    while index < number.count, number[index] | 0x20 != UInt8(ascii: "e") {
      if number[index] == UInt8(ascii: ".") {
        point = digits.count
      } else if number[index] != UInt8(ascii: "-") {
        digits.append(number[index] &- 0x30)
      }
      index += 1
    }
    if index + 1 < number.count {
      index += 1
      let isDown = number[index] == UInt8(ascii: "-")
      if isDown || number[index] == UInt8(ascii: "+") { index += 1 }
      while index < number.count {
        // No payload is long enough for the exponent to matter beyond this bound.
        exponent = min(exponent * 10 + Int(number[index] &- 0x30), 1 << 50)
        index += 1
      }
      if isDown { exponent = -exponent }
    }
    self.init(
      isNegative: number.first == UInt8(ascii: "-"), digits: digits, point: (point ?? digits.count) + exponent)
    if !isInRange { return nil }
  }

  /// An integer's decimal text, with its sign, times a power of ten.
  init?(integer: [UInt8], exponent: Int) {
    let isNegative = integer.first == UInt8(ascii: "-")
    let digits = integer.dropFirst(isNegative ? 1 : 0).map { $0 &- 0x30 }
    self.init(isNegative: isNegative, digits: digits[...], point: digits.count + exponent)
    if !isInRange { return nil }
  }

  /// Seconds.
  init(nanoseconds: Int64) {
    let digits = String(nanoseconds.magnitude).utf8.map { $0 &- 0x30 }
    self.init(isNegative: nanoseconds < 0, digits: digits[...], point: digits.count - 9)
  }

  static func + (left: DecimalNumber, right: DecimalNumber) -> DecimalNumber {
    let top = max(left.point, right.point) + 1
    let bottom = min(left.point - left.digits.count, right.point - right.digits.count)
    var (greater, smaller) = (left.aligned(top: top, bottom: bottom), right.aligned(top: top, bottom: bottom))
    var isNegative = left.isNegative
    if left.isNegative == right.isNegative {
      for index in greater.indices { greater[index] += smaller[index] }
      for index in greater.indices.dropFirst().reversed() where greater[index] > 9 {
        greater[index] -= 10
        greater[index - 1] += 1
      }
    } else {
      if greater.lexicographicallyPrecedes(smaller) {
        swap(&greater, &smaller)
        isNegative = right.isNegative
      }
      for index in greater.indices.reversed() {
        if greater[index] < smaller[index] {
          // There is a place to borrow from, because this is the greater of the two.
          greater[index] += 10
          smaller[index - 1] += 1
        }
        greater[index] -= smaller[index]
      }
    }
    return DecimalNumber(isNegative: isNegative, digits: greater[...], point: top)
  }

  /// The digits from 10^(top - 1) down to 10^bottom.
  private func aligned(top: Int, bottom: Int) -> [UInt8] {
    var places = [UInt8](repeating: 0, count: top - bottom)
    for (index, digit) in digits.enumerated() { places[top - point + index] = digit }
    return places
  }

  static func < (left: DecimalNumber, right: DecimalNumber) -> Bool {
    var opposite = right
    opposite.isNegative = !right.isNegative && !right.digits.isEmpty
    return (left + opposite).isNegative
  }

  /// As a JSON number: without an exponent between a millionth and 10^21, where JavaScript has none either.
  func append(to output: inout [UInt8]) {
    if isNegative { output.append(UInt8(ascii: "-")) }
    var whole = point
    let isPlain = digits.isEmpty || (-5...21).contains(point)
    if !isPlain { whole = 1 }
    if whole <= 0 {
      output.append("0")
    } else {
      for index in 0..<whole { output.append(0x30 + place(index)) }
    }
    if digits.count > whole {
      output.append(UInt8(ascii: "."))
      for index in whole..<digits.count { output.append(0x30 + place(index)) }
    }
    if !isPlain { output.append(contentsOf: "e\(point - 1)".utf8) }
  }

  /// The digit at a place counted from the first; 0 before it and behind the last.
  private func place(_ index: Int) -> UInt8 {
    index >= 0 && index < digits.count ? digits[digits.startIndex + index] : 0
  }
}
