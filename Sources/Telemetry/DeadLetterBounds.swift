/// How long the dead letters of one pipeline are kept, and how many bytes of them.
package struct DeadLetterBounds: Sendable, Hashable {
  /// Nanoseconds from being set aside; long enough for somebody to come back from holiday.
  package var keep: Int64 = 30 * 24 * 3_600_000_000_000
  /// Bytes of payloads, topics and reasons, and 256 for each letter; the oldest go first.
  package var maximumBytes: Int64 = 256 << 20

  package static let ages: ClosedRange<Int64> = 60_000_000_000...3650 * 24 * 3_600_000_000_000
  package static let sizes: ClosedRange<Int64> = 64 << 10...1 << 50

  package init() {}
}

extension Moment {
  /// The wall time, where it is worth something.
  package var worthyWall: Int64? { quality == .synchronised ? wall : nil }
}
