internal import Logging

extension Configuration {
  /// The least that is logged, for swift-log.
  var logLevel: Logger.Level {
    switch minimumLogLevel {
    case .trace: .trace
    case .debug: .debug
    case .info: .info
    case .notice: .notice
    case .warning: .warning
    case .error: .error
    case .critical: .critical
    }
  }
}
