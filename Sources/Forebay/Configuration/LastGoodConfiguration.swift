internal import Glibc
internal import Spool
internal import Telemetry

/// The configuration that ran last, kept for the boot at which the edited one is refused: a gateway must
/// come back after a power cut, whatever was half edited before it.
///
/// Two small files, both replaced by an atomic rename:
/// - `<spool.directory>/configuration.yaml`: the bytes that ran (KeptConfiguration.swift tells the format);
///   relative paths in it start from the original's folder. The files that shape what becomes of readings are
///   read from ``AttachmentStore``.
/// - `<state directory>/configuration-<16 hex digits>.location`: the digits name the path of the
///   configuration file; the content is that path and the spool's directory, a line each. It solves
///   the riddle that the spool's directory stands in the file that cannot be read.
///
/// The state directory is `--state`, else `$STATE_DIRECTORY` (systemd's `StateDirectory=`), else
/// `/var/lib/forebay`.
struct LastGoodConfiguration: Sendable {
  static let fileName = "configuration.yaml"

  /// What a boot has to run on.
  struct Boot: Sendable {
    var configuration: Configuration
    /// Why the edited file was refused; nil when it is the one that runs.
    var refused: ConfigurationErrors?
    /// For the log and the status, naming the errors; nil when all is as it should be.
    var alarm: String?
  }

  /// Why a configuration could not be kept.
  struct Fault: Error, Sendable, Hashable, CustomStringConvertible {
    var operation: String
    var path: String
    var cause: String

    var description: String {
      "cannot \(operation) \(path): \(cause); after an edit that is refused, the next boot would have no configuration to run on (--state names another directory)"
    }
  }

  /// Absolute.
  let stateDirectory: String

  /// - Parameter stateDirectory: what `--state` says; nil when it was not given.
  init(stateDirectory: String? = nil) {
    let fromUnit = ConfigurationFiles.environment("STATE_DIRECTORY").map { list in
      String(list.prefix { $0 != ":" })
    }
    self.stateDirectory = PathText.absolute(
      stateDirectory ?? fromUnit ?? Configuration.defaultSpoolDirectory,
      from: PathText.workingDirectory)
  }

  // MARK: Booting

  /// The configuration at `path`, or the one kept from it when it is refused, missing or unreadable.
  ///
  /// What a kept configuration says of the machine around it (a secret that is no longer there) only
  /// warns: it has run before, and the parts that are not concerned can run again.
  /// - Parameter failure: why the daemon could not start on the file, which is well-formed; nil: not tried yet.
  /// - Throws: what is wrong with the file at `path`, when nothing was kept from it.
  func load(
    path: String, failure: String? = nil, files: ConfigurationFiles = .system
  ) throws(ConfigurationErrors) -> Boot {
    var refusal: ConfigurationErrors
    do throws(ConfigurationErrors) {
      let configuration = try Configuration.load(path: path, files: files)
      guard let failure else { return Boot(configuration: configuration, refused: nil, alarm: nil) }
      refusal = StartFailure.refusal(of: configuration, path: path, failure)
    } catch {
      refusal = error
    }
    let absolute = PathText.absolute(path, from: PathText.workingDirectory)
    for (kept, origin) in copies(of: absolute, refused: refusal.bytes, files: files) {
      do throws(ConfigurationErrors) {
        let store = AttachmentStore(spool: PathText.folder(of: kept))
        let configuration = try Configuration.decode(
          origin, shownAs: kept, files: store.overlay(files, with: origin.attachments),
          toleratesSurroundings: true)
        return Boot(
          configuration: configuration, refused: refusal,
          alarm: LastGoodConfiguration.alarm(path: path, kept: kept, refusal))
      } catch {
        refusal.diagnostics.append(
          ConfigurationDiagnostic(
            severity: .error, concern: .surroundings, file: kept, place: nil, path: "",
            message: "the configuration that ran last is refused too",
            hint: error.errors.first?.summary))
      }
    }
    throw refusal
  }

  /// Errors that an alarm names; more would hide the first.
  private static let namedErrors = 5

  private static func alarm(path: String, kept: String, _ refusal: ConfigurationErrors) -> String {
    let errors = refusal.errors
    let named = errors.prefix(namedErrors).map(\.summary).joined(separator: " | ")
    let more = errors.count > namedErrors ? " | and \(errors.count - namedErrors) more" : ""
    return "the configuration \(path) is refused, running on the last one that ran (\(kept)): "
      + named + more
  }

  /// The copies that were kept of the configuration at `path`, likeliest first.
  /// - Parameters:
  ///   - path: absolute.
  ///   - bytes: what the file holds now.
  func copies(
    of path: String, refused bytes: [UInt8], files: ConfigurationFiles
  ) -> [(path: String, origin: Configuration.Origin)] {
    candidates(for: path, refused: bytes, files: files).compactMap { directory in
      guard let origin = LastGoodConfiguration.copy(in: directory, files: files), origin.path == path else {
        return nil
      }
      return ("\(directory)/\(LastGoodConfiguration.fileName)", origin)
    }
  }

  /// The configuration that ran last on a spool; nil where none is kept, or it is not whole.
  static func copy(in directory: String, files: ConfigurationFiles) -> Configuration.Origin? {
    guard case .success(let contents) = files.read("\(directory)/\(fileName)", Configuration.Origin.keptLimit)
    else { return nil }
    return Configuration.Origin(kept: contents.bytes)
  }

  /// Where a kept copy may lie, likeliest first: where the location file says; where the refused file
  /// says, if it can be read that far; in the state directory itself, which is the spool's by default.
  private func candidates(
    for path: String, refused bytes: [UInt8], files: ConfigurationFiles
  ) -> [String] {
    var directories: [String] = []
    if case .success(let contents) = files.read(locationFile(for: path), 16 << 10) {
      let lines = contents.bytes.split(separator: UInt8(ascii: "\n"))
        .map { String(decoding: $0, as: UTF8.self) }
      if lines.count == 2, lines[0] == path { directories.append(lines[1]) }
    }
    let tree = YAMLParser.parse(bytes, diagnostics: DiagnosticCollector(file: path))
    if let node = tree?.value(of: "spool")?.value(of: "directory"),
      case .scalar(let scalar) = node.content, !scalar.text.isEmpty
    {
      directories.append(PathText.absolute(scalar.text, from: PathText.folder(of: path)))
    }
    directories.append(stateDirectory)
    return directories
  }

  private func locationFile(for path: String) -> String {
    "\(stateDirectory)/configuration-\(Digest(of: Array(path.utf8)).hex.prefix(16)).location"
  }

  // MARK: Keeping

  /// Keeps a configuration that has been running. Does nothing when it is kept already, so that it may
  /// be called after every start and reload without wearing the flash.
  ///
  /// - Parameter directory: that of the spool that is open, which a reload does not change; it must
  ///   exist. The state directory is made when only its last part is missing.
  func keep(_ configuration: Configuration, in directory: String) throws(Fault) {
    let origin = configuration.origin
    guard origin.isKeepable, !directory.utf8.contains(UInt8(ascii: "\n")) else {
      throw Fault(operation: "keep", path: quoted(origin.path), cause: "the path has a line break")
    }
    do throws(SpoolError) {
      try AttachmentStore(spool: directory).keep(configuration.attached)
    } catch {
      throw Fault(operation: error.operation, path: error.path, cause: error.cause)
    }
    try LastGoodConfiguration.replace("\(directory)/\(LastGoodConfiguration.fileName)", with: origin.kept)
    _ = mkdir(stateDirectory, 0o750)
    try LastGoodConfiguration.replace(
      locationFile(for: origin.path), with: Array("\(origin.path)\n\(directory)\n".utf8))
  }

  private static func replace(_ path: String, with bytes: [UInt8]) throws(Fault) {
    do throws(SpoolError) {
      try FileSystem.replace(path, with: bytes)
    } catch {
      throw Fault(operation: error.operation, path: error.path, cause: error.cause)
    }
  }
}
