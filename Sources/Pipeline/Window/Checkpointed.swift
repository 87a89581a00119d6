/// A small value that is stored as of the checkpoint while in memory it has gone on: the single-value
/// counterpart of ``KeyedState``.
///
/// The checkpoint stops before the open batch (``PipelineCore``). So the owner says ``beginPending()`` when an
/// open batch begins, before that record changes the value, and ``pendingDecided()`` when it closes.
package struct Checkpointed<Value: Sendable & Equatable>: Sendable {
  /// As it is now.
  package var value: Value
  private var atBegin: Value?
  private var lastStored: Value?

  /// - Parameter isStored: whether `value` comes from the store.
  package init(_ value: Value, isStored: Bool = false) {
    self.value = value
    lastStored = isStored ? value : nil
  }

  /// As the next seal has to store it.
  package var asOfCheckpoint: Value { atBegin ?? value }

  /// What to store; nil where the store has it already.
  package var change: Value? {
    let next = asOfCheckpoint
    return next == lastStored ? nil : next
  }

  /// An open batch begins; ignored where one is open.
  package mutating func beginPending() { if atBegin == nil { atBegin = value } }
  /// The open batch is closed.
  package mutating func pendingDecided() { atBegin = nil }
  /// What ``change`` gave, since when nothing changed, is stored.
  package mutating func stored() { lastStored = asOfCheckpoint }
}
