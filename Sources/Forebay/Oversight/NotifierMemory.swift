internal import Logging
internal import Status
internal import Synchronization

/// What each channel was told, or may have been told, and of whose end it has not been told for certain, in a small
/// file in the spool's folder, `notified.json`. Without it an alarm that ends while the daemon is away would never end
/// for those who were told of it.
///
/// It is written before news are sent for the first time: twice for an alarm that comes and goes, and never while
/// nothing happens.
final class NotifierMemory: Sendable {
  private struct Document: VersionedDocument {
    var version = 1
    var channels: [String: [ToldAlarm]]
  }

  private let kept: Mutex<KeptDocument<Document>>

  /// - Parameter directory: the spool's.
  init(directory: String, logger: Logger) {
    kept = Mutex(
      KeptDocument(
        directory + "/notified.json", empty: Document(channels: [:]),
        words: KeptDocument.Words(
          unreadable: "who was told of which alarms cannot be read: those that last are told again",
          unwritable: "who was told of which alarms cannot be kept"),
        logger: logger))
  }

  /// As it was written last, by the name of the channel.
  var channels: [String: [ToldAlarm]] { kept.withLock { $0.document.channels } }

  /// A disk that is full keeps nobody from being told; the file follows when there is room.
  /// - Parameters:
  ///   - key: news that are about to be sent: written only where they are not in the file yet.
  ///   - channels: asked while nobody else writes, so that what is written last is the newest.
  func write(before key: String? = nil, _ channels: () -> [String: [ToldAlarm]]) {
    kept.withLock { kept in
      if let key, kept.document.channels.values.contains(where: { $0.contains { $0.key == key } }) { return }
      kept.write(Document(channels: channels()))
    }
  }
}
