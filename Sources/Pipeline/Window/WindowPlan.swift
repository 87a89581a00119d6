/// What is kept per window, worked out from the settings: aggregates that need the same of the same input share it.
///
/// It never changes, and is a class so that handing it on for every reading copies no arrays.
final class WindowPlan: Sendable {
  /// How an aggregate comes from what is kept; numbers are places in ``accumulators`` and ``seriesInputs``.
  enum Output: Sendable, Hashable {
    case readings
    case tally(Int)
    case sum(Int)
    case average(Int)
    case extreme(Int)
    case timed(Int)
    case deviation(Int)
    case quantile(Int, Double)
    case distinct(Int)
    case rate(Int)
    case timeWeighted(Int)
  }

  let settings: WindowSettings
  /// The state of every computation before its first value.
  let accumulators: [Accumulator]
  /// The input of each of the accumulators.
  let accumulatorInputs: [Int]
  /// The input of each series.
  let seriesInputs: [Int]
  let outputs: [Output]

  init(_ settings: WindowSettings) {
    var parts = Parts()
    outputs = settings.aggregates.map { aggregate in
      guard let input = aggregate.input else { return .readings }
      return switch aggregate.function {
      case .count: .tally(parts.place(.tally(0), input))
      case .sum: .sum(parts.place(.sum(NeumaierSum()), input))
      case .average: .average(parts.place(.sum(NeumaierSum()), input))
      case .minimum: .extreme(parts.place(.minimum(.init()), input))
      case .maximum: .extreme(parts.place(.maximum(.init()), input))
      case .first: .timed(parts.place(.first(.init()), input))
      case .last: .timed(parts.place(.last(.init()), input))
      case .standardDeviation: .deviation(parts.place(.moments(Moments()), input))
      case .percentile(let share): .quantile(parts.place(.quantiles(QuantileSketch()), input), share)
      case .distinct: .distinct(parts.place(.distinct(DistinctSketch()), input))
      case .rate: .rate(parts.placeSeries(input))
      case .timeWeightedAverage: .timeWeighted(parts.placeSeries(input))
      }
    }
    self.settings = settings
    accumulators = parts.accumulators
    accumulatorInputs = parts.accumulatorInputs
    seriesInputs = parts.seriesInputs
  }

  private struct Parts {
    var accumulators: [Accumulator] = []
    var accumulatorInputs: [Int] = []
    var seriesInputs: [Int] = []

    mutating func place(_ accumulator: Accumulator, _ input: Int) -> Int {
      for index in accumulators.indices where accumulators[index] == accumulator && accumulatorInputs[index] == input {
        return index
      }
      accumulators.append(accumulator)
      accumulatorInputs.append(input)
      return accumulators.count - 1
    }

    mutating func placeSeries(_ input: Int) -> Int {
      if let known = seriesInputs.firstIndex(of: input) { return known }
      seriesInputs.append(input)
      return seriesInputs.count - 1
    }
  }

  // MARK: Times

  /// Event times that windows take: so far from the ends of `Int64` that no sum with lengths overflows.
  static let times: ClosedRange<Int64> =
    (.min + 4 * WindowSettings.lengths.upperBound)...(.max - 4 * WindowSettings.lengths.upperBound)

  /// How far the beginnings of windows lie apart; 1 for sessions.
  var step: Int64 {
    switch settings.span {
    case .tumbling(let length): length
    case .hopping(_, let every): every
    case .session: 1
    }
  }

  var isSession: Bool { if case .session = settings.span { true } else { false } }

  /// When a window is over.
  func end(_ window: OpenWindow) -> Int64 { (isSession ? window.last : window.start) + settings.length }

  /// When something is to be done about a window: close it, give its correction, or forget it.
  func deadline(_ window: OpenWindow) -> Int64 {
    if window.isDirty { return .min }
    return window.isClosed ? end(window) + settings.correctFor : end(window)
  }

  // MARK: Results

  func result(_ window: OpenWindow, key: [UInt8], _ completeness: WindowResult.Completeness) -> WindowResult {
    let folds = window.series.map(\.folded)
    let end = end(window)
    return WindowResult(
      key: key, start: window.start, end: end, count: window.count,
      offsets: window.offsets.first...max(window.offsets.first, window.offsets.last), completeness: completeness,
      revision: Int(window.revision), unordered: Int(window.unordered),
      values: outputs.map { value($0, window, folds, end: isSession ? window.last : end) })
  }

  private func value(
    _ output: Output, _ window: OpenWindow, _ folds: [SampleSeries.Fold?], end: Int64
  ) -> WindowResult.Value {
    switch output {
    case .readings: return .integer(window.count)
    case .rate(let index): return .finite(folds[index]?.rate)
    case .timeWeighted(let index): return .finite(folds[index]?.average(until: end))
    case .tally(let index), .sum(let index), .average(let index), .extreme(let index), .timed(let index),
      .deviation(let index), .quantile(let index, _), .distinct(let index):
      return value(output, of: window.accumulators[index])
    }
  }

  private func value(_ output: Output, of accumulator: Accumulator) -> WindowResult.Value {
    switch accumulator {
    case .tally(let count): return .integer(count)
    case .sum(let sum):
      if case .sum = output { return .finite(sum.value) }
      return .finite(sum.count > 0 ? sum.value / Double(sum.count) : nil)
    case .minimum(let extreme), .maximum(let extreme): return .finite(extreme.isSet ? extreme.value : nil)
    case .moments(let moments): return .finite(moments.standardDeviation)
    case .first(let timed), .last(let timed): return .finite(timed.isSet ? timed.value : nil)
    case .quantiles(let sketch):
      guard case .quantile(_, let share) = output, let value = sketch.quantile(share) else { return .missing }
      return sketch.isExact ? .finite(value) : .estimate(value, relativeError: sketch.relativeError)
    case .distinct(let sketch):
      if sketch.isExact { return .integer(sketch.count) }
      return .estimate(Double(sketch.count), relativeError: DistinctSketch.standardError)
    }
  }

  // MARK: Stored form

  /// What the stored state of windows depends on: the same bytes for the same span and aggregates.
  var fingerprint: [UInt8] {
    var encoder = StateEncoder()
    encoder.put(unsigned: UInt64(settings.rules.utf8.count))
    encoder.put(Array(settings.rules.utf8))
    switch settings.span {
    case .tumbling(let length):
      encoder.put(0)
      encoder.put(signed: length)
    case .hopping(let length, let every):
      encoder.put(1)
      encoder.put(signed: length)
      encoder.put(signed: every)
    case .session(let gap):
      encoder.put(2)
      encoder.put(signed: gap)
    }
    encoder.put(unsigned: UInt64(accumulators.count))
    for (accumulator, input) in zip(accumulators, accumulatorInputs) {
      encoder.put(accumulator.tag)
      encoder.put(unsigned: UInt64(input))
    }
    encoder.put(unsigned: UInt64(seriesInputs.count))
    for input in seriesInputs { encoder.put(unsigned: UInt64(input)) }
    return encoder.bytes
  }
}

extension Accumulator {
  /// Stands for the computation in stored state; never changes its meaning.
  fileprivate var tag: UInt8 {
    switch self {
    case .tally: 1
    case .sum: 2
    case .minimum: 3
    case .maximum: 4
    case .moments: 5
    case .first: 6
    case .last: 7
    case .quantiles: 8
    case .distinct: 9
    }
  }
}
