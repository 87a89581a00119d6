/// Eight bytes of a JSON text at once, the first of them in the lowest bits.
///
/// What is looked for gets the high bit of its byte set.
struct JSONWord {
  private static let ones: UInt64 = 0x0101_0101_0101_0101
  private static let highBits: UInt64 = 0x8080_8080_8080_8080

  private let bytes: UInt64

  @inline(__always)
  init(at address: UnsafeRawPointer) { bytes = UInt64(littleEndian: address.loadUnaligned(as: UInt64.self)) }

  /// The last few bytes of a text, one to seven, and zeros behind them. It has eight bytes at least.
  @inline(__always)
  init(last count: Int, before end: UnsafeRawPointer) {
    bytes = JSONWord(at: end - 8).bytes &>> UInt64(truncatingIfNeeded: 64 &- 8 &* count)
  }

  /// How many bytes stand before the first find; there must be one.
  @inline(__always)
  static func place(_ finds: UInt64) -> Int { finds.trailingZeroBitCount &>> 3 }

  /// What does not simply stand for itself in a string: a quote, a backslash, a control character, or no ASCII. The
  /// first find is right; what stands above it means nothing.
  ///
  /// A subtraction sets the high bit of a byte that is smaller than what is taken from it, or has it set already; and
  /// only such a byte borrows from those above. One that has its high bit set is not ASCII, and a find itself.
  @inline(__always)
  var stringSpecials: UInt64 {
    let quote = (bytes ^ (JSONWord.ones &* 0x22)) &- JSONWord.ones
    let backslash = (bytes ^ (JSONWord.ones &* 0x5C)) &- JSONWord.ones
    let control = bytes &- JSONWord.ones &* 0x20
    return (quote | backslash | control | bytes) & JSONWord.highBits
  }

  /// Every byte that is no digit.
  ///
  /// Digits are what is below ten without 0x30. To what is ten or more the addition gives the high bit, and nothing is
  /// carried on, for the high bits stay out of it.
  @inline(__always)
  var nonDigits: UInt64 {
    let value = bytes ^ (JSONWord.ones &* 0x30)
    return (((value & ~JSONWord.highBits) &+ JSONWord.ones &* 0x76) | value) & JSONWord.highBits
  }

  /// The number that eight digits write: pairs of digits first, then pairs of those, then of those. There must be
  /// nothing but digits.
  @inline(__always)
  var number: Int64 {
    let digits = bytes &- JSONWord.ones &* 0x30
    let pairs = digits &* 10 &+ (digits &>> 8)
    let mask: UInt64 = 0x0000_00FF_0000_00FF
    let upper = (pairs & mask) &* (100 &+ (1_000_000 &<< 32))
    let lower = ((pairs &>> 16) & mask) &* (1 &+ (10_000 &<< 32))
    return Int64(truncatingIfNeeded: (upper &+ lower) &>> 32)
  }
}
