/// One thing that is wrong, or doubtful, with a configuration file.
struct ConfigurationDiagnostic: Sendable, Hashable {
  enum Severity: String, Sendable, Hashable {
    /// The configuration cannot be run.
    case error
    /// It can, but probably does not do what was meant.
    case warning
  }

  /// What would have to change for the diagnostic to go away.
  enum Concern: Sendable, Hashable {
    /// The text of the file.
    case text
    /// The machine around it: files that the text names, disk space. A configuration that has run
    /// before is still worth booting on when these have changed.
    case surroundings
    /// A file that shapes what becomes of readings. Only who looks at a configuration can do without it.
    case attachment
  }

  var severity: Severity
  var concern: Concern
  /// The configuration file, as its path was given.
  var file: String
  /// Nil when the file as a whole is concerned: it is missing or cannot be read.
  var place: TextPlace?
  /// The keys that lead to the value, joined by dots: `pipelines.climate.batch.max_bytes`. Empty for
  /// the file as a whole.
  var path: String
  /// What is wrong and what was expected.
  var message: String
  /// What to try.
  var hint: String?

  /// One line as compilers write it: `file:line:column: error: path: message; hint`.
  var summary: String {
    var line = file
    if let place { line += ":\(place.line):\(place.column)" }
    line += ": \(severity.rawValue): "
    if !path.isEmpty { line += "\(path): " }
    line += message
    if let hint { line += "; \(hint)" }
    return line
  }

  /// ``summary``, and below it the line of the file with a caret under the place.
  /// - Parameter excerpts: the file's text.
  func description(with excerpts: SourceExcerpts) -> String {
    guard let place, let excerpt = excerpts.excerpt(at: place) else { return summary }
    return "\(summary)\n\(excerpt)"
  }
}

/// The lines of a configuration file, to be shown below a diagnostic.
struct SourceExcerpts: Sendable {
  /// Characters of a line that are shown; a longer line is cut around the place.
  private static let width = 100
  /// Bytes above which a line is not shown at all: nobody wrote it to be read.
  private static let longest = 2000
  private let lines: [Substring.UTF8View]

  init(of bytes: [UInt8]) {
    lines = String(decoding: bytes, as: UTF8.self).utf8
      .split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
  }

  /// The line of a place and, below it, a caret; nil for a place outside of the file, and for a line
  /// that seems to hold a secret.
  func excerpt(at place: TextPlace) -> String? {
    guard lines.indices.contains(place.line - 1),
      lines[place.line - 1].count <= SourceExcerpts.longest
    else { return nil }
    let line = String(Substring(lines[place.line - 1]))
    guard !SourceExcerpts.seemsSecret(line) else { return nil }
    let shown = line.unicodeScalars.prefix(place.column + SourceExcerpts.width).map { $0 }
    let first = max(0, min(place.column - 1, shown.count) - SourceExcerpts.width * 3 / 4)
    var text = first > 0 ? "..." : ""
    for scalar in shown[first...].prefix(SourceExcerpts.width) {
      text.unicodeScalars.append(printable(scalar) ? scalar : " ")
    }
    while text.unicodeScalars.last == " " { text.unicodeScalars.removeLast() }
    let indent = place.column - 1 - first + (first > 0 ? 3 : 0)
    return "  \(text)\n  \(String(repeating: " ", count: max(0, indent)))^"
  }

  /// Terminals get no control character from a file: it may not be the operator who wrote it.
  private func printable(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value)
  }

  /// Whether a line looks as if somebody had written a secret into the configuration, where none
  /// belongs: what is printed here ends in logs and tickets.
  static func seemsSecret(_ line: String) -> Bool {
    let text = line.lowercased()
    for word in ["password", "passwd", "token", "secret", "passphrase"] {
      guard let range = text.firstRange(of: word) else { continue }
      let rest = text[range.upperBound...].drop { $0 == " " || $0 == "\"" || $0 == "'" }
      if rest.first == ":" || rest.first == "=" { return true }
    }
    // `scheme://user:password@host`, also without the scheme.
    return text.split(whereSeparator: { " ,{}[]\"'".contains($0) }).contains { word in
      guard let at = word.lastIndex(of: "@") else { return false }
      return word[..<at].contains(":")
    }
  }
}

/// Everything that is wrong with a configuration file; never without an error.
struct ConfigurationErrors: Error, Sendable {
  /// Errors and warnings, by place.
  var diagnostics: [ConfigurationDiagnostic]
  /// The file's text, for excerpts; empty when it could not be read.
  var bytes: [UInt8]

  var errors: [ConfigurationDiagnostic] { diagnostics.filter { $0.severity == .error } }

  /// The diagnostics with excerpts, one after the other.
  var report: String { ConfigurationErrors.report(diagnostics, in: bytes) }

  static func report(_ diagnostics: [ConfigurationDiagnostic], in bytes: [UInt8]) -> String {
    let excerpts = SourceExcerpts(of: bytes)
    return diagnostics.map { $0.description(with: excerpts) }.joined(separator: "\n")
  }
}

extension ConfigurationErrors: CustomStringConvertible {
  var description: String { report }
}

/// Collects the diagnostics of one file.
///
/// A class, because every part of the reader adds to the same list; it never leaves the function that
/// loads a file.
final class DiagnosticCollector {
  /// A file that is wrong all over is not explained line by line.
  static let limit = 100

  let file: String
  private(set) var diagnostics: [ConfigurationDiagnostic] = []
  private var isFull = false
  private(set) var hasErrors = false

  private let tolerated: Set<ConfigurationDiagnostic.Concern>

  /// - Parameter tolerated: errors of which warnings are made.
  init(file: String, tolerating tolerated: Set<ConfigurationDiagnostic.Concern> = []) {
    self.file = file
    self.tolerated = tolerated
  }

  func error(
    at place: TextPlace?, path: String, _ message: String, hint: String? = nil,
    concern: ConfigurationDiagnostic.Concern = .text
  ) {
    add(tolerated.contains(concern) ? .warning : .error, at: place, path: path, message, hint: hint, concern: concern)
  }

  func warning(
    at place: TextPlace?, path: String, _ message: String, hint: String? = nil,
    concern: ConfigurationDiagnostic.Concern = .text
  ) {
    add(.warning, at: place, path: path, message, hint: hint, concern: concern)
  }

  private func add(
    _ severity: ConfigurationDiagnostic.Severity, at place: TextPlace?, path: String,
    _ message: String, hint: String?, concern: ConfigurationDiagnostic.Concern
  ) {
    if severity == .error { hasErrors = true }
    guard diagnostics.count < DiagnosticCollector.limit else {
      isFull = true
      return
    }
    diagnostics.append(
      ConfigurationDiagnostic(
        severity: severity, concern: concern, file: file, place: place, path: path,
        message: message, hint: hint))
  }

  /// By place, those of the file as a whole first, and a last one when some were left out.
  var sorted: [ConfigurationDiagnostic] {
    var all = diagnostics.enumerated().sorted { a, b in
      let (left, right) = (a.element.place, b.element.place)
      if left == right { return a.offset < b.offset }
      guard let left else { return true }
      guard let right else { return false }
      return left < right
    }.map(\.element)
    if isFull {
      all.append(
        ConfigurationDiagnostic(
          severity: hasErrors ? .error : .warning, concern: .text, file: file, place: nil, path: "",
          message: "there is more that is wrong, which is not shown", hint: nil))
    }
    return all
  }
}

/// A text from the file as messages show it: in quotes, cut when long, without control characters.
func quoted(_ text: String) -> String {
  var out = "'"
  for scalar in text.unicodeScalars.prefix(60) {
    switch scalar.value {
    case 0x0A: out += "\\n"
    case 0x09: out += "\\t"
    case 0..<0x20, 0x7F...0x9F:
      out += "\\u{\(String(scalar.value, radix: 16))}"
    default: out.unicodeScalars.append(scalar)
    }
  }
  if text.unicodeScalars.count > 60 { out += "..." }
  return out + "'"
}
