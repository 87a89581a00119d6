package import Telemetry

/// Puts right the receipt times of messages that came before the wall clock was synchronised (promise 6).
///
/// A gateway without a real-time clock boots with a wrong wall clock. Once a message of the same boot was
/// received with a synchronised clock, every other time of that boot is known:
/// wall = sync.wall − (sync.monotonic − message.monotonic). Until then messages whose event time is their receipt
/// time are held, for at most ``maximumHold``.
package struct ClockCorrection: Sendable {
  package enum Verdict: Sendable, Hashable {
    /// The wall clock of this boot is not known yet: ask again after ``learn(_:)`` or a tick.
    case hold
    /// The message was received at this time, in nanoseconds since 1970.
    case corrected(Int64)
    /// The receipt time stands: the clock was synchronised, or the wait is over and nothing better will come.
    case asIs
  }

  /// Boots that are remembered: messages of an earlier boot than the last few have long been read.
  private static let maximumBoots = 16

  private struct Known: Sendable, Equatable {
    var boot: BootID
    /// What the synchronised wall clock showed beyond the monotonic clock.
    var offset: Int64
  }

  /// Monotonic nanoseconds.
  package let maximumHold: Int64
  /// In the order in which they became known.
  private var known = Checkpointed<[Known]>([])

  package init(maximumHold: Int64) { self.maximumHold = max(0, maximumHold) }

  /// Takes the first synchronised moment of each boot; others change nothing.
  /// - Returns: whether a boot became known, so that held messages can go on.
  package mutating func learn(_ moment: Moment) -> Bool {
    guard moment.quality == .synchronised, !known.value.contains(where: { $0.boot == moment.boot }) else {
      return false
    }
    if known.value.count == ClockCorrection.maximumBoots { known.value.removeFirst() }
    known.value.append(Known(boot: moment.boot, offset: saturating(moment.wall, minus: moment.monotonic)))
    return true
  }

  /// What the receipt time of a message is worth.
  /// - Parameter now: the present: it ends the wait, at once where it is of another boot.
  package func verdict(for received: Moment, now: Moment) -> Verdict {
    if received.quality == .synchronised { return .asIs }
    if let boot = known.value.first(where: { $0.boot == received.boot }) {
      return .corrected(saturating(received.monotonic, plus: boot.offset))
    }
    guard now.boot == received.boot, saturating(now.monotonic, minus: received.monotonic) < maximumHold else {
      return .asIs
    }
    return .hold
  }

  // MARK: As of the checkpoint

  /// An open batch begins; see ``KeyedState``.
  package mutating func beginPending() { known.beginPending() }
  /// The open batch is closed.
  package mutating func pendingDecided() { known.pendingDecided() }
  /// What ``changes()`` gave, since when nothing changed, is stored.
  package mutating func stored() { known.stored() }

  private static let version: UInt8 = 1

  /// One row, or none where the store has it already.
  package func changes() -> [StateRow] {
    guard let known = known.change else { return [] }
    var encoder = StateEncoder()
    encoder.put(ClockCorrection.version)
    encoder.put(unsigned: UInt64(known.count))
    for boot in known {
      encoder.put(boot.boot)
      encoder.put(signed: boot.offset)
    }
    return [StateRow(key: [0], value: encoder.bytes)]
  }

  /// State as it was stored: one row, or none where it was never stored.
  package init(restoring rows: [StateRow], maximumHold: Int64) throws(StateDamage) {
    self.init(maximumHold: maximumHold)
    guard let row = rows.first else { return }
    guard rows.count == 1 else { throw StateDamage(.repeated, row: 1) }
    guard row.key == [0], let bytes = row.value else { throw StateDamage(.key, row: 0) }
    var decoder = StateDecoder(bytes)
    guard let version = decoder.byte() else { throw StateDamage(.content, row: 0) }
    guard version == ClockCorrection.version else { throw StateDamage(.version(version), row: 0) }
    guard let count = decoder.count(of: 17, atMost: ClockCorrection.maximumBoots) else {
      throw StateDamage(.content, row: 0)
    }
    var boots: [Known] = []
    for _ in 0..<count {
      guard let boot = decoder.boot(), let offset = decoder.signed(), !boots.contains(where: { $0.boot == boot })
      else { throw StateDamage(.content, row: 0) }
      boots.append(Known(boot: boot, offset: offset))
    }
    guard decoder.isAtEnd else { throw StateDamage(.content, row: 0) }
    known = Checkpointed(boots, isStored: true)
  }
}
