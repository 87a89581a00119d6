internal import Glibc
internal import Status

extension OperatorLog {
  /// The daemon's log, on standard error, where journald, a terminal or a file takes it.
  static func standard(_ configuration: Configuration) -> OperatorLog {
    OperatorLog(
      LogFormat(configuration.logFormat), level: configuration.logLevel, hasPriority: isJournal,
      clock: { (SystemClock.wall(), SystemClock.monotonic()) }, write: { StandardStream.error.write($0) })
  }

  /// Level and format of another configuration, for the lines from now on.
  func adopt(_ configuration: Configuration) {
    format = LogFormat(configuration.logFormat)
    level = configuration.logLevel
  }

  fileprivate static var isJournal: Bool {
    journalTakesStandardError(variable: getenv("JOURNAL_STREAM").map { String(cString: $0) })
  }

  /// Whether standard error is the connection to journald that `JOURNAL_STREAM` names: device and inode, in decimal
  /// (systemd.exec(5)). What a service starts inherits the variable, and may write elsewhere.
  static func journalTakesStandardError(variable: String?) -> Bool {
    var status = stat()
    guard let variable, fstat(STDERR_FILENO, &status) == 0 else { return false }
    return variable == "\(status.st_dev):\(status.st_ino)"
  }
}

extension LogFormat {
  fileprivate init(_ choice: Configuration.LogFormatChoice) {
    self =
      switch choice {
      case .auto: OperatorLog.isJournal ? .json : .logfmt
      case .logfmt: .logfmt
      case .json: .json
      }
  }
}
