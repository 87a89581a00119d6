internal import Ingest
internal import Logging
internal import Synchronization

/// Keeps ``BrokerDrops`` in a small file in the spool's folder, `broker-drops.json`: at the first change, then every ten
/// minutes while there are changes, and at the stop, for flash wears out and a broker that others share may drop all
/// day. Nothing is missed after a power cut: what was dropped under our eyes in the last ten minutes is told as dropped
/// while we were away.
final class BrokerDropsMemory: Sendable {
  private struct Document: VersionedDocument {
    var version = 1
    var sources: [String: BrokerDrops.Mark]
  }

  private struct State: Sendable {
    var drops: BrokerDrops
    var kept: KeptDocument<Document>
    /// Monotonic nanoseconds.
    var lastLook: Int64?
    var lastWrite: Int64?
  }

  /// Nanoseconds between two writings.
  private static let interval: Int64 = 600_000_000_000

  private let state: Mutex<State>

  /// - Parameter directory: the spool's.
  init(directory: String, logger: Logger) {
    let kept = KeptDocument(
      directory + "/broker-drops.json", empty: Document(sources: [:]),
      words: KeptDocument.Words(
        unreadable: "how much brokers had dropped cannot be read: what they dropped in the meantime stays unknown",
        unwritable: "how much brokers have dropped cannot be kept"),
      logger: logger)
    state = Mutex(State(drops: BrokerDrops(restoring: kept.document.sources), kept: kept))
  }

  /// - Parameter now: monotonic nanoseconds.
  /// - Returns: what is known of each source's broker.
  func look(_ sources: [SourceStatus], now: Int64) -> [String: BrokerDrops.Mark] {
    state.withLock { state in
      state.drops.look(sources, elapsed: state.lastLook.map { now - $0 } ?? 0)
      state.lastLook = now
      let document = Document(sources: state.drops.marks)
      let isDue = state.lastWrite.map { now - $0 >= BrokerDropsMemory.interval } ?? true
      if isDue, document != state.kept.document {
        state.lastWrite = now
        state.kept.write(document)
      }
      return state.drops.marks
    }
  }

  /// At the stop.
  func keep() { state.withLock { $0.kept.write(Document(sources: $0.drops.marks)) } }
}
