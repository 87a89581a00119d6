internal import Delivery
internal import Logging
internal import Status
internal import Synchronization
internal import Telemetry

/// Sends metrics and traces to an OpenTelemetry collector, now and then (OTLP/HTTP with JSON).
///
/// Never in the way of data: one task of its own, one request at a time, nothing kept but the traces that wait within
/// their bound. Metrics that could not be sent are not sent later, for the next ones say more. What goes wrong is
/// counted, and said once until it works again.
final class TelemetryExporter: Sendable {
  static let exports = "forebay_telemetry_exports_total"

  /// What is exported.
  struct Documents: Sendable {
    var resource: OTLPResource
    /// The metrics as they are now.
    var metrics: @Sendable () async -> [UInt8]
  }

  private let meters: StageMeters
  private let logger: Logger
  private let running = Mutex<(settings: Configuration.OTLP?, task: Task<Void, Never>?)>((nil, nil))
  private let isFailing = Mutex(false)

  init(meters: StageMeters, logger: Logger) {
    self.meters = meters
    self.logger = logger
  }

  /// Begins, changes or ends the export until it is what the configuration says.
  func apply(_ settings: Configuration.OTLP?, _ documents: Documents) {
    running.withLock { running in
      guard settings != running.settings else { return }
      running.task?.cancel()
      running.settings = settings
      running.task = settings.map { settings in Task { await self.run(settings, documents) } }
    }
    meters.traces.setExporting(settings != nil)
  }

  func stop() {
    running.withLock { running in
      running.task?.cancel()
      running = (nil, nil)
    }
  }

  private func run(_ settings: Configuration.OTLP, _ documents: Documents) async {
    let post = DocumentPost(settings: settings.http, version: Version.current)
    // So that a fleet that was switched on together does not knock in step.
    var pause = Int64.random(in: 0...settings.interval)
    while true {
      try? await Task.sleep(nanoseconds: UInt64(pause))
      if Task.isCancelled { return }
      pause = settings.interval
      await export(post, documents)
    }
  }

  /// One export of both.
  func export(_ post: DocumentPost, _ documents: Documents) async {
    _ = await send(await documents.metrics(), OTLPResource.metricsPath, "metrics", by: post)
    let traces = meters.traces.takeDelivered()
    guard !traces.isEmpty else { return }
    let body = OTLPTraces.document(traces, resource: documents.resource)
    if await send(body, OTLPResource.tracesPath, "traces", by: post) == .later { meters.traces.giveBack(traces) }
  }

  private enum Outcome: String {
    case sent
    /// It may be taken later (OTLP specification, "Failures": 429, 502, 503, 504, or no answer).
    case later
    case refused
  }

  private func send(_ body: [UInt8], _ path: String, _ signal: String, by post: DocumentPost) async -> Outcome {
    var outcome = Outcome.later
    var cause = ""
    switch await post.send(body, to: path, mediaType: OTLPResource.mediaType, isCompressed: true) {
    case .success(let status):
      if (200..<300).contains(status) {
        outcome = .sent
      } else {
        outcome = [429, 502, 503, 504].contains(status) ? .later : .refused
        cause = "the collector answered \(status)"
      }
    case .failure(let error):
      if error.kind == .cancelled { return .later }
      cause = error.detail
    }
    meters.registry.count(
      TelemetryExporter.exports,
      MetricLabels("signal", signal).adding("outcome", outcome == .sent ? "sent" : "failed"),
      help: "Exports to an OpenTelemetry collector (telemetry.otlp) by how they ended.")
    tell(cause, signal)
    return outcome
  }

  /// - Parameter cause: empty when it worked.
  private func tell(_ cause: String, _ signal: String) {
    let changed = isFailing.withLock { isFailing in
      defer { isFailing = !cause.isEmpty }
      return isFailing == cause.isEmpty
    }
    guard changed else { return }
    if cause.isEmpty {
      logger.notice("telemetry is exported again")
    } else {
      logger.warning(
        "telemetry cannot be exported; it is tried again", metadata: ["signal": "\(signal)", "cause": "\(cause)"])
    }
  }
}

extension Daemon {
  /// Who we are to a collector, and how the metrics are made for it.
  var exportedDocuments: TelemetryExporter.Documents {
    let gateway = configuration.withLock { $0.gateway }
    let resource = OTLPResource(gateway: gateway.id, site: gateway.site, version: Version.current)
    return TelemetryExporter.Documents(resource: resource) { [self] in
      let now = SystemClock.source()
      var request = OTLPMetrics(
        resource: resource, start: now.wall(ofMonotonic: started), now: now.wall)
      await gatherMetrics(into: &request)
      return request.document()
    }
  }
}
