import Telemetry

/// Decides, for one uplink, what is sent when, and what an answer leads to. Holds no bodies and does
/// no I/O: ``next(now:)`` gives one action at a time, and whoever performs it says how it went by the
/// function named beside the action. Times are monotonic nanoseconds.
///
/// Invariants:
///   1. At most `concurrency` batches are on the way; one, while the circuit is open or the uplink held.
///   2. An entry leaves by being confirmed, split, or set aside, and by one of these only.
///   3. While a pipeline is held no refusal leads to a split or a dead letter.
///   4. Between two acceptances at most `refusalsBeforeHold - 1` readings of a pipeline are set aside.
///   5. Of each pipeline at most ``window`` entries are known, besides those that came with one fetch and
///      the parts of what was split: memory does not grow with the backlog.
package struct DeliveryCore: Sendable {
  package enum Action: Sendable, Hashable {
    /// Read entries: ``didFetch(_:limit:)``.
    case fetch(after: OutboxPosition?, excluding: Set<String>, limit: Int)
    /// Send the batch: ``answered(_:_:bytes:now:)``, or ``vanished(_:)`` when it is no longer there.
    case send(id: Int64, position: OutboxPosition, attempt: Int)
    /// ``didConfirm(_:)``
    case confirm([Int64])
    /// Cut it in halves: ``didSplit(_:parts:)``, ``splitFailed(_:reason:now:)`` or ``vanished(_:)``.
    case split(id: Int64, position: OutboxPosition)
    /// ``didSetAside(_:)``
    case setAside(id: Int64, rule: String, reason: String)
  }

  /// The longest that a `Retry-After` is honoured: an hour.
  static let maximumRetryAfter: Int64 = 3_600_000_000_000
  /// The longest pause after the outbox could not be read or written.
  static let maximumOutboxPause: Int64 = 30_000_000_000

  enum Phase: Sendable, Hashable {
    case waiting(until: Int64)
    case inFlight
    case confirming
    case splitting
    case settingAside(rule: String, reason: String)
  }

  /// What is known of an entry; not its body.
  struct Known: Sendable, Hashable {
    var id: Int64
    var position: OutboxPosition
    var identity: BatchIdentity
    /// Of a replay, it waits until nothing else does.
    var replay: ReplayID?
    /// The lines of the whole batch that it holds.
    var lines: Range<Int>
    var phase: Phase
    /// Attempts that ended with an answer or without one.
    var attempts = 0
    var lastTried: Int64?
    /// An alarm about this batch alone.
    var hold: DeliveryHold?

    /// The book that it is in: what is wrong with a replay is not wrong with its pipeline.
    var pipeline: String { replay.map { $0.book(of: identity.pipeline) } ?? identity.pipeline }
    var count: Int { lines.count }
    var isWaiting: Bool { if case .waiting = phase { true } else { false } }
  }

  struct PipelineState: Sendable, Hashable {
    /// What was refused last, when nothing was accepted since: the pipeline is "in doubt".
    var lastRefused: Known?
    /// Single readings set aside since something was accepted.
    var setAsideInRow = 0
    var hold: DeliveryHold?
    /// Its entries behind this position may be unknown, because a fetch left the pipeline out.
    var skippedFrom: OutboxPosition?
    var known = 0
    var inFlight = 0
  }

  enum Circuit: Sendable, Hashable {
    case closed
    case open(until: Int64)
    case halfOpen
  }

  var settings: UplinkSettings
  private var random: SplitMix64
  var known: [Int64: Known] = [:]
  var pipelines: [String: PipelineState] = [:]
  var circuit = Circuit.closed
  var failuresInRow = 0
  var hold: DeliveryHold?
  /// The upstream asked for quiet until then.
  var pausedUntil = Int64.min
  var inFlight = 0
  /// An operator wants nothing to be sent: what is on its way ends, and the outbox keeps the rest.
  private(set) var isPaused = false
  /// What is behind it has not been fetched yet.
  var cursor: OutboxPosition?
  /// There may be unknown entries behind the cursor.
  var mayHaveMore = true
  var outboxRetry = Int64.min
  private var outboxFailures = 0
  private(set) var counts: UplinkStatus
  /// Since when nothing but failures; nil after a success, and when nothing is left that could fail.
  private(set) var outage: DeliveryOutage?

  /// - Parameter seed: of the jitter; drawn at random outside of tests.
  package init(settings: UplinkSettings, seed: UInt64) {
    self.settings = settings
    random = SplitMix64(state: seed)
    counts = UplinkStatus(name: settings.name)
  }

  /// Entries of one pipeline that may be known at once.
  var window: Int { settings.batchesAtOnce + 16 }

  /// Two at least: were it one, no reading could ever be set aside.
  private var refusalsBeforeHold: Int { max(2, settings.refusalsBeforeHold) }

  // MARK: What happened

  /// New batches may be in the outbox.
  package mutating func wake() { mayHaveMore = true }

  /// Takes new settings, and tries at once whatever was held or put off: a person has mended something.
  package mutating func apply(_ settings: UplinkSettings, now: Int64) {
    self.settings = settings
    hold?.nextAttempt = now
    pausedUntil = .min
    if case .open = circuit { circuit = .open(until: now) }
    for name in pipelines.keys { pipelines[name]?.hold?.nextAttempt = now }
    for id in known.keys where known[id]?.isWaiting == true {
      known[id]?.phase = .waiting(until: now)
      known[id]?.hold?.nextAttempt = now
    }
    mayHaveMore = true
  }

  /// Stops sending, or goes on.
  package mutating func pause(_ paused: Bool) {
    isPaused = paused
    // What is not tried does not fail.
    if paused { outage = nil }
  }

  package mutating func didFetch(_ entries: [OutboxEntry], limit: Int) {
    outboxWorked()
    if entries.count < limit { mayHaveMore = false }
    for entry in entries {
      if cursor.map({ $0 < entry.position }) ?? true { cursor = entry.position }
    }
    learn(entries)
  }

  private mutating func learn(_ entries: [OutboxEntry]) {
    for entry in entries where known[entry.id] == nil {
      let whole = Splitting.parent(of: entry.batch)
      let identity = entry.batch.identity
      known[entry.id] = Known(
        id: entry.id, position: entry.position, identity: identity, replay: entry.batch.replay,
        lines: identity.part?.lines(of: whole.count) ?? 0..<whole.count,
        phase: .waiting(until: .min))
      update(entry.batch.book) { $0.known += 1 }
    }
  }

  /// - Parameter bytes: of the body, as many as went out.
  package mutating func answered(_ id: Int64, _ answer: Answer, bytes: Int, now: Int64) {
    guard var entry = known[id], entry.phase == .inFlight else { return }
    inFlight -= 1
    update(entry.pipeline) { $0.inFlight -= 1 }
    counts.attempts += 1
    counts.answers[answer.kind, default: 0] += 1
    counts.bytesSent += Int64(bytes)
    counts.lastError = answer == .hasIt ? nil : "\(entry.identity): \(answer)"
    entry.lastTried = now
    entry.attempts += 1
    entry.hold = nil
    entry.phase = .waiting(until: now)
    noteOutage(answer, now)
    switch answer {
    case .hasIt:
      entry.phase = .confirming
      counts.batchesDelivered += 1
      counts.readingsDelivered += Int64(entry.count)
      reached(now)
      update(entry.pipeline) {
        $0.lastRefused = nil
        $0.setAsideInRow = 0
        $0.hold = nil
      }
    case .stillTakingIn:
      reached(now)
      entry.phase = .waiting(until: now + backoff(entry.attempts))
    case .notNow(_, let retryAfter):
      entry.phase = .waiting(until: now + backoff(entry.attempts))
      failed(retryAfter: retryAfter, now)
    case .unreachable(let cause) where cause.kind == .cancelled:
      if circuit == .halfOpen { circuit = .open(until: now) }
    case .unreachable:
      entry.phase = .waiting(until: now + backoff(entry.attempts))
      failed(retryAfter: nil, now)
    case .credentials: holdUplink(.credentials, answer.description, now)
    case .unknownUpstream: holdUplink(.unknownUpstream, answer.description, now)
    case .tooLarge:
      reached(now)
      refused(&entry, rule: "upstream.413", reason: answer.description, now)
    case .refused(let status, _):
      reached(now)
      refused(&entry, rule: "upstream.\(status)", reason: answer.description, now)
    case .identityConflict:
      reached(now)
      putOff(&entry, .identityConflict, answer.description, now)
    }
    known[id] = entry
  }

  package mutating func didConfirm(_ ids: [Int64]) {
    outboxWorked()
    ids.forEach { forget($0) }
  }

  /// - Parameter parts: as they are in the outbox now; empty if they could not be read.
  package mutating func didSplit(_ id: Int64, parts: [OutboxEntry]) {
    outboxWorked()
    counts.splits += 1
    guard let entry = known[id] else { return }
    learn(parts)
    forget(id)
    if parts.isEmpty { rewind(to: entry.position.predecessor) }
  }

  package mutating func splitFailed(_ id: Int64, reason: String, now: Int64) {
    guard var entry = known[id] else { return }
    counts.lastError = reason
    putOff(&entry, .damagedBatch, reason, now)
    known[id] = entry
  }

  package mutating func didSetAside(_ id: Int64) {
    outboxWorked()
    counts.readingsSetAside += 1
    forget(id)
  }

  /// The entry is no longer in the outbox.
  package mutating func vanished(_ id: Int64) {
    guard let entry = known[id] else { return }
    if entry.phase == .inFlight {
      inFlight -= 1
      update(entry.pipeline) { $0.inFlight -= 1 }
      if circuit == .halfOpen { circuit = .open(until: .min) }
    }
    forget(id)
  }

  /// The outbox threw; the action comes again after a pause. A batch that was to be sent is not sent.
  package mutating func outboxFailed(_ action: Action, reason: String, now: Int64) {
    outboxFailures += 1
    outboxRetry = now + min(jitter(below: bound(outboxFailures)), DeliveryCore.maximumOutboxPause)
    counts.lastError = reason
    switch action {
    case .fetch: mayHaveMore = true
    case .send(let id, _, _):
      inFlight -= 1
      if let pipeline = known[id]?.pipeline { update(pipeline) { $0.inFlight -= 1 } }
      known[id]?.phase = .waiting(until: now)
      if circuit == .halfOpen { circuit = .open(until: now) }
    case .confirm, .split, .setAside: break
    }
  }

  // MARK: What follows

  private mutating func outboxWorked() {
    outboxFailures = 0
    outboxRetry = .min
  }

  private mutating func forget(_ id: Int64) {
    guard let entry = known.removeValue(forKey: id) else { return }
    update(entry.pipeline) { $0.known -= 1 }
    if known.isEmpty { outage = nil }
    guard let state = pipelines[entry.pipeline] else { return }
    if state.known < window, let skippedFrom = state.skippedFrom {
      update(entry.pipeline) { $0.skippedFrom = nil }
      rewind(to: skippedFrom)
    }
    if state.known == 0, state.hold == nil, state.lastRefused == nil, state.setAsideInRow == 0 {
      pipelines[entry.pipeline] = nil
    }
  }

  private mutating func rewind(to position: OutboxPosition) {
    mayHaveMore = true
    guard let cursor, position < cursor else { return }
    self.cursor = position
  }

  mutating func update(_ pipeline: String, _ body: (inout PipelineState) -> Void) {
    body(&pipelines[pipeline, default: PipelineState()])
  }

  /// The upstream gave an answer that only the upstream we know gives.
  private mutating func reached(_ now: Int64) {
    failuresInRow = 0
    hold = nil
    guard circuit != .closed else { return }
    circuit = .closed
    // They were put off because of the outage that is now over.
    for (id, entry) in known where entry.hold == nil && entry.isWaiting {
      known[id]?.phase = .waiting(until: now)
    }
  }

  /// A success ends an outage, and so does whatever raises an alarm of its own or moves a batch on.
  private mutating func noteOutage(_ answer: Answer, _ now: Int64) {
    let isLocal: Bool
    switch answer {
    case .hasIt, .credentials, .tooLarge, .refused, .identityConflict, .unknownUpstream:
      outage = nil
      return
    case .stillTakingIn, .notNow: isLocal = false
    case .unreachable(let cause):
      guard cause.kind != .cancelled else { return }
      isLocal = cause.kind.isLocal
    }
    outage = DeliveryOutage(
      since: outage?.since ?? now, isLocal: isLocal, reason: answer.description)
  }

  private mutating func failed(retryAfter: Int64?, _ now: Int64) {
    failuresInRow += 1
    if let retryAfter {
      pausedUntil = max(pausedUntil, now + min(max(0, retryAfter), DeliveryCore.maximumRetryAfter))
    }
    switch circuit {
    case .closed where failuresInRow < settings.breaker.failures: break
    case .closed, .halfOpen:
      circuit = .open(until: max(now + jitter(below: bound(failuresInRow)), pausedUntil))
    // The answer to one that was on the way when the circuit opened.
    case .open: break
    }
  }

  private mutating func holdUplink(_ cause: DeliveryHold.Cause, _ reason: String, _ now: Int64) {
    // It did answer: the hold, not the circuit, says when it is tried again.
    failuresInRow = 0
    circuit = .closed
    hold = DeliveryHold(
      scope: .uplink, cause: cause, reason: reason,
      since: hold.flatMap { $0.cause == cause ? $0.since : nil } ?? now,
      nextAttempt: now + holdDelay())
  }

  private mutating func putOff(
    _ entry: inout Known, _ cause: DeliveryHold.Cause, _ reason: String, _ now: Int64
  ) {
    let next = now + holdDelay()
    entry.phase = .waiting(until: next)
    entry.hold = DeliveryHold(
      scope: .batch(entry.identity), cause: cause, reason: reason, since: now, nextAttempt: next)
  }

  private mutating func refused(_ entry: inout Known, rule: String, reason: String, _ now: Int64) {
    var state = pipelines[entry.pipeline] ?? PipelineState()
    defer { pipelines[entry.pipeline] = state }
    state.lastRefused = entry
    if state.hold != nil {
      state.hold?.reason = reason
    } else if entry.count > 1 {
      entry.phase = .splitting
    } else if state.setAsideInRow + 1 < refusalsBeforeHold {
      state.setAsideInRow += 1
      entry.phase = .settingAside(rule: rule, reason: reason)
    } else {
      state.hold = DeliveryHold(
        scope: .pipeline(entry.pipeline), cause: .refusals, reason: reason, since: now,
        nextAttempt: now + holdDelay())
    }
  }

  // MARK: Randomness

  /// `initial`, doubled with every failure, up to `maximum`.
  private func bound(_ failures: Int) -> Int64 {
    let (product, overflow) = settings.retry.initial.multipliedReportingOverflow(
      by: 1 << Int64(min(max(failures - 1, 0), 40)))
    return overflow ? settings.retry.maximum : min(product, settings.retry.maximum)
  }

  private mutating func jitter(below bound: Int64) -> Int64 {
    bound > 0 ? Int64.random(in: 0...bound, using: &random) : 0
  }

  private mutating func backoff(_ failures: Int) -> Int64 { jitter(below: bound(failures)) }

  /// Between half and all of the interval, so that a fleet does not knock in step.
  mutating func holdDelay() -> Int64 {
    settings.retry.hold / 2 + jitter(below: settings.retry.hold / 2)
  }
}

/// Sebastiano Vigna's SplitMix64: a small generator with a seed.
struct SplitMix64: RandomNumberGenerator, Sendable {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
