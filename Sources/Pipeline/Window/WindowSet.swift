package import Telemetry

/// The windows of a pipeline, over event time and per key.
///
/// Readings go in by ``add(_:offset:key:inputs:)``; the watermark goes on by ``advance(to:)``, which gives the results that
/// have become due, in the order of window end, key bytes and window start. The owner advances after every message,
/// also where the watermark stands still: corrections and windows beyond the limit come out there. Nothing that was
/// decided is lost by a crash: what has not come out is in the state.
///
/// A reading is late for a window that was closed, whatever the watermark says: a reading older than the watermark
/// still belongs to an open window.
///
/// Rows of the stored state: key 2 for the horizon and the settings, the byte 1 and the key for the windows of a key.
package struct WindowSet: Sendable {
  private static let version: UInt8 = 1

  private let plan: WindowPlan
  private var states: KeyedState<KeyWindows>
  private var horizon = Checkpointed(WindowHorizon())
  private var queue = DeadlineQueue()

  /// Windows in memory, those kept for corrections included.
  package private(set) var windows = 0
  /// Windows that were closed or forgotten early because there were too many, since this value was made.
  package private(set) var closedEarly: Int64 = 0

  package init(settings: WindowSettings) {
    plan = WindowPlan(settings)
    // Windows are counted here, not keys: a key has one window at least.
    states = KeyedState(limit: .max, policy: .refuseNew, layout: plan)
  }

  package var settings: WindowSettings { plan.settings }
  /// Keys that have a window.
  package var keys: Int { states.count }
  /// Windows that end by this time are closed; nil before the first ``advance(to:)``.
  package var closedThrough: Int64? { horizon.value.closed == .min ? nil : horizon.value.closed }

  /// Whether ``advance(to:)`` could give results if a reading of this time came before. Changes nothing.
  ///
  /// So a pipeline can say ``beginPending()`` before the message that begins an open batch changes anything. Where
  /// this says yes and no result comes, it says ``pendingDecided()`` again.
  package func mayGiveResults(adding time: Int64?, advancingTo watermark: Int64) -> Bool {
    let watermark = max(watermark, horizon.value.closed)
    if let next = queue.first, next.deadline <= watermark { return true }
    // Every window of the reading ends after it.
    guard let time else { return windows > settings.maximumWindows }
    return watermark > time || windows + plan.settings.overlap > settings.maximumWindows
  }

  /// What a rebuild would need (``WindowMark``), looking at every window.
  /// - Parameter position: the next offset that would be read.
  package func mark(before position: Offset) -> WindowMark {
    var first = position.rawValue
    // Those kept for corrections are worked out again from their beginning.
    var through = saturating(horizon.value.closed, minus: plan.settings.correctFor)
    let partial = through
    for slot in states.liveSlots {
      states.read(slot) { key in
        first = min(first, key.firstOffset)
        // A session that was open for long has readings that would be late without it.
        if plan.isSession, let start = key.windows.first?.start {
          through = min(through, saturating(start, plus: plan.settings.length - 1))
        }
      }
    }
    return WindowMark(
      from: Offset(max(0, first)),
      closed: closedThrough == nil ? nil : ClosedWindows(through: through, partial: partial))
  }

  /// These were closed before, and their time stays closed.
  package init(settings: WindowSettings, closed: ClosedWindows) {
    self.init(settings: settings)
    horizon.value = WindowHorizon(closed: closed.through, partial: closed.partial)
  }

  // MARK: Readings

  /// Puts a reading into its windows. Takes no memory where they are there already.
  /// - Parameters:
  ///   - time: of the event, in nanoseconds since 1970.
  ///   - offset: where in the log it came from, from 0.
  ///   - key: names the device; may be empty.
  ///   - inputs: as many as the settings say.
  package mutating func add(
    _ time: Int64, offset: Int64, key: UnsafeRawBufferPointer, inputs: UnsafeBufferPointer<WindowInput>
  ) -> WindowPlacement {
    precondition(inputs.count == settings.inputs, "a reading brings the inputs of the settings")
    var placement = WindowPlacement()
    guard WindowPlan.times.contains(time) else {
      placement.refused = 1
      return placement
    }
    let horizon = self.horizon.value
    placement.lateness = max(0, saturating(horizon.closed, minus: time))
    let known = states.slot(of: key)
    if placement.lateness > 0, let missed = missed(time, slot: known) {
      placement.missed = missed
      return placement
    }
    guard let slot = known ?? states.insert(key) else {
      placement.refused = 1
      return placement
    }
    let (plan, room) = (plan, room)
    let (before, after, deadline) = states.modify(slot) { state in
      let before = state.windows.count
      var deadline = state.add(
        WindowReading(time: time, offset: offset, inputs: inputs), plan: plan, horizon: horizon, room: room, &placement)
      if deadline < state.queued { state.queued = deadline } else { deadline = .max }
      return (before, state.windows.count, deadline)
    }
    windows += after - before
    if after == 0 {
      states.remove(slot)
    } else if deadline < .max {
      push(deadline, slot)
    }
    return placement
  }

  /// How many windows a late reading came too late for, if no window would take it; nil where one would.
  private func missed(_ time: Int64, slot: Int?) -> Int? {
    let horizon = self.horizon.value
    if plan.isSession {
      guard time + plan.settings.length <= horizon.closed else { return nil }
      let place = slot.map { states.read($0) { $0.session(for: time, plan, horizon) } } ?? .none
      return place == .none ? 1 : nil
    }
    let newest = floorDivided(time, by: plan.step) * plan.step
    guard newest + plan.settings.length + plan.settings.correctFor <= horizon.closed else { return nil }
    return Int((newest - (time - plan.settings.length) - 1) / plan.step) + 1
  }

  /// Windows that may be opened before the next ``advance(to:)``, which closes those beyond the limit.
  private var room: Int {
    switch settings.overflow {
    case .refuse: max(0, settings.maximumWindows - windows)
    case .closeEarly: max(0, 2 * settings.maximumWindows + plan.settings.overlap - windows)
    }
  }

  // MARK: Results

  /// Time has come to `watermark`: gives the results that are due. A watermark that lies behind closes nothing more.
  package mutating func advance(to watermark: Int64) -> [WindowResult] {
    if watermark > horizon.value.closed { horizon.value.closed = watermark }
    var results: [WindowResult] = []
    while let next = queue.first, next.deadline <= horizon.value.closed {
      queue.removeFirst()
      guard isDue(next) else { continue }
      let key = states.key(of: next.slot)
      let (plan, horizon) = (plan, horizon.value)
      change(next.slot) { $0.close(key: key, plan: plan, horizon: horizon, &results) }
    }
    if settings.overflow == .closeEarly {
      while windows > settings.maximumWindows, closeNext(&results) { closedEarly += 1 }
    }
    results.sort(by: WindowResult.precedes)
    return results
  }

  /// Closes every window, whatever the watermark: before other settings take over.
  package mutating func drain() -> [WindowResult] {
    var results: [WindowResult] = []
    while closeNext(&results) {}
    results.sort(by: WindowResult.precedes)
    return results
  }

  /// The watermark was led ahead by a wrong clock and went back (``Watermark/Observation/returned``): windows after
  /// `watermark` are open again. Those that were closed meanwhile say that they are not complete.
  package mutating func goBack(to watermark: Int64) {
    guard watermark < horizon.value.closed else { return }
    horizon.value.partial = max(horizon.value.partial, horizon.value.closed)
    horizon.value.closed = watermark
  }

  /// Takes out the window that is due next.
  private mutating func closeNext(_ results: inout [WindowResult]) -> Bool {
    while let next = queue.first {
      queue.removeFirst()
      guard isDue(next) else { continue }
      let slot = least(next)
      let key = states.key(of: slot)
      let plan = plan
      let end = change(slot) { $0.closeNext(key: key, plan: plan, &results) }
      if let end { horizon.value.partial = max(horizon.value.partial, end) }
      return true
    }
    return false
  }

  /// Which window closes early must not depend on the queue's inside: of the keys with one deadline and one hash,
  /// which are hardly ever two, the one whose bytes come first. The others go back.
  private mutating func least(_ entry: DeadlineQueue.Entry) -> Int {
    var slots = [entry.slot]
    while let next = queue.first, next.deadline == entry.deadline, next.order == entry.order {
      queue.removeFirst()
      if isDue(next), !slots.contains(next.slot) { slots.append(next.slot) }
    }
    guard slots.count > 1 else { return entry.slot }
    slots.sort { states.key(of: $0).lexicographicallyPrecedes(states.key(of: $1)) }
    for slot in slots.dropFirst() { enqueue(entry.deadline, slot) }
    return slots[0]
  }

  /// Whether an entry that was taken from the queue is true. A key whose session went on meanwhile goes back under
  /// its new deadline.
  private mutating func isDue(_ entry: DeadlineQueue.Entry) -> Bool {
    guard states.isLive(entry.slot), states.read(entry.slot, { $0.queued }) == entry.deadline else { return false }
    let deadline = states.read(entry.slot) { $0.nextDeadline(plan) }
    if deadline == entry.deadline { return true }
    states.modifyUnstored(entry.slot) { $0.queued = deadline }
    enqueue(deadline, entry.slot)
    return false
  }

  /// Changes the windows of a key that was taken from the queue, and puts it back or forgets it.
  @discardableResult
  private mutating func change<Result>(_ slot: Int, _ body: (inout KeyWindows) -> Result) -> Result {
    let plan = plan
    let (result, before, after, deadline) = states.modify(slot) { state in
      let before = state.windows.count
      let result = body(&state)
      state.queued = state.nextDeadline(plan)
      return (result, before, state.windows.count, state.queued)
    }
    windows += after - before
    if after == 0 { states.remove(slot) } else { push(deadline, slot) }
    return result
  }

  private mutating func push(_ deadline: Int64, _ slot: Int) {
    // Entries out of date are passed over once they are due; more than there are keys are swept out before.
    if queue.count > 2 * states.count + 64 {
      queue.removeAll()
      for slot in states.sortedSlots { enqueue(states.read(slot) { $0.queued }, slot) }
    } else {
      enqueue(deadline, slot)
    }
  }

  private mutating func enqueue(_ deadline: Int64, _ slot: Int) {
    let order = states.key(of: slot).withUnsafeBytes(StableHash.hash)
    queue.push(DeadlineQueue.Entry(deadline: deadline, order: order, slot: slot))
  }

  // MARK: As of the checkpoint

  /// An open batch begins; see ``KeyedState``.
  package mutating func beginPending() {
    states.beginPending()
    horizon.beginPending()
  }

  /// The open batch is closed.
  package mutating func pendingDecided() {
    states.pendingDecided()
    horizon.pendingDecided()
  }

  /// What differs from the store as of the checkpoint, in the order of the rows' keys. Changes nothing.
  package func changes() -> [StateRow] {
    var rows = states.changes()
    if let horizon = horizon.change {
      var encoder = StateEncoder()
      encoder.put(WindowSet.version)
      let fingerprint = plan.fingerprint
      encoder.put(unsigned: UInt64(fingerprint.count))
      encoder.put(fingerprint)
      encoder.put(signed: horizon.closed)
      encoder.put(signed: horizon.partial)
      rows.append(StateRow(key: [2], value: encoder.bytes))
    }
    return rows
  }

  /// What ``changes()`` gave, since when nothing changed, is stored.
  package mutating func stored() {
    states.stored()
    horizon.stored()
  }

  /// State as it was stored under the same span and aggregates, in any order. Under others only how far windows are
  /// closed is taken over, and it must be all that there is: see ``drain()``.
  package init(restoring rows: [StateRow], settings: WindowSettings) throws(StateDamage) {
    self.init(settings: settings)
    guard !rows.isEmpty else { return }
    var others = rows
    guard let index = rows.firstIndex(where: { $0.key == [2] }), let bytes = rows[index].value else {
      throw StateDamage(.missing, row: rows.count)
    }
    others.remove(at: index)
    var decoder = StateDecoder(bytes)
    guard let version = decoder.byte() else { throw StateDamage(.content, row: index) }
    guard version == WindowSet.version else { throw StateDamage(.version(version), row: index) }
    guard let length = decoder.count(of: 1), let fingerprint = decoder.bytes(length), let closed = decoder.signed(),
      let partial = decoder.signed(), decoder.isAtEnd
    else { throw StateDamage(.content, row: index) }
    guard fingerprint == plan.fingerprint else {
      // Windows under other rules cannot be read, but where all were taken out their time is known.
      guard others.isEmpty else { throw StateDamage(.settings, row: index) }
      horizon = Checkpointed(WindowHorizon(closed: closed, partial: partial).takenOver(by: plan))
      return
    }
    horizon = Checkpointed(WindowHorizon(closed: closed, partial: partial), isStored: true)
    states = try KeyedState(restoring: others, limit: .max, policy: .refuseNew, layout: plan)
    for slot in states.sortedSlots {
      windows += states.read(slot) { $0.windows.count }
      enqueue(states.read(slot) { $0.queued }, slot)
    }
  }
}
