package import Telemetry

/// Where a pipeline stands: what is stored with every seal, and what it starts from again.
package struct PipelineState: Sendable, Hashable {
  /// The gateway's name, the first part of every batch's identity.
  package var gateway: String
  package var epoch: Epoch
  /// Of the next batch, from 1.
  package var nextSequence: Int64
  /// Of the batch before the next; ``Digest/zero`` for the first.
  package var previousDigest: Digest
  /// The log that ``checkpoint`` belongs to.
  package var log: LogID
  /// The next offset to read.
  package var checkpoint: Offset
  /// Batches that begin below this offset are marked as possible duplicates (after the state database
  /// was rebuilt); nil once the checkpoint has passed it.
  package var possibleDuplicateUntil: Offset?

  package init(
    gateway: String, epoch: Epoch, nextSequence: Int64 = 1, previousDigest: Digest = .zero,
    log: LogID, checkpoint: Offset, possibleDuplicateUntil: Offset? = nil
  ) {
    self.gateway = gateway
    self.epoch = epoch
    self.nextSequence = nextSequence
    self.previousDigest = previousDigest
    self.log = log
    self.checkpoint = checkpoint
    self.possibleDuplicateUntil = possibleDuplicateUntil
  }
}

/// A rejection under the number that it is stored by.
package struct DeadLetter: Sendable, Hashable, Identifiable {
  package var id: Int64
  package var rejection: Rejection

  package init(id: Int64, rejection: Rejection) {
    self.id = id
    self.rejection = rejection
  }
}

/// Everything that a pipeline has decided since the seal before: stored in one transaction, or not at
/// all (promise 2).
package struct Seal: Sendable, Hashable {
  /// In the order of their sequences.
  package var batches: [Batch]
  /// New dead letters, in the order of the log.
  package var rejections: [Rejection]

  // What the seal adds to the columns of the ledger.
  package var unmatched: Int64
  package var decoded: Int64
  package var rejected: Int64
  package var damaged: Int64
  package var produced: Int64
  package var requeued: Int64

  /// Dead letters that have become readings of ``batches``.
  package var resolvedDeadLetters: [Int64]
  /// Dead letters that were put back and refused once more, with the new reason. They remain dead
  /// letters and change no column.
  package var refusedAgain: [DeadLetter]
  /// Where the pipeline stands once this is stored.
  package var state: PipelineState
}

/// What happened to a stretch of the log. Added up per stretch, because a seal may only count what its
/// checkpoint has passed: a crash would count the rest twice.
struct Tally: Sendable {
  var unmatched: Int64 = 0
  var decoded: Int64 = 0
  var damaged: Int64 = 0
  var requeued: Int64 = 0
  var rejections: [Rejection] = []
  /// About what `rejections` hold in memory.
  var rejectedBytes = 0
  var resolved: [Int64] = []

  mutating func add(_ rejection: Rejection) {
    rejectedBytes += rejection.payload.count + 256
    rejections.append(rejection)
  }

  static func += (sum: inout Tally, next: Tally) {
    sum.unmatched += next.unmatched
    sum.decoded += next.decoded
    sum.damaged += next.damaged
    sum.requeued += next.requeued
    sum.rejections += next.rejections
    sum.rejectedBytes += next.rejectedBytes
    sum.resolved += next.resolved
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
}

/// A batch that is full, with its body as it was encoded.
struct ClosedBatch: Sendable {
  var log: LogID
  var first: Offset
  var last: Offset
  var count: Int
  var body: [UInt8]
  var sealed: Moment
}
