internal import Spool
internal import Status
internal import Telemetry

/// Turns what a look sees into the events of the objectives.
struct ObjectiveMeter: Sendable {
  /// Minutes over which dead letters are counted.
  static let letterMinutes: Int64 = 60

  /// Pipelines that are remembered while they are out of sight, with those in sight.
  static let markLimit = 1_000

  /// By pipeline, where its counters stood when it was last in sight, also if that is long ago: what one has counted
  /// before it comes into sight for the first time is not new, and what it has counted out of sight is.
  private(set) var marks: [String: PipelineMark] = [:]
  /// By pipeline, when the newest of what has been delivered was received.
  private var newest: [String: Moment] = [:]
  /// Dead letters that came since the beginning of this run, or since the marks that it began with.
  private var lettersSeen: Int64 = 0
  /// How many there had been, by the minute (monotonic), the oldest first.
  private var letters: [(minute: Int64, count: Int64)] = []

  private var bad = BadEvents()

  /// - Parameter marks: of the run before. What was bad ever since is the best that is known of late.
  init(marks: [String: PipelineMark] = [:]) {
    self.marks = marks
    for (name, mark) in marks {
      bad.begin(mark.errors.bad, .errors, of: name)
      bad.begin(mark.delivery.bad, .delivery, of: name)
      bad.begin(mark.letters, .deadLetters, of: name)
      bad.begin(mark.numbers?.missing ?? 0, .gaps, of: name)
    }
  }

  /// - Parameters:
  ///   - delivered: since the last sample.
  ///   - bounds: ``ObjectiveSettings/bound`` by name.
  mutating func sample(
    _ sight: Sight, delivered: [DeliveryTally.Delivered], bounds: [ObjectiveName: Int64]
  ) -> ObjectiveSample {
    let fills = Dictionary(
      (sight.pipelines ?? []).map { ($0.name, $0.fills) }, uniquingKeysWith: { first, _ in first })
    var latency = EventCount()
    var duplicates = EventCount()
    for batch in delivered {
      if batch.possibleDuplicate {
        duplicates.bad += Int64(batch.readings)
      } else {
        duplicates.good += Int64(batch.readings)
      }
      if let took = batch.took, let bound = bounds[.latency] {
        if took - (fills[batch.pipeline] ?? 0) <= bound { latency.good += 1 } else { latency.bad += 1 }
      }
      if let newest = batch.newest { note(newest, of: batch.pipeline, now: sight.now) }
    }
    var sample = ObjectiveSample()
    sample.events = [.latency: latency, .duplicates: duplicates]
    guard let pipelines = sight.pipelines else { return sample }
    count(pipelines, at: sight.now, into: &sample)
    judge(pipelines, at: sight.now, bounds, into: &sample)
    return sample
  }

  private mutating func note(_ moment: Moment, of pipeline: String, now: Moment) {
    let known = newest[pipeline].flatMap { now.elapsed(since: $0) }
    guard let age = now.elapsed(since: moment), age <= known ?? .max else { return }
    newest[pipeline] = moment
  }

  private mutating func count(
    _ pipelines: [Sight.Pipeline], at now: Moment, into sample: inout ObjectiveSample
  ) {
    var delivery = EventCount()
    var errors = EventCount()
    var gaps = EventCount()
    bad.age(to: now.monotonic)
    // What the first look finds new came since the last look of the run before.
    if letters.isEmpty { letters = [(now.monotonic / 60_000_000_000, lettersSeen)] }
    for pipeline in pipelines {
      let before = marks[pipeline.name]
      let mark = PipelineMark(pipeline, after: before)
      marks[pipeline.name] = mark
      guard let before else { continue }
      let newDelivery = mark.delivery.since(before.delivery)
      let newErrors = mark.errors.since(before.errors)
      let newLetters = max(0, mark.letters - before.letters)
      delivery += newDelivery
      errors += newErrors
      lettersSeen += newLetters
      bad.add(newDelivery.bad, .delivery, of: pipeline.name)
      bad.add(newErrors.bad, .errors, of: pipeline.name)
      bad.add(newLetters, .deadLetters, of: pipeline.name)
      if let now = mark.numbers, let before = before.numbers {
        // A number that comes late is missing no more; it was for a while.
        let missing = max(0, now.missing - before.missing)
        gaps.bad += missing
        gaps.good += max(0, now.produced - before.produced)
        bad.add(missing, .gaps, of: pipeline.name)
      }
    }
    for name in [ObjectiveName.errors, .delivery, .deadLetters, .gaps] { sample.worst[name] = bad.worst(name) }
    if marks.count > ObjectiveMeter.markLimit {
      let inSight = Set(pipelines.map(\.name))
      marks = marks.filter { inSight.contains($0.key) }
    }
    sample.events[.delivery] = delivery
    sample.events[.errors] = errors
    sample.events[.gaps] = gaps
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
    let minute = now.monotonic / 60_000_000_000
    letters.removeAll { minute - $0.minute > ObjectiveMeter.letterMinutes }
    if letters.last?.minute != minute { letters.append((minute, lettersSeen)) }
    if let bound = bounds[.deadLetters], let before = letters.first?.count {
      sample.verdicts[.deadLetters] = lettersSeen - before < bound
    }
  }

  /// For how long consumers have waited for what a pipeline was given, in nanoseconds: since the newest that they
  /// have was received, and no longer than the oldest that they lack; 0 when nothing waits, nil where no clock can
  /// tell.
  func staleness(_ pipeline: Sight.Pipeline, at now: Moment) -> Int64? {
    guard pipeline.waits else { return 0 }
    let ages = [newest[pipeline.name].flatMap { now.elapsed(since: $0) }, pipeline.oldestAge]
    return ages.compactMap { $0 }.min()
  }
}

extension PipelineMark {
  /// - Parameter before: numbers that cannot be seen now are still where they were.
  init(_ pipeline: Sight.Pipeline, after before: PipelineMark?) {
    let counters = pipeline.counters
    self.init(
      delivery: EventCount(good: counters.delivered, bad: counters.deadLetteredUpstream + counters.damaged),
      errors: EventCount(
        good: max(0, counters.produced + counters.requeued - counters.refused),
        bad: counters.rejected + counters.refused),
      letters: counters.setAside,
      numbers: pipeline.missing.map { Numbers(missing: $0, produced: counters.produced) } ?? before?.numbers)
  }
}
