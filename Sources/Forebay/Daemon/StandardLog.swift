internal import Glibc
internal import Status

extension OperatorLog {
  /// The daemon's log, on standard error, where journald, a terminal or a file takes it.
  static func standard(_ choice: Configuration.LogFormatChoice) -> OperatorLog {
    let isJournal = journalTakesStandardError(variable: getenv("JOURNAL_STREAM").map { String(cString: $0) })
    let format: LogFormat =
      switch choice {
      case .auto: isJournal ? .json : .logfmt
      case .logfmt: .logfmt
      case .json: .json
      }
    return OperatorLog(
      format, hasPriority: isJournal, clock: { (SystemClock.wall(), SystemClock.monotonic()) },
      write: { StandardStream.error.write($0) })
  }

  /// Whether standard error is the connection to journald that `JOURNAL_STREAM` names: device and inode, in decimal
  /// (systemd.exec(5)). What a service starts inherits the variable, and may write elsewhere.
  static func journalTakesStandardError(variable: String?) -> Bool {
    var status = stat()
    guard let variable, fstat(STDERR_FILENO, &status) == 0 else { return false }
    return variable == "\(status.st_dev):\(status.st_ino)"
  }
}
