internal import Delivery
internal import Spool
internal import Status
internal import Synchronization
internal import Telemetry

/// What is measured where it happens, once for a group, a seal or an attempt and never for a message: durations, and
/// the traces of batches. Everything else is gathered when somebody asks.
final class StageMeters: Sendable {
  static let sealDuration = "forebay_seal_duration_seconds"
  static let endToEnd = "forebay_end_to_end_seconds"
  static let attemptDuration = "forebay_uplink_attempt_duration_seconds"
  static let commitDuration = "forebay_commit_duration_seconds"

  let registry: MetricRegistry
  let traces = TraceLog()
  /// Of this process, for the spans of its attempts.
  let life: UInt64
  private let moment: MomentSource
  private let commits: DurationHistogram
  private let history = Mutex(CommitHistory())
  private let named = Mutex<[String: DurationHistogram]>([:])

  init(
    registry: MetricRegistry = MetricRegistry(), life: UInt64 = .random(in: 1 ... .max),
    moment: @escaping MomentSource = SystemClock.source
  ) {
    self.registry = registry
    self.life = life
    self.moment = moment
    commits = registry.histogram(
      StageMeters.commitDuration, .none, .brief,
      help: "Seconds that a group of messages took to be appended to the log and synced to the disk.")
  }

  // MARK: What happens

  /// A group is in the log.
  /// - Parameter began: monotonic nanoseconds.
  func committed(_ group: MessageGroup, first: Offset, began: Int64, ended: Int64) {
    commits.record(nanoseconds: ended - began)
    guard !group.isEmpty else { return }
    let commit = CommitHistory.Commit(
      first: first, end: first + group.count, bytes: Int64(group.byteCount), received: group.moment(of: 0),
      began: began, ended: ended)
    history.withLock { $0.add(commit) }
  }

  /// Batches are in the outbox.
  /// - Parameters:
  ///   - pipeline: nil for a replay, which is no part of what its pipeline takes.
  ///   - began: monotonic nanoseconds.
  func sealed(_ seal: Seal, pipeline: String?, began: Int64) {
    let now = moment()
    if let pipeline {
      histogram(
        StageMeters.sealDuration, "pipeline", pipeline, .brief,
        help: "Seconds that a pipeline's batches, dead letters and state took to be committed together."
      ).record(nanoseconds: now.monotonic - began)
    }
    for (index, batch) in seal.batches.enumerated() {
      let receipts = index < seal.receipts.count ? seal.receipts[index] : BatchReceipts()
      var trace = BatchTrace(batch, links: receipts.links) { now.wall(at: $0) }
      trace.sealed = BatchTrace.Span(began: trace.sealed.began, ended: now.wall)
      trace.committed = history.withLock { $0.commit(of: batch.lastOffset) }.map {
        BatchTrace.Span(began: now.wall(ofMonotonic: $0.began), ended: now.wall(ofMonotonic: $0.ended))
      }
      traces.begin(trace)
    }
  }

  /// What lies behind an offset of the log, if it came in the last half minute.
  func recentStretch(from offset: Offset) -> (bytes: Int64, oldest: Moment)? {
    history.withLock { $0.stretch(from: offset) }
  }

  /// Pipelines and uplinks that are gone leave no series behind.
  func prune(pipelines: Set<String>, uplinks: Set<String>) {
    registry.prune("pipeline", keeping: pipelines)
    registry.prune("uplink", keeping: uplinks)
    named.withLock { $0 = [:] }
  }

  /// What a pipeline's batches took from the receipt of their first message to their confirmation.
  func endToEnd(of pipeline: String) -> DurationHistogram {
    histogram(
      StageMeters.endToEnd, "pipeline", pipeline, .lasting,
      help: "Seconds from the receipt of a batch's first message to the upstream's confirmation of the batch.")
  }

  private func histogram(
    _ name: String, _ label: StaticString, _ value: String, _ bounds: HistogramBounds, help: String
  ) -> DurationHistogram {
    let key = name + "/" + value
    if let known = named.withLock({ $0[key] }) { return known }
    let made = registry.histogram(name, MetricLabels(label, value), bounds, help: help)
    named.withLock { $0[key] = made }
    return made
  }
}

extension StageMeters: DeliveryObserver {
  func ended(_ attempt: DeliveryAttempt, of batch: Batch) {
    let now = moment()
    histogram(
      StageMeters.attemptDuration, "uplink", attempt.uplink, .brief,
      help: "Seconds from the beginning of an attempt to deliver a batch to its end, however it ended."
    ).record(nanoseconds: attempt.ended - attempt.began)
    let isDelivery = attempt.answer == .hasIt
    if isDelivery, batch.replay == nil, let age = now.age(ofFirstMessageOf: batch) {
      endToEnd(of: batch.identity.pipeline).record(nanoseconds: age)
    }
    traces.add(
      BatchTrace.Attempt(
        id: batch.span(attempt: attempt.number, life: life), number: attempt.number, uplink: attempt.uplink,
        time: BatchTrace.Span(
          began: now.wall(ofMonotonic: attempt.began), ended: now.wall(ofMonotonic: attempt.ended)),
        answer: attempt.answer.kind.rawValue, isDelivery: isDelivery), to: batch.identity.description
    ) {
      BatchTrace(batch) { now.wall(at: $0) }
    }
  }
}

extension Moment {
  /// A time of this boot by today's wall clock, which may have been set in between.
  func wall(ofMonotonic time: Int64) -> Int64 { wall &- (monotonic &- time) }

  /// Another moment by today's wall clock; one of another boot as it was written down.
  func wall(at other: Moment) -> Int64 {
    other.boot == boot ? wall(ofMonotonic: other.monotonic) : other.wall
  }

  /// Nanoseconds since the first message of a batch was received; nil where no clock knows.
  func age(ofFirstMessageOf batch: Batch) -> Int64? {
    guard let ages = batch.ages else { return nil }
    return age(ofSealed: batch.sealed, first: ages.first)
  }

  /// The same from what an outbox row says.
  func age(ofSealed sealed: Moment, first: Int64) -> Int64? {
    guard let since = elapsed(since: sealed) else { return nil }
    let (sum, overflow) = since.addingReportingOverflow(max(0, first))
    return overflow ? nil : sum
  }
}
