/// Where the counters of one pipeline stood when they were last looked at. What is counted since then is new, whoever
/// looks next: the same process, or the one after it (``KeptStatus``).
package struct PipelineMark: Sendable, Hashable {
  /// Numbers of devices, of a pipeline with `sequence`.
  package struct Numbers: Sendable, Hashable {
    /// Left out and not come later.
    package var missing: Int64
    /// Readings.
    package var produced: Int64

    package init(missing: Int64, produced: Int64) {
      self.missing = missing
      self.produced = produced
    }
  }

  /// ``ObjectiveName/delivery``
  package var delivery: EventCount
  /// ``ObjectiveName/errors``
  package var errors: EventCount
  /// Dead letters that there ever were.
  package var letters: Int64
  /// Nil: it has none, or they were never seen.
  package var numbers: Numbers?

  package init(delivery: EventCount, errors: EventCount, letters: Int64, numbers: Numbers? = nil) {
    self.delivery = delivery
    self.errors = errors
    self.letters = letters
    self.numbers = numbers
  }
}

extension EventCount {
  /// What came since `before`; nothing where a number went back, and so began anew.
  package func since(_ before: EventCount) -> EventCount {
    guard good >= before.good, bad >= before.bad else { return EventCount() }
    return EventCount(good: good - before.good, bad: bad - before.bad)
  }
}
