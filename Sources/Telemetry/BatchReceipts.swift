/// When the messages of a batch were received, beside what the batch itself says: for figures and traces only.
package struct BatchReceipts: Sendable, Hashable {
  /// Traces that a batch links to at most: a batch of thousands of traced messages stays readable.
  package static let maximumLinks = 8

  /// Of its first and its last message from the log; nil where it has none, or while they are not known.
  package var first: Moment?
  package var last: Moment?
  /// What messages of it said of the traces that they are in, in the order of the log.
  package var links: [TraceContext] = []

  package init() {}

  /// How old the first and the last message were at `now`; nil where that cannot be known.
  package func ages(at now: Moment) -> Batch.Ages? {
    guard let first = first.flatMap(now.elapsed), let last = last.flatMap(now.elapsed) else { return nil }
    return Batch.Ages(first: first, last: last)
  }
}

extension Moment {
  /// Nanoseconds since an earlier moment, at least 0: by the monotonic clock within one boot, by the wall clock where
  /// both of its readings are worth something; nil otherwise.
  package func elapsed(since earlier: Moment) -> Int64? {
    if boot == earlier.boot { return max(0, monotonic - earlier.monotonic) }
    guard quality == .synchronised, earlier.quality == .synchronised else { return nil }
    return max(0, wall - earlier.wall)
  }
}
