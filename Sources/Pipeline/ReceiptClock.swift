internal import Telemetry

/// When messages were received, put right where the wall clock was wrong: ``ClockCorrection`` for a pipeline whose
/// event time is the receipt.
struct ReceiptClock: Sendable {
  private let hold: Int64
  private var correction: ClockCorrection
  /// The boot of the last message that came before its wall clock was synchronised: it is worth learning about.
  private var doubtful: BootID?
  /// Until when the next message is held, in monotonic nanoseconds; nil where none is.
  private(set) var heldUntil: Int64?

  /// - Parameter hold: nanoseconds that a message waits at most for the clock to be synchronised.
  init(hold: Int64, stored: [StageState]) throws(StageDamage) {
    self.hold = hold
    do throws(StateDamage) {
      correction = try ClockCorrection(restoring: stored.rows(of: .clock), maximumHold: hold)
    } catch { throw StageDamage(stage: .clock, damage: error) }
  }

  /// A message's moment of receipt as it is known now; nil where the message has to wait.
  mutating func receipt(_ moment: Moment, now: Moment) -> Moment? {
    heldUntil = nil
    guard moment.quality == .unsynchronised else {
      if doubtful == moment.boot { _ = correction.learn(moment) }
      return moment
    }
    doubtful = moment.boot
    if now.boot == moment.boot { _ = correction.learn(now) }
    switch correction.verdict(for: moment, now: now) {
    case .hold:
      heldUntil = saturating(moment.monotonic, plus: hold)
      return nil
    case .asIs: return moment
    case .corrected(let wall): return corrected(moment, wall)
    }
  }

  /// The same of a message that has waited long enough: a dead letter that is put back.
  func pastReceipt(_ moment: Moment, now: Moment) -> Moment {
    guard case .corrected(let wall) = correction.verdict(for: moment, now: now) else { return moment }
    return corrected(moment, wall)
  }

  private func corrected(_ moment: Moment, _ wall: Int64) -> Moment {
    Moment(boot: moment.boot, monotonic: moment.monotonic, wall: wall, quality: .synchronised)
  }

  mutating func beginPending() { correction.beginPending() }
  mutating func pendingDecided() { correction.pendingDecided() }
  mutating func stored() { correction.stored() }
  func changes() -> StageState { StageState(stage: .clock, rows: correction.changes()) }
}
