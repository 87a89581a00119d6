internal import FoundationEssentials
internal import Ingest
internal import Logging
internal import Spool
internal import Synchronization

/// Keeps ``BrokerDrops`` in a small file in the spool's folder, `broker-drops.json`, by atomic rename: at the first
/// change, then every ten minutes while there are changes, and at the stop, for flash wears out and a broker that others
/// share may drop all day. Nothing is missed after a power cut: what was dropped under our eyes in the last ten minutes
/// is told as dropped while we were away.
final class BrokerDropsMemory: Sendable {
  private struct Document: Codable {
    var version = 1
    var sources: [String: BrokerDrops.Mark]
  }

  private struct State: Sendable {
    var drops: BrokerDrops
    var written: BrokerDrops
    /// Monotonic nanoseconds.
    var lastLook: Int64?
    var lastWrite: Int64?
    var cannotWrite = false
  }

  /// Bytes that the file can have: anything larger is none of ours.
  static let largestFile = 1 << 20
  /// Nanoseconds between two writings.
  private static let interval: Int64 = 600_000_000_000

  private let path: String
  private let logger: Logger
  private let state: Mutex<State>

  /// - Parameter directory: the spool's.
  init(directory: String, logger: Logger) {
    path = directory + "/broker-drops.json"
    self.logger = logger
    var drops = BrokerDrops()
    if case .success(let contents) = ConfigurationFiles.system.read(path, BrokerDropsMemory.largestFile) {
      do {
        let kept = try JSONDecoder().decode(Document.self, from: Data(contents.bytes))
        // Of another version nobody knows what its fields mean.
        if kept.version == 1 { drops = BrokerDrops(restoring: kept.sources) }
      } catch {
        logger.warning(
          "how much brokers had dropped cannot be read: what they dropped in the meantime stays unknown",
          metadata: ["path": "\(path)", "cause": "\(error)"])
      }
    }
    state = Mutex(State(drops: drops, written: drops))
  }

  /// - Parameter now: monotonic nanoseconds.
  /// - Returns: what is known of each source's broker.
  func look(_ sources: [SourceStatus], now: Int64) -> [String: BrokerDrops.Mark] {
    state.withLock { state in
      state.drops.look(sources, elapsed: state.lastLook.map { now - $0 } ?? 0)
      state.lastLook = now
      if isDue(state, now: now) {
        state.lastWrite = now
        write(&state)
      }
      return state.drops.marks
    }
  }

  /// At the stop.
  func keep() { state.withLock { write(&$0) } }

  private func isDue(_ state: State, now: Int64) -> Bool {
    guard state.drops != state.written else { return false }
    return state.lastWrite.map { now - $0 >= BrokerDropsMemory.interval } ?? true
  }

  private func write(_ state: inout State) {
    guard state.drops != state.written else { return }
    do {
      try FileSystem.replace(path, with: Array(try Output.json(Document(sources: state.drops.marks)).utf8))
      state.written = state.drops
      state.cannotWrite = false
    } catch {
      if !state.cannotWrite {
        logger.warning("how much brokers have dropped cannot be kept", metadata: ["cause": "\(error)"])
      }
      state.cannotWrite = true
    }
  }
}
