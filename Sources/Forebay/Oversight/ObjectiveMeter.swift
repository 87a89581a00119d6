internal import Spool
internal import Status
internal import Telemetry

/// Turns what a look sees into the events of the objectives.
struct ObjectiveMeter: Sendable {
  /// Minutes over which dead letters are counted.
  static let letterMinutes: Int64 = 60

  private var latency = EventCount()
  private var duplicates = EventCount()
  private var gaps = EventCount()
  /// What was last seen of pipelines with `sequence`.
  private var numbered: [String: (missing: Int64, produced: Int64)] = [:]
  /// By pipeline, when the newest of what has been delivered was received.
  private var newest: [String: Moment] = [:]
  /// How many dead letters there had ever been, by the minute (monotonic), the oldest first.
  private var letters: [(minute: Int64, count: Int64)] = []

  /// - Parameters:
  ///   - delivered: since the last sample, each with the receipt of its first and last message where that is known.
  ///   - bounds: ``ObjectiveSettings/bound`` by name.
  mutating func sample(
    _ sight: Sight, delivered: [(DeliveryTally.Delivered, received: (first: Moment, last: Moment)?)],
    bounds: [ObjectiveName: Int64]
  ) -> ObjectiveSample {
    let fills = Dictionary(
      (sight.pipelines ?? []).map { ($0.standing.book, $0.fills) }, uniquingKeysWith: { first, _ in first })
    for (batch, received) in delivered {
      if batch.possibleDuplicate {
        duplicates.bad += Int64(batch.readings)
      } else {
        duplicates.good += Int64(batch.readings)
      }
      guard let received else { continue }
      if let took = received.first.elapsed(until: batch.at), let bound = bounds[.latency] {
        if took - (fills[batch.pipeline] ?? 0) <= bound { latency.good += 1 } else { latency.bad += 1 }
      }
      note(received.last, of: batch.pipeline, now: sight.now)
    }
    var sample = ObjectiveSample()
    sample.totals = [.latency: latency, .duplicates: duplicates]
    guard let pipelines = sight.pipelines else { return sample }
    count(pipelines, into: &sample)
    judge(pipelines, at: sight.now, bounds, into: &sample)
    return sample
  }

  private mutating func note(_ moment: Moment, of pipeline: String, now: Moment) {
    let known = newest[pipeline].flatMap { $0.elapsed(until: now) }
    guard let age = moment.elapsed(until: now), age <= known ?? .max else { return }
    newest[pipeline] = moment
  }

  private mutating func count(_ pipelines: [Sight.Pipeline], into sample: inout ObjectiveSample) {
    var delivery = EventCount()
    var errors = EventCount()
    for pipeline in pipelines {
      let counters = pipeline.standing.counters
      delivery += EventCount(good: counters.delivered, bad: counters.deadLetteredUpstream + counters.damaged)
      errors += EventCount(
        good: max(0, counters.produced + counters.requeued - counters.refused),
        bad: counters.rejected + counters.refused)
      guard let missing = pipeline.missing else { continue }
      if let before = numbered[pipeline.standing.book] {
        // A number that comes late is missing no more; it was for a while.
        gaps.bad += max(0, missing - before.missing)
        gaps.good += max(0, counters.produced - before.produced)
      }
      numbered[pipeline.standing.book] = (missing, counters.produced)
    }
    sample.totals[.delivery] = delivery
    sample.totals[.errors] = errors
    sample.totals[.gaps] = gaps
  }

  private mutating func judge(
    _ pipelines: [Sight.Pipeline], at now: Moment, _ bounds: [ObjectiveName: Int64], into sample: inout ObjectiveSample
  ) {
    if let bound = bounds[.freshness] {
      sample.verdicts[.freshness] = pipelines.allSatisfy { (staleness($0, at: now) ?? 0) - $0.fills <= bound }
    }
    if let bound = bounds[.backlog] {
      sample.verdicts[.backlog] = pipelines.allSatisfy { ($0.oldestAge ?? 0) - $0.fills <= bound }
    }
    let count = pipelines.reduce(Int64(0)) { $0 + $1.standing.counters.setAside }
    let minute = now.monotonic / 60_000_000_000
    letters.removeAll { minute - $0.minute > ObjectiveMeter.letterMinutes || $0.count > count }
    if letters.last?.minute != minute { letters.append((minute, count)) }
    if let bound = bounds[.deadLetters], let before = letters.first?.count {
      sample.verdicts[.deadLetters] = count - before < bound
    }
  }

  /// For how long consumers have waited for what a pipeline was given, in nanoseconds: since the newest that they
  /// have was received, and no longer than the oldest that they lack; 0 when nothing waits, nil where no clock can
  /// tell.
  func staleness(_ pipeline: Sight.Pipeline, at now: Moment) -> Int64? {
    guard pipeline.waits else { return 0 }
    let ages = [newest[pipeline.standing.book].flatMap { $0.elapsed(until: now) }, pipeline.oldestAge]
    return ages.compactMap { $0 }.min()
  }
}
