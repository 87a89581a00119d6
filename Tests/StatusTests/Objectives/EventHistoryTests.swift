import TestSupport
import Testing

@testable import Status

@Suite("The history of events")
struct EventHistoryTests {
  /// Every event with its time: what the rings stand for.
  struct Model {
    var events: [(time: Int64, count: EventCount)] = []

    func sum(last seconds: Int64, at now: Int64) -> EventCount {
      let ring = EventHistory.shape.first { $0.width * Int64($0.count - 1) >= seconds } ?? (21_600, 121)
      let first = (now / ring.width - (seconds + ring.width - 1) / ring.width) * ring.width
      return events.reduce(into: EventCount()) { if $1.time >= first { $0 += $1.count } }
    }
  }

  @Test("sums are those of a list of all events, whatever the pauses", arguments: 0..<20)
  func model(seed: Int) {
    var random = SplitMix(seed: UInt64(seed))
    var history = EventHistory()
    var model = Model()
    var now = Int64(random.next() % 100_000)
    history.advance(to: now)
    for _ in 0..<400 {
      // Mostly looks, sometimes hours or days without any.
      let pause: UInt64 = [10, 10, 10, 60, 400, 5_000, 90_000, 900_000][Int(random.next() % 8)]
      now += Int64(random.next() % (pause + 1))
      history.advance(to: now)
      let count = EventCount(good: Int64(random.next() % 50), bad: Int64(random.next() % 3))
      history.add(count)
      model.events.append((now, count))
      for seconds in BurnWindow.allCases.map(\.seconds) + [86_400, 2_592_000] {
        #expect(history.sum(last: seconds) == model.sum(last: seconds, at: now), "\(seconds) s at \(now)")
      }
    }
  }

  @Test("a window reaches back at least as far as it says, and at most a bucket further")
  func reach() {
    for (seconds, width) in [(300, 60), (3_600, 300), (21_600, 300), (259_200, 3_600), (2_592_000, 21_600)] {
      var history = EventHistory()
      let start: Int64 = 10_000_000
      history.advance(to: start)
      history.add(EventCount(bad: 1))
      history.advance(to: start + Int64(seconds))
      #expect(history.sum(last: Int64(seconds)).bad == 1)
      history.advance(to: start + Int64(seconds + 2 * width))
      #expect(history.sum(last: Int64(seconds)).bad == 0)
    }
  }

  @Test("counts stop at their greatest value instead of beginning anew")
  func saturation() {
    var history = EventHistory()
    for _ in 0..<3 { history.add(EventCount(good: 3_000_000_000)) }
    #expect(history.sum(last: 300).good == 4_294_967_295)
  }
}
