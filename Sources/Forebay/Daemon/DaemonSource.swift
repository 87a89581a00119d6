internal import Dispatch
internal import Ingest
internal import Pipeline
internal import Spool
internal import Status
internal import Synchronization
internal import Telemetry

/// The daemon as the HTTP API asks it.
///
/// What is read from the spool is read on a queue of its own, one question after the other: it blocks, and a gateway
/// has few cores. What may take ten seconds (an estimate) has another, so that nobody waits behind it.
final class DaemonSource: StatusSource {
  /// Questions that wait for the spool at once: each is a client that waits.
  private static let waiting = 32

  let daemon: Daemon
  let history = GatewayHistory()
  private let summary = GatewaySummary()
  private let queries = DispatchQueue(label: "api")
  private let estimates = DispatchQueue(label: "api-estimates")
  private let waiting = Mutex(0)

  let auditTrail: AuditTrail

  init(daemon: Daemon) {
    self.daemon = daemon
    auditTrail = AuditTrail(AuditLog(directory: daemon.spoolDirectory))
  }

  var spool: SpoolQueries { SpoolQueries(spool: daemon.spoolDirectory) }

  func answer(_ question: StatusQuestion) async throws(StatusFault) -> [UInt8]? {
    try await faulty { try await self.reply(to: question) }
  }

  func perform(_ action: StatusAction, for caller: Caller) async throws(StatusFault) -> [UInt8] {
    try await faulty {
      guard let (name, parameters) = action.audited else { return try await self.outcome(of: action, caller) }
      return try await self.auditTrail.record(
        who: caller.name, role: caller.role.rawValue, via: "api", action: name, parameters: parameters,
        time: { RFC3339.text(SystemClock.wall()) },
        result: { "done: \(String(decoding: $0.prefix(300), as: UTF8.self))" }
      ) { try await self.outcome(of: action, caller) }
    }
  }

  func metrics() async -> [UInt8]? { await daemon.metricsPage() }

  func health() async -> StatusHealth {
    var notReady: [String] = []
    if let parked = daemon.spool.space.parked { notReady.append(parked) }
    if let trouble = daemon.pipelines.trouble { notReady.append(trouble) }
    if !daemon.intake.status().contains(where: { $0.state == .connected }) {
      notReady.append("no source is connected")
    }
    return StatusHealth(isAlive: daemon.isAlive(now: SystemClock.monotonic()), notReady: notReady)
  }

  private func reply(to question: StatusQuestion) async throws -> [UInt8]? {
    switch question {
    case .summary:
      let now = SystemClock.source()
      return try await summary.json(now: now.monotonic, wall: now.wall) {
        try await daemon.report(longestSight: GatewaySummary.longestSight)
      }
    case .report: return try SpoolQueries.json(try await daemon.report())
    case .pipelines: return try SpoolQueries.json(["pipelines": try await daemon.report().pipelines])
    case .pipeline(let name): return try await pipeline(name)
    case .sources: return try SpoolQueries.json(["sources": try await daemon.report().sources])
    case .uplinks: return try SpoolQueries.json(["uplinks": try await daemon.report().uplinks])
    case .datasets: return try await datasets()
    case .alarms: return try alarms(try await daemon.report())
    case .history: return history.json(now: SystemClock.monotonic(), wall: SystemClock.wall())
    case .objectives: return try SpoolQueries.json(["objectives": daemon.objectives()])
    case .traces: return Array("{\"traces\":".utf8) + daemon.traces() + Array("}".utf8)
    case .devices(let pipeline, let page):
      // What is running knows more: when each was last seen, and with what.
      if case .document(let bytes) = try await daemon.devices(pipeline: pipeline, limit: page.limit, after: page.after)
      {
        return bytes
      }
      return try await ask { try $0.devices(of: pipeline, page) }
    case .deadLetters(let query, let page): return try await ask { try $0.deadLetters(query, page) }
    case .deadLetterCounts(let query): return try await ask { try $0.deadLetterCounts(query) }
    case .deadLetter(let id): return try await ask { try $0.deadLetter(id) }
    case .replays:
      let note = daemon.pipelines.replayNote
      return try await ask { try $0.replays(note) }
    case .lineage(let batch): return try await ask { try $0.lineage(of: batch) }
    case .ledger: return try await ask { try $0.ledger() }
    case .auditLog(let page): return try await ask { try $0.auditLog(page) }
    case .fleet: return nil
    }
  }

  // MARK: The spool

  private func ask(_ body: @escaping @Sendable (SpoolQueries) throws -> [UInt8]) async throws -> [UInt8] {
    try await blocking(queries, body)
  }

  func estimate(_ body: @escaping @Sendable (SpoolQueries) throws -> [UInt8]) async throws -> [UInt8] {
    try await blocking(estimates, body)
  }

  func change(_ body: @escaping @Sendable (SpoolQueries) throws -> [UInt8]) async throws -> [UInt8] {
    try await blocking(queries, body)
  }

  private func blocking(
    _ queue: DispatchQueue, _ body: @escaping @Sendable (SpoolQueries) throws -> [UInt8]
  ) async throws -> [UInt8] {
    let mayWait = waiting.withLock { count in
      guard count < DaemonSource.waiting else { return false }
      count += 1
      return true
    }
    guard mayWait else { throw StatusFault(.unavailable, "too many questions wait for the spool") }
    defer { waiting.withLock { $0 -= 1 } }
    let spool = spool
    return try await withCheckedThrowingContinuation { continuation in
      queue.async { continuation.resume(with: Result { try body(spool) }) }
    }
  }

  /// Every error becomes one that the API can tell.
  private func faulty<R: Sendable>(_ body: () async throws -> R) async throws(StatusFault) -> R {
    do {
      return try await body()
    } catch let fault as StatusFault {
      throw fault
    } catch let refusal as ReplayRefusal {
      switch refusal {
      case .unknownPipeline, .unknownReplay: throw StatusFault(.unknown, "\(refusal)")
      case .otherLog, .tooMany, .state: throw StatusFault(.conflict, "\(refusal)")
      }
    } catch let refusal as ReplayOrder.Refusal {
      throw StatusFault(refusal.isAbsent ? .unknown : .invalid, "\(refusal)")
    } catch {
      throw StatusFault(.unavailable, "\(error)")
    }
  }

  // MARK: What the daemon has in memory

  private struct PipelineView: Encodable {
    var pipeline: StatusReport.Pipeline
    /// Nil: no longer configured.
    var uplink: String?
    var topics: [String]
    var steps: [PipelineStep]
  }

  private func pipeline(_ name: String) async throws -> [UInt8] {
    guard let report = try await daemon.report().pipelines.first(where: { $0.name == name }) else {
      throw StatusFault(.unknown, "there is no pipeline \(name)")
    }
    let settings = daemon.configuration.withLock { $0.pipelines.first { $0.name == name } }
    let explanation = settings.map { PipelineExplanation($0) }
    let view = PipelineView(
      pipeline: report, uplink: settings?.to, topics: explanation?.topics ?? [], steps: explanation?.steps ?? [])
    return try SpoolQueries.json(view)
  }

  private struct Dataset: Encodable {
    var name: String
    var version: String
    /// As the contract names them; nil without one.
    var owner: String?
    var description: String?
    var contract: PipelineExplanation.ContractNote?
    var fields: [ContractField]?
    var topics: [String]
    var sources: [String]?
    var uplink: String
    var steps: [PipelineStep]
    /// Seconds since the oldest batch in the outbox was sealed; nil when nothing waits.
    var oldestOutboxSeconds: Double?
    var backlog: Int64
    var delivered: Int64
  }

  private func datasets() async throws -> [UInt8] {
    let report = try await daemon.report()
    let settings = daemon.configuration.withLock { $0.pipelines }
    let datasets = settings.map { settings in
      let explanation = PipelineExplanation(settings)
      let pipeline = report.pipelines.first { $0.name == settings.name }
      return Dataset(
        name: settings.name, version: pipelineVersion(settings), owner: settings.contract?.owner,
        description: settings.contract?.about, contract: explanation.contract, fields: explanation.fields,
        topics: explanation.topics, sources: explanation.sources, uplink: settings.to, steps: explanation.steps,
        oldestOutboxSeconds: pipeline?.oldestOutboxSeconds, backlog: pipeline?.backlog ?? 0,
        delivered: pipeline?.delivered ?? 0)
    }
    return try SpoolQueries.json(["datasets": datasets])
  }

  private struct AlarmList: Encodable {
    var state: GatewayStatus.State
    var alarms: [GatewayStatus.Alarms.Entry]
  }

  private func alarms(_ report: StatusReport) throws -> [UInt8] {
    let status = GatewayStatus(report, wall: SystemClock.wall(), perSecond: nil)
    return try SpoolQueries.json(AlarmList(state: status.state, alarms: status.alarms.list))
  }
}
