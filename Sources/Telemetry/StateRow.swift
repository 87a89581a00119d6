/// One row of what a stage of a pipeline remembers from record to record: opaque bytes for the one who stores it.
///
/// Rows of one stage have unique keys. A row whose value is nil has to be deleted.
package struct StateRow: Sendable, Hashable {
  package var key: [UInt8]
  package var value: [UInt8]?

  package init(key: [UInt8], value: [UInt8]?) {
    self.key = key
    self.value = value
  }

  /// The order in which rows are given: by the bytes of their keys.
  package static func precedes(_ a: StateRow, _ b: StateRow) -> Bool {
    a.key.lexicographicallyPrecedes(b.key)
  }
}

/// What one stage of a pipeline remembers, or what of it has changed.
package struct StageState: Sendable, Hashable {
  /// Stages that remember. The raw value names them in the store.
  package enum Stage: String, Sendable, Hashable, CaseIterable {
    /// Readings that were met before.
    case dedupe
    /// What devices count, and what of it was left out.
    case sequence
    /// How the values of a device follow each other.
    case expectations
    /// The fields that devices have.
    case drift
    /// What wall clocks were worth.
    case clock
    /// How far event time has come.
    case watermark
    case windows
  }

  package var stage: Stage
  package var rows: [StateRow]

  package init(stage: Stage, rows: [StateRow]) {
    self.stage = stage
    self.rows = rows
  }
}
