internal import Delivery
internal import Synchronization
internal import Telemetry

/// Notes which batches were delivered and how long that took: what is noted costs nothing but a little memory while
/// data flows.
final class DeliveryTally: Sendable {
  struct Delivered: Sendable, Hashable {
    var pipeline: String
    var readings: Int
    var possibleDuplicate: Bool
    /// Nanoseconds from the receipt of its first message to its confirmation; nil where no clock can tell.
    var took: Int64?
    /// When its last message was received; nil where that is not known.
    var newest: Moment?
  }

  /// A batch as it was sealed.
  private struct Waiting: Sendable {
    var pipeline: String
    var readings: Int
    var possibleDuplicate: Bool
    var sealed: Moment
    var ages: Batch.Ages?
  }

  private struct Notes: Sendable {
    var waiting: [Int64: Waiting] = [:]
    var delivered: [Delivered] = []
  }

  /// Batches that are remembered at most, of each kind. Of those beyond it nobody knows how long they took.
  static let limit = 4_096

  private let notes = Mutex(Notes())

  /// These are about to be sent. Replays are old data by intention, and not noted.
  func note(_ entries: [OutboxEntry]) {
    notes.withLock { notes in
      for entry in entries where entry.batch.replay == nil && notes.waiting[entry.id] == nil {
        // They were given to delivery and came no further: split, or set aside.
        if notes.waiting.count >= DeliveryTally.limit { notes.waiting = [:] }
        let batch = entry.batch
        notes.waiting[entry.id] = Waiting(
          pipeline: batch.identity.pipeline, readings: batch.count, possibleDuplicate: batch.possibleDuplicate,
          sealed: batch.sealed, ages: batch.ages)
      }
    }
  }

  /// The upstream has these.
  func confirm(_ ids: [Int64], at now: Moment) {
    notes.withLock { notes in
      for id in ids {
        guard let batch = notes.waiting.removeValue(forKey: id), notes.delivered.count < DeliveryTally.limit
        else { continue }
        notes.delivered.append(
          Delivered(
            pipeline: batch.pipeline, readings: batch.readings, possibleDuplicate: batch.possibleDuplicate,
            took: batch.ages.flatMap { now.age(ofSealed: batch.sealed, first: $0.first) },
            newest: batch.ages.map { batch.sealed.earlier(by: $0.last) }))
      }
    }
  }

  /// What was delivered since the last call.
  func take() -> [Delivered] {
    notes.withLock { notes in
      defer { notes.delivered = [] }
      return notes.delivered
    }
  }
}

extension Moment {
  /// So many nanoseconds before, by the same clocks.
  fileprivate func earlier(by nanoseconds: Int64) -> Moment {
    var earlier = self
    earlier.monotonic &-= nanoseconds
    earlier.wall &-= nanoseconds
    return earlier
  }
}
