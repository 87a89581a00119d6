internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Show what the running daemon is doing.",
    discussion: """
      Asks the daemon over its local socket (status.socket in the configuration). \
      Sources and uplinks are counted since the daemon started, pipelines since they \
      began. What the stages have seen (expectations that were not met, sequence \
      numbers, fields that changed, windows) is told one stage a line. docs/status.md \
      describes every state, alarm and field, docs/metrics.md every metric. The first word is the gateway's state: \
      ok, warning (something for working hours) or critical (somebody is called).

      With --watch it looks again every 2 seconds, or as many as follow, and shows \
      rates since the last look, in a terminal in place until Ctrl-C, otherwise one \
      look after the other. Colours are for terminals only, and NO_COLOR is heeded.

      EXAMPLES:
        forebay status
        forebay status --watch
        forebay status --watch 10
        forebay status --json | jq .pipelines
        forebay status --metrics | grep outbox
        forebay status --traces | jq '.[0]'

      EXIT STATUS: 0 all is well, or the end of --watch; 1 there are alarms; 2 the \
      daemon cannot be reached; 64 wrong usage.
      """)

  @Option(name: .shortAndLong, help: ArgumentHelp("The daemon's configuration.", valueName: "file"))
  var config = Configuration.defaultPath
  @Option(help: ArgumentHelp("The daemon's socket, instead of the configuration's.", valueName: "path"))
  var socket: String?
  @Flag(help: "Print the document as JSON.") var json = false
  @Flag(help: "Print the metrics as Prometheus reads them instead.") var metrics = false
  @Flag(help: "Print the traces of the last batches as JSON instead, the newest first.") var traces = false
  @Flag(name: .shortAndLong, help: "Look again and again, until Ctrl-C.") var watch = false
  @Argument(help: "Seconds between two looks of --watch.") var seconds: Double?

  /// Seconds.
  private static let intervals = 0.1...86_400.0

  func validate() throws {
    guard [json, metrics, traces].count(where: { $0 }) < 2 else {
      throw ValidationError("--json, --metrics and --traces exclude one another.")
    }
    if watch, metrics || traces { throw ValidationError("--watch is for the status") }
    guard let seconds else { return }
    guard watch else { throw ValidationError("a number of seconds is for --watch") }
    guard Self.intervals.contains(seconds) else { throw ValidationError("--watch takes 0.1 to 86400 seconds") }
  }

  func run() throws {
    let path = try socket ?? configuredSocket()
    if metrics || traces {
      let page = try orComplain("status") { try LocalSocket.fetch(path, metrics ? .metrics : .traces) }
      return print(String(decoding: page, as: UTF8.self), terminator: metrics ? "" : "\n")
    }
    func fetch() throws -> [UInt8] {
      do {
        return try LocalSocket.fetch(path)
      } catch let failure as LocalSocket.Failure where socket == nil {
        throw LocalSocket.Failure(description: "\(failure) (--socket names another)")
      }
    }
    if watch {
      try orComplain("status") { try StatusWatch(interval: seconds ?? 2, json: json, fetch: fetch).run() }
    }
    let (document, report) = try orComplain("status") {
      let document = try fetch()
      return (document, try StatusReport(document: document))
    }
    if json {
      print(String(decoding: document, as: UTF8.self))
    } else {
      let terminal = Terminal.standardOutput()
      let screen = StatusScreen(
        report: report, judgement: StatusJudgement(document: document, report: report),
        now: SystemClock.wall(), width: terminal.size?.columns)
      print(screen.lines.map { $0.rendered(colour: terminal.hasColour) }.joined(separator: "\n"))
    }
    if !report.alarms.isEmpty { throw ExitCode(1) }
  }
}

extension StatusCommand {
  private func configuredSocket() throws -> String {
    do throws(ConfiguredPlaces.Fault) {
      let places = try ConfiguredPlaces.find(config: config)
      if let note = places.note { Output.complain("forebay: \(note)") }
      return places.socket
    } catch {
      Output.complain("forebay status: \(error)")
      Output.complain("forebay status: name the socket with --socket, or another configuration with --config")
      throw ExitCode(2)
    }
  }
}

extension StatusReport {
  /// - Throws: what the daemon says is wrong when it cannot make its status.
  init(document: [UInt8]) throws {
    struct Trouble: Decodable { var error: String }
    let decoder = JSONDecoder()
    if let trouble = try? decoder.decode(Trouble.self, from: Data(document)) {
      throw LocalSocket.Failure(description: "the daemon cannot make its status: \(trouble.error)")
    }
    self = try decoder.decode(StatusReport.self, from: Data(document))
  }

  /// What the messages cost: bytes written to flash and sent upstream, also for each byte of payload.
  var cost: String {
    let payload = sources.reduce(0) { $0 + $1.bytes }
    func figure(_ bytes: Int64) -> String {
      guard payload > 0 else { return Output.bytes(bytes) }
      let ratio = Output.decimal(Double(bytes) / Double(payload), places: 2)
      return "\(Output.bytes(bytes)) (\(ratio) per payload byte)"
    }
    let written = writtenBytes.map { "\(figure($0)) written to disk, " } ?? ""
    return "cost  \(written)\(figure(uplinks.reduce(0) { $0 + $1.bytesSent })) sent upstream, since the start"
  }
}
