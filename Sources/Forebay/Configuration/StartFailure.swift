internal import Glibc

/// Why the daemon could not start on a configuration that nothing is wrong with to look at: its spool was written by a
/// newer version, or is in use by another daemon. It is told to the process that begins anew in place and starts on
/// the last configuration that ran.
enum StartFailure {
  /// An environment variable, because the process is replaced.
  private static let variable = "FOREBAY_START_FAILURE"

  static func leave(_ reason: String) { setenv(variable, reason, 1) }

  /// What was left, which is then gone: another start tries the file again.
  static func take() -> String? {
    defer { unsetenv(variable) }
    return ConfigurationFiles.environment(variable)
  }

  /// The refusal of a configuration that the daemon could not start on.
  static func refusal(of configuration: Configuration, path: String, _ reason: String) -> ConfigurationErrors {
    let error = ConfigurationDiagnostic(
      severity: .error, concern: .surroundings, file: path, place: nil, path: "",
      message: "the daemon cannot start on it: \(reason)", hint: nil)
    return ConfigurationErrors(diagnostics: configuration.warnings + [error], bytes: configuration.origin.bytes)
  }
}

extension LastGoodConfiguration {
  /// Whether one is kept of the same file that says something else: what ran before that file was edited.
  func hasAnother(than configuration: Configuration, files: ConfigurationFiles = .system) -> Bool {
    let origin = configuration.origin
    guard let kept = copies(of: origin.path, refused: origin.bytes, files: files).first?.origin else { return false }
    return kept.bytes != origin.bytes || kept.attachments != origin.attachments
  }
}
