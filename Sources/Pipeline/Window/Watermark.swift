package import Telemetry

/// How far event time has come in a pipeline: no reading older than this is expected any more.
///
/// It is the highest event time less the allowed lateness, and goes forward only. Two things keep a wrong clock
/// from spoiling it:
/// - while the gateway's clock is synchronised, an event more than ``Settings/maximumAhead`` beyond the present
///   does not move it. The present is the wall clock, but a step of the wall clock that the monotonic clock does
///   not confirm is believed only once it has lasted for ``confirmation``;
/// - once the present is known to lie more than ``Settings/maximumAhead`` behind it, it goes back to the present
///   less the allowed lateness. That is the only way back, and is reported.
///
/// A gateway whose clock is not synchronised, and was not in this boot, cannot judge: there every event moves it.
package struct Watermark: Sendable {
  package struct Settings: Sendable, Hashable {
    /// How much older than the newest event an event may be. Nanoseconds, from 0.
    package var allowedLateness: Int64
    /// How far beyond the present an event may lie. Nanoseconds, from 0.
    package var maximumAhead: Int64
    /// Without an event for this long, the watermark follows the present at this distance and that of the allowed
    /// lateness; where the present is not known, it goes on from the last event as time does. Nanoseconds, from 0; nil
    /// where it waits for events.
    package var idleAfter: Int64?

    package init(allowedLateness: Int64, maximumAhead: Int64 = 3_600_000_000_000, idleAfter: Int64? = nil) {
      self.allowedLateness = max(0, allowedLateness)
      self.maximumAhead = max(0, maximumAhead)
      self.idleAfter = idleAfter.map { max(0, $0) }
    }
  }

  /// What an event did.
  package enum Observation: Sendable, Hashable {
    /// The watermark is at the event's time less the allowed lateness.
    case moved
    /// The event is not the newest.
    case unmoved
    /// The event lies so many nanoseconds beyond the present, which is more than it may. It must not be put into
    /// a window, which would stay open for as long.
    case tooFarAhead(by: Int64)
    /// The watermark had been led too far ahead by a wrong clock and went back.
    case returned
  }

  /// How long a step of the wall clock has to last until it is believed: ten minutes, longer than a time daemon
  /// takes to take back a mistake.
  package static let confirmation: Int64 = 600_000_000_000

  private struct State: Sendable, Equatable {
    var value: Int64?
    /// The value after the last event.
    var afterEvent: Int64 = 0
    /// When the last event came: boot and monotonic time.
    var boot: BootID?
    var active: Int64 = 0
    var present = Present()
  }

  package let settings: Settings
  private var state = Checkpointed(State())

  package init(settings: Settings) { self.settings = settings }

  /// Nanoseconds since 1970; nil before the first event.
  package var value: Int64? { state.value.value }

  /// Where ``observe(_:received:)`` would put it, apart from a return. Changes nothing.
  package func value(observing time: Int64) -> Int64 {
    max(value ?? .min, saturating(time, minus: settings.allowedLateness))
  }

  /// Books an event.
  /// - Parameters:
  ///   - time: of the event, in nanoseconds since 1970.
  ///   - received: when its message was received.
  package mutating func observe(_ time: Int64, received: Moment) -> Observation {
    let present = state.value.present.observe(received, tolerance: settings.maximumAhead)
    state.value.boot = received.boot
    state.value.active = received.monotonic
    let hasReturned = goBack(present)
    if let present, saturating(time, minus: present) > settings.maximumAhead {
      return .tooFarAhead(by: saturating(time, minus: present))
    }
    let candidate = saturating(time, minus: settings.allowedLateness)
    let moves = value.map { candidate > $0 } ?? true
    if moves { state.value.value = candidate }
    state.value.afterEvent = state.value.value ?? candidate
    return hasReturned ? .returned : moves ? .moved : .unmoved
  }

  /// Time has come to `now`: without events it moves the watermark, where the settings say so.
  /// - Returns: whether it moved.
  package mutating func tick(_ now: Moment) -> Bool {
    guard let idleAfter = settings.idleAfter, let value else { return false }
    let present = state.value.present.observe(now, tolerance: settings.maximumAhead)
    guard state.value.boot == now.boot else {
      // The time since the last event is not known across boots: it counts from the first tick.
      state.value.boot = now.boot
      state.value.active = now.monotonic
      state.value.afterEvent = value
      return false
    }
    let silence = saturating(now.monotonic, minus: state.value.active)
    guard silence >= idleAfter else { return false }
    // Where the present is not known, event time goes on from the last event as time does.
    let candidate =
      present.map { saturating(saturating($0, minus: idleAfter), minus: settings.allowedLateness) }
      ?? saturating(state.value.afterEvent, plus: saturating(silence, minus: idleAfter))
    guard candidate > value else { return false }
    state.value.value = candidate
    return true
  }

  private mutating func goBack(_ present: Int64?) -> Bool {
    guard let present, let value, saturating(value, minus: present) > settings.maximumAhead else { return false }
    state.value.value = saturating(present, minus: settings.allowedLateness)
    return true
  }

  // MARK: As of the checkpoint

  /// An open batch begins; see ``KeyedState``.
  package mutating func beginPending() { state.beginPending() }
  /// The open batch is closed.
  package mutating func pendingDecided() { state.pendingDecided() }
  /// What ``changes()`` gave, since when nothing changed, is stored.
  package mutating func stored() { state.stored() }

  /// One row, or none where the store has it already.
  package func changes() -> [StateRow] {
    guard let state = state.change else { return [] }
    var encoder = StateEncoder()
    encoder.put(Watermark.version)
    encoder.put(state.value == nil ? 0 : 1)
    if let value = state.value { encoder.put(signed: value) }
    encoder.put(state.boot == nil ? 0 : 1)
    if let boot = state.boot {
      encoder.put(boot)
      encoder.put(signed: state.active)
      encoder.put(signed: state.afterEvent)
    }
    state.present.encode(to: &encoder)
    return [StateRow(key: [0], value: encoder.bytes)]
  }

  private static let version: UInt8 = 1

  /// State as it was stored: one row, or none where it was never stored.
  package init(restoring rows: [StateRow], settings: Settings) throws(StateDamage) {
    self.init(settings: settings)
    guard let row = rows.first else { return }
    guard rows.count == 1 else { throw StateDamage(.repeated, row: 1) }
    guard row.key == [0], let bytes = row.value else { throw StateDamage(.key, row: 0) }
    var decoder = StateDecoder(bytes)
    guard let version = decoder.byte() else { throw StateDamage(.content, row: 0) }
    guard version == Watermark.version else { throw StateDamage(.version(version), row: 0) }
    guard let restored = Watermark.decode(&decoder), decoder.isAtEnd else { throw StateDamage(.content, row: 0) }
    state = Checkpointed(restored, isStored: true)
  }

  private static func decode(_ decoder: inout StateDecoder) -> State? {
    var state = State()
    guard let hasValue = decoder.flag() else { return nil }
    if hasValue {
      guard let value = decoder.signed() else { return nil }
      state.value = value
    }
    guard let hasBoot = decoder.flag() else { return nil }
    if hasBoot {
      guard let boot = decoder.boot(), let active = decoder.signed(), let afterEvent = decoder.signed() else {
        return nil
      }
      state.boot = boot
      state.afterEvent = afterEvent
      state.active = active
    }
    guard let present = Present(from: &decoder) else { return nil }
    state.present = present
    return state
  }
}

/// The present as far as it is known: the wall clock, checked against the monotonic clock.
private struct Present: Sendable, Equatable {
  /// A wall clock that was synchronised: what it shows beyond the monotonic clock of the boot.
  struct Base: Sendable, Equatable {
    var boot: BootID
    var offset: Int64
  }

  var base: Base?
  /// A step of the wall clock that is not believed yet, and since when, in monotonic nanoseconds.
  var step: (offset: Int64, since: Int64)?

  static func == (a: Present, b: Present) -> Bool {
    a.base == b.base && a.step?.offset == b.step?.offset && a.step?.since == b.step?.since
  }

  /// - Parameter tolerance: a smaller step is followed at once, in nanoseconds.
  /// - Returns: the present in nanoseconds since 1970; nil where it is not known.
  mutating func observe(_ moment: Moment, tolerance: Int64) -> Int64? {
    if moment.quality == .synchronised {
      let offset = saturating(moment.wall, minus: moment.monotonic)
      if let base, base.boot == moment.boot, Present.differ(offset, base.offset, tolerance) {
        if let step, !Present.differ(offset, step.offset, tolerance) {
          if saturating(moment.monotonic, minus: step.since) >= Watermark.confirmation { believe(offset, moment) }
        } else {
          step = (offset, moment.monotonic)
        }
      } else {
        believe(offset, moment)
      }
    }
    guard let base, base.boot == moment.boot else { return nil }
    return saturating(moment.monotonic, plus: base.offset)
  }

  private mutating func believe(_ offset: Int64, _ moment: Moment) {
    // A clock that is slewed differs by little from moment to moment; that is no news worth a row.
    if let base, base.boot == moment.boot, !Present.differ(offset, base.offset, Present.resolution) {
      step = nil
      return
    }
    base = Base(boot: moment.boot, offset: offset)
    step = nil
  }

  /// One second: how closely the present is followed.
  private static let resolution: Int64 = 1_000_000_000

  private static func differ(_ a: Int64, _ b: Int64, _ tolerance: Int64) -> Bool {
    let difference = saturating(a, minus: b)
    return difference > tolerance || difference < -tolerance
  }

  init() {}

  func encode(to encoder: inout StateEncoder) {
    encoder.put(base == nil ? 0 : 1)
    if let base {
      encoder.put(base.boot)
      encoder.put(signed: base.offset)
    }
    encoder.put(step == nil ? 0 : 1)
    if let step {
      encoder.put(signed: step.offset)
      encoder.put(signed: step.since)
    }
  }

  init?(from decoder: inout StateDecoder) {
    guard let hasBase = decoder.flag() else { return nil }
    if hasBase {
      guard let boot = decoder.boot(), let offset = decoder.signed() else { return nil }
      base = Base(boot: boot, offset: offset)
    }
    guard let hasStep = decoder.flag() else { return nil }
    if hasStep {
      guard let offset = decoder.signed(), let since = decoder.signed() else { return nil }
      step = (offset, since)
    }
  }
}

extension StateEncoder {
  /// 16 bytes.
  mutating func put(_ boot: BootID) {
    put(fixed: boot.high)
    put(fixed: boot.low)
  }
}

extension StateDecoder {
  mutating func boot() -> BootID? {
    guard let high = fixed(), let low = fixed() else { return nil }
    return BootID(high: high, low: low)
  }

  /// 0 or 1.
  mutating func flag() -> Bool? {
    guard let byte = byte(), byte <= 1 else { return nil }
    return byte == 1
  }
}
