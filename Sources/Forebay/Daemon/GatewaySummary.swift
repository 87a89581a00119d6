internal import Glibc
internal import Pipeline
internal import Status
internal import Synchronization

/// The summary for a fleet, made anew once a second at most, however many ask.
final class GatewaySummary: Sendable {
  /// Nanoseconds that a summary is given again.
  private static let age: Int64 = 1_000_000_000
  /// Nanoseconds that a rate is measured over, at least: of shorter ones a group commit more or less decides.
  private static let rateSpan: Int64 = 5_000_000_000

  /// Nanoseconds that the alarms in it may be old, and what it shows of them with it.
  static let longestSight: Int64 = 5_000_000_000

  private struct Memory: Sendable {
    var made: Int64
    var json: [UInt8]
    /// Messages received by the monotonic time, the older first, to measure the rate from.
    var counts: [(time: Int64, received: Int64)] = []
  }

  private let memory = Mutex<Memory?>(nil)

  /// - Parameters:
  ///   - now: monotonic nanoseconds.
  ///   - wall: of the report, nanoseconds since 1970.
  func json(now: Int64, wall: Int64, _ report: () async throws -> StatusReport) async throws -> [UInt8] {
    if let json = memory.withLock({ $0.flatMap { now - $0.made < GatewaySummary.age ? $0.json : nil } }) { return json }
    let report = try await report()
    let perSecond = memory.withLock { memory in rate(&memory, received: report.spool.received, now: now) }
    let json = GatewayStatus(report, wall: wall, perSecond: perSecond).json
    memory.withLock {
      $0?.made = now
      $0?.json = json
    }
    return json
  }

  private func rate(_ memory: inout Memory?, received: Int64, now: Int64) -> Double? {
    var counts = memory?.counts ?? []
    // The newest that is old enough, and what came after it.
    while counts.count > 1, now - counts[1].time >= GatewaySummary.rateSpan { counts.removeFirst() }
    let base = counts.first
    counts.append((now, received))
    memory = Memory(made: .min / 2, json: [], counts: counts)
    guard let base, now > base.time else { return nil }
    return Double(received - base.received) / (Double(now - base.time) / 1e9)
  }
}

extension GatewayStatus {
  /// - Parameter perSecond: messages received.
  init(_ report: StatusReport, wall: Int64, perSecond: Double?) {
    let pipelines = report.pipelines
    func sum(_ count: (StatusReport.Pipeline) -> Int64) -> Int64 { pipelines.reduce(0) { $0 + count($1) } }
    self.init(
      gateway: report.gateway, site: report.site, software: report.software, time: RFC3339.text(wall),
      uptimeSeconds: report.uptimeSeconds, clockSynchronised: report.clockSynchronised,
      alarms: Alarms(report.alarms.map(Alarms.Entry.init).sorted { $0.severity > $1.severity }),
      objectives: (report.objectives ?? []).map(Objective.init),
      freshnessSeconds: pipelines.compactMap(\.freshnessSeconds).max(),
      messages: Messages(received: report.spool.received, perSecond: perSecond),
      readings: Readings(
        delivered: sum(\.delivered), duplicate: sum(\.duplicate), refused: sum(\.refused), late: sum(\.late)),
      backlog: Backlog(
        messages: pipelines.map(\.backlog).max() ?? 0, seconds: pipelines.compactMap(\.backlogSeconds).max()),
      outbox: Outbox(
        batches: sum(\.outboxBatches), readings: sum(\.outboxReadings), bytes: sum { $0.outboxBytes ?? 0 },
        oldestSeconds: pipelines.compactMap(\.oldestOutboxSeconds).max()),
      deadLetters: DeadLetters(
        count: sum(\.deadLetters), bytes: sum(\.deadLetterBytes), expired: sum(\.deadLettersExpired)),
      disk: Disk(
        usedBytes: report.spool.usedBytes, maximumBytes: report.spool.maximumBytes, freeBytes: report.spool.freeBytes,
        minimumFreeBytes: report.spool.minimumFreeBytes, parked: report.spool.parked != nil,
        writtenBytes: report.writtenBytes),
      cost: Cost(
        payloadBytes: report.sources.reduce(0) { $0 + $1.bytes }, writtenBytes: report.writtenBytes,
        sentBytes: report.uplinks.reduce(0) { $0 + $1.bytesSent }),
      process: Process(residentBytes: report.residentBytes, cpuSeconds: ProcessTime.spent()),
      sources: Listing(report.worstSources), pipelines: Listing(report.worstPipelines),
      uplinks: Listing(report.worstUplinks))
    headline = report.headline
  }
}

extension GatewayStatus.Alarms.Entry {
  fileprivate init(_ alarm: StatusReport.Alarm) {
    self.init(
      kind: alarm.kind, subject: alarm.subject ?? "", severity: alarm.severity ?? .ticket, text: alarm.text,
      since: alarm.since, runbook: alarm.runbook)
  }
}

extension GatewayStatus.Objective {
  fileprivate init(_ report: ObjectiveReport) {
    self.init(
      name: report.name, state: report.state.rawValue, target: report.target, measured: report.measured,
      budgetRemaining: report.budgetRemaining, burnRate1h: report.burnRate1h, burnRate6h: report.burnRate6h)
  }
}

extension StatusReport {
  fileprivate var worstSources: [GatewayStatus.Source] {
    sources.sorted { left, right in
      (left.state == "connected" ? 1 : 0, left.name) < (right.state == "connected" ? 1 : 0, right.name)
    }.map {
      GatewayStatus.Source(
        name: $0.name, state: $0.state, messages: $0.messages, lastMessageSeconds: $0.lastMessageSeconds)
    }
  }

  fileprivate var worstPipelines: [GatewayStatus.Pipeline] {
    pipelines.sorted { left, right in
      (right.oldestOutboxSeconds ?? 0, right.backlog, right.deadLetters, left.name)
        < (left.oldestOutboxSeconds ?? 0, left.backlog, left.deadLetters, right.name)
    }.map {
      GatewayStatus.Pipeline(
        name: $0.name, backlog: $0.backlog, outboxReadings: $0.outboxReadings, oldestSeconds: $0.oldestOutboxSeconds,
        delivered: $0.delivered, deadLetters: $0.deadLetters, freshnessSeconds: $0.freshnessSeconds)
    }
  }

  fileprivate var worstUplinks: [GatewayStatus.Uplink] {
    uplinks.sorted { left, right in
      (right.holds.count, right.failingSeconds ?? 0, left.name)
        < (left.holds.count, left.failingSeconds ?? 0, right.name)
    }.map {
      GatewayStatus.Uplink(
        name: $0.name, state: $0.state, failingSeconds: $0.failingSeconds, delivered: $0.readingsDelivered)
    }
  }
}

/// What the kernel has booked to this process (getrusage(2)).
enum ProcessTime {
  /// Seconds of processor time since it began, user's and kernel's.
  static func spent() -> Double {
    var usage = rusage()
    guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
    return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
      + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
  }
}
