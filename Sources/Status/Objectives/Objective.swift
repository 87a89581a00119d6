/// What a gateway promises to those who wait for its data, each measured on the gateway itself as good and bad
/// events.
package enum ObjectiveName: String, Sendable, Hashable, CaseIterable, Codable {
  /// Readings that reached the upstream, against those that it refused for good and messages that were damaged.
  case delivery
  /// Minutes in which nothing that waited made consumers wait longer than a bound.
  case freshness
  /// Batches whose first message was delivered within a bound after its receipt.
  case latency
  /// Messages and readings that no stage refused.
  case errors
  /// Readings that were not delivered as possible duplicates.
  case duplicates
  /// Sequence numbers of devices that came.
  case gaps
  /// Minutes at whose end fewer dead letters than a bound had come within the hour.
  case deadLetters = "dead-letters"
  /// Minutes in which the oldest that waited was younger than a bound.
  case backlog

  /// Its key in the configuration.
  package var key: String { self == .deadLetters ? "dead_letters" : rawValue }

  /// Its events are minutes: there are as many in a period as it is long.
  package var countsMinutes: Bool {
    switch self {
    case .freshness, .deadLetters, .backlog: true
    case .delivery, .latency, .errors, .duplicates, .gaps: false
    }
  }

  /// What its events are, for people.
  package var events: String {
    switch self {
    case .delivery, .duplicates: "readings"
    case .freshness, .deadLetters, .backlog: "minutes"
    case .latency: "batches"
    case .errors: "messages and readings"
    case .gaps: "sequence numbers"
    }
  }

  /// Behind the name of the pipeline with most of the bad events: where to see them.
  func wayIn(_ pipeline: String) -> String {
    switch self {
    case .errors, .delivery, .deadLetters: ": see 'forebay dead-letters counts --pipeline \(pipeline)'"
    case .gaps: ": see 'forebay devices --pipeline \(pipeline) --worst'"
    case .freshness, .latency, .duplicates, .backlog: ""
    }
  }

  /// What the bound of the objective is in; nil where it has none.
  package enum Bound: Sendable, Hashable {
    /// `within`, in nanoseconds.
    case duration
    /// `below`, a number.
    case count
  }

  package var bound: Bound? {
    switch self {
    case .freshness, .latency, .backlog: .duration
    case .deadLetters: .count
    case .delivery, .errors, .duplicates, .gaps: nil
    }
  }
}

/// How much of the events must be good, over which time.
package struct ObjectiveSettings: Sendable, Hashable {
  /// The share of good events, above 0 and below 1.
  package var target: Double
  /// Nanoseconds that the error budget is for.
  package var period: Int64 = ObjectiveSettings.longestPeriod
  /// What makes an event good (``ObjectiveName/bound``): nanoseconds or a number; 0 where there is none.
  package var bound: Int64

  /// As long as the history goes back.
  package static let longestPeriod: Int64 = 30 * 86_400_000_000_000

  package init(target: Double, bound: Int64 = 0) {
    self.target = target
    self.bound = bound
  }

  /// What holds unless the configuration says otherwise.
  package static func usual(_ name: ObjectiveName) -> ObjectiveSettings {
    switch name {
    // A reading that the upstream refuses needs a person, and one in a thousand is seldom chance.
    case .delivery: ObjectiveSettings(target: 0.999)
    case .freshness: ObjectiveSettings(target: 0.99, bound: 60_000_000_000)
    case .latency: ObjectiveSettings(target: 0.95, bound: 5_000_000_000)
    case .errors: ObjectiveSettings(target: 0.99)
    case .duplicates: ObjectiveSettings(target: 0.999)
    case .gaps: ObjectiveSettings(target: 0.99)
    case .deadLetters: ObjectiveSettings(target: 0.99, bound: 100)
    case .backlog: ObjectiveSettings(target: 0.99, bound: 600_000_000_000)
    }
  }

  package static var usual: [ObjectiveName: ObjectiveSettings] {
    Dictionary(uniqueKeysWithValues: ObjectiveName.allCases.map { ($0, usual($0)) })
  }
}

/// Good and bad events.
package struct EventCount: Sendable, Hashable {
  package var good: Int64
  package var bad: Int64

  package init(good: Int64 = 0, bad: Int64 = 0) {
    self.good = good
    self.bad = bad
  }

  package var total: Int64 { good + bad }
  /// The share of bad events; nil without events.
  package var badRatio: Double? { total > 0 ? Double(bad) / Double(total) : nil }

  package static func += (sum: inout EventCount, next: EventCount) {
    sum.good += next.good
    sum.bad += next.bad
  }
}

/// The spans over which it is measured how fast an error budget is used up.
package enum BurnWindow: String, Sendable, Hashable, CaseIterable {
  case fiveMinutes = "5m"
  case halfHour = "30m"
  case hour = "1h"
  case sixHours = "6h"
  case threeDays = "3d"

  package var seconds: Int64 {
    switch self {
    case .fiveMinutes: 300
    case .halfHour: 1_800
    case .hour: 3_600
    case .sixHours: 21_600
    case .threeDays: 259_200
    }
  }

  /// Behind "of the last".
  var words: String {
    switch self {
    case .fiveMinutes: "5 min"
    case .halfHour: "30 min"
    case .hour: "hour"
    case .sixHours: "6 h"
    case .threeDays: "3 d"
    }
  }
}

/// When a budget is used up too fast: over a long window, so that it matters, and over a short one, so that it
/// still goes on (The Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts", table 5-8).
package struct BurnRule: Sendable, Hashable {
  package var long: BurnWindow
  package var short: BurnWindow
  /// How many times faster than the budget allows; 14.4 uses 2 % of the budget of 30 days in an hour.
  package var rate: Double
  package var severity: AlarmSeverity

  package static let all = [
    BurnRule(long: .hour, short: .fiveMinutes, rate: 14.4, severity: .page),
    BurnRule(long: .sixHours, short: .halfHour, rate: 6, severity: .page),
    BurnRule(long: .threeDays, short: .sixHours, rate: 1, severity: .ticket),
  ]
}
