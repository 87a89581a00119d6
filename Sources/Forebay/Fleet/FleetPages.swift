internal import FoundationEssentials
internal import Glibc
internal import Status
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

/// The fleet as a page for Prometheus.
enum FleetMetrics {
  /// More labels, and longer ones, than our own series have: the inventory's, and the URL.
  private static let mostLabels = 24
  private static let longestLabel = 2048

  /// - Parameter now: wall nanoseconds since 1970.
  static func page(_ board: FleetBoard, at now: Int64) -> [UInt8] {
    // Some ten lines of a hundred bytes for each.
    var page = PrometheusPage(capacity: 4096 + board.entries.count << 10)
    let counts = board.counts
    page.family("forebay_fleet_gateways", .gauge, help: "Gateways by state.")
    for state in FleetBoard.State.allCases {
      page.sample(MetricLabels("state", state.word), Int64(counts[state] ?? 0))
    }
    let names = board.names
    let entries = board.entries.enumerated().map { index, entry in
      (labels: labels(names[index], entry), entry: entry)
    }
    page.family(
      "forebay_fleet_gateway_info", .gauge, help: "Where a gateway is asked, and the inventory's labels.")
    for (labels, entry) in entries {
      let own = entry.target.labels.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
      let known = Set(labels.pairs.map(\.name))
      page.sample(labels, bounded([("url", entry.target.url)] + own.filter { !known.contains($0.0) }), 1 as Int64)
    }
    page.family("forebay_fleet_gateway_state", .gauge, help: "0 ok, 1 warning, 2 critical, 3 unreachable, 4 invalid.")
    for (labels, entry) in entries {
      if let state = entry.state { page.sample(labels, Int64(state.rawValue)) }
    }
    page.family(
      "forebay_fleet_gateway_last_seen_timestamp_seconds", .gauge, help: "When a gateway last told its status.")
    for (labels, entry) in entries {
      if let seen = entry.lastSeen { page.sample(labels, nanoseconds: seen) }
    }
    // What a gateway said is true while it says so: one that is not reached has no figures, rather than old ones.
    let current = entries.compactMap { labels, entry in
      entry.isCurrent ? entry.summary.map { (labels: labels, summary: $0) } : nil
    }
    page.family(
      "forebay_fleet_gateway_freshness_seconds", .gauge,
      help: "How long the oldest data has waited that is not delivered yet.")
    for one in current {
      if let seconds = one.summary.freshnessSeconds { page.sample(one.labels, seconds) }
    }
    func figures(_ name: String, _ help: String, _ value: (PulledStatus) -> Int64?) {
      page.family(name, .gauge, help: help)
      for one in current {
        if let value = value(one.summary) { page.sample(one.labels, value) }
      }
    }
    figures("forebay_fleet_gateway_backlog_messages", "Messages that no pipeline has read yet.") { $0.backlogMessages }
    figures("forebay_fleet_gateway_outbox_readings", "Readings that wait to be delivered.") { $0.outboxReadings }
    figures("forebay_fleet_gateway_dead_letters", "Dead letters that are kept.") { $0.deadLetters }
    page.family("forebay_fleet_gateway_alarms", .gauge, help: "Alarms that last.")
    let (pages, tickets) = (MetricLabels("severity", "page"), MetricLabels("severity", "ticket"))
    for one in current {
      page.sample(one.labels, pages, Int64(one.summary.pages))
      page.sample(one.labels, tickets, Int64(one.summary.tickets))
    }
    process(into: &page)
    self.pulls(board.pulls, into: &page)
    return page.document()
  }

  private static func labels(_ name: String, _ entry: FleetBoard.Entry) -> MetricLabels {
    bounded([("gateway", name), ("site", entry.site ?? "")])
  }

  private static func bounded(_ pairs: [(String, String)]) -> MetricLabels {
    MetricLabels(pairs, most: mostLabels, longest: longestLabel)
  }

  private static func pulls(_ pulls: FleetBoard.PullCounts, into page: inout PrometheusPage) {
    page.family("forebay_fleet_pulls_total", .counter, help: "Times that a gateway was asked, by what came of it.")
    for (word, count) in [
      ("answered", pulls.answered), ("unreachable", pulls.unreachable), ("invalid", pulls.invalid),
    ] { page.sample(MetricLabels("outcome", word), count) }
    page.family("forebay_fleet_pull_duration_seconds", .histogram, help: "Time that asking a gateway took.")
    page.sample(.none, pulls.durations)
  }

  private static func process(into page: inout PrometheusPage) {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    let seconds = { (time: timeval) in Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    page.single(
      "process_cpu_seconds_total", .counter, seconds(usage.ru_utime) + seconds(usage.ru_stime),
      help: "Processor time of the fleet process, user and system.")
    page.single(
      "process_resident_memory_bytes", .gauge, Int64(ProcessMemory.resident()),
      help: "Resident memory of the fleet process.")
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
