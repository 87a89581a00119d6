internal import Spool

/// Where a configuration puts spool and socket, and nothing else of it.
///
/// For the commands that look at a gateway: they must work as well when the rest of the file is wrong, when
/// its secrets are for other eyes, and when the daemon runs on the configuration that was kept.
struct ConfiguredPlaces: Sendable, Hashable {
  /// Absolute.
  var spool: String
  /// Absolute.
  var socket: String
  /// For people: that it is not the file itself that says so; nil when it is.
  var note: String?

  struct Fault: Error, Sendable, Hashable, CustomStringConvertible {
    var path: String
    var reason: String

    var description: String {
      "the configuration \(path) \(reason), and no copy was found that ran before: so nothing says where spool and "
        + "socket are"
    }
  }

  /// The places that the running daemon has, or that `forebay run` would take: those of the file; where its
  /// text is refused, or the daemon could not start on it, those of the copy that is kept of it; where there is none,
  /// what can be made out of the refused file.
  static func find(
    config: String, files: ConfigurationFiles = .system, kept: LastGoodConfiguration = LastGoodConfiguration()
  ) throws(Fault) -> ConfiguredPlaces {
    let path = PathText.absolute(config, from: PathText.workingDirectory)
    let bytes: [UInt8]
    var reason = "is refused (forebay check tells why)"
    switch files.read(path, YAMLParser.Limits().bytes) {
    case .success(let contents): bytes = contents.bytes
    case .failure(let fault):
      bytes = []
      reason = fault.reason
    }
    let own = bytes.isEmpty ? nil : accepted(bytes, at: path, files: files)
    if let own, files.kind(own.socket) != .missing { return own }
    for copy in kept.copies(of: path, refused: bytes, files: files) {
      if var places = accepted(copy.origin.bytes, at: path, files: files) {
        if let own {
          // No daemon runs where the file says: one may run where the copy says.
          guard places.socket != own.socket, files.kind(places.socket) != .missing else { continue }
          reason = "is not the one that runs"
        }
        places.note = "the configuration \(config) \(reason); looking where the last one that ran says, \(copy.path)"
        return places
      }
    }
    if let own { return own }
    guard var places = madeOut(bytes, folder: PathText.folder(of: path)) else {
      throw Fault(path: config, reason: reason)
    }
    places.note = "the configuration \(config) \(reason); looking in \(places.spool), as it says"
    return places
  }

  /// Secrets and other files that this user may not read do not count.
  private static func accepted(
    _ bytes: [UInt8], at path: String, files: ConfigurationFiles
  ) -> ConfiguredPlaces? {
    let configuration = try? Configuration.decode(
      Configuration.Origin(path: path, bytes: bytes), shownAs: path, files: files,
      toleratesSurroundings: true, toleratesAttachments: true)
    return configuration.map { ConfiguredPlaces(spool: $0.spool.directory, socket: $0.status.socket) }
  }

  /// What a file says that is YAML as far as these two keys.
  private static func madeOut(_ bytes: [UInt8], folder: String) -> ConfiguredPlaces? {
    guard let root = YAMLParser.parse(bytes, diagnostics: DiagnosticCollector(file: "")),
      case .mapping = root.content
    else { return nil }
    func place(_ section: String, _ key: String) -> String? {
      guard case .scalar(let scalar) = root.value(of: section)?.value(of: key)?.content,
        !scalar.text.isEmpty, !scalar.text.hasPrefix("~")
      else { return nil }
      return PathText.absolute(scalar.text, from: folder)
    }
    let spool = place("spool", "directory") ?? Configuration.defaultSpoolDirectory
    return ConfiguredPlaces(spool: spool, socket: place("status", "socket") ?? spool + "/forebay.sock")
  }
}
