internal import Delivery
internal import Ingest
internal import Pipeline
internal import Spool
internal import Telemetry

/// Everything that a configuration file says, checked, with the defaults filled in: the settings of
/// every part of the daemon.
///
/// docs/configuration.md describes each key. The defaults stand in the settings types, beside the
/// comments that explain them.
struct Configuration: Sendable {
  /// Where the system's configuration lies, and what `--config` defaults to.
  static let defaultPath = "/etc/forebay/forebay.yaml"
  /// Where the spool lies unless the file says otherwise.
  static let defaultSpoolDirectory = "/var/lib/forebay"

  /// The file as it was read.
  struct Origin: Sendable, Hashable {
    /// Absolute; where the file was, also when its kept copy was read instead.
    var path: String
    var bytes: [UInt8]
    /// The files beside it that shape what becomes of readings, by path: of a kept configuration, those that it ran
    /// with; of one that has been decoded, those that were read.
    var attachments: [Attachment] = []

    /// The folder that relative paths start from.
    var folder: String { PathText.folder(of: path) }
  }

  struct Gateway: Sendable, Hashable {
    /// Stands first in the identity of every batch.
    var id: String
    var site: String?
  }

  struct Shutdown: Sendable, Hashable {
    /// Nanoseconds from SIGTERM to the exit at the latest.
    var grace: Int64 = 20_000_000_000
  }

  /// The least that is logged; the names are those of swift-log.
  enum LogLevel: String, Sendable, Hashable, CaseIterable {
    case trace, debug, info, notice, warning, error, critical
  }

  var origin: Origin
  /// The bytes of the attachments; empty once they are kept.
  var attached: [Digest: [UInt8]]
  var gateway: Gateway
  /// In the file's order, each with the filters of the pipelines that read from it.
  var sources: [SourceSettings]
  var group: GroupSettings
  var spool: SpoolSettings
  /// In the file's order.
  var pipelines: [PipelineSettings]
  /// The files of the tables in them.
  var tables: [TableSource]
  /// Of pipelines that say nothing of their own, and of those that are no longer configured.
  var deadLetters: DeadLetterBounds
  /// In the file's order.
  var uplinks: [UplinkSettings]
  var status: Status
  var minimumLogLevel: LogLevel
  var shutdown: Shutdown
  var telemetry = TelemetryExport()
  /// What is doubtful about the file; never an error.
  var warnings: [ConfigurationDiagnostic]

  /// Reads and checks a file.
  /// - Throws: everything that is wrong with it, by place.
  static func load(
    path: String, files: ConfigurationFiles = .system
  ) throws(ConfigurationErrors) -> Configuration {
    let absolute = PathText.absolute(path, from: PathText.workingDirectory)
    switch files.read(absolute, YAMLParser.Limits().bytes) {
    case .failure(let fault):
      let diagnostics = DiagnosticCollector(file: path)
      diagnostics.error(
        at: nil, path: "", "the configuration file \(fault.reason)",
        hint: fault == .missing ? "name another one with --config" : nil, concern: .surroundings)
      throw ConfigurationErrors(diagnostics: diagnostics.sorted, bytes: [])
    case .success(let contents):
      return try decode(
        Origin(path: absolute, bytes: contents.bytes), shownAs: path, files: files)
    }
  }

  /// Reads and checks a file's bytes.
  /// - Parameters:
  ///   - shownAs: the file's path in diagnostics.
  ///   - toleratesSurroundings: takes errors about the machine around the file (a missing secret) as
  ///     warnings: for a configuration that has run before, at a boot where the alternative is
  ///     not to run at all.
  ///   - toleratesAttachments: takes errors about files that shape what becomes of readings as warnings: for
  ///     those who only look at a configuration. It must not be run: its settings lack what these files say.
  static func decode(
    _ origin: Origin, shownAs file: String, files: ConfigurationFiles,
    toleratesSurroundings: Bool = false, toleratesAttachments: Bool = false
  ) throws(ConfigurationErrors) -> Configuration {
    var tolerated: Set<ConfigurationDiagnostic.Concern> = []
    if toleratesSurroundings { tolerated.insert(.surroundings) }
    if toleratesAttachments { tolerated.insert(.attachment) }
    let diagnostics = DiagnosticCollector(file: file, tolerating: tolerated)
    let attachments = AttachmentCollector()
    let root = YAMLParser.parse(origin.bytes, diagnostics: diagnostics)
    let configuration = root.flatMap { root in
      ConfigurationDecoder(origin: origin, files: files, diagnostics: diagnostics, attachments: attachments)
        .decode(root)
    }
    let all = diagnostics.sorted
    guard var configuration else {
      throw ConfigurationErrors(diagnostics: all, bytes: origin.bytes)
    }
    configuration.warnings = all
    configuration.origin.attachments = attachments.attachments
    configuration.attached = attachments.contents
    return configuration
  }
}
