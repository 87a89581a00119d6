/// What a window gives when it closes, or when a late reading corrects it.
package struct WindowResult: Sendable, Hashable {
  package enum Completeness: Sendable, Hashable {
    /// The watermark has passed its end.
    case complete
    /// It had to close before the watermark passed its end, or it was opened after one of its time had: other
    /// results of the same window and key may hold the rest of its readings.
    case early
    /// It replaces every result of the same window and key with a lower revision.
    case corrected
  }

  /// An aggregate.
  package enum Value: Sendable, Hashable {
    /// Not enough values, or no finite result.
    case missing
    case integer(Int64)
    case number(Double)
    /// From a sketch, beyond what is kept exactly. For percentiles the error is a bound, for the number of
    /// different values a standard error; both are relative to the value.
    case estimate(Double, relativeError: Double)

    static func finite(_ value: Double?) -> Value {
      guard let value, value.isFinite else { return .missing }
      return .number(value)
    }
  }

  package var key: [UInt8]
  /// Nanoseconds since 1970. A session starts at its first reading.
  package var start: Int64
  /// One past the last nanosecond of the window. A session ends the settings' pause after its last reading.
  package var end: Int64
  /// Readings.
  package var count: Int64
  /// Where in the log the first and the last of its readings stand.
  package var offsets: ClosedRange<Int64>
  package var completeness: Completeness
  /// 0, and one more for each correction.
  package var revision: Int
  /// Values that came too late to be put into order, and are missing from rates and time-weighted averages.
  package var unordered: Int
  /// In the order of the settings' aggregates.
  package var values: [Value]

  /// By end, key and start.
  static func precedes(_ a: WindowResult, _ b: WindowResult) -> Bool {
    if a.end != b.end { return a.end < b.end }
    if a.key != b.key { return a.key.lexicographicallyPrecedes(b.key) }
    return a.start < b.start
  }
}

/// What became of a reading, in windows. A reading of hopping windows may be late for some and not for others.
package struct WindowPlacement: Sendable, Hashable {
  /// Open windows that took it.
  package var taken = 0
  /// Closed windows that took it and will give a corrected result.
  package var corrected = 0
  /// Windows that it came too late for.
  package var missed = 0
  /// Windows that could not be opened, for there are too many, or for its time lies beyond all windows.
  package var refused = 0
  /// How far its event time lies behind the time through which windows are closed; 0 where it does not. Nanoseconds.
  package var lateness: Int64 = 0

  package init() {}

  /// Whether any window has it: the ledger's "absorbed by windows".
  package var isAbsorbed: Bool { taken + corrected > 0 }
  /// Whether no window has it because all were closed: the ledger's "late".
  package var isLate: Bool { !isAbsorbed && missed > 0 }
}
