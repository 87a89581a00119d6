/// The columns of a pipeline's books that only ever grow. Each is committed in the same transaction as what it
/// counts.
package struct LedgerCounters: Sendable, Hashable {
  // Messages.
  /// On topics of other pipelines.
  package var unmatched: Int64 = 0
  /// Refused before there was a reading (dead letters of the stage `decode`).
  package var rejected: Int64 = 0
  package var decoded: Int64 = 0
  /// In log blocks that could no longer be read.
  package var damaged: Int64 = 0

  // Readings, where they come from.
  package var produced: Int64 = 0
  /// Results of windows.
  package var emitted: Int64 = 0
  package var requeued: Int64 = 0

  // Readings, what became of them.
  /// Met before within the time of `dedupe`.
  package var duplicate: Int64 = 0
  /// Refused behind the decoder (dead letters of its stages).
  package var refused: Int64 = 0
  /// Too late for their window, and dropped.
  package var late: Int64 = 0
  /// Not wanted by `where`.
  package var filtered: Int64 = 0
  /// Taken into windows.
  package var absorbed: Int64 = 0
  package var delivered: Int64 = 0
  /// Refused for good by the upstream (dead letters of the stage `upstream`).
  package var deadLetteredUpstream: Int64 = 0

  // Dead letters.
  /// Dead letters that a requeue turned into readings.
  package var recovered: Int64 = 0
  /// By an operator.
  package var discarded: Int64 = 0
  /// Deleted because they were too old, or there were too many bytes of them (``DeadLetterBounds``).
  package var expired: Int64 = 0

  package init() {}

  /// Counters of which some are set.
  package init(_ set: (inout LedgerCounters) -> Void) { set(&self) }

  package typealias Column = (name: String, path: any WritableKeyPath<LedgerCounters, Int64> & Sendable)

  /// Every column under its name in documents, in the order of the equations.
  package static let columns: [Column] = [
    ("unmatched", \.unmatched), ("rejected", \.rejected), ("decoded", \.decoded), ("damaged", \.damaged),
    ("produced", \.produced), ("emitted", \.emitted), ("requeued", \.requeued), ("duplicate", \.duplicate),
    ("refused", \.refused), ("late", \.late), ("filtered", \.filtered), ("absorbed", \.absorbed),
    ("delivered", \.delivered), ("deadLetteredUpstream", \.deadLetteredUpstream), ("recovered", \.recovered),
    ("discarded", \.discarded), ("expired", \.expired),
  ]

  package static func += (sum: inout LedgerCounters, next: LedgerCounters) {
    // Once for each message: the paths of `columns` would cost more than reading it.
    sum.unmatched += next.unmatched
    sum.rejected += next.rejected
    sum.decoded += next.decoded
    sum.damaged += next.damaged
    sum.produced += next.produced
    sum.emitted += next.emitted
    sum.requeued += next.requeued
    sum.duplicate += next.duplicate
    sum.refused += next.refused
    sum.late += next.late
    sum.filtered += next.filtered
    sum.absorbed += next.absorbed
    sum.delivered += next.delivered
    sum.deadLetteredUpstream += next.deadLetteredUpstream
    sum.recovered += next.recovered
    sum.discarded += next.discarded
    sum.expired += next.expired
  }

  /// Messages that the pipeline has passed.
  package var handled: Int64 { unmatched + rejected + decoded + damaged }
  /// Readings that ever were.
  package var readings: Int64 { produced + emitted + requeued }
  /// Readings that need not be delivered any more.
  package var settled: Int64 {
    duplicate + refused + late + filtered + absorbed + delivered + deadLetteredUpstream
  }
  /// Messages and readings that ever became dead letters.
  package var setAside: Int64 { rejected + refused + deadLetteredUpstream }
}
