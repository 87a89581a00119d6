internal import Telemetry

/// One value of the configuration while it is being read: the node, the keys that lead to it, and where
/// to report what is wrong with it.
///
/// Every reading method gives nil after it has reported an error, so that the reader goes on with the
/// next key and a person sees everything that is wrong at once.
struct ConfigurationValue {
  let node: YAMLNode
  /// The place of the value's key; of the value itself in a list and at the top.
  let keyPlace: TextPlace
  let path: String
  let context: ReadingContext

  /// What all values of one file share.
  struct ReadingContext {
    let diagnostics: DiagnosticCollector
    /// The folder that relative paths start from.
    let folder: String
    let files: ConfigurationFiles
    let attachments: AttachmentCollector
  }

  // MARK: Reporting

  func error(
    at place: TextPlace? = nil, _ message: String, hint: String? = nil,
    concern: ConfigurationDiagnostic.Concern = .text
  ) {
    context.diagnostics.error(
      at: place ?? node.start, path: path, message, hint: hint, concern: concern)
  }

  func warning(
    at place: TextPlace? = nil, _ message: String, hint: String? = nil,
    concern: ConfigurationDiagnostic.Concern = .text
  ) {
    context.diagnostics.warning(
      at: place ?? node.start, path: path, message, hint: hint, concern: concern)
  }

  // MARK: Shapes

  /// A mapping of known keys; the caller closes the section when it has asked for all of them.
  ///
  /// - Parameter alternative: what may stand there as well, for the error: `off`.
  func section(or alternative: String? = nil) -> ConfigurationSection? {
    guard case .mapping(let entries) = node.content else {
      error("is \(described), expected a mapping" + (alternative.map { " or \($0)" } ?? ""))
      return nil
    }
    return ConfigurationSection(self, entries)
  }

  /// A mapping from names that the operator chooses, in the file's order. Entries under names that are
  /// none are reported and left out.
  func named() -> [(name: String, value: ConfigurationValue)] {
    guard case .mapping(let entries) = node.content else {
      error("is \(described), expected a mapping from names")
      return []
    }
    checkCount(entries.count)
    return entries.prefix(ConfigurationValue.mostEntries).compactMap { entry in
      let value = child(entry)
      guard BatchIdentity.isName(entry.key) else {
        value.error(
          at: entry.keyPlace, "\(quoted(entry.key)) is not a name, expected \(Names.rule)")
        return nil
      }
      return (entry.key, value)
    }
  }

  /// Entries of a list, and of a mapping from names. What is checked of each against all others stays
  /// quick, and nobody has more.
  static let mostEntries = 256

  private func checkCount(_ count: Int) {
    if count == 0 { error("is empty, expected at least one entry") }
    if count > ConfigurationValue.mostEntries {
      error("has \(count) entries, expected at most \(ConfigurationValue.mostEntries)")
    }
  }

  /// A list of at least one value; a single value stands for a list of itself.
  func items() -> [ConfigurationValue] {
    guard case .sequence(let nodes) = node.content else { return [self] }
    checkCount(nodes.count)
    return nodes.prefix(ConfigurationValue.mostEntries).enumerated().map { index, node in
      ConfigurationValue(
        node: node, keyPlace: node.start, path: "\(path)[\(index)]", context: context)
    }
  }

  func child(_ entry: YAMLNode.Entry) -> ConfigurationValue {
    let component = YAMLParser.component(entry.key)
    return ConfigurationValue(
      node: entry.value, keyPlace: entry.keyPlace,
      path: path.isEmpty ? component : "\(path).\(component)", context: context)
  }

  /// The value that some keys lead to, or the last one on the way there that exists: the place to name
  /// in an error about a setting that may have been left at its default. A section that stands in for
  /// a missing key has the place of its own key.
  func nearest(_ keys: String...) -> ConfigurationValue {
    var value = self
    for key in keys {
      guard case .mapping(let entries) = value.node.content,
        let entry = entries.first(where: { $0.key == key })
      else {
        var node = value.node
        node.start = value.keyPlace
        return ConfigurationValue(
          node: node, keyPlace: value.keyPlace, path: value.path, context: value.context)
      }
      value = value.child(entry)
    }
    return value
  }

  /// What stands there, for messages about the wrong kind of value.
  private var described: String {
    switch node.content {
    case .mapping: "a mapping"
    case .sequence: "a list"
    case .scalar(let scalar): scalar.text.isEmpty ? "empty" : "the text \(quoted(scalar.text))"
    }
  }

  // MARK: Texts and what is made of them

  /// A scalar's text. `key:` with nothing behind it, `~` and `null` are no values.
  func text(expected: String) -> String? {
    guard case .scalar(let scalar) = node.content else {
      error("is \(described), expected \(expected)")
      return nil
    }
    if scalar.style == .plain, ["", "~", "null", "Null", "NULL"].contains(scalar.text) {
      error("has no value, expected \(expected)", hint: "leave the key out to take the default")
      return nil
    }
    if scalar.text.isEmpty {
      error("is empty, expected \(expected)")
      return nil
    }
    if scalar.text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) {
      error("holds a line break or another control character, expected \(expected)")
      return nil
    }
    return scalar.text
  }

  /// A whole number in plain decimal digits.
  func integer(in range: ClosedRange<Int>) -> Int? {
    let expected = "a whole number from \(range.lowerBound) to \(range.upperBound)"
    guard let text = text(expected: expected) else { return nil }
    guard case .scalar(let scalar) = node.content, scalar.style == .plain, let value = Int(text)
    else {
      let isDigits = text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
      error(
        "\(quoted(text)) is not a whole number, expected \(expected)",
        hint: isDigits ? "remove the quotes" : nil)
      return nil
    }
    guard range.contains(value) else {
      error("\(value) is out of range, expected \(expected)")
      return nil
    }
    return value
  }

  /// Bytes.
  func byteSize(in range: ClosedRange<Int64>) -> Int64? {
    quantity(
      in: range, kind: "byte size", example: "'256 KiB', '10 MB' or plain bytes",
      parse: Quantity.bytes, describe: Quantity.describe(bytes:))
  }

  /// Nanoseconds.
  func duration(in range: ClosedRange<Int64>) -> Int64? {
    quantity(
      in: range, kind: "duration", example: "'250 ms', '30 s' or '1h30m'",
      parse: Quantity.duration, describe: Quantity.describe(duration:))
  }

  private func quantity(
    in range: ClosedRange<Int64>, kind: String, example: String,
    parse: (String) throws(Quantity.Fault) -> Int64, describe: (Int64) -> String
  ) -> Int64? {
    let expected = "a \(kind) such as \(example)"
    guard let text = text(expected: expected) else { return nil }
    let value: Int64
    do throws(Quantity.Fault) {
      value = try parse(text)
    } catch {
      let wrong = "\(quoted(text)) is not a \(kind), expected \(expected)"
      switch error {
      case .malformed: self.error(wrong)
      case .unitMissing: self.error(wrong, hint: "add a unit: 'ms', 's', 'm', 'h' or 'd'")
      case .unknownUnit(let unit, let meant):
        self.error(
          "unknown unit \(quoted(unit)), expected \(expected)",
          hint: meant.map { "did you mean '\($0)'?" })
      case .fraction:
        self.error("\(quoted(text)) is no whole number of \(kind == "duration" ? "nanoseconds" : "bytes")")
      case .tooLarge: self.error("\(quoted(text)) is too large, expected at most \(describe(range.upperBound))")
      case .negative: self.error("\(quoted(text)) is negative, expected \(expected)")
      }
      return nil
    }
    guard range.contains(value) else {
      self.error(
        "\(quoted(text)) is out of range, expected \(describe(range.lowerBound)) to \(describe(range.upperBound))")
      return nil
    }
    return value
  }

  /// One of the words that `type` knows.
  func choice<T: RawRepresentable & CaseIterable>(_ type: T.Type) -> T? where T.RawValue == String {
    let words = type.allCases.map(\.rawValue)
    let expected = words.count == 1 ? "'\(words[0])'" : "one of \(words.joined(separator: ", "))"
    guard let text = text(expected: expected) else { return nil }
    if let value = T(rawValue: text) { return value }
    error("\(quoted(text)) is not known here, expected \(expected)", hint: suggestion(text, words))
    return nil
  }

  /// A name: of a gateway, a source, a pipeline or an uplink.
  func name() -> String? {
    guard let text = text(expected: Names.rule) else { return nil }
    guard BatchIdentity.isName(text) else {
      error("\(quoted(text)) is not a name, expected \(Names.rule)")
      return nil
    }
    return text
  }

  /// The name of something that the file declares elsewhere.
  /// - Parameter declared: also the names of what is declared with errors, which are told on their own.
  func reference(to kind: String, among declared: [String]) -> String? {
    guard let text = text(expected: "the name of \(kind)") else { return nil }
    guard declared.contains(text) else {
      error(
        "there is no \(kind.split(separator: " ").last ?? "") \(quoted(text))",
        hint: suggestion(text, declared) ?? "there is: \(declared.joined(separator: ", "))")
      return nil
    }
    return text
  }

  func suggestion(_ text: String, _ permitted: [String]) -> String? {
    Suggestion.nearest(to: text, among: permitted).map { "did you mean '\($0)'?" }
  }
}

/// What names may be: they stand unescaped in identities, file names, headers and metrics.
enum Names {
  static let rule = "1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a dot"
}

/// A mapping of known keys while it is being read. The keys that the reader asks for are the keys that
/// are permitted: there is no second list to keep in step.
final class ConfigurationSection {
  let value: ConfigurationValue
  private let entries: [YAMLNode.Entry]
  private var known: [String] = []
  private var missing: [String] = []

  init(_ value: ConfigurationValue, _ entries: [YAMLNode.Entry]) {
    self.value = value
    self.entries = entries
  }

  /// The value of an optional key.
  func optional(_ key: String) -> ConfigurationValue? {
    known.append(key)
    return entries.first { $0.key == key }.map(value.child)
  }

  /// The value of a key that must be there.
  func required(_ key: String) -> ConfigurationValue? {
    let found = optional(key)
    if found == nil { missing.append(key) }
    return found
  }

  /// Sets a setting from an optional key, and leaves it at its default otherwise.
  func set<T>(_ setting: inout T, from key: String, _ read: (ConfigurationValue) -> T?) {
    if let value = optional(key), let result = read(value) { setting = result }
  }

  func set<T>(_ setting: inout T?, from key: String, _ read: (ConfigurationValue) -> T?) {
    if let value = optional(key), let result = read(value) { setting = result }
  }

  /// Reports the keys that nobody asked for and those that are missing.
  func close() {
    let present = Set(entries.map(\.key))
    let others = known.filter { !present.contains($0) }
    let unknown = entries.filter { !known.contains($0.key) }
    for entry in unknown.prefix(DiagnosticCollector.limit + 1) {
      let nearest = Suggestion.nearest(to: entry.key, among: others.isEmpty ? known : others)
      // A missing key that is there with a slip in it is one error, not two.
      missing.removeAll { $0 == nearest }
      value.child(entry).error(
        at: entry.keyPlace,
        nearest == nil ? "unknown key; this version has no such key here" : "unknown key",
        hint: nearest.map { "did you mean '\($0)'?" } ?? "there are: \(known.joined(separator: ", "))")
    }
    for key in missing {
      value.error(at: value.keyPlace, "the key '\(key)' is missing")
    }
  }
}
