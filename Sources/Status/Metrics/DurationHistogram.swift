internal import Synchronization

/// The upper bounds of a histogram's buckets, with their texts, which every scrape writes.
package struct HistogramBounds: Sendable, Hashable {
  /// Ascending; what is above the last one falls into a bucket of its own.
  package let upper: [Double]
  /// The label `le` of each.
  let labels: [MetricLabels]
  /// The label of the bucket above the last bound.
  static let last = MetricLabels("le", "+Inf")

  package init(_ upper: [Double]) {
    self.upper = upper.filter(\.isFinite).sorted()
    labels = self.upper.map { MetricLabels("le", DecimalText.text($0)) }
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

  init(bounds: HistogramBounds, counts: [Int64], sum: Double) {
    self.bounds = bounds
    self.counts = counts
    self.sum = sum
  }

  /// Nothing so far.
  package init(_ bounds: HistogramBounds) {
    self.init(bounds: bounds, counts: [Int64](repeating: 0, count: bounds.upper.count + 1), sum: 0)
  }

  /// - Parameter value: in the unit of the bounds. What is no number is left out.
  package mutating func record(_ value: Double) {
    guard value.isFinite else { return }
    counts[bounds.upper.firstIndex { value <= $0 } ?? bounds.upper.count] += 1
    sum += value
  }

  package var count: Int64 { counts.reduce(0, +) }

  /// How many were at most `value`, which is one of the bounds; of any other value those at most the bound below.
  package func count(upTo value: Double) -> Int64 {
    zip(bounds.upper, counts).reduce(0) { $1.0 <= value ? $0 + $1.1 : $0 }
  }
}

/// A histogram that is cheap to add to: a short lock and a search among a dozen bounds.
package final class DurationHistogram: Sendable {
  package let bounds: HistogramBounds
  private let state: Mutex<HistogramFigures>

  package init(_ bounds: HistogramBounds) {
    self.bounds = bounds
    state = Mutex(HistogramFigures(bounds))
  }

  /// - Parameter value: seconds, or whatever the bounds are in. What is no number is left out.
  package func record(_ value: Double) {
    state.withLock { $0.record(value) }
  }

  package func record(nanoseconds: Int64) { record(Double(max(0, nanoseconds)) / 1e9) }

  package var figures: HistogramFigures { state.withLock { $0 } }
}
