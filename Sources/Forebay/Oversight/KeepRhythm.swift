/// When the history of the objectives and the alarms is written. Pure: time is passed in, in monotonic nanoseconds.
///
/// Every ten minutes, and within the first ten of a run whenever the run is twice as old as at the last time, so that a
/// daemon that is killed again and again loses no more than half of what it has seen. A change that people are told of
/// is written at once, while there is credit for it: flash wears out. The day has some 300 writings at most (144 of
/// the rhythm, 144 earned, ``mostCredit``), and those of the first ten minutes of each run.
struct KeepRhythm: Sendable {
  static let interval: Int64 = 600_000_000_000
  /// Between two writings of a run that is young.
  static let shortest: Int64 = 60_000_000_000
  /// Until the first writing where nothing is kept yet: the second look, for the first one may have seen no pipeline.
  static let first: Int64 = 10_000_000_000
  /// Writings out of turn that a run begins with, and that it can save up: one is earned in each ``interval``.
  static let firstCredit: Int64 = 5
  static let mostCredit: Int64 = 10

  private let started: Int64
  private var next: Int64
  private var isHurried = false
  private var credit = firstCredit
  private var earnedUntil: Int64

  /// - Parameter isYoung: nothing is kept yet.
  init(started: Int64, isYoung: Bool) {
    self.started = started
    earnedUntil = started
    next = started + (isYoung ? KeepRhythm.first : KeepRhythm.shortest)
  }

  /// Something has changed that is to be written soon.
  mutating func hurry() { isHurried = true }

  /// Whether it is to be written now: whoever asks does so then.
  mutating func isDue(now: Int64) -> Bool {
    let earned = max(0, now - earnedUntil) / KeepRhythm.interval
    earnedUntil += earned * KeepRhythm.interval
    credit = min(KeepRhythm.mostCredit, credit + earned)
    if now < next {
      guard isHurried, credit > 0 else { return false }
      credit -= 1
    }
    isHurried = false
    next = now + min(KeepRhythm.interval, max(KeepRhythm.shortest, now - started))
    return true
  }
}
