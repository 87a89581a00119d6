/// Up to where the windows of a pipeline are closed and gone.
package struct ClosedWindows: Sendable, Hashable, Codable {
  /// Windows that end by this time are, and readings for them are late. Nanoseconds since 1970.
  package var through: Int64
  /// Later windows that end by this time may be, too: one of its time that is opened may not get all its readings.
  package var partial: Int64

  package init(through: Int64, partial: Int64) {
    self.through = through
    self.partial = partial
  }
}

/// From where on a pipeline with windows would have to read again if what its windows hold were lost. It may lag, which
/// is safe: more is read again, nothing is left out.
package struct WindowMark: Sendable, Hashable {
  /// No window that is in memory has a reading before this offset, and no later one will.
  package var from: Offset
  /// Those that were closed before and are not needed again; nil where none has been closed.
  package var closed: ClosedWindows?

  package init(from: Offset, closed: ClosedWindows?) {
    self.from = from
    self.closed = closed
  }
}

/// How far a pipeline has read, and the state that goes with it.
package struct PipelineState: Sendable, Hashable {
  package var gateway: String
  package var epoch: Epoch
  /// The sequence that the next batch gets.
  package var nextSequence: Int64
  /// The digest of the batch before; ``Digest/zero`` before the first.
  package var previousDigest: Digest
  /// The log that the offsets belong to.
  package var log: LogID
  /// The next offset to read.
  package var checkpoint: Offset
  /// Batches that begin below this offset, and results of windows that were open there, may have been delivered under
  /// another identity; nil when there is no doubt.
  package var possibleDuplicateUntil: Offset?
  /// The replay that this is the state of; nil for a pipeline's own.
  package var replay: ReplayID?
  /// Nil for a pipeline without windows, and before the first seal of one with them.
  package var windows: WindowMark?

  package init(
    gateway: String, epoch: Epoch, nextSequence: Int64, previousDigest: Digest, log: LogID,
    checkpoint: Offset, possibleDuplicateUntil: Offset? = nil, replay: ReplayID? = nil, windows: WindowMark? = nil
  ) {
    self.gateway = gateway
    self.epoch = epoch
    self.nextSequence = nextSequence
    self.previousDigest = previousDigest
    self.log = log
    self.checkpoint = checkpoint
    self.possibleDuplicateUntil = possibleDuplicateUntil
    self.replay = replay
    self.windows = windows
  }
}

extension PipelineState {
  /// Whether what is made from here on may be made of messages before an offset: those that are still to be read, or
  /// that windows hold.
  package func reaches(before offset: Offset) -> Bool {
    min(checkpoint, windows?.from ?? checkpoint) < offset
  }
}

/// A rejection as it is kept, with its permanent number.
package struct DeadLetter: Sendable, Hashable, Identifiable {
  package var id: Int64
  package var rejection: Rejection

  package init(id: Int64, rejection: Rejection) {
    self.id = id
    self.rejection = rejection
  }
}

/// What a pipeline commits in one transaction: everything decided up to the last batch boundary.
/// The counters are what has been added since the seal before.
@dynamicMemberLookup
package struct Seal: Sendable, Hashable {
  /// In the order of their sequences.
  package var batches: [Batch]
  /// New dead letters, in the order of the log.
  package var rejections: [Rejection]
  package var counters: LedgerCounters
  /// Dead letters whose readings are in `batches`.
  package var resolvedDeadLetters: [Int64]
  /// Dead letters that were run again and refused again, with the new reason. They remain dead
  /// letters and change no column.
  package var refusedAgain: [DeadLetter]
  /// What has changed of that which the stages remember, as of the checkpoint.
  package var stages: [StageState]
  package var state: PipelineState
  /// When the messages of each batch were received, in the order of `batches`, for traces; not stored.
  package var receipts: [BatchReceipts] = []

  package init(
    batches: [Batch] = [], rejections: [Rejection] = [], counters: LedgerCounters = LedgerCounters(),
    resolvedDeadLetters: [Int64] = [], refusedAgain: [DeadLetter] = [], stages: [StageState] = [],
    state: PipelineState
  ) {
    self.batches = batches
    self.rejections = rejections
    self.counters = counters
    self.resolvedDeadLetters = resolvedDeadLetters
    self.refusedAgain = refusedAgain
    self.stages = stages
    self.state = state
  }

  package subscript(dynamicMember path: WritableKeyPath<LedgerCounters, Int64>) -> Int64 {
    get { counters[keyPath: path] }
    set { counters[keyPath: path] = newValue }
  }
}
