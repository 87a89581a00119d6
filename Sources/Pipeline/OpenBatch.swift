internal import Telemetry

/// What happened to a stretch of the log. Added up per stretch, because a seal may only count what its
/// checkpoint has passed: a crash would count the rest twice.
struct Tally: Sendable {
  var counters = LedgerCounters()
  var rejections: [Rejection] = []
  /// About what `rejections` hold in memory.
  var rejectedBytes = 0
  var resolved: [Int64] = []

  mutating func add(_ rejection: Rejection) {
    if rejection.stage == .decode { counters.rejected += 1 } else { counters.refused += 1 }
    rejectedBytes += rejection.payload.count + rejection.origin.topic.utf8.count + 256
    rejections.append(rejection)
  }

  static func += (sum: inout Tally, next: Tally) {
    sum.counters += next.counters
    // Nearly always empty, and this is done for every message.
    if !next.rejections.isEmpty {
      sum.rejections += next.rejections
      sum.rejectedBytes += next.rejectedBytes
    }
    if !next.resolved.isEmpty { sum.resolved += next.resolved }
  }
}

/// The batch that is being filled; its lines are in the core's ``LineBuffer``.
struct OpenBatch: Sendable {
  /// The checkpoint stays here until the batch is sealed.
  let start: Offset
  /// Monotonic nanoseconds at which its age closes it.
  let deadline: Int64
  /// Of its first and last reading from the log; nil while it holds only requeued ones.
  var first: Offset?
  var last: Offset?
  var count = 0
  var receipts = BatchReceipts()
}

/// A batch that is full, with its body as it was encoded.
struct ClosedBatch: Sendable {
  var log: LogID
  var first: Offset
  var last: Offset
  var count: Int
  var body: [UInt8]
  var windows: WindowMark?
  var sealed: Moment
  /// Nil where none of its readings is from the log.
  var receipts: BatchReceipts?

  /// The first offset that its lines may be made of: results of windows are made of readings that came before it.
  var reach: Offset { min(first, windows?.from ?? first) }
}
