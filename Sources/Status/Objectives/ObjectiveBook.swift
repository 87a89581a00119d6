package import Telemetry

/// What is known of every objective at one look.
package struct ObjectiveSample: Sendable, Hashable {
  /// Events since the last sample.
  package var events: [ObjectiveName: EventCount] = [:]
  /// Of objectives that count minutes: whether all is well at this look. One bad look makes a bad minute.
  package var verdicts: [ObjectiveName: Bool] = [:]
  /// The pipeline that most of the bad events of late come from, where one is to be named.
  package var worst: [ObjectiveName: String] = [:]

  package init() {}
}

/// Keeps the objectives: takes a sample at every look and tells what is left of each error budget and how fast it is
/// being used up. Pure: time is passed in.
///
/// Its time is counted in seconds by the monotonic clock, so that a wall clock that jumps moves nothing. Only the
/// time during which the gateway was off is taken from the wall clocks, once both of them were synchronised: what
/// lies back grows older by it. During that time there are no events, neither good nor bad.
///
/// A burn rate is that of its whole window: what of it the gateway has not seen, being new or off, counts as good, with
/// as many events as there were in the rest.
package struct ObjectiveBook: Sendable {
  /// How long the gateway was off, as far as it can be known: what was known when the history was kept.
  struct Anchor: Sendable, Hashable {
    var time: Int64
    var boot: BootID
    /// Seconds.
    var monotonic: Int64
    /// Seconds since 1970; nil: the wall clock was not synchronised.
    var wall: Int64?
  }

  /// Bad events below which no alarm is raised, and which every budget allows for: where there are few events, one
  /// of them says little.
  package static let fewestBadEvents: Int64 = 10
  /// The same of minutes.
  package static let fewestBadMinutes: Int64 = 5
  /// Seconds at most that a gateway can have been off: longer ago nothing is remembered anyway.
  private static let longestPause: Int64 = 40 * 86_400

  package private(set) var settings: [ObjectiveName: ObjectiveSettings]
  private(set) var histories: [ObjectiveName: EventHistory] = [:]
  private(set) var time: Int64 = 0
  private var boot: BootID?
  /// Monotonic seconds of the last look.
  private var monotonic: Int64 = 0
  /// Until the time for which the gateway was off is known.
  private var anchor: Anchor?
  private var minute: Int64 = 0
  private var verdicts: [ObjectiveName: Bool] = [:]
  /// Minutes in which it ran.
  private(set) var watched = EventHistory()
  /// Seconds that it ran and that make no minute yet.
  private var unwritten: Int64 = 0
  /// By objective, the time at which it was switched on, if that was later than everything began.
  private(set) var beginnings: [ObjectiveName: Int64] = [:]
  private var worst: [ObjectiveName: String] = [:]

  package init(_ settings: [ObjectiveName: ObjectiveSettings]) {
    self.settings = settings
    for name in settings.keys { histories[name] = EventHistory() }
  }

  /// Goes on with what was kept.
  init(
    _ settings: [ObjectiveName: ObjectiveSettings], histories kept: [ObjectiveName: EventHistory],
    beginnings: [ObjectiveName: Int64] = [:], watched: EventHistory, time: Int64, anchor: Anchor
  ) {
    self.init(settings)
    for (name, history) in kept where settings[name] != nil { histories[name] = history }
    for name in settings.keys {
      let beginning = kept[name] == nil ? time : beginnings[name] ?? 0
      if beginning > 0 { self.beginnings[name] = beginning }
    }
    self.watched = watched
    self.time = time
    minute = time / 60
    advanceHistories()
    self.anchor = anchor
  }

  /// Other targets, bounds and periods; what was counted under the old ones stays.
  package mutating func adopt(_ next: [ObjectiveName: ObjectiveSettings]) {
    settings = next
    histories = histories.filter { next[$0.key] != nil }
    beginnings = beginnings.filter { next[$0.key] != nil }
    for name in next.keys where histories[name] == nil {
      var history = EventHistory()
      history.advance(to: time)
      histories[name] = history
      if time > 0 { beginnings[name] = time }
    }
  }

  package mutating func look(_ sample: ObjectiveSample, now: Moment) {
    advance(to: now)
    watched.add(EventCount(good: unwritten / 60))
    unwritten %= 60
    if !sample.worst.isEmpty { worst = sample.worst }
    if time / 60 != minute {
      minute = time / 60
      for (name, isGood) in verdicts {
        histories[name]?.add(EventCount(good: isGood ? 1 : 0, bad: isGood ? 0 : 1))
      }
      verdicts = [:]
    }
    for (name, isGood) in sample.verdicts where settings[name] != nil {
      verdicts[name] = isGood && (verdicts[name] ?? true)
    }
    for (name, events) in sample.events { histories[name]?.add(events) }
  }

  private mutating func advance(to now: Moment) {
    let seconds = now.monotonic / 1_000_000_000
    if boot == now.boot {
      time += max(0, seconds - monotonic)
      unwritten += max(0, seconds - monotonic)
    }
    boot = now.boot
    monotonic = seconds
    if let anchor {
      var elapsed: Int64?
      if anchor.boot == now.boot {
        elapsed = seconds - anchor.monotonic
      } else if let before = anchor.wall, now.quality == .synchronised {
        elapsed = now.wall / 1_000_000_000 - before
      }
      if let elapsed {
        time = max(time, anchor.time + min(elapsed, ObjectiveBook.longestPause))
        self.anchor = nil
      } else if anchor.wall == nil {
        // Nobody will ever know.
        self.anchor = nil
      }
    }
    advanceHistories()
  }

  private mutating func advanceHistories() {
    for name in histories.keys { histories[name]?.advance(to: time) }
    watched.advance(to: time)
  }

  /// What has to be kept to find out, after a restart, how long it took. While that is not known of the last restart
  /// yet, what was kept then: from it the next one can find out both.
  func anchor(at now: Moment) -> Anchor {
    anchor
      ?? Anchor(
        time: time, boot: now.boot, monotonic: now.monotonic / 1_000_000_000,
        wall: now.quality == .synchronised ? now.wall / 1_000_000_000 : nil)
  }

  // MARK: What it says

  /// How many times faster than the target allows the budget was used up; nil without events.
  package func burnRate(_ name: ObjectiveName, _ window: BurnWindow) -> Double? {
    guard let settings = settings[name] else { return nil }
    return badShare(name, window).map { $0 / (1 - settings.target) }
  }

  /// The share of bad events; nil without events. What of the window was not seen counts as good.
  private func badShare(_ name: ObjectiveName, _ window: BurnWindow) -> Double? {
    guard let ratio = histories[name]?.sum(last: window.seconds).badRatio else { return nil }
    let reach = min(window.seconds, max(0, time - (beginnings[name] ?? 0)))
    let seen = Double(watched.sum(last: reach).good * 60) / Double(window.seconds)
    return ratio * min(1, seen)
  }

  /// The share of bad events above which a rule holds even if its rate cannot be reached: with a low target. Not all
  /// of them, for a restart leaves a minute that nobody saw.
  static let nearlyAll = 0.9

  /// The most urgent rule that holds now, if any.
  package func burning(_ name: ObjectiveName) -> BurnRule? {
    guard let settings = settings[name], let history = histories[name] else { return nil }
    let fewest = name.countsMinutes ? ObjectiveBook.fewestBadMinutes : ObjectiveBook.fewestBadEvents
    return BurnRule.all.first { rule in
      guard history.sum(last: rule.long.seconds).bad >= fewest, let long = badShare(name, rule.long),
        let short = badShare(name, rule.short)
      else { return false }
      let threshold = min(ObjectiveBook.nearlyAll, rule.rate * (1 - settings.target))
      return long >= threshold && short >= threshold
    }
  }

  /// One objective as it stands; nil for one that is switched off.
  package func report(_ name: ObjectiveName) -> ObjectiveReport? {
    guard let settings = settings[name], let history = histories[name] else { return nil }
    let seconds = settings.period / 1_000_000_000
    let events = history.sum(last: seconds)
    // Minutes come whatever happens, so their budget is that of the whole period. Of other events nobody knows how
    // many there will be.
    let fewest = name.countsMinutes ? ObjectiveBook.fewestBadMinutes : ObjectiveBook.fewestBadEvents
    let expected = name.countsMinutes ? max(events.total, seconds / 60) : events.total
    let budget = max(Double(fewest), (1 - settings.target) * Double(expected))
    let left = 1 - Double(events.bad) / budget
    let rule = burning(name)
    func rate(_ window: BurnWindow) -> Double? { burnRate(name, window) }
    return ObjectiveReport(
      name: name.rawValue, state: left <= 0 ? .spent : rule != nil ? .burning : .ok, target: settings.target,
      periodSeconds: seconds, measured: events.badRatio.map { 1 - $0 }, good: events.good, bad: events.bad,
      budgetRemaining: left, burnRate5m: rate(.fiveMinutes), burnRate30m: rate(.halfHour), burnRate1h: rate(.hour),
      burnRate6h: rate(.sixHours), burnRate3d: rate(.threeDays))
  }

  /// All that are kept, in the order of their declaration.
  package var reports: [ObjectiveReport] { ObjectiveName.allCases.compactMap(report) }

  /// What is alarming, in the order of the declaration.
  package var conditions: [AlarmCondition] {
    ObjectiveName.allCases.compactMap { name in
      guard let rule = burning(name), let report = report(name), let history = histories[name] else { return nil }
      let long = history.sum(last: rule.long.seconds)
      let rate = Fixed.decimal(burnRate(name, rule.long) ?? 0, places: 1)
      let budget =
        ObjectiveReport.usedUp(report.budgetRemaining)
        ?? "\(Fixed.decimal(report.budgetRemaining * 100, places: 0)) % left"
      return AlarmCondition(
        .objective, subject: name.rawValue, severity: rule.severity,
        text: "\(long.bad) of \(long.total) \(name.events) of the last \(rule.long.words) missed it, \(rate) times "
          + "what the target of \(Fixed.percent(report.target)) allows; error budget: \(budget)"
          + (worst[name].map { "; most of late in pipeline \($0)\(name.wayIn($0))" } ?? ""))
    }
  }
}

/// One objective as it stands: the same in the status, the API and the metrics. Version 1; fields are added, never
/// renamed or removed.
package struct ObjectiveReport: Sendable, Hashable, Codable {
  package enum State: String, Sendable, Hashable, CaseIterable, Codable {
    case ok
    /// The budget is being used up too fast: there is an alarm.
    case burning
    /// Nothing is left of the budget.
    case spent
  }

  /// ``ObjectiveName``
  package var name: String
  package var state: State
  package var target: Double
  package var periodSeconds: Int64
  /// The share of good events over the period; nil without events.
  package var measured: Double?
  package var good: Int64
  package var bad: Int64
  /// The share of the error budget that is left; below zero once more than all of it was used up.
  package var budgetRemaining: Double
  // How many times faster the budget is used up than the target allows; nil without events.
  package var burnRate5m: Double?
  package var burnRate30m: Double?
  package var burnRate1h: Double?
  package var burnRate6h: Double?
  package var burnRate3d: Double?

  /// What is said of an error budget of which nothing is left, everywhere in the same words: `used up 8.9 times over`.
  /// - Parameter remaining: ``budgetRemaining``
  /// - Returns: nil while something is left.
  package static func usedUp(_ remaining: Double) -> String? {
    guard remaining <= 0 else { return nil }
    let times = Fixed.decimal(1 - remaining, places: 1)
    return times == "1.0" ? "used up" : "used up \(times) times over"
  }

  /// By window, for the metrics.
  package var burnRates: [(window: BurnWindow, rate: Double)] {
    let all: [(BurnWindow, Double?)] = [
      (.fiveMinutes, burnRate5m), (.halfHour, burnRate30m), (.hour, burnRate1h), (.sixHours, burnRate6h),
      (.threeDays, burnRate3d),
    ]
    return all.compactMap { window, rate in rate.map { (window, $0) } }
  }
}
