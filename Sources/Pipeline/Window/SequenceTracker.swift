package import Telemetry

/// What a device's sequence numbers have said so far.
package struct SequenceState: StateValue, Hashable {
  /// The highest number of the present run.
  package fileprivate(set) var last: Int64 = 0
  /// Bit n: the number n below `last` has come (the anti-replay window of RFC 4303, section 3.4.3).
  fileprivate var seen: UInt64 = 0
  /// Of the last repeat: it was the beginning of a new run if its successor follows.
  fileprivate var repeatedAt: Int64?

  /// Numbers that came, repeats included; 0 before the first.
  package fileprivate(set) var received: Int64 = 0
  /// Numbers that were left out and have not come later.
  package fileprivate(set) var missing: Int64 = 0
  package fileprivate(set) var repeats: Int64 = 0
  /// Times that the counting began anew.
  package fileprivate(set) var resets: Int64 = 0
  /// Numbers that came after a higher one.
  package fileprivate(set) var reordered: Int64 = 0

  package init() {}

  package func encode(to encoder: inout StateEncoder, layout: PlainLayout) {
    encoder.put(signed: last)
    encoder.put(unsigned: seen)
    encoder.put(repeatedAt == nil ? 0 : 1)
    if let repeatedAt { encoder.put(signed: repeatedAt) }
    for counter in [received, missing, repeats, resets, reordered] { encoder.put(unsigned: UInt64(counter)) }
  }

  package init?(from decoder: inout StateDecoder, layout: PlainLayout) {
    guard let last = decoder.signed(), let seen = decoder.unsigned(), let flag = decoder.byte(), flag <= 1 else {
      return nil
    }
    if flag == 1 {
      guard let value = decoder.signed() else { return nil }
      repeatedAt = value
    }
    guard let received = decoder.counter(), let missing = decoder.counter(), let repeats = decoder.counter(),
      let resets = decoder.counter(), let reordered = decoder.counter(), seen & 1 == 1 || received == 0
    else { return nil }
    (self.last, self.seen) = (last, seen)
    (self.received, self.missing, self.repeats) = (received, missing, repeats)
    (self.resets, self.reordered) = (resets, reordered)
  }
}

/// Counts, per device, the numbers that are missing from its sequence, and recognises when a device begins to
/// count anew.
///
/// A number ahead of the last leaves a gap; one up to 63 behind it fills a gap or is a repeat; one farther behind
/// begins a new run, as does one so far ahead that it is no loss. A device that restarts after fewer than 64
/// numbers repeats at first; its second repeat in a row that goes on by one is recognised as a new run. So a run
/// of redelivered messages would pass for a restart: dedupe stands before this in a pipeline.
package struct SequenceTracker: Sendable {
  /// What one number says.
  package enum Observation: Sendable, Hashable {
    case first
    case next
    /// So many numbers were left out before this one.
    case gap(Int64)
    /// It had been left out, and came after a higher one.
    case filled
    case repeated
    /// The device counts anew.
    case reset
    /// Not within `0..<modulus`: not counted at all.
    case outOfRange
    /// There are too many devices already.
    case refused
  }

  /// The anti-replay window, in numbers.
  private static let window: Int64 = 64

  /// Numbers go from 0 to one below it and then begin at 0 again; nil where they never do.
  package let modulus: Int64?
  /// More numbers left out in one place are no loss but another counting.
  package let maximumGap: Int64
  private var states: KeyedState<SequenceState>

  /// - Parameters:
  ///   - modulus: from 256, four times the window within which order is mended; nil for none.
  ///   - maximumGap: from 1.
  ///   - limit: devices at most. The one that was silent for longest goes.
  package init(modulus: Int64? = nil, maximumGap: Int64 = 100_000, limit: Int) {
    self.modulus = modulus.map { max(256, $0) }
    self.maximumGap = max(1, maximumGap)
    states = KeyedState(limit: limit, policy: .evictOldest, layout: PlainLayout())
  }

  /// Devices that were forgotten to make room, since this value was made.
  package var evicted: Int64 { states.evicted }
  package var count: Int { states.count }

  /// Every device with its counts, in the order of the keys' bytes.
  package var devices: [(key: [UInt8], state: SequenceState)] {
    states.sortedSlots.map { (states.key(of: $0), states.value(of: $0)) }
  }

  /// What is known of a device.
  package func state(of key: [UInt8]) -> SequenceState? { states.value(key) }

  /// Books the next number of a device.
  package mutating func observe(_ number: Int64, of key: UnsafeRawBufferPointer) -> Observation {
    if let modulus, !(0..<modulus).contains(number) { return .outOfRange }
    let (modulus, maximumGap) = (modulus, maximumGap)
    return states.update(key) {
      SequenceTracker.book(number, in: &$0, modulus: modulus, maximumGap: maximumGap)
    } ?? .refused
  }

  private static func book(
    _ number: Int64, in state: inout SequenceState, modulus: Int64?, maximumGap: Int64
  ) -> Observation {
    let isFirst = state.received == 0
    state.received = saturating(state.received, plus: 1)
    let repeated = state.repeatedAt
    state.repeatedAt = nil
    if isFirst {
      begin(number, &state)
      return .first
    }
    let step = step(from: state.last, to: number, modulus: modulus)
    if step > 0, step - 1 <= maximumGap {
      state.last = number
      state.seen = step < window ? state.seen << UInt64(step) | 1 : 1
      state.missing = saturating(state.missing, plus: step - 1)
      return step == 1 ? .next : .gap(step - 1)
    }
    if step <= 0, step > -window {
      let bit = UInt64(1) << UInt64(-step)
      if state.seen & bit == 0 {
        state.seen |= bit
        state.missing = max(0, state.missing - 1)
        state.reordered = saturating(state.reordered, plus: 1)
        return .filled
      }
      if step < 0, let repeated, self.step(from: repeated, to: number, modulus: modulus) == 1 {
        // The repeat before was no repeat but the first number of this run.
        state.repeats = max(0, state.repeats - 1)
        state.resets = saturating(state.resets, plus: 1)
        begin(number, &state)
        return .reset
      }
      state.repeats = saturating(state.repeats, plus: 1)
      state.repeatedAt = number
      return .repeated
    }
    state.resets = saturating(state.resets, plus: 1)
    begin(number, &state)
    return .reset
  }

  private static func begin(_ number: Int64, _ state: inout SequenceState) {
    state.last = number
    // What lies below the first number of a run was not left out by it.
    state.seen = .max
  }

  /// How far a number lies ahead; with a modulus a quarter of the way round at most, and behind otherwise.
  private static func step(from last: Int64, to number: Int64, modulus: Int64?) -> Int64 {
    guard let modulus else { return saturating(number, minus: last) }
    let plain = number - last
    // Ahead without going round is ahead however far; going round must be a small step to be told from a restart.
    if plain > 0 { return plain > modulus - window ? plain - modulus : plain }
    let round = plain + modulus
    return plain > -window || round > modulus / 4 ? plain : round
  }

  // MARK: As of the checkpoint

  /// An open batch begins; see ``KeyedState``.
  package mutating func beginPending() { states.beginPending() }
  /// The open batch is closed.
  package mutating func pendingDecided() { states.pendingDecided() }
  /// What differs from the store as of the checkpoint.
  package func changes() -> [StateRow] { states.changes() }
  /// What ``changes()`` gave, since when nothing changed, is stored.
  package mutating func stored() { states.stored() }

  /// State as it was stored, in any order.
  package init(
    restoring rows: [StateRow], modulus: Int64? = nil, maximumGap: Int64 = 100_000, limit: Int
  ) throws(StateDamage) {
    self.init(modulus: modulus, maximumGap: maximumGap, limit: limit)
    states = try KeyedState(restoring: rows, limit: limit, policy: .evictOldest, layout: PlainLayout())
    // With damaged numbers the arithmetic of a modulus could overflow.
    guard let modulus = self.modulus else { return }
    for slot in states.sortedSlots {
      let state = states.value(of: slot)
      guard (0..<modulus).contains(state.last), (0..<modulus).contains(state.repeatedAt ?? 0) else {
        throw StateDamage(.settings, row: rows.count)
      }
    }
  }
}
