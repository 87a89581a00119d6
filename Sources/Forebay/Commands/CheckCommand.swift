internal import ArgumentParser

/// `forebay check`: what is wrong with a configuration, or what it would run.
struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Check a configuration file without running it.",
    discussion: """
      Reads the file as `forebay run` does, with the files and folders that it names, and prints \
      everything that is wrong with it, each with file, line and column. Nothing is connected to and \
      nothing is changed. Run it as the user that the daemon runs as, who has to be able to read the \
      secrets; secrets of the form credential:NAME are there only when systemd has put them there.

      EXAMPLES:
        forebay check
        forebay check --config ./forebay.yaml --strict
        forebay check --json | jq '.diagnostics[] | select(.severity == "error")'

      EXIT STATUS: 0 the configuration can be run; 1 it cannot, or there are warnings and --strict was \
      given; 64 wrong usage.
      """)

  @Option(name: .shortAndLong, help: ArgumentHelp("The configuration file.", valueName: "file"))
  var config = Configuration.defaultPath

  @Flag(help: "Print diagnostics and summary as one JSON object.")
  var json = false

  @Flag(help: "Take warnings for errors.")
  var strict = false

  func run() throws {
    let outcome = CheckOutcome(path: config)
    if json {
      StandardStream.output.write(line: outcome.json(strict: strict))
    } else {
      // Errors where scripts look for them, the summary where it can be piped on.
      if !outcome.diagnostics.isEmpty { StandardStream.error.write(line: outcome.report) }
      if let configuration = outcome.configuration {
        StandardStream.output.write(line: configuration.summary)
      }
      StandardStream.error.write(line: outcome.verdict(strict: strict))
    }
    if !outcome.isAccepted(strict: strict) { throw ExitCode(1) }
  }
}

/// What a check has found.
struct CheckOutcome {
  let path: String
  /// Nil when there are errors.
  let configuration: Configuration?
  /// Errors and warnings, by place.
  let diagnostics: [ConfigurationDiagnostic]
  private let bytes: [UInt8]

  init(path: String, files: ConfigurationFiles = .system) {
    self.path = path
    do throws(ConfigurationErrors) {
      let configuration = try Configuration.load(path: path, files: files)
      self.configuration = configuration
      diagnostics = configuration.warnings
      bytes = configuration.origin.bytes
    } catch {
      configuration = nil
      diagnostics = error.diagnostics
      bytes = error.bytes
    }
  }

  func isAccepted(strict: Bool) -> Bool {
    configuration != nil && (!strict || diagnostics.isEmpty)
  }

  /// The diagnostics with the lines that they are about.
  var report: String { ConfigurationErrors.report(diagnostics, in: bytes) }

  func verdict(strict: Bool) -> String {
    let errors = diagnostics.count { $0.severity == .error }
    let warnings = diagnostics.count - errors
    func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }
    let found = [(errors, "error"), (warnings, "warning")].filter { $0.0 > 0 }
      .map { count($0.0, $0.1) }
    let verdict = isAccepted(strict: strict) ? "can be run" : "is refused"
    return "\(path): \(verdict)" + (found.isEmpty ? "" : ", \(found.joined(separator: ", "))")
  }

  func json(strict: Bool) -> String {
    CompactJSON.object { json in
      json.add("file", path)
      json.add("accepted", isAccepted(strict: strict))
      json.add("diagnostics", raw: CompactJSON.array(diagnostics.map(\.json)))
      if let configuration { json.add("configuration", raw: configuration.summaryJSON) }
    }
  }
}
