/// Moments written as `2013-12-02 21:15:00`: RFC 3339 with a blank allowed for the `T`, and UTC where
/// there is no offset.
enum TimestampText {
  /// Milliseconds since 1970-01-01T00:00:00Z; nil for anything else.
  static func milliseconds(_ text: ArraySlice<UInt8>) -> Int64? {
    var rest = text
    func digits(_ count: Int) -> Int64? {
      guard rest.count >= count else { return nil }
      var value: Int64 = 0
      for byte in rest.prefix(count) {
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
        value = value * 10 + Int64(byte - UInt8(ascii: "0"))
      }
      rest = rest.dropFirst(count)
      return value
    }
    func skip(_ characters: String) -> Bool {
      guard let byte = rest.first, characters.utf8.contains(byte) else { return false }
      rest = rest.dropFirst()
      return true
    }
    guard let year = digits(4), skip("-"), let month = digits(2), skip("-"), let day = digits(2),
      skip(" Tt"), let hour = digits(2), skip(":"), let minute = digits(2), skip(":"),
      let second = digits(2),
      (1...12).contains(month), day >= 1, day <= daysInMonth(year, month), hour < 24, minute < 60,
      second < 61
    else { return nil }
    var milliseconds: Int64 = 0
    if skip(".") {
      let fraction = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
      guard !fraction.isEmpty else { return nil }
      rest = rest[fraction.endIndex...]
      for place in 0..<3 {
        let digit = fraction.dropFirst(place).first.map { Int64($0 - UInt8(ascii: "0")) } ?? 0
        milliseconds = milliseconds * 10 + digit
      }
    }
    var offset: Int64 = 0
    if !skip("Zz"), let sign = rest.first, skip("+-") {
      guard let hours = digits(2), skip(":"), let minutes = digits(2), hours < 24, minutes < 60
      else { return nil }
      offset = (hours * 60 + minutes) * (sign == UInt8(ascii: "-") ? -60 : 60)
    }
    guard rest.isEmpty else { return nil }
    let days = daysSince1970(year, month, day)
    return (days * 86_400 + hour * 3600 + minute * 60 + second - offset) * 1000 + milliseconds
  }

  private static func daysInMonth(_ year: Int64, _ month: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  /// The Gregorian calendar, counted from 1 March so that the leap day comes last (Howard Hinnant,
  /// "chrono-compatible low-level date algorithms").
  private static func daysSince1970(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let y = month <= 2 ? year - 1 : year
    let era = y / 400
    let yearOfEra = y - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }
}

/// Numbers as JSON writes them (RFC 8259, section 6).
enum JSONNumber {
  /// The text itself where it is a JSON number, the same number in JSON where it is not (`.5`, `+1`);
  /// nil for what is no finite number.
  static func normalised(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    let string = String(decoding: text, as: UTF8.self)
    // `Double` reads hexadecimal, "nan" and "inf" too.
    guard string.utf8.allSatisfy({ "0123456789+-.eE".utf8.contains($0) }),
      let value = Double(string), value.isFinite
    else { return nil }
    return isJSON(text) ? Array(text) : Array("\(value)".utf8)
  }

  private static func isJSON(_ text: ArraySlice<UInt8>) -> Bool {
    var rest = text
    func digits() -> ArraySlice<UInt8> {
      let run = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
      rest = rest[run.endIndex...]
      return run
    }
    if rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
    let whole = digits()
    guard let first = whole.first, first != UInt8(ascii: "0") || whole.count == 1 else { return false }
    if rest.first == UInt8(ascii: ".") {
      rest = rest.dropFirst()
      if digits().isEmpty { return false }
    }
    if let byte = rest.first, "eE".utf8.contains(byte) {
      rest = rest.dropFirst()
      if let sign = rest.first, "+-".utf8.contains(sign) { rest = rest.dropFirst() }
      if digits().isEmpty { return false }
    }
    return rest.isEmpty
  }
}
