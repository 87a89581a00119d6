import Telemetry

extension DeliveryCore {
  /// What to do now, or nil: then nothing until ``deadline(now:)`` or until something happens.
  package mutating func next(now: Int64) -> Action? {
    guard outboxRetry <= now else { return nil }
    if let settlement = settlement() { return settlement }
    guard !isPaused, let room = room(now: now) else { return nil }
    if probeWantsMore, let fetch = fetch(limit: room) { return fetch }
    if let entry = choose(now: now) {
      // A replay is sent only when nothing else waits, also nothing that is not known yet.
      if entry.replay != nil, let fetch = fetch(limit: room) { return fetch }
      return send(entry, now: now)
    }
    return fetch(limit: room)
  }

  /// When ``next(now:)`` is to be asked again even if nothing happens; nil: not before something does.
  package func deadline(now: Int64) -> Int64? {
    let settling = known.values.contains { !$0.isWaiting && $0.phase != .inFlight }
    if settling || (mayHaveMore && outboxRetry > now) { return max(outboxRetry, now) }
    guard !isPaused, inFlight < settings.batchesAtOnce else { return nil }
    if isSingle, inFlight > 0 { return nil }
    let gate = gate
    let hasReplayRoom = hasReplayRoom
    let times = known.values.compactMap { entry in
      entry.replay == nil || hasReplayRoom ? readyAt(entry).map { max($0, gate) } : nil
    }
    return mayHaveMore ? max(gate, now) : times.min().map { max($0, now) }
  }

  /// Whether everything that was in the outbox has been dealt with.
  package var isIdle: Bool { known.isEmpty && !mayHaveMore }

  package func status(now: Int64) -> UplinkStatus {
    var status = counts
    status.inFlight = inFlight
    status.nextAttemptIn = deadline(now: now).map { max(0, $0 - now) }
    status.state = state
    status.outage = outage
    let held = pipelines.values.compactMap(\.hold).sorted { $0.since < $1.since }
    let batches = known.values.filter { $0.hold != nil }.sorted { $0.position < $1.position }
    status.holds = (hold.map { [$0] } ?? []) + held + batches.compactMap(\.hold)
    return status
  }

  private var state: UplinkStatus.State {
    if isPaused { return .paused }
    if hold != nil { return .held }
    if known.isEmpty { return .idle }
    let isHeld = known.values.allSatisfy { $0.hold != nil || pipelines[$0.pipeline]?.hold != nil }
    if isHeld { return .held }
    return circuit == .closed && outage == nil ? .delivering : .retrying
  }

  // MARK: Settling answers

  /// What the upstream has and is not booked yet; for the end, when nothing else is done any more.
  package func confirmation(now: Int64) -> Action? {
    let ids = known.values.filter { $0.phase == .confirming }.map(\.id)
    return ids.isEmpty || outboxRetry > now ? nil : .confirm(ids.sorted())
  }

  private func settlement() -> Action? {
    var confirmed: [Int64] = []
    for entry in known.values {
      switch entry.phase {
      case .confirming: confirmed.append(entry.id)
      case .splitting: return .split(id: entry.id, position: entry.position)
      case .settingAside(let rule, let reason):
        return .setAside(id: entry.id, rule: rule, reason: reason)
      case .waiting, .inFlight: break
      }
    }
    return confirmed.isEmpty ? nil : .confirm(confirmed.sorted())
  }

  // MARK: Choosing what to send

  /// One at a time: after an outage, and while the upstream is not the one we know.
  private var isSingle: Bool { hold != nil || circuit != .closed }

  /// Nothing is sent before.
  private var gate: Int64 {
    var gate = max(pausedUntil, hold?.nextAttempt ?? .min)
    if case .open(let until) = circuit { gate = max(gate, until) }
    return gate
  }

  /// How many batches may be sent now; nil for none.
  private func room(now: Int64) -> Int? {
    guard gate <= now else { return nil }
    if isSingle { return inFlight == 0 ? 1 : nil }
    return inFlight < settings.batchesAtOnce ? settings.batchesAtOnce - inFlight : nil
  }

  /// A probe should not be the same batch for ever, because that batch may be what is wrong.
  private var probeWantsMore: Bool {
    isSingle && known.values.count(where: \.isWaiting) <= settings.batchesAtOnce
  }

  private mutating func fetch(limit: Int) -> Action? {
    guard mayHaveMore else { return nil }
    var full: Set<String> = []
    for (name, state) in pipelines where state.known >= window {
      full.insert(name)
      let from = cursor ?? .first
      update(name) { $0.skippedFrom = min($0.skippedFrom ?? from, from) }
    }
    return .fetch(after: cursor, excluding: full, limit: limit)
  }

  /// When an entry may be sent, as far as it and its pipeline are concerned.
  private func readyAt(_ entry: Known) -> Int64? {
    guard case .waiting(let due) = entry.phase else { return nil }
    let own = isSingle && entry.hold == nil ? .min : due
    guard let state = pipelines[entry.pipeline] else { return own }
    if let hold = state.hold {
      guard state.inFlight == 0 else { return nil }
      return max(hold.nextAttempt, entry.hold == nil ? .min : due)
    }
    return state.lastRefused != nil && state.inFlight > 0 ? nil : own
  }

  /// Whether another batch of a replay may be sent: one place is kept for what is not of a replay, so that it
  /// never waits for the answer to one that is.
  private var hasReplayRoom: Bool {
    known.values.count { $0.replay != nil && $0.phase == .inFlight } < max(1, settings.batchesAtOnce - 1)
  }

  private func choose(now: Int64) -> Known? {
    var ready = known.values.filter { (readyAt($0) ?? .max) <= now }
    // Also one of a replay: it may be the one that gets through.
    if isSingle { return ready.min(by: leastRecentlyTried) }
    let others = ready.filter { $0.replay == nil }
    if !others.isEmpty {
      ready = others
    } else if !hasReplayRoom {
      return nil
    }
    guard let oldest = ready.min(by: { $0.position < $1.position }) else { return nil }
    let state = pipelines[oldest.pipeline] ?? PipelineState()
    if state.hold != nil {
      return ready.filter { $0.pipeline == oldest.pipeline }.min(by: leastRecentlyTried)
    }
    guard let refused = state.lastRefused else { return oldest }
    return isolating(refused, among: ready.filter { $0.pipeline == oldest.pipeline })
  }

  /// Those never tried come first, the smallest of them before the others: where some readings are bad,
  /// a small part is the likeliest to be taken.
  private func leastRecentlyTried(_ a: Known, _ b: Known) -> Bool {
    (a.lastTried ?? .min, a.replay == nil ? 0 : 1, a.count, a.position.place, a.position.line)
      < (b.lastTried ?? .min, b.replay == nil ? 0 : 1, b.count, b.position.place, b.position.line)
  }

  /// Down into the halves of what was refused last, so that a refused reading is alone after
  /// log2(count) requests; from there to the largest entry at hand, because the likeliest neighbour of
  /// a bad reading is another one.
  private func isolating(_ refused: Known, among candidates: [Known]) -> Known? {
    let halves = candidates.filter {
      $0.identity.whole == refused.identity.whole && refused.lines.contains($0.lines.lowerBound)
        && $0.count < refused.count
    }
    return halves.min { $0.position < $1.position }
      ?? candidates.max { ($0.count, $1.position) < ($1.count, $0.position) }
  }

  private mutating func send(_ entry: Known, now: Int64) -> Action {
    if isSingle, circuit != .closed { circuit = .halfOpen }
    let next = now + holdDelay()
    hold?.nextAttempt = next
    update(entry.pipeline) { $0.hold?.nextAttempt = next }
    inFlight += 1
    update(entry.pipeline) { $0.inFlight += 1 }
    known[entry.id]?.phase = .inFlight
    return .send(id: entry.id, position: entry.position, attempt: entry.attempts + 1)
  }
}
