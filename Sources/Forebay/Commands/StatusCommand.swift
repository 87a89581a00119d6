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
      describes every state, alarm and field, docs/metrics.md every metric.

      EXAMPLES:
        forebay status
        forebay status --json | jq .pipelines
        forebay status --metrics | grep outbox
        forebay status --traces | jq '.[0]'

      EXIT STATUS: 0 all is well; 1 there are alarms; 2 the daemon cannot be reached; \
      64 wrong usage.
      """)

  @Option(name: .shortAndLong, help: ArgumentHelp("The daemon's configuration.", valueName: "file"))
  var config = Configuration.defaultPath
  @Option(help: ArgumentHelp("The daemon's socket, instead of the configuration's.", valueName: "path"))
  var socket: String?
  @Flag(help: "Print the document as JSON.") var json = false
  @Flag(help: "Print the metrics as Prometheus reads them instead.") var metrics = false
  @Flag(help: "Print the traces of the last batches as JSON instead, the newest first.") var traces = false

  func validate() throws {
    guard [json, metrics, traces].count(where: { $0 }) < 2 else {
      throw ValidationError("--json, --metrics and --traces exclude one another.")
    }
  }

  func run() throws {
    let path = try socket ?? configuredSocket()
    if metrics || traces {
      let request: LocalSocket.Request = metrics ? .metrics : .traces
      let page = try orComplain("status") { try LocalSocket.fetch(path, request) }
      return print(String(decoding: page, as: UTF8.self), terminator: metrics ? "" : "\n")
    }
    let (document, report) = try orComplain("status") {
      do {
        let document = try LocalSocket.fetch(path)
        return (document, try StatusReport(document: document))
      } catch let failure as LocalSocket.Failure where socket == nil {
        throw LocalSocket.Failure(description: "\(failure) (--socket names another)")
      }
    }
    print(json ? String(decoding: document, as: UTF8.self) : report.text)
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

  var text: String {
    var parts: [String] = []
    let place = site.map { " at \($0)" } ?? ""
    parts.append(
      "\(gateway)\(place)  forebay \(software)  up \(Output.duration(seconds: uptimeSeconds))  "
        + "\(Output.bytes(residentBytes)) resident  clock "
        + (clockSynchronised ? "synchronised" : "NOT synchronised"))
    parts.append(
      "Sources, counted since the start:\n"
        + Output.table(
          ["SOURCE", "STATE", "MESSAGES", "BYTES", "GROUPS", "RECONNECTS", "DETAIL"],
          sources.map {
            [
              $0.name, $0.state, Output.grouped($0.messages), Output.bytes($0.bytes),
              Output.grouped($0.groups), Output.grouped($0.reconnects), $0.detail ?? "",
            ]
          }))
    parts.append(
      "spool  \(spool.directory)  \(Output.bytes(spool.usedBytes)) of \(Output.bytes(spool.maximumBytes)) used, "
        + "\(Output.bytes(spool.freeBytes)) free on the disk  "
        + "\(Output.count(spool.received, "message")) taken in since the log began"
        + (spool.parked.map { "\n  PARKED: \($0)" } ?? ""))
    parts.append(cost)
    parts.append(
      "Pipelines: what waits now, and what was delivered since they began:\n"
        + Output.table(
          ["PIPELINE", "BACKLOG", "OPEN", "OUTBOX", "READINGS", "OLDEST", "DELIVERED", "DEAD LETTERS"],
          pipelines.map {
            [
              $0.name + ($0.draining ? " (draining)" : ""), Output.grouped($0.backlog),
              Output.grouped(Int64($0.openReadings)), Output.grouped($0.outboxBatches),
              Output.grouped($0.outboxReadings),
              $0.oldestOutboxSeconds.map { Output.duration(seconds: $0) } ?? "-",
              Output.grouped($0.delivered),
              Output.grouped($0.deadLetters)
                + ($0.deadLettersExpired > 0 ? " (\(Output.grouped($0.deadLettersExpired)) expired)" : ""),
            ]
          }))
    let stages = pipelines.flatMap(\.stageRows)
    if !stages.isEmpty {
      parts.append("What the stages have seen:\n" + Output.table(["PIPELINE", "STAGE", "SEEN"], stages))
    }
    if let replays, !replays.isEmpty { parts.append("Replays:\n" + ReplayReport.table(replays)) }
    parts.append(
      "Uplinks, counted since the start:\n"
        + Output.table(
          ["UPLINK", "STATE", "DELIVERED", "SENT", "IN FLIGHT", "NEXT", "LAST ERROR"],
          uplinks.map {
            [
              $0.name,
              $0.state + ($0.failingSeconds.map { " for " + Output.duration(seconds: $0) } ?? ""),
              Output.grouped($0.readingsDelivered), Output.bytes($0.bytesSent),
              String($0.inFlight),
              $0.nextAttemptSeconds.map { Output.decimal($0, places: 1) + " s" } ?? "-",
              $0.lastError ?? "",
            ]
          }))
    parts.append(
      alarms.isEmpty
        ? "No alarms." : alarms.map { "ALARM \($0.kind): \($0.text)" }.joined(separator: "\n"))
    return parts.joined(separator: "\n\n")
  }
}
