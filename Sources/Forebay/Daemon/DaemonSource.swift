internal import Ingest
internal import Spool
internal import Status
internal import Telemetry

/// The daemon as the HTTP API asks it.
struct DaemonSource: StatusSource {
  let daemon: Daemon
  let summary = GatewaySummary()

  func answer(_ question: StatusQuestion) async throws(StatusFault) -> [UInt8]? {
    do {
      return try await reply(to: question)
    } catch let fault as StatusFault {
      throw fault
    } catch {
      throw StatusFault(.unavailable, "\(error)")
    }
  }

  private func reply(to question: StatusQuestion) async throws -> [UInt8]? {
    switch question {
    case .summary:
      let now = SystemClock.source()
      return try await summary.json(now: now.monotonic, wall: now.wall) { try await daemon.report() }
    case .report: return Array(try Output.json(try await daemon.report(), pretty: false).utf8)
    default: return nil
    }
  }

  func perform(_ action: StatusAction) async throws(StatusFault) -> [UInt8] {
    throw StatusFault(.unknown, "this daemon does not do that")
  }

  func metrics() async -> [UInt8]? { nil }

  func health() async -> StatusHealth {
    var notReady: [String] = []
    if let parked = daemon.spool.space.parked { notReady.append(parked) }
    if let trouble = daemon.pipelines.trouble { notReady.append(trouble) }
    if !daemon.intake.status().contains(where: { $0.state == .connected }) {
      notReady.append("no source is connected")
    }
    return StatusHealth(isAlive: daemon.isAlive(now: SystemClock.monotonic()), notReady: notReady)
  }
}
