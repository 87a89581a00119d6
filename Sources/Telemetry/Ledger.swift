/// The books of one pipeline (promise 3), in units of messages and of readings.
///
/// Its counters are committed in the same transaction as what they count. ``waiting``, ``inOutbox`` and
/// ``deadLetters`` are counted from the rows, and ``received`` comes from a counter in the other database:
/// nothing here is found by subtraction, so the check can fail.
@dynamicMemberLookup
package struct Ledger: Sendable, Hashable {
  package var counters: LedgerCounters
  /// Messages that the log took since the pipeline began.
  package var received: Int64 = 0
  /// Messages in the log, not yet passed by the pipeline.
  package var waiting: Int64 = 0
  /// Readings in sealed batches that are not delivered yet.
  package var inOutbox: Int64 = 0
  /// Dead letters that are kept.
  package var deadLetters: Int64 = 0

  package init(_ counters: LedgerCounters = LedgerCounters()) { self.counters = counters }

  package subscript(dynamicMember path: WritableKeyPath<LedgerCounters, Int64>) -> Int64 {
    get { counters[keyPath: path] }
    set { counters[keyPath: path] = newValue }
  }

  package struct Equation: Sendable, Hashable {
    package var name: String
    package var left: Int64
    package var right: Int64
    package var difference: Int64 { left - right }
    package var balances: Bool { left == right }
  }

  /// received = unmatched + rejected + decoded + damaged + waiting
  package var messages: Equation {
    Equation(name: "messages", left: received, right: counters.handled + waiting)
  }

  /// produced + emitted + requeued = duplicate + refused + late + filtered + absorbed + in the outbox + delivered
  /// + dead-lettered upstream
  package var readings: Equation {
    Equation(name: "readings", left: counters.readings, right: counters.settled + inOutbox)
  }

  /// rejected + refused + dead-lettered upstream = dead letters + recovered + discarded + expired
  package var setAside: Equation {
    Equation(
      name: "dead letters", left: counters.setAside,
      right: deadLetters + counters.recovered + counters.discarded + counters.expired)
  }

  package var equations: [Equation] { [messages, readings, setAside] }
  package var balances: Bool { equations.allSatisfy(\.balances) }
}
