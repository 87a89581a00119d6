internal import Glibc
internal import Spool

/// Why the daemon could not start on a configuration that nothing is wrong with to look at: its spool is in use by
/// another daemon, or was written by a newer version. It is told to the process that begins anew in place and starts on
/// the last configuration that ran; where that has the same spool, a newer version's is refused at once.
enum StartFailure {
  /// An environment variable, because the process is replaced.
  private static let variable = "FOREBAY_START_FAILURE"

  /// The exit status for a spool that only another version of forebay can open: EX_DATAERR of sysexits.h. Starting
  /// again changes nothing, so systemd does not (`RestartPreventExitStatus=` in the unit).
  static let statusForAnotherVersion: Int32 = 65

  /// Whether the spool is of a format that this version does not work on.
  static func isForAnotherVersion(_ error: any Error) -> Bool {
    switch (error as? SpoolError)?.kind {
    case .newer, .older: true
    default: false
    }
  }

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
  /// - Parameter onAnotherSpool: only one that ran on another spool counts. It is kept in that spool's folder.
  func hasAnother(
    than configuration: Configuration, onAnotherSpool: Bool = false, files: ConfigurationFiles = .system
  ) -> Bool {
    let origin = configuration.origin
    guard let kept = copies(of: origin.path, refused: origin.bytes, files: files).first else { return false }
    if onAnotherSpool, PathText.folder(of: kept.path) == configuration.spool.directory { return false }
    return kept.origin.bytes != origin.bytes || kept.origin.attachments != origin.attachments
  }
}
