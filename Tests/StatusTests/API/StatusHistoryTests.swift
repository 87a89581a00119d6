import Status
import Testing

@Suite("The history of the last hour")
struct StatusHistoryTests {
  static let second: Int64 = 1_000_000_000

  /// The document after samples at these seconds.
  static func json(_ samples: [(second: Double, value: Double?)], now: Double) -> String {
    var history = StatusHistory(names: ["level", "double"])
    for (second, value) in samples { history.add([value, value.map { $0 * 2 }], now: Int64(second * 1e9)) }
    return String(decoding: history.json(now: Int64(now * 1e9)) { "\($0 / second) s ago" }, as: UTF8.self)
  }

  /// The figures of the first series.
  static func level(_ samples: [(second: Double, value: Double?)]) -> [String] {
    let text = json(samples, now: samples.last?.second ?? 0)
    let list = text.drop { $0 != "[" }.dropFirst().prefix { $0 != "]" }
    return list.split(separator: ",").map(String.init)
  }

  @Test("gives the figures of every series, the newest last, and null where nobody knows")
  func document() {
    #expect(
      StatusHistoryTests.json([(0, 1), (10, nil), (20, 2.5)], now: 24)
        == #"{"step":10,"end":"4 s ago","count":3,"series":{"level":[1,null,2.5],"double":[2,null,5]}}"#)
    #expect(StatusHistoryTests.json([], now: 0) == #"{"step":10,"count":0,"series":{"level":[],"double":[]}}"#)
  }

  @Test("has a gap where nobody looked")
  func gap() {
    let figures = StatusHistoryTests.level([(0, 1), (10, 2), (50, 3), (60, 4)])
    #expect(figures == ["1", "2", "null", "null", "null", "3", "4"])
  }

  @Test("has one figure a step, whatever the timer's delays add up to")
  func jitter() {
    #expect(StatusHistoryTests.level((0..<100).map { (Double($0) * 10.2, Double($0)) }) == (0..<100).map { "\($0)" })
    #expect(StatusHistoryTests.level([(0, 1), (4, 2), (10, 3)]) == ["1", "3"])
  }

  @Test("forgets what is older than an hour, and all of it after a longer sleep")
  func hour() {
    var samples: [(second: Double, value: Double?)] = (0...400).map { (Double($0) * 10, Double($0)) }
    #expect(StatusHistoryTests.level(samples) == (41...400).map { "\($0)" })
    samples.append((100_000, 7))
    #expect(StatusHistoryTests.level(samples) == Array(repeating: "null", count: 359) + ["7"])
  }
}
