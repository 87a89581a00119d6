internal import ArgumentParser
internal import Glibc
internal import Spool
internal import Status
internal import Telemetry

struct TokenCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "token",
    abstract: "Make, list and withdraw the tokens of the HTTP API.",
    discussion: """
      A token is shown once, when it is made; the file keeps its SHA-256 only. The file is that of \
      status.tokens_file in the configuration, or --file. The daemon looks at it with every request: \
      a token works at once, and one that was withdrawn no longer does.

      EXAMPLES:
        forebay token first
        forebay token create --role operator --name anna
        forebay token list
        forebay token remove anna

      EXIT STATUS: 0 done; 1 the name is taken, nobody has it, or the first token has been shown; 2 the file, or the configuration \
      that names it, cannot be used; 64 wrong usage.
      """,
    subcommands: [First.self, Create.self, List.self, Remove.self])

  struct Place: ParsableArguments {
    @Option(
      name: .shortAndLong,
      help: ArgumentHelp("The configuration that names the file.", valueName: "file"))
    var config = Configuration.defaultPath

    @Option(help: ArgumentHelp("The file of tokens, instead of the configuration's.", valueName: "file"))
    var file: String?

    func path() throws -> String {
      if let file { return PathText.absolute(file, from: PathText.workingDirectory) }
      let configuration: Configuration
      do {
        configuration = try Configuration.load(path: config)
      } catch {
        Output.complain("\(error)")
        Output.complain("forebay token: name the file with --file, or another configuration with --config")
        throw ExitCode(2)
      }
      guard let path = configuration.status.api?.tokensFile else {
        Output.complain("forebay token: \(config) names no file: set status.tokens_file, or say --file")
        throw ExitCode(2)
      }
      return path
    }
  }

  struct Fault: Error, CustomStringConvertible {
    var description: String
  }

  /// The text of the file and what it says; empty where there is none yet.
  private static func read(_ path: String) throws -> (text: [UInt8], file: AccessTokenFile) {
    let text = try FileSystem.contents(path) ?? []
    do throws(AccessTokenFile.Fault) {
      return (text, try AccessTokenFile(text))
    } catch {
      throw Fault(description: "\(path): \(error)")
    }
  }

  /// Readable for the group that the file has, so that a daemon of that group can read it.
  private static func write(_ lines: [UInt8], to path: String) throws {
    var info = stat()
    let isThere = stat(path, &info) == 0
    try FileSystem.replace(path, with: lines)
    // A new file belongs to whoever runs this; the daemon may be somebody else.
    if isThere { _ = chown(path, info.st_uid, info.st_gid) }
  }

  struct Create: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a token, and print it once.")

    @OptionGroup var place: Place
    @Option(help: "What its holder may do: \(Role.allCases.map(\.rawValue).joined(separator: ", ")).") var role: Role
    @Option(help: "Whose it is, for the audit log: \(Names.rule).") var name: String

    func validate() throws {
      guard BatchIdentity.isName(name) else { throw ValidationError("--name takes \(Names.rule)") }
    }

    func run() throws {
      try orComplain("token") {
        let path = try place.path()
        var (text, file) = try TokenCommand.read(path)
        guard !file.tokens.contains(where: { $0.name == name }) else {
          Output.complain("forebay token: \(name) has a token already; remove it first, or take another name")
          throw ExitCode(1)
        }
        // Swift's generator is the system's, getrandom(2): fit for secrets.
        let random = (0..<AccessToken.byteCount).map { _ in UInt8.random(in: 0 ... .max) }
        let token = AccessToken.text(random: random)
        if !text.isEmpty, text.last != UInt8(ascii: "\n") { text.append(UInt8(ascii: "\n")) }
        text += Array((AccessToken(name: name, role: role, digest: AccessToken.digest(of: token)).line + "\n").utf8)
        try TokenCommand.write(text, to: path)
        Output.complain("a token of the role \(role.rawValue) for \(name); it is not shown again:")
        print(token)
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List who has a token, and for what.")

    @OptionGroup var place: Place
    @Flag(help: "Print JSON.") var json = false

    private struct Holder: Encodable {
      var name: String
      var role: String
    }

    func run() throws {
      try orComplain("token") {
        let tokens = try TokenCommand.read(try place.path()).file.tokens
        if json { return print(try Output.json(tokens.map { Holder(name: $0.name, role: $0.role.rawValue) })) }
        let rows = tokens.map { [$0.name, $0.role.rawValue] }
        print(rows.isEmpty ? "no tokens" : Output.table(["NAME", "ROLE"], rows))
      }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Withdraw somebody's token, from the next request on.")

    @OptionGroup var place: Place
    @Argument(help: "Whose it is.") var name: String

    func run() throws {
      try orComplain("token") {
        let path = try place.path()
        let (text, file) = try TokenCommand.read(path)
        guard file.tokens.contains(where: { $0.name == name }) else {
          Output.complain("forebay token: \(quoted(name)) has no token")
          throw ExitCode(1)
        }
        let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).filter { line in
          let words = line.split { [0x20, 0x09, 0x0D].contains($0) }
          return !(words.count == 3 && words[1].elementsEqual(name.utf8))
        }
        try TokenCommand.write(Array(lines.joined(separator: [UInt8(ascii: "\n")])), to: path)
        print("\(name) has no token any more")
      }
    }
  }
}

extension Role: ExpressibleByArgument {}
