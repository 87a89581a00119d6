internal import Pipeline
internal import Spool
internal import Status
internal import Telemetry

/// What `/v1/events` tells: looked for every two seconds, and only while somebody listens.
struct GatewayEvents {
  /// Nanoseconds between two looks.
  static let interval: UInt64 = 2_000_000_000

  /// Entries of the audit log that are looked at: more than anybody may make in the meantime.
  static let audited = 20

  struct Alarm: Sendable, Hashable, Encodable {
    /// `raised` or `cleared`
    var change: String
    var kind: String
    var subject: String
    var text: String

    /// What makes it the same one, whatever its text says by now.
    var identity: [String] { [kind, subject] }
  }

  private var alarms: [Alarm] = []
  private var replays: [String: String] = [:]
  private var audited: Int64?
  private var isFirst = true

  /// Nobody listens: who comes next begins with what is.
  mutating func forget() { self = GatewayEvents() }

  /// The events since the last look; after ``forget()``, the status and the alarms that last.
  /// - Parameters:
  ///   - summary: the document of `/v1/status`.
  ///   - entries: the newest of the audit log, the newest first.
  mutating func look(_ report: StatusReport, summary: [UInt8], _ entries: [AuditEntry]) throws -> [EventHub.Event] {
    var events = [EventHub.Event(name: "status", json: summary)]
    func tell(_ name: String, _ value: some Encodable) throws {
      events.append(EventHub.Event(name: name, json: try SpoolQueries.json(value)))
    }
    let now = report.alarms.map { Alarm(change: "raised", kind: $0.kind, subject: $0.subject ?? "", text: $0.text) }
    let (before, after) = (Set(alarms.map(\.identity)), Set(now.map(\.identity)))
    for var alarm in alarms where !after.contains(alarm.identity) {
      alarm.change = "cleared"
      try tell("alarm", alarm)
    }
    for alarm in now where !before.contains(alarm.identity) { try tell("alarm", alarm) }
    alarms = now
    for replay in report.replays ?? [] {
      let progress = "\(replay.state) \(replay.read) \(replay.delivered) \(replay.outboxReadings)"
      if replays.updateValue(progress, forKey: replay.id) != progress, !isFirst { try tell("replay", replay) }
    }
    let known = Set((report.replays ?? []).map(\.id))
    replays = replays.filter { known.contains($0.key) }
    let newest = entries.first?.number ?? 0
    if let audited {
      for entry in entries.reversed() where entry.number > audited { try tell("audit", entry) }
    }
    audited = newest
    isFirst = false
    return events
  }
}
