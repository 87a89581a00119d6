internal import FoundationEssentials
internal import Glibc
internal import Telemetry

/// The whole fleet as one JSON document (docs/fleet.md).
struct FleetDocument: Encodable, Sendable {
  struct Gateway: Encodable, Sendable {
    var name: String
    var url: String
    var site: String?
    var labels: [String: String]?
    /// `pending` until it has been asked once.
    var state: String
    var reason: String?
    var since: String?
    var lastSeen: String?
    var pullSeconds: Double
    /// What it said when it was last seen.
    var status: Status?
  }

  struct Status: Encodable, Sendable {
    struct Alarm: Encodable, Sendable {
      var kind: String
      var subject: String
      var severity: String
      var text: String
      var since: String?
      var runbook: String?
    }
    struct Objective: Encodable, Sendable {
      var name: String
      var state: String
      var budgetRemaining: Double?
    }
    var gateway: String
    var software: String?
    var uptimeSeconds: Double?
    var clockSynchronised: Bool?
    var pages: Int
    var tickets: Int
    var alarms: [Alarm]
    var objectives: [Objective]
    var freshnessSeconds: Double?
    var messagesReceived: Int64?
    var messagesPerSecond: Double?
    var readingsDelivered: Int64?
    var backlogMessages: Int64?
    var outboxReadings: Int64?
    var outboxOldestSeconds: Double?
    var deadLetters: Int64?
    var parked: Bool
  }

  var version = 1
  var time: String
  var total: Int
  /// How many gateways are in each state.
  var states: [String: Int]
  /// The worst first.
  var gateways: [Gateway]

  /// - Parameter now: wall nanoseconds since 1970.
  init(_ board: FleetBoard, at now: Int64) {
    time = Output.time(now)
    total = board.entries.count
    states = FleetBoard.State.allCases.reduce(into: [:]) { $0[$1.word] = board.counts[$1] ?? 0 }
    let names = Dictionary(
      zip(board.entries.map(\.target.url), board.names), uniquingKeysWith: { first, _ in first })
    gateways = board.worstFirst.map { entry in
      Gateway(
        name: names[entry.target.url] ?? entry.target.place, url: entry.target.url, site: entry.site,
        labels: entry.target.labels.isEmpty ? nil : entry.target.labels, state: entry.state?.word ?? "pending",
        reason: entry.reason.isEmpty ? nil : entry.reason, since: entry.state == nil ? nil : Output.time(entry.since),
        lastSeen: entry.lastSeen.map(Output.time), pullSeconds: Double(entry.took) / 1e9,
        status: entry.summary.map(Status.init))
    }
  }
}

extension FleetDocument.Status {
  init(_ summary: PulledStatus) {
    self.init(
      gateway: summary.gateway, software: summary.software, uptimeSeconds: summary.uptimeSeconds,
      clockSynchronised: summary.clockSynchronised, pages: summary.pages, tickets: summary.tickets,
      alarms: summary.alarms.map {
        Alarm(
          kind: $0.kind, subject: $0.subject, severity: $0.severity, text: $0.text, since: $0.since,
          runbook: $0.runbook)
      },
      objectives: summary.objectives.map {
        Objective(name: $0.name, state: $0.state, budgetRemaining: $0.budgetRemaining)
      },
      freshnessSeconds: summary.freshnessSeconds, messagesReceived: summary.messagesReceived,
      messagesPerSecond: summary.messagesPerSecond, readingsDelivered: summary.readingsDelivered,
      backlogMessages: summary.backlogMessages, outboxReadings: summary.outboxReadings,
      outboxOldestSeconds: summary.outboxOldestSeconds, deadLetters: summary.deadLetters, parked: summary.isParked)
  }
}

/// The fleet as a table for people, the worst first.
enum FleetTable {
  /// - Parameter limit: gateways that are shown.
  static func text(_ board: FleetBoard, limit: Int) -> String {
    let names = Dictionary(
      zip(board.entries.map(\.target.url), board.names), uniquingKeysWith: { first, _ in first })
    let rows = board.worstFirst.prefix(limit).map { entry -> [String] in
      let summary = entry.summary
      // What was true when it was last seen is in brackets.
      func figure(_ text: String?) -> String { text.map { entry.isCurrent ? $0 : "(\($0))" } ?? "-" }
      return [
        entry.state?.word ?? "pending", names[entry.target.url] ?? entry.target.place, entry.site ?? "-",
        figure(summary?.freshnessSeconds.map { Output.duration(seconds: $0) }),
        figure(summary?.backlogMessages.map(Output.grouped)), figure(summary?.outboxReadings.map(Output.grouped)),
        figure(summary?.deadLetters.map(Output.grouped)), Output.plain(entry.reason, limit: 200),
      ]
    }
    var out = Output.table(
      ["STATE", "GATEWAY", "SITE", "FRESHNESS", "BACKLOG", "OUTBOX", "DEAD LETTERS", "WHAT IS WRONG"], rows)
    let rest = board.entries.count - rows.count
    if rest > 0 { out += "\n... and \(Output.count(Int64(rest), "more gateway")) (--limit)" }
    return out
  }

  /// `2,000 gateways: 3 critical, 10 unreachable, 1,987 ok`.
  static func summary(_ board: FleetBoard) -> String {
    let counts = board.counts
    var parts = FleetBoard.State.allCases.reversed().compactMap { state in
      counts[state].map { "\(Output.grouped(Int64($0))) \(state.word)" }
    }
    let pending = board.entries.count - counts.values.reduce(0, +)
    if pending > 0 { parts.append("\(Output.grouped(Int64(pending))) not asked yet") }
    return "\(Output.count(Int64(board.entries.count), "gateway")): \(parts.joined(separator: ", "))"
  }
}

/// The fleet as a page for Prometheus (text format 0.0.4).
enum FleetMetrics {
  /// - Parameter now: wall nanoseconds since 1970.
  static func text(_ board: FleetBoard, at now: Int64) -> String {
    var page = Page()
    let counts = board.counts
    page.family("forebay_fleet_gateways", "gauge", "Gateways by state.")
    for state in FleetBoard.State.allCases {
      page.sample("forebay_fleet_gateways", [("state", state.word)], Double(counts[state] ?? 0))
    }
    let names = board.names
    let entries = board.entries.enumerated().map { (name: names[$0], entry: $1) }
    func labels(_ name: String, _ entry: FleetBoard.Entry) -> [(String, String)] {
      [("gateway", name), ("site", entry.site ?? "")]
    }
    page.family("forebay_fleet_gateway_info", "gauge", "Where a gateway is asked, and the inventory's labels.")
    for (name, entry) in entries {
      let own = entry.target.labels.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
      page.sample("forebay_fleet_gateway_info", labels(name, entry) + [("url", entry.target.url)] + own, 1)
    }
    page.family(
      "forebay_fleet_gateway_state", "gauge", "0 ok, 1 warning, 2 critical, 3 unreachable, 4 invalid.")
    for (name, entry) in entries {
      guard let state = entry.state else { continue }
      page.sample("forebay_fleet_gateway_state", labels(name, entry), Double(state.rawValue))
    }
    page.family(
      "forebay_fleet_gateway_last_seen_timestamp_seconds", "gauge", "When a gateway last told its status.")
    for (name, entry) in entries {
      if let seen = entry.lastSeen {
        page.sample("forebay_fleet_gateway_last_seen_timestamp_seconds", labels(name, entry), Double(seen) / 1e9)
      }
    }
    // What a gateway said is true while it says so: one that is not reached has no figures, rather than old ones.
    let current = entries.compactMap { name, entry in
      entry.isCurrent ? entry.summary.map { (labels: labels(name, entry), summary: $0) } : nil
    }
    func figures(_ name: String, _ help: String, _ value: (PulledStatus) -> Double?) {
      page.family(name, "gauge", help)
      for one in current {
        if let value = value(one.summary) { page.sample(name, one.labels, value) }
      }
    }
    figures("forebay_fleet_gateway_freshness_seconds", "How long the oldest data has waited that is not delivered yet.")
    {
      $0.freshnessSeconds
    }
    figures("forebay_fleet_gateway_backlog_messages", "Messages that no pipeline has read yet.") {
      $0.backlogMessages.map(Double.init)
    }
    figures("forebay_fleet_gateway_outbox_readings", "Readings that wait to be delivered.") {
      $0.outboxReadings.map(Double.init)
    }
    figures("forebay_fleet_gateway_dead_letters", "Dead letters that are kept.") { $0.deadLetters.map(Double.init) }
    page.family("forebay_fleet_gateway_alarms", "gauge", "Alarms that last.")
    for one in current {
      page.sample("forebay_fleet_gateway_alarms", one.labels + [("severity", "page")], Double(one.summary.pages))
      page.sample("forebay_fleet_gateway_alarms", one.labels + [("severity", "ticket")], Double(one.summary.tickets))
    }
    pulls(board.pulls, into: &page)
    process(into: &page)
    return page.text
  }

  private static func pulls(_ pulls: FleetBoard.PullCounts, into page: inout Page) {
    page.family("forebay_fleet_pulls_total", "counter", "Times that a gateway was asked, by what came of it.")
    for (word, count) in [
      ("answered", pulls.answered), ("unreachable", pulls.unreachable), ("invalid", pulls.invalid),
    ] { page.sample("forebay_fleet_pulls_total", [("outcome", word)], Double(count)) }
    let name = "forebay_fleet_pull_duration_seconds"
    page.family(name, "histogram", "Time that asking a gateway took.")
    var sum: Int64 = 0
    for (index, bound) in FleetBoard.PullCounts.bounds.enumerated() {
      sum += pulls.buckets[index]
      page.sample(name + "_bucket", [("le", Page.number(bound))], Double(sum))
    }
    page.sample(name + "_bucket", [("le", "+Inf")], Double(pulls.total))
    page.sample(name + "_sum", [], pulls.seconds)
    page.sample(name + "_count", [], Double(pulls.total))
  }

  private static func process(into page: inout Page) {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    let seconds = { (time: timeval) in Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    page.family("process_cpu_seconds_total", "counter", "Processor time of the fleet process, user and system.")
    page.sample("process_cpu_seconds_total", [], seconds(usage.ru_utime) + seconds(usage.ru_stime))
    page.family("process_resident_memory_bytes", "gauge", "Resident memory of the fleet process.")
    page.sample("process_resident_memory_bytes", [], Double(ProcessMemory.resident()))
  }

  private struct Page {
    private(set) var text = ""

    mutating func family(_ name: String, _ type: String, _ help: String) {
      text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    mutating func sample(_ name: String, _ labels: [(String, String)], _ value: Double) {
      text += name
      if !labels.isEmpty {
        text += "{"
        for (index, label) in labels.enumerated() {
          if index > 0 { text += "," }
          text += label.0
          text += "=\""
          text += Page.escaped(label.1)
          text += "\""
        }
        text += "}"
      }
      text += " \(Page.number(value))\n"
    }

    static func number(_ value: Double) -> String {
      value == value.rounded() && value.magnitude < 1e15 ? String(Int64(value)) : "\(value)"
    }

    private static func escaped(_ value: String) -> String {
      guard value.utf8.contains(where: { $0 == 0x22 || $0 == 0x5C || $0 < 0x20 }) else { return value }
      var out = ""
      for character in value.unicodeScalars {
        switch character {
        case "\\": out += "\\\\"
        case "\"": out += "\\\""
        case "\n": out += "\\n"
        default: out.unicodeScalars.append(character)
        }
      }
      return out
    }
  }
}

/// The inventory as Prometheus discovers it (file_sd_config): one group for each gateway, with its labels.
enum FleetTargets {
  private struct Group: Encodable {
    var targets: [String]
    var labels: [String: String]
  }

  static func json(_ targets: [FleetTarget]) throws -> String {
    try Output.json(
      targets.map { target in
        var labels = target.labels
        labels["gateway"] = target.name ?? target.place
        labels["site"] = target.site
        labels["__scheme__"] = target.isEncrypted ? "https" : "http"
        if !target.path.isEmpty { labels["__metrics_path__"] = target.path + "/metrics" }
        return Group(targets: [FleetTarget.authority(target.host, target.port)], labels: labels)
      })
  }
}
