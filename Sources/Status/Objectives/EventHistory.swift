/// How many good and bad events there were, and when: rings of buckets, the further back the wider.
///
/// Every event is counted in the newest bucket of every ring, so that a sum over a time is a sum over one ring: the
/// finest that reaches so far back. About 2 kB, whatever is counted.
///
/// Time is a number of seconds that only ever grows (``ObjectiveBook`` makes it), whatever the wall clock does.
struct EventHistory: Sendable, Hashable {
  /// One ring: its buckets begin at whole multiples of `width`.
  struct Ring: Sendable, Hashable {
    /// Seconds.
    let width: Int64
    /// The bucket that now belongs to, counted from time 0; it stands at `newest % count`.
    var newest: Int64 = 0
    // Saturating: four billions within six hours are 200,000 a second.
    var good: [UInt32]
    var bad: [UInt32]

    var count: Int { good.count }

    init(width: Int64, count: Int) {
      self.width = width
      good = [UInt32](repeating: 0, count: count)
      bad = good
    }

    func place(_ bucket: Int64) -> Int { Int(bucket % Int64(count)) }

    /// Empties the buckets that begin between the last time and `time`.
    mutating func advance(to time: Int64) {
      let next = time / width
      guard next > newest else { return }
      for bucket in max(newest + 1, next - Int64(count) + 1)...next {
        good[place(bucket)] = 0
        bad[place(bucket)] = 0
      }
      newest = next
    }

    mutating func add(_ events: EventCount) {
      let place = place(newest)
      good[place] = UInt32(clamping: Int64(good[place]) + events.good)
      bad[place] = UInt32(clamping: Int64(bad[place]) + events.bad)
    }

    /// The newest bucket, which is not over yet, and those before it that make up `seconds`.
    func sum(last seconds: Int64) -> EventCount {
      let before = min(Int64(count) - 1, (seconds + width - 1) / width, newest)
      var sum = EventCount()
      for bucket in (newest - before)...newest {
        sum.good += Int64(good[place(bucket)])
        sum.bad += Int64(bad[place(bucket)])
      }
      return sum
    }
  }

  /// Widths in seconds and numbers of buckets: 5 minutes by the minute, 6 hours by 5 minutes, 3 days by the hour, 30
  /// days by 6 hours; one bucket more of each, for the newest is only partly over.
  static let shape: [(width: Int64, count: Int)] = [(60, 6), (300, 73), (3_600, 73), (21_600, 121)]

  private(set) var rings = shape.map { Ring(width: $0.width, count: $0.count) }

  init() {}

  /// - Parameter rings: of the ``shape``.
  init(rings: [Ring]) { self.rings = rings }

  mutating func advance(to time: Int64) {
    for index in rings.indices { rings[index].advance(to: time) }
  }

  mutating func add(_ events: EventCount) {
    for index in rings.indices { rings[index].add(events) }
  }

  /// The events of the last `seconds`, and of up to one bucket more.
  func sum(last seconds: Int64) -> EventCount {
    let ring = rings.first { $0.width * Int64($0.count - 1) >= seconds } ?? rings[rings.count - 1]
    return ring.sum(last: seconds)
  }
}
