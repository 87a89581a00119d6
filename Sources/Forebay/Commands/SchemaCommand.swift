internal import ArgumentParser
internal import Pipeline
internal import Telemetry

struct SchemaCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schema",
    abstract: "Contracts: what readings must be like, in files with versions.",
    discussion: """
      A contract is a file NAME@X.Y.Z.json in the folder that the configuration names with 'contracts'; \
      docs/contracts.md describes it. A pipeline takes one with 'contract: NAME@X'.

      EXAMPLES:
        forebay schema infer --pipeline climate > climate.json
        forebay schema check climate.json
        forebay schema register climate.json
        forebay schema list

      EXIT STATUS: 0 done, or the answer is yes; 1 a file is no valid contract, versions are not \
      compatible, or there is nothing to learn from; 2 a file or the log cannot be read or written; 64 \
      wrong usage.
      """,
    subcommands: [List.self, Check.self, Infer.self, Register.self])
}

/// Which folder of contracts a command is about.
struct ContractPlace: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("The configuration that names the folder of contracts.", valueName: "file"))
  var config = Configuration.defaultPath

  @Option(help: ArgumentHelp("The folder of contracts, instead of the configuration's.", valueName: "folder"))
  var folder: String?

  /// The folder; also when the rest of the configuration is refused.
  func contracts() -> ContractFolder {
    let files = ConfigurationFiles.system
    if let folder { return ContractFolder(path: absolute(folder), files: files) }
    let path = absolute(config)
    var named = ContractFolder.defaultName
    if case .success(let contents) = files.read(path, YAMLParser.Limits().bytes),
      let root = YAMLParser.parse(contents.bytes, diagnostics: DiagnosticCollector(file: path)),
      case .mapping = root.content, case .scalar(let scalar) = root.value(of: "contracts")?.content,
      !scalar.text.isEmpty
    {
      named = scalar.text
    }
    return ContractFolder(path: PathText.absolute(named, from: PathText.folder(of: path)), files: files)
  }

  /// The pipelines of the configuration by the contract that they take; none where it is refused.
  func users() -> [ContractID: [String]] {
    let path = absolute(config)
    guard case .success(let contents) = ConfigurationFiles.system.read(path, YAMLParser.Limits().bytes),
      let configuration = try? Configuration.decode(
        Configuration.Origin(path: path, bytes: contents.bytes), shownAs: config, files: .system,
        toleratesSurroundings: true, toleratesAttachments: true)
    else { return [:] }
    var users: [ContractID: [String]] = [:]
    for pipeline in configuration.pipelines {
      guard let contract = pipeline.contract else { continue }
      users[ContractID(name: contract.name, version: contract.version), default: []].append(pipeline.name)
    }
    return users
  }

  func absolute(_ path: String) -> String { PathText.absolute(path, from: PathText.workingDirectory) }
}

extension ContractFolder {
  /// Why a contract cannot be used: where its file lies, and what is wrong with it.
  struct Fault: Error, CustomStringConvertible {
    var path: String
    /// It could not be read, as opposed to: it is no contract.
    var isUnreadable: Bool
    var reasons: [String]

    var description: String { reasons.map { "\(path):\($0)" }.joined(separator: "\n") }
  }

  /// What is there; nothing where the folder is not.
  func registered() throws(Fault) -> [ContractID] {
    switch ids() {
    case .success(let ids): return ids
    case .failure(.missing): return []
    case .failure(let fault): throw Fault(path: path, isUnreadable: true, reasons: [" the folder \(fault.reason)"])
    }
  }

  func load(_ id: ContractID) throws(Fault) -> ContractFile {
    let file = try ContractFolder.load(path(of: id), files: files).file
    guard file.id == id else {
      throw Fault(path: path(of: id), isUnreadable: false, reasons: [" the contract in it is \(file.id)"])
    }
    return file
  }

  static func load(
    _ path: String, files: ConfigurationFiles = .system
  ) throws(Fault) -> (file: ContractFile, bytes: [UInt8]) {
    switch files.read(path, ContractFile.limit) {
    case .failure(let fault): throw Fault(path: path, isUnreadable: true, reasons: [" the file \(fault.reason)"])
    case .success(let contents):
      do throws(ContractFileErrors) {
        return (try ContractFile(parsing: contents.bytes), contents.bytes)
      } catch {
        throw Fault(path: path, isUnreadable: false, reasons: error.faults.map(\.description))
      }
    }
  }
}

/// Runs what a subcommand does; a contract that cannot be used is told, and ends it with 1, or 2 where it cannot be
/// read.
func onContracts(json: Bool, _ body: () throws -> Void) throws {
  do {
    try body()
  } catch let fault as ContractFolder.Fault {
    Output.complain("\(fault)")
    if json {
      StandardStream.output.write(
        line: CompactJSON.object {
          $0.add("accepted", false)
          $0.add("file", fault.path)
          $0.add("faults", raw: CompactJSON.array(fault.reasons.map { CompactJSON.quoted($0) }))
        })
    }
    throw ExitCode(fault.isUnreadable ? 2 : 1)
  } catch let code as ExitCode {
    throw code
  } catch {
    Output.complain("forebay schema: \(error)")
    throw ExitCode(2)
  }
}

extension SchemaCommand {
  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the contracts that are registered, and which pipelines take them.",
      discussion: """
        Pipelines that name a contract by fewer numbers than three take its newest version of that kind.

        EXAMPLES:
          forebay schema list
          forebay schema list --folder ./contracts --json
        """)

    @OptionGroup var place: ContractPlace
    @Flag(help: "Print one JSON object.") var json = false

    private struct Row {
      var id: ContractID
      var file: ContractFile?
      var fault: String?
      var pipelines: [String]
    }

    func run() throws {
      try onContracts(json: json) {
        let folder = place.contracts()
        let users = place.users()
        let rows = try folder.registered().map { id in
          do throws(ContractFolder.Fault) {
            return Row(id: id, file: try folder.load(id), fault: nil, pipelines: users[id] ?? [])
          } catch {
            return Row(id: id, file: nil, fault: error.reasons.first, pipelines: users[id] ?? [])
          }
        }
        if json {
          StandardStream.output.write(line: json(rows, folder))
        } else if rows.isEmpty {
          StandardStream.output.write(line: "no contract is registered in \(folder.path)")
        } else {
          StandardStream.output.write(line: table(rows))
        }
      }
    }

    private func table(_ rows: [Row]) -> String {
      Output.table(
        ["contract", "pipelines", "compatibility", "expectations", "owner"],
        rows.map { row in
          guard let file = row.file else { return [row.id.description, "", "", "", "refused: \(row.fault ?? "")"] }
          return [
            row.id.description, row.pipelines.isEmpty ? "none" : row.pipelines.joined(separator: ", "),
            file.compatibility.rawValue, String(file.contract.expectations.count), file.owner.map(quoted) ?? "",
          ]
        })
    }

    private func json(_ rows: [Row], _ folder: ContractFolder) -> String {
      CompactJSON.object { json in
        json.add("folder", folder.path)
        json.add(
          "contracts",
          raw: CompactJSON.array(
            rows.map { row in
              CompactJSON.object { json in
                json.add("name", row.id.name)
                json.add("version", row.id.version.description)
                json.add("file", folder.path(of: row.id))
                json.add("pipelines", raw: CompactJSON.array(row.pipelines.map { CompactJSON.quoted($0) }))
                if let fault = row.fault { json.add("fault", fault) }
                guard let file = row.file else { return }
                if let owner = file.owner { json.add("owner", owner) }
                if let description = file.description { json.add("description", description) }
                json.add("compatibility", file.compatibility.rawValue)
                json.add("expectations", file.contract.expectations.count)
                json.add("digest", file.contract.digest.hex)
              }
            }))
      }
    }
  }
}
