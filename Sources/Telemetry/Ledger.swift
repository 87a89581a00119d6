/// The books of one pipeline (promise 3), in units of messages and of readings.
///
/// Every column but ``waiting`` and ``inOutbox`` is a counter that is committed in the same
/// transaction as what it counts. Those two are counted from the rows, and `received` comes from a
/// counter in the other database: nothing here is found by subtraction, so the check can fail.
package struct Ledger: Sendable, Hashable {
  // Messages.
  /// Messages that the log took since the pipeline began.
  package var received: Int64 = 0
  /// On topics of other pipelines.
  package var unmatched: Int64 = 0
  /// Refused before there was a reading (dead letters of the stage `decode`).
  package var rejected: Int64 = 0
  package var decoded: Int64 = 0
  /// In log blocks that could no longer be read.
  package var damaged: Int64 = 0
  /// In the log, not yet passed by the pipeline.
  package var waiting: Int64 = 0

  // Readings.
  package var produced: Int64 = 0
  package var requeued: Int64 = 0
  package var inOutbox: Int64 = 0
  package var delivered: Int64 = 0
  /// Refused for good by the upstream (dead letters of the stage `upstream`).
  package var deadLetteredUpstream: Int64 = 0

  // Dead letters.
  package var discarded: Int64 = 0
  /// Dead letters that a requeue turned into readings.
  package var recovered: Int64 = 0
  package var deadLetters: Int64 = 0

  package init() {}

  package struct Equation: Sendable, Hashable {
    package var name: String
    package var left: Int64
    package var right: Int64
    package var difference: Int64 { left - right }
    package var balances: Bool { left == right }
  }

  /// received = unmatched + rejected + decoded + damaged + waiting
  package var messages: Equation {
    Equation(
      name: "messages", left: received,
      right: unmatched + rejected + decoded + damaged + waiting)
  }

  /// produced + requeued = in the outbox + delivered + dead-lettered upstream
  package var readings: Equation {
    Equation(
      name: "readings", left: produced + requeued,
      right: inOutbox + delivered + deadLetteredUpstream)
  }

  /// rejected + dead-lettered upstream = dead letters + recovered + discarded
  package var setAside: Equation {
    Equation(
      name: "dead letters", left: rejected + deadLetteredUpstream,
      right: deadLetters + recovered + discarded)
  }

  package var equations: [Equation] { [messages, readings, setAside] }
  package var balances: Bool { equations.allSatisfy(\.balances) }
}
