internal import Telemetry

/// Reads the list of a fleet's gateways from a file: one URL a line, or YAML (docs/fleet.md).
///
/// Everything that is wrong is told with its line and column, all of it at once.
struct FleetInventory {
  /// Gateways of one inventory. Ten times the largest fleet that has been measured.
  static let mostGateways = 100_000
  /// Of a file with that many.
  static let mostBytes = 64 << 20
  private static let mostLabels = 16

  private let diagnostics: DiagnosticCollector
  private let folder: String
  private var defaults: FleetTarget.Credentials
  private var defaultSite: String?
  private var targets: [FleetTarget] = []
  private var urls: Set<String> = []
  private var names: Set<String> = []

  /// - Parameters:
  ///   - file: the path, for messages; relative paths within the file start from its folder.
  ///   - defaults: what entries without credentials of their own use.
  static func read(
    _ bytes: [UInt8], file: String, defaults: FleetTarget.Credentials = .init()
  ) throws(ConfigurationErrors) -> (targets: [FleetTarget], warnings: [ConfigurationDiagnostic]) {
    let diagnostics = DiagnosticCollector(file: file)
    var inventory = FleetInventory(
      diagnostics: diagnostics, folder: file.lastIndex(of: "/").map { String(file[..<$0]) } ?? ".", defaults: defaults)
    if isLines(bytes) { inventory.readLines(bytes) } else { inventory.readYAML(bytes) }
    if inventory.targets.isEmpty, !diagnostics.hasErrors {
      diagnostics.error(at: nil, path: "", "the inventory names no gateway", hint: "write one URL a line, or YAML")
    }
    if diagnostics.hasErrors { throw ConfigurationErrors(diagnostics: diagnostics.sorted, bytes: bytes) }
    return (inventory.targets, diagnostics.sorted)
  }

  /// Whether the first line that says something begins as YAML does not: with a URL, or with what was to be one, so
  /// that a mistyped scheme is told as that, with its line.
  private static func isLines(_ bytes: [UInt8]) -> Bool {
    for line in bytes.split(separator: UInt8(ascii: "\n")) {
      let text = line.drop { $0 <= 0x20 }
      if text.isEmpty || text.first == UInt8(ascii: "#") { continue }
      let words = text.split { $0 <= 0x20 }.prefix(2)
      // An item, a flow collection, a directive or a quoted text; or a key.
      let isYAML = "-[{%&!'\"".utf8.contains(text.first ?? 0) || words.contains { $0.last == UInt8(ascii: ":") }
      return !isYAML
    }
    return false
  }

  private init(diagnostics: DiagnosticCollector, folder: String, defaults: FleetTarget.Credentials) {
    self.diagnostics = diagnostics
    self.folder = folder
    self.defaults = defaults
  }

  private func absolute(_ path: String) -> String { path.hasPrefix("/") ? path : "\(folder)/\(path)" }

  // MARK: Lines

  /// `URL [name=ID] [site=SITE] [token_file=PATH] [LABEL=VALUE]...`
  private mutating func readLines(_ bytes: [UInt8]) {
    if let place = UTF8Check.firstFault(in: bytes) {
      return diagnostics.error(at: place, path: "", "the file is not UTF-8 here", hint: "save it as UTF-8")
    }
    var number = 0
    for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      number += 1
      let words = String(decoding: line, as: UTF8.self).split(whereSeparator: \.isWhitespace)
      guard let first = words.first, !first.hasPrefix("#") else { continue }
      let place = TextPlace(line: number, column: 1)
      guard var target = target(String(first), at: place, path: "") else { continue }
      for word in words.dropFirst() {
        guard !word.hasPrefix("#") else { break }
        let pair = word.split(separator: "=", maxSplits: 1)
        guard pair.count == 2 else {
          diagnostics.error(at: place, path: "", "\(quoted(String(word))) is not of the form key=value")
          continue
        }
        set(String(pair[0]), String(pair[1]), of: &target, at: place)
      }
      add(target, at: place, path: "")
    }
  }

  private func set(_ key: String, _ value: String, of target: inout FleetTarget, at place: TextPlace) {
    switch key {
    case "name": target.name = name(value, at: place, path: key)
    case "site": target.site = name(value, at: place, path: key)
    case "token_file": target.credentials.tokenFile = absolute(value)
    default: label(key, value, of: &target, at: place, path: "")
    }
  }

  // MARK: YAML

  private mutating func readYAML(_ bytes: [UInt8]) {
    // A gateway has at most a mapping, a mapping of labels, and a key and a value for each entry of both.
    let limits = YAMLParser.Limits(
      bytes: FleetInventory.mostBytes, nodes: FleetInventory.mostGateways * 2 * (8 + FleetInventory.mostLabels))
    guard let root = YAMLParser.parse(bytes, limits: limits, diagnostics: diagnostics) else { return }
    let context = ConfigurationValue.ReadingContext(
      diagnostics: diagnostics, folder: folder, files: .system, attachments: AttachmentCollector())
    let value = ConfigurationValue(node: root, keyPlace: root.start, path: "", context: context)
    if case .sequence(let nodes) = root.content { return read(nodes, path: "", context) }
    guard let section = value.section() else { return }
    if let common = section.optional("defaults")?.section() {
      credentials(common, into: &defaults)
      common.set(&defaultSite, from: "site") { $0.name() }
      common.close()
    }
    if let list = section.required("gateways") {
      if case .sequence(let nodes) = list.node.content {
        read(nodes, path: "gateways", context)
      } else {
        list.error("expected a list of gateways", hint: "write '- url: https://gw-042.example:8420'")
      }
    }
    section.close()
  }

  private mutating func read(_ nodes: [YAMLNode], path: String, _ context: ConfigurationValue.ReadingContext) {
    for (index, node) in nodes.enumerated() {
      let value = ConfigurationValue(node: node, keyPlace: node.start, path: "\(path)[\(index)]", context: context)
      if case .scalar(let scalar) = node.content {
        guard let target = target(scalar.text, at: node.start, path: value.path) else { continue }
        add(target, at: node.start, path: value.path)
        continue
      }
      guard let section = value.section() else { continue }
      let url = section.required("url")
      let parsed = url?.text(expected: "the URL of a gateway").flatMap {
        target($0, at: url?.node.start ?? node.start, path: url?.path ?? value.path)
      }
      guard var target = parsed else {
        // The other keys are known here, and nobody needs them without a URL.
        for key in ["name", "site", "token_file", "ca_file", "cert_file", "key_file", "labels"] {
          _ = section.optional(key)
        }
        section.close()
        continue
      }
      section.set(&target.name, from: "name") { $0.name() }
      section.set(&target.site, from: "site") { $0.name() }
      credentials(section, into: &target.credentials)
      if let labels = section.optional("labels") { read(labels, into: &target) }
      section.close()
      add(target, at: node.start, path: value.path)
    }
  }

  private func credentials(_ section: ConfigurationSection, into credentials: inout FleetTarget.Credentials) {
    func file(_ value: ConfigurationValue) -> String? { value.text(expected: "the path of a file").map(absolute) }
    section.set(&credentials.tokenFile, from: "token_file", file)
    section.set(&credentials.authorities, from: "ca_file", file)
    section.set(&credentials.certificate, from: "cert_file", file)
    section.set(&credentials.key, from: "key_file", file)
  }

  private func read(_ labels: ConfigurationValue, into target: inout FleetTarget) {
    guard case .mapping(let entries) = labels.node.content else {
      return labels.error("expected a mapping from labels to texts")
    }
    for entry in entries {
      let value = labels.child(entry)
      guard let text = value.text(expected: "a text") else { continue }
      label(entry.key, text, of: &target, at: entry.keyPlace, path: value.path)
    }
  }

  // MARK: What both forms share

  private func target(_ text: String, at place: TextPlace, path: String) -> FleetTarget? {
    let schemes = ["http", "https"]
    do throws(ConfigurationURL.PlacedFault) {
      var target = FleetTarget(try ConfigurationURL(parsing: text, schemes: schemes, allowsPath: true))
      target.credentials = defaults
      target.site = defaultSite
      return target
    } catch {
      let texts = error.fault.texts(schemes: schemes)
      diagnostics.error(
        at: TextPlace(line: place.line, column: place.column + error.offset), path: path, texts.message,
        hint: texts.hint)
      return nil
    }
  }

  private func name(_ text: String, at place: TextPlace, path: String) -> String? {
    if BatchIdentity.isName(text) { return text }
    diagnostics.error(at: place, path: path, "\(quoted(text)) is not a name, expected \(Names.rule)")
    return nil
  }

  /// Labels go to Prometheus: their names are as it wants them (its data model), and do not hide ours.
  private func label(
    _ key: String, _ value: String, of target: inout FleetTarget, at place: TextPlace, path: String
  ) {
    let first = key.utf8.first ?? 0
    let isLetter = { (byte: UInt8) in
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || byte == UInt8(ascii: "_")
    }
    guard isLetter(first), !key.hasPrefix("__"), key.utf8.count <= 64, value.utf8.count <= 200,
      key.utf8.allSatisfy({ isLetter($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
    else {
      return diagnostics.error(
        at: place, path: path,
        "\(quoted(key)) is no label, expected letters, digits and '_', not beginning with a digit")
    }
    guard !["gateway", "site", "url", "state", "severity", "le"].contains(key) else {
      return diagnostics.error(at: place, path: path, "the label \(quoted(key)) is taken by the fleet itself")
    }
    guard target.labels.count < FleetInventory.mostLabels else {
      return diagnostics.error(
        at: place, path: path, "more than \(FleetInventory.mostLabels) labels of one gateway")
    }
    target.labels[key] = value
  }

  private mutating func add(_ target: FleetTarget, at place: TextPlace, path: String) {
    guard targets.count < FleetInventory.mostGateways else {
      if targets.count == FleetInventory.mostGateways, !diagnostics.hasErrors {
        diagnostics.error(at: place, path: path, "more than \(FleetInventory.mostGateways) gateways")
      }
      return
    }
    guard urls.insert(target.url).inserted else {
      return diagnostics.error(at: place, path: path, "the gateway \(target.url) stands here twice", hint: "remove one")
    }
    if let name = target.name, !names.insert(name).inserted {
      return diagnostics.error(at: place, path: path, "the name \(quoted(name)) stands here twice")
    }
    if target.isEncrypted {
      if (target.credentials.certificate == nil) != (target.credentials.key == nil) {
        diagnostics.error(at: place, path: path, "a client's certificate and its key go together")
      }
    } else if target.credentials.tokenFile != nil, !FleetTarget.isLoopback(target.host) {
      diagnostics.warning(
        at: place, path: path, "the token for \(target.url) goes over the network in the clear", hint: "use https://")
    }
    targets.append(target)
  }
}
