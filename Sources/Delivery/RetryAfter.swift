/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date in one of the three forms of section 5.6.7.
enum RetryAfter {
  /// Nanoseconds from now, at least 0; nil for what is neither.
  /// - Parameters:
  ///   - date: the answer's own `Date` field. A date counts from it, because a gateway's clock may be wrong.
  ///   - wall: nanoseconds since 1970, for answers without a `Date`.
  static func nanoseconds(_ text: String, date: String?, wall: Int64) -> Int64? {
    let text = trimmed(text)
    if let first = text.utf8.first, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) {
      guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
        return nil
      }
      return nanoseconds(seconds: Int64(text) ?? .max)
    }
    guard let until = seconds(httpDate: text) else { return nil }
    let now = date.flatMap { seconds(httpDate: trimmed($0)) } ?? wall / 1_000_000_000
    return nanoseconds(seconds: max(0, until - now))
  }

  /// Centuries, which an upstream with a broken clock or a hostile one may name, are cut to what an Int64
  /// holds; whoever asks caps them again.
  private static func nanoseconds(seconds: Int64) -> Int64 {
    min(seconds, Int64.max / 1_000_000_000) * 1_000_000_000
  }

  private static func trimmed(_ text: String) -> String {
    String(text.drop { $0 == " " || $0 == "\t" }.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
  }

  /// Seconds since 1970; nil for what is no date.
  static func seconds(httpDate text: String) -> Int64? {
    let words = text.split { " ,:-".contains($0) }.map(String.init)
    let isASCTime = text.utf8.count > 3 && !text.contains(",")
    // asctime: Sun Nov  6 08:49:37 1994; the others: Sun, 06 Nov 1994 08:49:37 GMT and
    // Sunday, 06-Nov-94 08:49:37 GMT
    guard words.count == (isASCTime ? 7 : 8), isASCTime || words[7] == "GMT" else { return nil }
    let order = isASCTime ? (day: 2, month: 1, year: 6, hour: 3) : (day: 1, month: 2, year: 3, hour: 4)
    let months = [
      "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]
    guard let month = months.firstIndex(of: words[order.month]).map({ $0 + 1 }),
      let day = Int(words[order.day]), (1...31).contains(day), var year = Int(words[order.year]),
      (0...9999).contains(year), let hour = Int(words[order.hour]), (0...23).contains(hour),
      let minute = Int(words[order.hour + 1]), (0...59).contains(minute),
      let second = Int(words[order.hour + 2]), (0...60).contains(second)
    else { return nil }
    if words[order.year].utf8.count == 2 { year += year < 70 ? 2000 : 1900 }
    return Int64(days(year: year, month: month, day: day) * 86_400 + hour * 3_600 + minute * 60 + second)
  }

  /// Days since 1970-01-01 in the Gregorian calendar, counted in years that begin in March, so that the
  /// leap day is the last of its year.
  private static func days(year: Int, month: Int, day: Int) -> Int {
    let y = month <= 2 ? year - 1 : year
    let era = (y >= 0 ? y : y - 399) / 400
    let yearOfEra = y - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }
}
