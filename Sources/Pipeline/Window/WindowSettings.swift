/// What a pipeline's windows are and what they compute.
package struct WindowSettings: Sendable, Hashable {
  /// How event time is cut. All times are nanoseconds; windows hold their start and not their end.
  package enum Span: Sendable, Hashable {
    /// Windows of one length side by side, beginning at multiples of it since 1970-01-01T00:00:00Z.
    case tumbling(Int64)
    /// Windows of one length that begin at multiples of `every`, which is shorter: each reading is in several.
    case hopping(length: Int64, every: Int64)
    /// Per key, from a reading to the last before a pause of `gap` or longer. A session ends `gap` after its last
    /// reading. It is as long as readings come without a pause.
    case session(gap: Int64)
  }

  /// What is computed from the readings of a window. Numbers are IEEE 754 doubles; integers beyond 2^53 are rounded.
  /// An input that is missing or not finite is left out, and so is a result that is not finite.
  package enum Function: Sendable, Hashable {
    /// The readings; with an input, those that have it.
    case count
    /// By compensated summation (Neumaier, 1974), 0 without values.
    case sum
    case minimum
    case maximum
    case average
    /// The value with the lowest event time; of several the one that came first.
    case first
    /// The value with the highest event time; of several the one that came last.
    case last
    /// Of a sample (n - 1), by Welford's method; missing below two values.
    case standardDeviation
    /// The value that this share, 0...1, of all values does not exceed (nearest rank); see ``QuantileSketch``.
    case percentile(Double)
    /// How fast a counter grows, per second: what it grew by from the first value to the last, by the time between
    /// them. A value lower than the one before means that the counter began at zero again. What it grew by before
    /// the first and after the last value of the window is not known and not guessed. Missing below two values at
    /// different times.
    case rate
    /// The average over time, where each value holds until the next. The time before the first value does not
    /// count; the last value holds to the window's end (in a session to its last reading). Where no time passes,
    /// the last value.
    case timeWeightedAverage
    /// How many different values there are; see ``DistinctSketch``.
    case distinct
  }

  /// One result of every window.
  package struct Aggregate: Sendable, Hashable {
    package var function: Function
    /// Which of the inputs, from 0; nil for a count of readings only.
    package var input: Int?

    package init(_ function: Function, input: Int?) {
      self.function = function
      self.input = input
    }
  }

  /// What happens when there are more open windows than ``maximumWindows``.
  package enum Overflow: Sendable, Hashable {
    /// The windows that would close next close early and say so.
    case closeEarly
    /// No further window is opened: the reading is refused.
    case refuse
  }

  package var span: Span
  package var aggregates: [Aggregate]
  /// How many inputs every reading brings.
  package var inputs: Int
  /// How long after its end a closed window still takes late readings and gives corrected results. Nanoseconds; 0
  /// for never.
  package var correctFor: Int64
  /// Windows at most, of all keys together, those kept for corrections included.
  package var maximumWindows: Int
  package var overflow: Overflow
  /// What else the windows' contents depend on: stored state is that of windows under the same rules.
  package var rules = ""

  /// - Throws: what is wrong with the settings.
  package init(
    span: Span, aggregates: [Aggregate], inputs: Int, correctFor: Int64 = 0, maximumWindows: Int = 100_000,
    overflow: Overflow = .closeEarly
  ) throws(WindowSettingsError) {
    self.span = span
    self.aggregates = aggregates
    self.inputs = inputs
    self.correctFor = correctFor
    self.maximumWindows = maximumWindows
    self.overflow = overflow
    try check()
  }

  /// A millisecond to a leap year. Shorter ones would only be readings again; longer ones would overflow where they
  /// are added to times.
  package static let lengths: ClosedRange<Int64> = 1_000_000...366 * 86_400_000_000_000
  /// Windows that one reading may be in: each of them is a window in memory.
  package static let maximumOverlap: Int64 = 100
  package static let maximumAggregates = 64

  private func check() throws(WindowSettingsError) {
    switch span {
    case .tumbling(let length):
      guard WindowSettings.lengths.contains(length) else { throw .length(length) }
    case .hopping(let length, let every):
      guard WindowSettings.lengths.contains(length) else { throw .length(length) }
      guard WindowSettings.lengths.contains(every), every <= length else { throw .step(every) }
      guard (length - 1) / every + 1 <= WindowSettings.maximumOverlap else { throw .overlap((length - 1) / every + 1) }
    case .session(let gap):
      guard WindowSettings.lengths.contains(gap) else { throw .length(gap) }
    }
    guard correctFor >= 0, correctFor <= WindowSettings.lengths.upperBound else { throw .correction(correctFor) }
    guard (1...10_000_000).contains(maximumWindows) else { throw .limit(maximumWindows) }
    guard (1...WindowSettings.maximumAggregates).contains(aggregates.count) else {
      throw .aggregates(aggregates.count)
    }
    for (index, aggregate) in aggregates.enumerated() {
      if case .percentile(let share) = aggregate.function, !(share >= 0 && share <= 1) { throw .percentile(index) }
      guard let input = aggregate.input else {
        if aggregate.function == .count { continue }
        throw .input(index)
      }
      guard input >= 0, input < inputs else { throw .input(index) }
    }
  }

  /// How many windows one reading is in at most.
  var overlap: Int {
    if case .hopping(let length, let every) = span { Int((length - 1) / every + 1) } else { 1 }
  }

  /// The length of a window, or the pause that ends a session.
  var length: Int64 {
    switch span {
    case .tumbling(let length), .hopping(let length, _), .session(let length): length
    }
  }
}

/// What is wrong with the settings of windows.
package enum WindowSettingsError: Error, Sendable, Hashable, CustomStringConvertible {
  /// Nanoseconds.
  case length(Int64)
  case step(Int64)
  /// Windows that a reading would be in.
  case overlap(Int64)
  case correction(Int64)
  case limit(Int)
  case aggregates(Int)
  /// Which aggregate, from 0.
  case percentile(Int)
  case input(Int)

  package var description: String {
    switch self {
    case .length(let length): "a window of \(length) ns: it is 1 ms to 366 days long (choose another length)"
    case .step(let step): "a window every \(step) ns: the step is 1 ms to the window's length (choose another step)"
    case .overlap(let count):
      "each reading would be in \(count) windows; at most \(WindowSettings.maximumOverlap) are allowed "
        + "(take shorter windows or longer steps)"
    case .correction(let time): "corrections for \(time) ns: the time is 0 to 366 days (choose another time)"
    case .limit(let limit): "a limit of \(limit) windows: it is 1 to 10000000 (choose another limit)"
    case .aggregates(let count):
      "\(count) aggregates: there are 1 to \(WindowSettings.maximumAggregates) (name others in a second pipeline)"
    case .percentile(let index): "aggregate \(index + 1): a percentile's share is 0 to 1 (write 0.95 for the 95th)"
    case .input(let index): "aggregate \(index + 1) has no input (name the field that it is computed from)"
    }
  }
}
