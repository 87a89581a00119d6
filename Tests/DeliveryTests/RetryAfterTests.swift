@testable import Delivery
import Testing

@Suite("Retry-After")
struct RetryAfterTests {
  private static let wall: Int64 = 784_111_700_000_000_000  // 77 s before the date of RFC 9110

  @Test(
    "reads seconds and the three forms of a date",
    arguments: [
      ("0", 0), ("120", 120), (" 7 ", 7), ("Sun, 06 Nov 1994 08:49:37 GMT", 77),
      ("Sunday, 06-Nov-94 08:49:37 GMT", 77), ("Sun Nov  6 08:49:37 1994", 77),
      ("Sun, 06 Nov 1994 08:00:00 GMT", 0), ("99999999999999999999", 9_223_372_036),
      ("Fri, 21 Nov 4052 03:18:00 GMT", 9_223_372_036),
    ])
  func reads(_ text: String, _ seconds: Int64) {
    #expect(RetryAfter.nanoseconds(text, date: nil, wall: Self.wall) == seconds * 1_000_000_000)
  }

  @Test(
    "takes nothing else for a pause",
    arguments: [
      "", "-1", "1.5", "soon", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Xxx 1994 08:49:37 GMT",
      "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT", "1x",
    ])
  func refuses(_ text: String) {
    #expect(RetryAfter.nanoseconds(text, date: nil, wall: Self.wall) == nil)
  }

  @Test("a date counts from the answer's own date, because the gateway's clock may be wrong")
  func ownDate() {
    let pause = RetryAfter.nanoseconds(
      "Sun, 06 Nov 1994 08:49:37 GMT", date: "Sun, 06 Nov 1994 08:49:07 GMT", wall: 0)
    #expect(pause == 30_000_000_000)
  }

  @Test("dates across leap years come out as the calendar has them")
  func calendar() {
    #expect(RetryAfter.seconds(httpDate: "Thu, 01 Jan 1970 00:00:00 GMT") == 0)
    #expect(RetryAfter.seconds(httpDate: "Thu, 29 Feb 2024 12:00:00 GMT") == 1_709_208_000)
    #expect(RetryAfter.seconds(httpDate: "Fri, 01 Mar 2024 00:00:00 GMT") == 1_709_251_200)
    #expect(RetryAfter.seconds(httpDate: "Sat, 01 Mar 2200 00:00:00 GMT") == 7_263_216_000)
  }
}
