internal import Synchronization

/// The upper bounds of a histogram's buckets, with their texts, which every scrape writes.
package struct HistogramBounds: Sendable, Hashable {
  /// Ascending; what is above the last one falls into a bucket of its own.
  package let upper: [Double]
  /// For the label `le`.
  let texts: [[UInt8]]

  package init(_ upper: [Double]) {
    self.upper = upper.filter(\.isFinite).sorted()
    texts = self.upper.map { bound in
      var text: [UInt8] = []
      PrometheusPage.append(bound, to: &text)
      return text
    }
  }

  /// Of something that is over in milliseconds when all is well, in seconds: a commit, a request.
  package static let brief = HistogramBounds([
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
  ])
  /// Of something that may take an outage, in seconds: the way of a message to its confirmation.
  package static let lasting = HistogramBounds([
    0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 21_600, 86_400,
  ])
  /// Of whatever a library records without saying what: powers of ten.
  static let unknown = HistogramBounds([1, 10, 100, 1_000, 10_000, 100_000, 1_000_000])
}

/// What a histogram has counted.
package struct HistogramFigures: Sendable, Hashable {
  package let bounds: HistogramBounds
  /// By bucket, not added up; one more than there are bounds.
  package var counts: [Int64]
  package var sum: Double

  package var count: Int64 { counts.reduce(0, +) }

  /// How many were at most `value`, which is one of the bounds; of any other value those at most the bound below.
  package func count(upTo value: Double) -> Int64 {
    zip(bounds.upper, counts).reduce(0) { $1.0 <= value ? $0 + $1.1 : $0 }
  }
}

/// A histogram that is cheap to add to: a short lock and a search among a dozen bounds.
package final class DurationHistogram: Sendable {
  private struct State: Sendable {
    var counts: [Int64]
    var sum = 0.0
  }

  package let bounds: HistogramBounds
  private let state: Mutex<State>

  package init(_ bounds: HistogramBounds) {
    self.bounds = bounds
    state = Mutex(State(counts: [Int64](repeating: 0, count: bounds.upper.count + 1)))
  }

  /// - Parameter value: seconds, or whatever the bounds are in. What is no number is left out.
  package func record(_ value: Double) {
    guard value.isFinite else { return }
    let bucket = bounds.upper.firstIndex { value <= $0 } ?? bounds.upper.count
    state.withLock { state in
      state.counts[bucket] += 1
      state.sum += value
    }
  }

  package func record(nanoseconds: Int64) { record(Double(max(0, nanoseconds)) / 1e9) }

  package var figures: HistogramFigures {
    state.withLock { HistogramFigures(bounds: bounds, counts: $0.counts, sum: $0.sum) }
  }
}
