/// The last hour in figures, for charts: a ring of samples for each series. Pure: whoever samples says when.
///
/// A series is 1.4 kB. Figures are kept with seven digits, which is more than a chart shows.
package struct StatusHistory: Sendable {
  /// Seconds between two samples.
  package static let step: Int64 = 10
  /// Samples of an hour.
  package static let capacity = 360

  private let names: [String]
  /// By series; each a ring, of which `next` is the oldest place.
  private var rings: [[Float]]
  private var next = 0
  private var count = 0
  /// Monotonic nanoseconds of the newest sample.
  private var newest: Int64 = .min

  /// - Parameter names: of the series, in the order of every sample.
  package init(names: [String]) {
    self.names = names
    rings = names.map { _ in [Float](repeating: .nan, count: StatusHistory.capacity) }
  }

  /// Adds a sample; steps that nobody sampled in between (the machine slept) become gaps.
  /// - Parameters:
  ///   - values: one for each series; nil where nobody knows.
  ///   - now: monotonic nanoseconds.
  package mutating func add(_ values: [Double?], now: Int64) {
    precondition(values.count == names.count, "a sample has a value for each series")
    if count > 0 {
      let passed = (now - newest + StatusHistory.step * 500_000_000) / (StatusHistory.step * 1_000_000_000)
      for _ in 0..<min(max(passed - 1, 0), Int64(StatusHistory.capacity)) {
        append(names.map { _ in nil })
      }
    }
    append(values)
    newest = now
  }

  private mutating func append(_ values: [Double?]) {
    for index in rings.indices { rings[index][next] = values[index].map { Float($0) } ?? .nan }
    next = (next + 1) % StatusHistory.capacity
    count = min(count + 1, StatusHistory.capacity)
  }

  /// The document of `/v1/history`: arrays by series, the newest value last; what nobody knows is null.
  /// - Parameters:
  ///   - now: monotonic nanoseconds.
  ///   - time: of the newest sample, as RFC 3339, from the nanoseconds that have passed since.
  package func json(now: Int64, time: (_ since: Int64) -> String) -> [UInt8] {
    var writer = JSONWriter(capacity: 16_384)
    writer.object { document in
      document.value("step", StatusHistory.step)
      if count > 0 { document.value("end", time(max(0, now - newest))) }
      document.value("count", Int64(count))
      document.object("series") { series in
        for (name, ring) in zip(names, rings) {
          series.array(name) { list in
            let start = (next - count + StatusHistory.capacity) % StatusHistory.capacity
            for offset in 0..<count {
              let value = ring[(start + offset) % StatusHistory.capacity]
              if value.isNaN { list.null() } else { list.value(nil, Double(value)) }
            }
          }
        }
      }
    }
    return writer.bytes
  }
}
