package import Telemetry

/// Where an entry stands in the order of sealing. The parts of a split batch keep its `place`, and
/// `line` is the first of its lines that they hold, so that they stand where the batch stood.
package struct OutboxPosition: Sendable, Hashable, Comparable {
  package var place: Int64
  package var line: Int64

  package init(place: Int64, line: Int64) {
    self.place = place
    self.line = line
  }

  package static func < (a: OutboxPosition, b: OutboxPosition) -> Bool {
    (a.place, a.line) < (b.place, b.line)
  }

  /// Before every entry.
  static let first = OutboxPosition(place: .min, line: .min)

  /// The last position that is before this one.
  var predecessor: OutboxPosition { OutboxPosition(place: place, line: line - 1) }
}

/// A sealed batch that waits for its delivery.
package struct OutboxEntry: Sendable, Hashable {
  /// Names the entry for ever; never used again, also not for its parts.
  package let id: Int64
  package let position: OutboxPosition
  package let batch: Batch

  package init(id: Int64, position: OutboxPosition, batch: Batch) {
    self.id = id
    self.position = position
    self.batch = batch
  }
}

/// The durable queue as delivery sees it. All calls are short and may block; whatever they throw is
/// taken for passing (the store may be closed for its recovery), and the call is made again later.
package protocol Outbox: Sendable {
  /// The oldest entries of an uplink, in the order of their positions.
  /// - Parameters:
  ///   - after: only entries behind this position; nil: from the first.
  ///   - excluding: pipelines whose entries are left out.
  ///   - limit: at most so many, at least 1.
  func entries(
    uplink: String, after: OutboxPosition?, excluding: Set<String>, limit: Int
  ) throws -> [OutboxEntry]

  /// Removes delivered entries and books them; ids that are no longer there are passed over. Need not
  /// be synced: losing it costs a retry, to which the upstream says that it has the batch.
  func confirm(_ ids: [Int64]) throws

  /// Replaces an entry by its parts, durably, in one transaction.
  func split(_ id: Int64, into parts: [Batch]) throws

  /// Moves an entry of a single reading to the dead letters, durably.
  func setAside(_ id: Int64, rule: String, reason: String) throws
}
