internal import ArgumentParser
internal import Spool
internal import Telemetry

struct AuditCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit",
    abstract: "Check that the books balance to the message.",
    discussion: """
      Reads both databases at one moment, beside a running daemon or without one, and \
      checks for every pipeline:

        messages      received = unmatched + rejected + decoded + damaged + waiting
        readings      produced + windows + requeued
                      = duplicate + refused + late + filtered + absorbed
                        + in the outbox + delivered + dead-lettered upstream
        dead letters  rejected + refused + dead-lettered upstream
                      = dead letters + recovered + discarded + expired

      'received' is a counter that is committed with each block of messages, 'waiting' \
      and 'in the outbox' are counted from the rows: nothing is found by subtraction, \
      so the check can fail.

      EXAMPLES:
        forebay audit
        forebay audit --spool /var/lib/forebay --json

      The counters are those since each pipeline began, over all restarts. Replays have \
      books of their own: what a replay received are the messages of its range.

      EXIT STATUS: 0 the books balance; 1 an equation is off; 2 the spool cannot be \
      read; 64 wrong usage.
      """)

  @OptionGroup var place: SpoolPlace
  @Flag(help: "Print the audit as JSON.") var json = false

  func run() throws {
    let audit = try orComplain("audit") { try Audit.take(directory: try place.existing()) }
    print(json ? try Output.json(AuditReport(audit)) : AuditReport(audit).text)
    if !audit.balances { throw ExitCode(1) }
  }
}

/// An audit for people and for programs.
struct AuditReport: Codable, Sendable {
  struct Equation: Codable, Sendable {
    var name: String
    var left: Int64
    var right: Int64
    var balances: Bool
  }

  struct Pipeline: Codable, Sendable {
    var name: String
    /// The id of the replay whose book it is.
    var replay: String?
    /// Of a replay: it has not ended.
    var active: Bool
    var columns: [String: Int64]
    var equations: [Equation]
  }

  struct Fault: Codable, Sendable {
    var wallNanoseconds: Int64
    var kind: String
    var detail: String
    var messages: Int64
  }

  var balances: Bool
  var pipelines: [Pipeline]
  var faults: [Fault]

  init(_ audit: Audit) {
    balances = audit.balances
    pipelines = audit.entries.map { entry in
      let ledger = entry.ledger
      return Pipeline(
        name: entry.pipeline, replay: entry.replay?.rawValue, active: entry.active,
        columns: [
          "received": ledger.received, "waiting": ledger.waiting, "outbox": ledger.inOutbox,
          "deadLetters": ledger.deadLetters,
        ].merging(
          LedgerCounters.columns.map { ($0.name, ledger.counters[keyPath: $0.path]) }, uniquingKeysWith: { $1 }),
        equations: ledger.equations.map {
          Equation(name: $0.name, left: $0.left, right: $0.right, balances: $0.balances)
        })
    }
    faults = audit.faults.map {
      Fault(wallNanoseconds: $0.wall, kind: $0.kind, detail: $0.detail, messages: $0.messages)
    }
  }

  var text: String {
    var lines: [String] = []
    // Of replays that have ended only those are shown that have something to say.
    let shown = pipelines.filter {
      $0.replay == nil || $0.active || $0.columns["outbox"] != 0 || !$0.equations.allSatisfy(\.balances)
    }
    for pipeline in shown {
      func column(_ name: String) -> String { Output.grouped(pipeline.columns[name] ?? 0) }
      let ended = pipeline.replay == nil ? " (no longer configured)" : " (has ended)"
      lines.append("\(pipeline.name)\(pipeline.active ? "" : ended)")
      lines.append(
        "  messages      received \(column("received")) = unmatched \(column("unmatched"))"
          + " + rejected \(column("rejected")) + decoded \(column("decoded"))"
          + " + damaged \(column("damaged")) + waiting \(column("waiting"))")
      lines.append(
        "  readings      produced \(column("produced")) + windows \(column("emitted"))"
          + " + requeued \(column("requeued")) = duplicate \(column("duplicate")) + refused \(column("refused"))"
          + " + late \(column("late")) + filtered \(column("filtered")) + absorbed \(column("absorbed"))"
          + " + outbox \(column("outbox")) + delivered \(column("delivered"))"
          + " + dead-lettered upstream \(column("deadLetteredUpstream"))")
      lines.append(
        "  dead letters  rejected \(column("rejected")) + refused \(column("refused"))"
          + " + upstream \(column("deadLetteredUpstream"))"
          + " = kept \(column("deadLetters")) + recovered \(column("recovered"))"
          + " + discarded \(column("discarded")) + expired \(column("expired"))")
      for equation in pipeline.equations where !equation.balances {
        lines.append(
          "  OFF BY \(equation.left - equation.right) in \(equation.name): "
            + "\(equation.left) on the left, \(equation.right) on the right")
      }
    }
    for fault in faults.suffix(20) {
      lines.append(
        "fault \(Output.time(fault.wallNanoseconds)) \(fault.kind): \(fault.detail)"
          + (fault.messages > 0 ? " (\(Output.count(fault.messages, "message")))" : ""))
    }
    lines.append(balances ? "The books balance." : "THE BOOKS DO NOT BALANCE.")
    return lines.joined(separator: "\n")
  }
}
