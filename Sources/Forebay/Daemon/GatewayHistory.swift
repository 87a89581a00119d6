internal import Pipeline
internal import Status
internal import Synchronization

/// What the charts of the last hour show, sampled from the status every ten seconds while the API is on.
final class GatewayHistory: Sendable {
  private static let names = [
    "messagesPerSecond", "payloadBytesPerSecond", "deliveredPerSecond", "sentBytesPerSecond", "writtenBytesPerSecond",
    "backlog", "outboxReadings", "outboxOldestSeconds", "freshnessSeconds", "deadLetters", "openReadings", "usedBytes",
    "freeBytes", "residentBytes", "processorShare", "alarms",
  ]

  /// What rates are reckoned from.
  private struct Counts: Sendable {
    var time: Int64
    var values: [Double]
  }

  private struct State: Sendable {
    var history = StatusHistory(names: GatewayHistory.names)
    var last: Counts?
  }

  private let state = Mutex(State())

  /// - Parameter now: monotonic nanoseconds.
  func add(_ report: StatusReport, now: Int64) {
    let pipelines = report.pipelines
    let counts = Counts(
      time: now,
      values: [
        Double(report.spool.received), Double(report.sources.reduce(0) { $0 + $1.bytes }),
        Double(pipelines.reduce(0) { $0 + $1.delivered }), Double(report.uplinks.reduce(0) { $0 + $1.bytesSent }),
        Double(report.writtenBytes ?? 0), ProcessTime.spent(),
      ])
    let gauges: [Double?] = [
      Double(pipelines.map(\.backlog).max() ?? 0), Double(pipelines.reduce(0) { $0 + $1.outboxReadings }),
      pipelines.compactMap(\.oldestOutboxSeconds).max() ?? 0,
      GatewayStatus(report, wall: 0, perSecond: nil).freshnessSeconds,
      Double(pipelines.reduce(0) { $0 + $1.deadLetters }),
      Double(pipelines.reduce(0) { $0 + $1.openReadings }), Double(report.spool.usedBytes),
      Double(report.spool.freeBytes), Double(report.residentBytes),
    ]
    state.withLock { state in
      let rates: [Double?] = counts.values.indices.map { index in
        guard let last = state.last, now > last.time else { return nil }
        // A counter that was set back counts from nothing.
        return max(0, counts.values[index] - last.values[index]) / (Double(now - last.time) / 1e9)
      }
      state.last = counts
      let last: [Double?] = [rates.last ?? nil, Double(report.alarms.count)]
      state.history.add(Array(rates.dropLast()) + gauges + last, now: now)
    }
  }

  func json(now: Int64, wall: Int64) -> [UInt8] {
    state.withLock { $0.history.json(now: now) { RFC3339.text(wall - $0) } }
  }
}
