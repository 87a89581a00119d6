/// Numbers as texts, written straight into a buffer.
enum DecimalText {
  /// Bytes that any of them takes at most.
  static let maximumLength = 32

  /// - Parameter place: has room for ``maximumLength`` bytes.
  /// - Returns: how many were written.
  static func write(_ value: Int64, to place: UnsafeMutablePointer<UInt8>) -> Int {
    guard value < 0 else { return write(value.magnitude, to: place) }
    place.pointee = UInt8(ascii: "-")
    return 1 + write(value.magnitude, to: place + 1)
  }

  private static func write(_ value: UInt64, to place: UnsafeMutablePointer<UInt8>) -> Int {
    var length = 1
    var rest = value / 10
    while rest > 0 {
      length += 1
      rest /= 10
    }
    rest = value
    for index in stride(from: length - 1, through: 0, by: -1) {
      place[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
    return length
  }

  /// Seconds with as many digits behind the point as there are, to the nanosecond.
  static func write(nanoseconds value: Int64, to place: UnsafeMutablePointer<UInt8>) -> Int {
    let (whole, fraction) = value.magnitude.quotientAndRemainder(dividingBy: 1_000_000_000)
    var length = 0
    if value < 0 {
      place.pointee = UInt8(ascii: "-")
      length = 1
    }
    length += write(whole, to: place + length)
    guard fraction > 0 else { return length }
    place[length] = UInt8(ascii: ".")
    length += 1
    var rest = fraction
    for index in stride(from: 8, through: 0, by: -1) {
      place[length + index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
    length += 9
    while place[length - 1] == UInt8(ascii: "0") { length -= 1 }
    return length
  }

  /// The shortest text that reads back as the same number, as Go's `ParseFloat` takes it; whole numbers without a
  /// fraction.
  static func write(_ value: Double, to place: UnsafeMutablePointer<UInt8>) -> Int {
    if let whole = Int64(exactly: value), whole.magnitude < 1 << 53 { return write(whole, to: place) }
    // Most of what is not whole has few digits.
    if value.magnitude < 1_000_000 {
      let nanoseconds = Int64((value * 1e9).rounded())
      if nanoseconds != 0, Double(nanoseconds) / 1e9 == value { return write(nanoseconds: nanoseconds, to: place) }
    }
    var text = value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Inf" : "+Inf") : value.description
    return text.withUTF8 { bytes in
      let count = min(bytes.count, maximumLength)
      if let from = bytes.baseAddress { place.update(from: from, count: count) }
      return count
    }
  }

  static func text(_ value: Double) -> String {
    var bytes: [UInt8] = []
    append(value, to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  static func append(_ value: Double, to bytes: inout [UInt8]) { append(to: &bytes) { write(value, to: $0) } }
  static func append(_ value: Int64, to bytes: inout [UInt8]) { append(to: &bytes) { write(value, to: $0) } }

  private static func append(to bytes: inout [UInt8], _ write: (UnsafeMutablePointer<UInt8>) -> Int) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: maximumLength) { room in
      guard let base = room.baseAddress else { return }
      let count = write(base)
      bytes.append(contentsOf: UnsafeBufferPointer(rebasing: room[..<count]))
    }
  }
}
