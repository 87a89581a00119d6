import Pipeline
import Testing

@Suite("Event time")
struct EventTimeTests {
  func time(_ number: String, _ unit: PipelineSettings.TimeUnit) -> Int64? {
    Array(number.utf8).withUnsafeBytes { EventTime.nanoseconds(number: $0, unit: unit) }
  }

  func time(_ text: String) -> Result<Int64, RFC3339.Failure> {
    Array(text.utf8).withUnsafeBytes { bytes in
      do throws(RFC3339.Failure) { return .success(try RFC3339.nanoseconds(bytes)) } catch {
        return .failure(error)
      }
    }
  }

  static let numberCases: [(String, PipelineSettings.TimeUnit, Int64?)] = [
    ("0", .seconds, 0), ("-0", .seconds, 0), ("-0.0e5", .milliseconds, 0), ("0e99999999999999999999", .seconds, 0),
    ("1795231080", .seconds, 1_795_231_080_000_000_000),
    ("1795231080.123456789", .seconds, 1_795_231_080_123_456_789),
    ("1795231080.1234567899999", .seconds, 1_795_231_080_123_456_789),
    ("1795231080123", .milliseconds, 1_795_231_080_123_000_000),
    ("1795231080123.456789", .milliseconds, 1_795_231_080_123_456_789),
    ("1795231080123456.7", .microseconds, 1_795_231_080_123_456_700),
    ("1795231080123456789", .nanoseconds, 1_795_231_080_123_456_789),
    ("1795231080123456789.9", .nanoseconds, 1_795_231_080_123_456_789),
    ("1.795231080123456789e9", .seconds, 1_795_231_080_123_456_789),
    ("1.795231080123456789E+18", .nanoseconds, 1_795_231_080_123_456_789),
    ("17952310800e-1", .seconds, 1_795_231_080_000_000_000),
    ("179523108012345678900000000000e-11", .nanoseconds, 1_795_231_080_123_456_789),
    ("0.000000001", .seconds, 1), ("0.0000000009", .seconds, 0), ("1e-9", .seconds, 1), ("1e-10", .seconds, 0),
    ("1e-400", .seconds, 0), ("1e-99999999999999999999", .seconds, 0),
    ("0.00000000000000000000000000000000000000000000000001e59", .nanoseconds, 1_000_000_000),
    ("9223372036854775807", .nanoseconds, .max), ("9223372036.854775807", .seconds, .max),
    ("9223372036.8547758079999999999999999999999999999999999", .seconds, .max),
    ("9223372036854775808", .nanoseconds, nil), ("9223372036.854775808", .seconds, nil),
    ("9223372037", .seconds, nil), ("1e10", .seconds, nil), ("1e400", .seconds, nil),
    ("1e99999999999999999999", .seconds, nil), ("123456789012345678901234567890123456789012345", .nanoseconds, nil),
    ("123456789012345678901234567890123456789012345e-40", .nanoseconds, 12_345),
    ("-1", .seconds, nil), ("-1e-30", .seconds, nil), ("-1795231080", .milliseconds, nil),
  ]

  @Test("Numbers are exact to the nanosecond, in every unit and notation", arguments: numberCases)
  func numbers(text: String, unit: PipelineSettings.TimeUnit, expected: Int64?) {
    #expect(time(text, unit) == expected)
  }

  static let textCases: [(String, Result<Int64, RFC3339.Failure>)] = [
    ("1970-01-01T00:00:00Z", .success(0)),
    ("2026-11-21T03:18:00Z", .success(1_795_231_080_000_000_000)),
    ("2026-11-21t03:18:00z", .success(1_795_231_080_000_000_000)),
    ("2026-11-21T03:18:00.5Z", .success(1_795_231_080_500_000_000)),
    ("2026-11-21T03:18:00.123456789Z", .success(1_795_231_080_123_456_789)),
    ("2026-11-21T03:18:00.1234567899Z", .success(1_795_231_080_123_456_789)),
    ("2026-11-21T05:18:00+02:00", .success(1_795_231_080_000_000_000)),
    ("2026-11-20T19:48:00.25-07:30", .success(1_795_231_080_250_000_000)),
    ("2026-11-21T03:18:00-00:00", .success(1_795_231_080_000_000_000)),
    // The examples of RFC 3339, section 5.8.
    ("1985-04-12T23:20:50.52Z", .success(482_196_050_520_000_000)),
    ("1996-12-19T16:39:57-08:00", .success(851_042_397_000_000_000)),
    ("1990-12-31T23:59:60Z", .success(662_688_000_000_000_000)),
    ("1990-12-31T15:59:60-08:00", .success(662_688_000_000_000_000)),
    ("1990-12-31T23:59:60.5Z", .success(662_688_000_500_000_000)),
    ("1937-01-01T12:00:27.87+00:20", .failure(.range)),
    ("2000-02-29T00:00:00Z", .success(951_782_400_000_000_000)),
    ("2262-04-11T23:47:16.854775807Z", .success(.max)),
    ("2262-04-11T23:47:16.854775808Z", .failure(.range)),
    ("2263-01-01T00:00:00Z", .failure(.range)),
    ("9999-12-31T23:59:59Z", .failure(.range)),
    ("0000-01-01T00:00:00Z", .failure(.range)),
    ("1969-12-31T23:59:59.999999999Z", .failure(.range)),
    ("1970-01-01T00:00:00+00:01", .failure(.range)),
    ("1969-12-31T23:59:00-00:01", .success(0)),
    ("", .failure(.syntax)), ("2026-11-21", .failure(.syntax)),
    ("2026-11-21T03:18:00", .failure(.syntax)), ("2026-11-21 03:18:00Z", .failure(.syntax)),
    ("2026-11-21T03:18Z", .failure(.syntax)), ("2026-11-21T03:18:00.Z", .failure(.syntax)),
    ("2026-11-21T03:18:00,5Z", .failure(.syntax)), ("2026-11-21T03:18:00.5", .failure(.syntax)),
    ("2026-11-21T03:18:00ZZ", .failure(.syntax)), ("2026-11-21T03:18:00Z ", .failure(.syntax)),
    ("2026-11-21T03:18:00+0200", .failure(.syntax)), ("2026-11-21T03:18:00+02", .failure(.syntax)),
    ("2026-11-21T03:18:00+24:00", .failure(.syntax)), ("2026-11-21T03:18:00+02:60", .failure(.syntax)),
    ("2026-02-29T00:00:00Z", .failure(.syntax)), ("2100-02-29T00:00:00Z", .failure(.syntax)),
    ("2026-13-01T00:00:00Z", .failure(.syntax)), ("2026-00-01T00:00:00Z", .failure(.syntax)),
    ("2026-04-31T00:00:00Z", .failure(.syntax)), ("2026-11-00T00:00:00Z", .failure(.syntax)),
    ("2026-11-21T24:00:00Z", .failure(.syntax)), ("2026-11-21T03:60:00Z", .failure(.syntax)),
    ("2026-11-21T03:18:61Z", .failure(.syntax)), ("2026-11-21T03:18:60Z", .failure(.syntax)),
    ("+026-11-21T03:18:00Z", .failure(.syntax)), ("2026/11/21T03:18:00Z", .failure(.syntax)),
    ("２026-11-21T03:18:00Z", .failure(.syntax)),
  ]

  @Test("RFC 3339 times are read to the letter", arguments: textCases)
  func texts(text: String, expected: Result<Int64, RFC3339.Failure>) {
    #expect(time(text) == expected)
  }

  static let writtenCases: [(Int64, String)] = [
    (0, "1970-01-01T00:00:00Z"), (1, "1970-01-01T00:00:00.000000001Z"),
    (1_795_231_080_123_000_000, "2026-11-21T03:18:00.123Z"),
    (1_795_231_080_100_000_000, "2026-11-21T03:18:00.1Z"),
    (1_795_231_080_010_020_000, "2026-11-21T03:18:00.01002Z"),
    (951_782_399_999_999_999, "2000-02-28T23:59:59.999999999Z"),
    (.max, "2262-04-11T23:47:16.854775807Z"), (-1, "1969-12-31T23:59:59.999999999Z"),
    (.min, "1677-09-21T00:12:43.145224192Z"),
  ]

  @Test("Times are written in UTC with the shortest fraction", arguments: writtenCases)
  func writing(nanoseconds: Int64, text: String) {
    #expect(RFC3339.text(nanoseconds) == text)
  }

  @Test("What is written reads back as the same nanosecond, on every third day")
  func roundTrip() {
    var generator = SeededGenerator(seed: 3)
    let day: Int64 = 86_400_000_000_000
    for start in stride(from: Int64(0), through: Int64.max - day, by: 3 * Int(day)) {
      let nanoseconds = start + Int64.random(in: 0..<day, using: &generator)
      guard time(RFC3339.text(nanoseconds)) == .success(nanoseconds) else {
        Issue.record("\(nanoseconds) is written \(RFC3339.text(nanoseconds))")
        return
      }
    }
  }
}
