internal import Ingest
internal import Spool
internal import Status
internal import Telemetry

/// The daemon as the HTTP API asks it.
struct DaemonSource: StatusSource {
  let daemon: Daemon

  func answer(_ question: StatusQuestion) async throws(StatusFault) -> [UInt8]? {
    switch question {
    case .report: await daemon.statusDocument()
    default: nil
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
