internal import Status

/// Which pipeline has most of the bad events of late: each counts half after an hour, a quarter after two.
struct BadEvents: Sendable {
  /// Nanoseconds.
  private static let halfLife = 3_600e9
  /// Below this nothing of it matters any more.
  private static let least = 0.01

  private var counts: [ObjectiveName: [String: Double]] = [:]
  /// Monotonic nanoseconds.
  private var counted: Int64?

  /// Lets what was counted grow older.
  mutating func age(to now: Int64) {
    defer { counted = now }
    guard let counted, now > counted else { return }
    // The first terms of the power of a half: exact enough for looks that are seconds apart, and never below zero.
    let factor = 1 / (1 + 0.693_147 * Double(now - counted) / BadEvents.halfLife)
    counts = counts.mapValues { $0.mapValues { $0 * factor }.filter { $0.value >= BadEvents.least } }
  }

  /// What is known from before: it says who was worst, until there is something new.
  mutating func begin(_ bad: Int64, _ name: ObjectiveName, of pipeline: String) {
    if bad > 0 { counts[name, default: [:]][pipeline] = 1 - 1 / Double(bad + 1) }
  }

  mutating func add(_ bad: Int64, _ name: ObjectiveName, of pipeline: String) {
    if bad > 0 { counts[name, default: [:]][pipeline, default: 0] += Double(bad) }
  }

  /// The pipeline with most of them; of several the first by name. Nil without any.
  func worst(_ name: ObjectiveName) -> String? {
    counts[name]?.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
  }
}
