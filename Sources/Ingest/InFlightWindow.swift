/// How many unacknowledged QoS 1 messages a broker has on the way to us at most, as far as its
/// behaviour shows. Pure; instants are nanoseconds of one monotonic clock.
///
/// MQTT 5 gives an upper bound, our receive-maximum; a broker may keep to less, and says so neither
/// there nor in MQTT 3.1.1. What shows it: a broker sent n messages and fell silent, and the next one
/// came at once when the acknowledgements had left. Then n is its window.
package struct InFlightWindow: Sendable {
  /// How soon after the acknowledgements the next message must come, and how long a socket must be dry
  /// to count as silent.
  package static let patience: Int64 = 5_000_000
  /// Every so many groups that ended by the window, silence must last `probePatience`, so that a window
  /// that was taken too small (and would cost an fsync for every few messages) has a chance to rise.
  package static let probeEvery = 32
  package static let probePatience: Int64 = 25_000_000
  /// After so many groups in a row that ended by the window and were not followed at once by a message,
  /// the window is forgotten.
  package static let missesToForget = 8

  /// What a committed group says about the window.
  package enum Evidence: Sendable, Hashable {
    case none
    /// The group ended by linger, and the broker had been silent for a good part of it.
    case lingered
    /// The group ended by the window.
    case window
  }

  package enum Standing: Sendable, Hashable {
    /// The broker may send more.
    case open
    /// The learned window is reached: silence for `patience` confirms it.
    case probablyFull(patience: Int64)
    /// The receive-maximum is reached, beyond which MQTT 5 forbids the broker to send.
    case certainlyFull
  }

  /// The receive-maximum: the window is never taken to be more.
  package let ceiling: Int
  /// Whether the broker is bound by the ceiling (MQTT 5.0, section 3.1.2.11.3).
  package let isBound: Bool
  /// Nil until learned.
  package private(set) var learned: Int?

  private var pending: (count: Int, at: Int64, evidence: Evidence)?
  private var windowEnds = 0
  private var misses = 0

  package init(ceiling: Int, isBound: Bool) {
    self.ceiling = max(1, ceiling)
    self.isBound = isBound
  }

  package func standing(unacknowledged: Int) -> Standing {
    if isBound, unacknowledged >= ceiling { return .certainlyFull }
    guard let learned, unacknowledged >= learned else { return .open }
    let probes = windowEnds % Self.probeEvery == Self.probeEvery - 1
    return .probablyFull(patience: probes ? Self.probePatience : Self.patience)
  }

  /// A QoS 1 message arrived; `unacknowledged` counts it.
  package mutating func arrived(unacknowledged: Int, at now: Int64) {
    if let pending {
      let followedAtOnce = now - pending.at <= Self.patience
      switch (pending.evidence, followedAtOnce) {
      case (.lingered, true):
        learned = min(pending.count, ceiling)
        misses = 0
      case (.window, true):
        misses = 0
      case (.window, false):
        misses += 1
        if misses >= Self.missesToForget {
          learned = nil
          misses = 0
        }
      default: break
      }
      self.pending = nil
    }
    if let learned, unacknowledged > learned { self.learned = min(unacknowledged, ceiling) }
  }

  /// The acknowledgements of `count` messages have left.
  package mutating func acknowledged(_ count: Int, at now: Int64, evidence: Evidence) {
    if evidence == .window { windowEnds += 1 }
    pending = evidence == .none ? nil : (count, now, evidence)
  }
}
