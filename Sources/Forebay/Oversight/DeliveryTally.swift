internal import Delivery
internal import Synchronization
internal import Telemetry

/// Notes which batches were delivered and when, for whoever works out later how long it took: what is noted costs
/// nothing but a little memory while data flows.
final class DeliveryTally: Sendable {
  /// A batch as it will be looked for in the log.
  struct Delivered: Sendable, Hashable {
    var pipeline: String
    var log: LogID
    var first: Offset
    var last: Offset
    var readings: Int
    var possibleDuplicate: Bool
    var at: Moment
  }

  private struct Notes: Sendable {
    var waiting: [Int64: Delivered] = [:]
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
        notes.waiting[entry.id] = Delivered(
          pipeline: batch.identity.pipeline, log: batch.log, first: batch.firstOffset, last: batch.lastOffset,
          readings: batch.count, possibleDuplicate: batch.possibleDuplicate, at: batch.sealed)
      }
    }
  }

  /// The upstream has these.
  func confirm(_ ids: [Int64], at now: Moment) {
    notes.withLock { notes in
      for id in ids {
        guard var delivered = notes.waiting.removeValue(forKey: id), notes.delivered.count < DeliveryTally.limit
        else { continue }
        delivered.at = now
        notes.delivered.append(delivered)
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
