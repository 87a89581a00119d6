internal import FoundationEssentials
internal import Logging
internal import Spool
internal import Status
internal import Synchronization

/// What each channel was told, or may have been told, and of whose end it has not been told for certain, in a small
/// file in the spool's folder, `notified.json`. Without it an alarm that ends while the daemon is away would never end
/// for those who were told of it.
///
/// It is replaced by atomic rename, durably, before news are sent for the first time: twice for an alarm that comes and
/// goes, and never while nothing happens.
final class NotifierMemory: Sendable {
  private struct Document: Codable, Hashable {
    var version = 1
    var channels: [String: [ToldAlarm]]
  }

  /// Bytes that the file can have: 400 alarms for each of two channels are less. Anything larger is none of ours.
  static let largestFile = 1 << 20

  private let path: String
  private let logger: Logger
  private let written: Mutex<(document: Document, cannotWrite: Bool)>

  /// - Parameter directory: the spool's.
  init(directory: String, logger: Logger) {
    path = directory + "/notified.json"
    self.logger = logger
    var document = Document(channels: [:])
    if case .success(let contents) = ConfigurationFiles.system.read(path, NotifierMemory.largestFile) {
      do {
        let kept = try JSONDecoder().decode(Document.self, from: Data(contents.bytes))
        // Of another version nobody knows what its fields mean.
        if kept.version == document.version { document = kept }
      } catch {
        logger.warning(
          "who was told of which alarms cannot be read: those that last are told again",
          metadata: ["path": "\(path)", "cause": "\(error)"])
      }
    }
    written = Mutex((document, false))
  }

  /// As it was written last, by the name of the channel.
  var channels: [String: [ToldAlarm]] { written.withLock { $0.document.channels } }

  /// A disk that is full keeps nobody from being told; the file follows when there is room.
  /// - Parameters:
  ///   - key: news that are about to be sent: written only where they are not in the file yet.
  ///   - channels: asked while nobody else writes, so that what is written last is the newest.
  func write(before key: String? = nil, _ channels: () -> [String: [ToldAlarm]]) {
    written.withLock { written in
      if let key, written.document.channels.values.contains(where: { $0.contains { $0.key == key } }) { return }
      let next = Document(channels: channels())
      guard next != written.document else { return }
      do {
        try FileSystem.replace(path, with: Array(try Output.json(next).utf8))
        written = (next, false)
      } catch {
        if !written.cannotWrite {
          logger.warning("who was told of which alarms cannot be kept", metadata: ["cause": "\(error)"])
        }
        written.cannotWrite = true
      }
    }
  }
}
