/// Dates and times as RFC 3339 (section 5.6) writes them, to the nanosecond, on the proleptic Gregorian
/// calendar.
package enum RFC3339 {
  package enum Failure: Error, Sendable, Hashable {
    case syntax
    /// Before 1970 or beyond 2262-04-11T23:47:16.854775807Z.
    case range
  }

  /// The bytes that ``write(_:to:)`` needs at most: `2026-11-21T03:18:00.123456789Z`.
  package static let maximumLength = 30

  /// Nanoseconds since 1970-01-01T00:00:00Z of `date-time`.
  ///
  /// `t` and `z` may be lower-case. Digits of the fraction beyond the ninth are checked and dropped. A
  /// leap second (23:59:60 UTC) is the first second of the next day, as in POSIX time.
  package static func nanoseconds(_ text: UnsafeRawBufferPointer) throws(Failure) -> Int64 {
    guard text.count >= 20 else { throw .syntax }
    let year = try number(text, 0, 4)
    let month = try number(text, 5, 2)
    let day = try number(text, 8, 2)
    let hour = try number(text, 11, 2)
    let minute = try number(text, 14, 2)
    let second = try number(text, 17, 2)
    guard text[4] == UInt8(ascii: "-"), text[7] == UInt8(ascii: "-"),
      text[10] | 0x20 == UInt8(ascii: "t"), text[13] == UInt8(ascii: ":"),
      text[16] == UInt8(ascii: ":"), (1...12).contains(month), day >= 1,
      day <= daysInMonth(month, year), hour <= 23, minute <= 59, second <= 60
    else { throw .syntax }

    var index = 19
    var fraction: Int64 = 0
    if text[index] == UInt8(ascii: ".") {
      index += 1
      let start = index
      var scale: Int64 = 100_000_000
      while index < text.count, text[index] &- 0x30 <= 9 {
        fraction += Int64(text[index] &- 0x30) * scale
        scale /= 10
        index += 1
      }
      if index == start { throw .syntax }
    }

    guard index < text.count else { throw .syntax }
    var offset: Int64 = 0
    switch text[index] {
    case UInt8(ascii: "Z"), UInt8(ascii: "z"):
      guard index + 1 == text.count else { throw .syntax }
    case UInt8(ascii: "+"), UInt8(ascii: "-"):
      guard index + 6 == text.count, text[index + 3] == UInt8(ascii: ":") else { throw .syntax }
      let hours = try number(text, index + 1, 2)
      let minutes = try number(text, index + 4, 2)
      guard hours <= 23, minutes <= 59 else { throw .syntax }
      offset = (hours * 60 + minutes) * 60 * (text[index] == UInt8(ascii: "-") ? -1 : 1)
    default: throw .syntax
    }

    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset
    // Leap seconds are only ever put in at the end of a day of UTC (section 5.7).
    if second == 60, seconds % 86_400 != 0 { throw .syntax }
    guard seconds >= 0 else { throw .range }
    let (whole, tooLarge) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let (total, tooLargeWithFraction) = whole.addingReportingOverflow(fraction)
    guard !tooLarge, !tooLargeWithFraction else { throw .range }
    return total
  }

  /// Writes a time in UTC with the shortest fraction that says it exactly.
  /// - Parameter target: room for ``maximumLength`` bytes.
  /// - Returns: the bytes written.
  package static func write(_ nanoseconds: Int64, to target: UnsafeMutableRawPointer) -> Int {
    let (day, nanosecondOfDay) = floorDivide(nanoseconds, 86_400_000_000_000)
    let (secondOfDay, fraction) = floorDivide(nanosecondOfDay, 1_000_000_000)
    let (year, month, dayOfMonth) = date(day)
    func put(_ byte: UInt8, _ index: Int) {
      target.storeBytes(of: byte, toByteOffset: index, as: UInt8.self)
    }
    func put2(_ value: Int64, _ index: Int) {
      put(UInt8(truncatingIfNeeded: value / 10) &+ 0x30, index)
      put(UInt8(truncatingIfNeeded: value % 10) &+ 0x30, index + 1)
    }
    put2(year / 100, 0)
    put2(year % 100, 2)
    put(UInt8(ascii: "-"), 4)
    put2(month, 5)
    put(UInt8(ascii: "-"), 7)
    put2(dayOfMonth, 8)
    put(UInt8(ascii: "T"), 10)
    put2(secondOfDay / 3_600, 11)
    put(UInt8(ascii: ":"), 13)
    put2(secondOfDay / 60 % 60, 14)
    put(UInt8(ascii: ":"), 16)
    put2(secondOfDay % 60, 17)
    return writeEnd(fraction, to: target)
  }

  /// The end of a time, from behind its seconds.
  /// - Parameter target: where the time begins.
  /// - Returns: the bytes of the whole.
  @inline(__always)
  private static func writeEnd(_ fraction: Int64, to target: UnsafeMutableRawPointer) -> Int {
    var length = 19
    if fraction > 0 {
      target.storeBytes(of: UInt8(ascii: "."), toByteOffset: length, as: UInt8.self)
      length &+= 1
      var rest = UInt64(truncatingIfNeeded: fraction)
      var scale: UInt64 = 100_000_000
      while rest > 0 {
        let (digit, behind) = rest.quotientAndRemainder(dividingBy: scale)
        target.storeBytes(of: UInt8(truncatingIfNeeded: digit) &+ 0x30, toByteOffset: length, as: UInt8.self)
        rest = behind
        scale /= 10
        length &+= 1
      }
    }
    target.storeBytes(of: UInt8(ascii: "Z"), toByteOffset: length, as: UInt8.self)
    return length &+ 1
  }

  /// Writes times as ``write(_:to:)`` does, and remembers the minute of the last: those of readings follow one another,
  /// and the calendar is most of the work.
  package struct Writer: Sendable {
    package init() {}

    private var minute = Int64.min
    /// `2026-11-21T03:18`.
    private var text: (UInt64, UInt64) = (0, 0)

    /// - Parameter target: room for ``maximumLength`` bytes.
    /// - Returns: the bytes written.
    @inline(__always)
    package mutating func write(_ nanoseconds: Int64, to target: UnsafeMutableRawPointer) -> Int {
      let (minute, rest) = floorDivide(nanoseconds, 60_000_000_000)
      if minute != self.minute {
        let length = RFC3339.write(nanoseconds, to: target)
        self.minute = minute
        text = (target.loadUnaligned(as: UInt64.self), target.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        return length
      }
      let (second, fraction) = UInt64(truncatingIfNeeded: rest).quotientAndRemainder(dividingBy: 1_000_000_000)
      target.storeBytes(of: text.0, as: UInt64.self)
      target.storeBytes(of: text.1, toByteOffset: 8, as: UInt64.self)
      target.storeBytes(of: UInt8(ascii: ":"), toByteOffset: 16, as: UInt8.self)
      let (tens, ones) = UInt8(truncatingIfNeeded: second).quotientAndRemainder(dividingBy: 10)
      target.storeBytes(of: tens &+ 0x30, toByteOffset: 17, as: UInt8.self)
      target.storeBytes(of: ones &+ 0x30, toByteOffset: 18, as: UInt8.self)
      return RFC3339.writeEnd(Int64(truncatingIfNeeded: fraction), to: target)
    }
  }

  /// The bytes that ``write(_:to:)`` writes.
  package static func length(_ nanoseconds: Int64) -> Int {
    var fraction = floorDivide(nanoseconds, 1_000_000_000).rest
    guard fraction > 0 else { return 20 }
    var length = maximumLength
    while fraction % 10 == 0 {
      fraction /= 10
      length -= 1
    }
    return length
  }

  /// A time in UTC with the shortest fraction that says it exactly.
  package static func text(_ nanoseconds: Int64) -> String {
    withUnsafeTemporaryAllocation(byteCount: maximumLength, alignment: 1) { room in
      guard let base = room.baseAddress else { return "" }
      let length = write(nanoseconds, to: base)
      return String(decoding: room[..<length], as: UTF8.self)
    }
  }

  @inline(__always)
  private static func number(
    _ text: UnsafeRawBufferPointer, _ start: Int, _ length: Int
  ) throws(Failure) -> Int64 {
    var value: Int64 = 0
    for index in start..<start + length {
      let digit = text[index] &- 0x30
      guard digit <= 9 else { throw .syntax }
      value = value * 10 + Int64(digit)
    }
    return value
  }

  @inline(__always)
  private static func floorDivide(_ value: Int64, _ divisor: Int64) -> (quotient: Int64, rest: Int64) {
    let (quotient, rest) = value.quotientAndRemainder(dividingBy: divisor)
    return rest < 0 ? (quotient - 1, rest + divisor) : (quotient, rest)
  }

  private static func daysInMonth(_ month: Int64, _ year: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  // Days are counted in years that begin with March, so that the leap day is a year's last, and in
  // cycles of 400 years (146,097 days), after which the calendar repeats. 719,468 days lie between
  // 0000-03-01 and 1970-01-01.

  /// Days from 1970-01-01 to a date.
  private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let year = month <= 2 ? year - 1 : year
    let (cycle, yearOfCycle) = floorDivide(year, 400)
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let dayOfCycle = yearOfCycle * 365 + yearOfCycle / 4 - yearOfCycle / 100 + dayOfYear
    return cycle * 146_097 + dayOfCycle - 719_468
  }

  private static func date(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let (cycle, dayOfCycle) = floorDivide(days + 719_468, 146_097)
    let yearOfCycle =
      (dayOfCycle - dayOfCycle / 1_460 + dayOfCycle / 36_524 - dayOfCycle / 146_096) / 365
    let dayOfYear = dayOfCycle - (365 * yearOfCycle + yearOfCycle / 4 - yearOfCycle / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * shifted + 2) / 5 + 1
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    return (yearOfCycle + cycle * 400 + (month <= 2 ? 1 : 0), month, day)
  }
}
