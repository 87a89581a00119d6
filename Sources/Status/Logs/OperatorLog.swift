package import Logging
internal import Synchronization

/// The log that the daemon writes: where all of its loggers meet.
package final class OperatorLog: Sendable {
  /// Wall nanoseconds since 1970, and monotonic ones.
  package typealias Clock = @Sendable () -> (wall: Int64, monotonic: Int64)

  private let format: LogFormat
  private let hasPriority: Bool
  private let clock: Clock
  private let write: @Sendable ([UInt8]) -> Void
  private let repeats = Mutex(LogRepeats())

  /// - Parameters:
  ///   - hasPriority: whether journald reads it; see ``LogLine``.
  ///   - write: takes whole lines, each with its line feed; called by one thread at a time.
  package init(
    _ format: LogFormat, hasPriority: Bool, clock: @escaping Clock, write: @escaping @Sendable ([UInt8]) -> Void
  ) {
    self.format = format
    self.hasPriority = hasPriority
    self.clock = clock
    self.write = write
  }

  /// A logger that writes to it.
  package func logger(_ label: String, level: Logger.Level) -> Logger {
    var logger = Logger(label: label) { _ in OperatorLogHandler(log: self) }
    logger.logLevel = level
    return logger
  }

  /// Writes lines that stand for repeats and are due. Somebody calls it now and then, for the trouble may be over.
  package func flush() {
    repeats.withLock { send($0.overdue(now: clock().monotonic)) }
  }

  /// Writes everything that is held back.
  package func finish() {
    repeats.withLock { send($0.finish(now: clock().monotonic)) }
  }

  fileprivate func take(_ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata) {
    // Within the lock, so that lines come in the order of their times.
    repeats.withLock { repeats in
      let now = clock()
      let record = LogRecord(wall: now.wall, level: level, message: message, metadata: metadata)
      send(repeats.take(record, now: now.monotonic))
    }
  }

  private func send(_ records: [LogRecord]) {
    guard !records.isEmpty else { return }
    write(
      Array(records.map { LogLine.text($0, format, hasPriority: hasPriority) + "\n" }.joined().utf8))
  }
}

/// What swift-log knows of an ``OperatorLog``.
struct OperatorLogHandler: LogHandler {
  let log: OperatorLog
  var logLevel: Logger.Level = .info
  var metadata: Logger.Metadata = [:]
  var metadataProvider: Logger.MetadataProvider?

  init(log: OperatorLog) { self.log = log }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var all = metadata
    if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
    if let own = event.metadata { all.merge(own) { $1 } }
    if let error = event.error { all["error"] = "\(error)" }
    log.take(event.level, event.message.description, all)
  }
}
