package import Logging
internal import Synchronization

/// The log that the daemon writes: where all of its loggers meet.
package final class OperatorLog: Sendable {
  /// Wall nanoseconds since 1970, and monotonic ones.
  package typealias Clock = @Sendable () -> (wall: Int64, monotonic: Int64)

  private struct State: Sendable {
    var format: LogFormat
    var repeats = LogRepeats()
  }

  private static let levels = Logger.Level.allCases

  private let hasPriority: Bool
  private let clock: Clock
  private let write: @Sendable ([UInt8]) -> Void
  private let state: Mutex<State>
  /// The place of the level in the order of levels: every call of every logger looks at it.
  private let least: Atomic<Int>

  /// - Parameters:
  ///   - hasPriority: whether journald reads it; see ``LogLine``.
  ///   - write: takes whole lines, each with its line feed; called by one thread at a time.
  package init(
    _ format: LogFormat, level: Logger.Level = .info, hasPriority: Bool, clock: @escaping Clock,
    write: @escaping @Sendable ([UInt8]) -> Void
  ) {
    state = Mutex(State(format: format))
    least = Atomic(OperatorLog.index(of: level))
    self.hasPriority = hasPriority
    self.clock = clock
    self.write = write
  }

  /// A logger that writes to it, from the level that the log has at the time.
  package func logger(_ label: String) -> Logger { Logger(label: label) { _ in OperatorLogHandler(log: self) } }

  /// The least that is logged, by every logger that was given no level of its own.
  package var level: Logger.Level {
    get { OperatorLog.levels[least.load(ordering: .relaxed)] }
    set { least.store(OperatorLog.index(of: newValue), ordering: .relaxed) }
  }

  /// Of the lines from now on.
  package var format: LogFormat {
    get { state.withLock { $0.format } }
    set { state.withLock { $0.format = newValue } }
  }

  private static func index(of level: Logger.Level) -> Int { levels.firstIndex(of: level) ?? 0 }

  /// Writes lines that stand for repeats and are due. Somebody calls it now and then, for the trouble may be over.
  package func flush() {
    state.withLock { send($0.repeats.overdue(now: clock().monotonic), $0.format) }
  }

  /// Writes everything that is held back.
  package func finish() {
    state.withLock { send($0.repeats.finish(now: clock().monotonic), $0.format) }
  }

  fileprivate func take(_ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata) {
    // Within the lock, so that lines come in the order of their times.
    state.withLock { state in
      let now = clock()
      let record = LogRecord(wall: now.wall, level: level, message: message, metadata: metadata)
      send(state.repeats.take(record, now: now.monotonic), state.format)
    }
  }

  private func send(_ records: [LogRecord], _ format: LogFormat) {
    guard !records.isEmpty else { return }
    write(
      Array(records.map { LogLine.text($0, format, hasPriority: hasPriority) + "\n" }.joined().utf8))
  }
}

/// What swift-log knows of an ``OperatorLog``.
struct OperatorLogHandler: LogHandler {
  let log: OperatorLog
  /// Of this logger alone; nil: the log's.
  private var own: Logger.Level?
  var metadata: Logger.Metadata = [:]
  var metadataProvider: Logger.MetadataProvider?

  init(log: OperatorLog) { self.log = log }

  var logLevel: Logger.Level {
    get { own ?? log.level }
    set { own = newValue }
  }

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
