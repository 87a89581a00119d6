internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Show what the running daemon is doing.",
    discussion: """
      Asks the daemon over its local socket (status.socket in the configuration).

      EXAMPLES:
        forebay status
        forebay status --json | jq .pipelines

      EXIT STATUS: 0 all is well; 1 there are alarms; 2 the daemon cannot be reached; 64 wrong
      usage.
      """)

  @Option(name: .shortAndLong, help: ArgumentHelp("The daemon's configuration.", valueName: "file"))
  var config = Configuration.defaultPath
  @Option(help: ArgumentHelp("The daemon's socket, instead of the configuration's.", valueName: "path"))
  var socket: String?
  @Flag(help: "Print the document as JSON.") var json = false

  func run() throws {
    let document: [UInt8]
    let report: StatusReport
    do {
      let path: String
      if let socket { path = socket } else { path = try Configuration.load(path: config).status.socket }
      document = try LocalSocket.fetch(path)
      report = try JSONDecoder().decode(StatusReport.self, from: Data(document))
    } catch {
      Output.complain("forebay status: \(error)")
      throw ExitCode(2)
    }
    print(json ? String(decoding: document, as: UTF8.self) : report.text)
    if !report.alarms.isEmpty { throw ExitCode(1) }
  }
}

extension StatusReport {
  var text: String {
    var parts: [String] = []
    let place = site.map { " at \($0)" } ?? ""
    parts.append(
      "\(gateway)\(place)  forebay \(software)  up \(Int(uptimeSeconds)) s  "
        + "\(Output.bytes(residentBytes)) resident  clock "
        + (clockSynchronised ? "synchronised" : "NOT synchronised"))
    parts.append(
      Output.table(
        ["SOURCE", "STATE", "MESSAGES", "BYTES", "GROUPS", "RECONNECTS", "DETAIL"],
        sources.map {
          [
            $0.name, $0.state, Output.grouped($0.messages), Output.bytes($0.bytes),
            Output.grouped($0.groups), Output.grouped($0.reconnects), $0.detail ?? "",
          ]
        }))
    parts.append(
      "spool  \(spool.directory)  \(Output.bytes(spool.usedBytes)) of \(Output.bytes(spool.maximumBytes)) used, "
        + "\(Output.bytes(spool.freeBytes)) free on the disk  \(Output.grouped(spool.received)) messages received"
        + (spool.parked.map { "\n  PARKED: \($0)" } ?? ""))
    parts.append(
      Output.table(
        ["PIPELINE", "BACKLOG", "OPEN", "OUTBOX", "READINGS", "OLDEST", "DELIVERED", "DEAD LETTERS"],
        pipelines.map {
          [
            $0.name + ($0.draining ? " (draining)" : ""), Output.grouped($0.backlog),
            Output.grouped(Int64($0.openReadings)), Output.grouped($0.outboxBatches),
            Output.grouped($0.outboxReadings),
            $0.oldestOutboxSeconds.map { Output.decimal($0, places: 0) + " s" } ?? "-",
            Output.grouped($0.delivered), Output.grouped($0.deadLetters),
          ]
        }))
    parts.append(
      Output.table(
        ["UPLINK", "STATE", "DELIVERED", "SENT", "IN FLIGHT", "NEXT", "LAST ERROR"],
        uplinks.map {
          [
            $0.name, $0.state, Output.grouped($0.readingsDelivered), Output.bytes($0.bytesSent),
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
