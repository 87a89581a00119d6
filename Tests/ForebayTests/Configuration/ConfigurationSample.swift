import Testing

@testable import forebay

/// A small configuration that has no fault, and the machine that it is read on.
enum Sample {
  static let text = """
    gateway: { id: gw-1 }
    sources:
      floor:
        mqtt:
          url: mqtts://broker.example
    spool:
      directory: /spool
    pipelines:
      climate:
        from: ["sensors/{device}/climate"]
        key: device
        to: central
    uplinks:
      central:
        http:
          url: https://ingest.example/v1

    """

  /// The sample with one text put in the place of another, which must be there exactly once.
  static func replacing(_ old: String, _ new: String) -> String {
    let parts = text.ranges(of: old)
    #expect(parts.count == 1, "\(old) must be in the sample once")
    return text.replacing(old, with: new)
  }

  /// A machine without files but these, which are read as /etc/<name>.
  static func machine(
    _ contents: [String: String] = [:], worldReadable: Set<String> = [], credentials: String? = nil,
    refused: Set<String> = [], others: Set<String> = [], folders: Set<String> = [],
    obstacles: [String: FolderObstacle] = [:],
    volume: ConfigurationFiles.Volume? = .init(total: 1 << 40, free: 1 << 39)
  ) -> ConfigurationFiles {
    ConfigurationFiles(
      read: { path, limit in
        if refused.contains(path) { return .failure(.refused("Permission denied")) }
        guard let text = contents[path] else { return .failure(.missing) }
        guard text.utf8.count <= limit else { return .failure(.tooLarge(limit: limit)) }
        return .success(
          .init(bytes: Array(text.utf8), isWorldReadable: worldReadable.contains(path)))
      },
      names: { folder in
        let names = contents.keys.filter { PathText.folder(of: $0) == folder }
        return names.isEmpty && !folders.contains(folder)
          ? .failure(.missing) : .success(names.map { String($0.dropFirst(folder.count + 1)) }.sorted())
      },
      kind: { others.contains($0) ? .other : folders.contains($0) ? .directory : .missing },
      obstacle: { obstacles[$0] ?? (others.contains($0) ? .notAFolder($0) : nil) },
      resolved: { $0 },
      volume: { _ in volume },
      credentialsDirectory: credentials)
  }

  static func decode(
    _ text: String, files: ConfigurationFiles = machine(), toleratesSurroundings: Bool = false
  ) throws(ConfigurationErrors) -> Configuration {
    try Configuration.decode(
      Configuration.Origin(path: "/etc/forebay.yaml", bytes: Array(text.utf8)),
      shownAs: "forebay.yaml", files: files, toleratesSurroundings: toleratesSurroundings)
  }

  /// Everything that is said about a text.
  static func diagnostics(
    _ text: String, files: ConfigurationFiles = machine()
  ) -> [ConfigurationDiagnostic] {
    do throws(ConfigurationErrors) {
      return try decode(text, files: files).warnings
    } catch {
      return error.diagnostics
    }
  }

  /// `line:column severity path` of everything that is said about a text.
  static func places(_ text: String, files: ConfigurationFiles = machine()) -> [String] {
    diagnostics(text, files: files).map { diagnostic in
      let place = diagnostic.place.map { "\($0.line):\($0.column) " } ?? ""
      return "\(place)\(diagnostic.severity) \(diagnostic.path)"
    }
  }
}

/// A change to the sample and the one thing that is said about it.
struct Case: Sendable, CustomTestStringConvertible {
  var old: String
  var new: String
  /// `line:column severity path`.
  var place: String
  /// Parts of the line that is printed.
  var says: [String]

  init(_ old: String, _ new: String, _ place: String, _ says: String...) {
    self.old = old
    self.new = new
    self.place = place
    self.says = says
  }

  var testDescription: String { "\(place): \(new)" }

  func check(files: ConfigurationFiles = Sample.machine()) {
    let text = Sample.replacing(old, new)
    #expect(Sample.places(text, files: files) == [place])
    let summary = Sample.diagnostics(text, files: files).first?.summary ?? ""
    for part in says { #expect(summary.contains(part), "\(summary) does not say \(part)") }
  }
}
