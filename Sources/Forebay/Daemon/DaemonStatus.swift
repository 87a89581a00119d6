internal import Delivery
internal import Glibc
internal import Ingest
internal import Pipeline
internal import Spool
internal import Status
internal import Synchronization
internal import Telemetry

extension Daemon {
  /// The status as one JSON text; a status that cannot be made says why, and is still JSON.
  func statusDocument() async -> [UInt8] {
    do {
      return Array(try Output.json(try await report()).utf8)
    } catch {
      return Array(((try? Output.json(["error": "\(error)"])) ?? "{}").utf8)
    }
  }

  /// - Parameter longestSight: nanoseconds that the last look at alarms may lie back. Who mends something wants to see
  ///   it gone: so it is taken anew, unless a machine asks, which asks again.
  func report(longestSight: Int64 = 0) async throws -> StatusReport {
    let configuration = configuration.withLock { $0 }
    let figures = try await figures(isFresh: true)
    let now = figures.now
    if oversight.isOlder(than: longestSight, now: now.monotonic) { await look(figures, measures: false) }
    return StatusReport(
      gateway: configuration.gateway.id, site: configuration.gateway.site,
      software: Version.current, uptimeSeconds: Double(now.monotonic - started) / 1e9,
      clockSynchronised: now.quality == .synchronised, listen: api.listen, residentBytes: figures.process.residentBytes,
      writtenBytes: figures.process.writtenBytes,
      sources: figures.sources.map { StatusReport.Source($0, now: now.monotonic) },
      spool: StatusReport.Spool(
        directory: spool.settings.directory, usedBytes: figures.used, maximumBytes: figures.maximum,
        freeBytes: figures.free, minimumFreeBytes: figures.minimumFree, parked: figures.parked,
        log: figures.end.log.rawValue, nextOffset: figures.end.next.rawValue, received: figures.end.received),
      pipelines: figures.pipelines.map { StatusReport.Pipeline($0, now: now) },
      replays: figures.replays.isEmpty ? [] : try replayReports(),
      uplinks: figures.uplinks.map { StatusReport.Uplink($0, now: now.monotonic) },
      alarms: alarmReports(), objectives: oversight.objectives,
      credentials: credentialStates().map { StatusReport.Credential($0, now: now.wall) })
  }

  /// As they were at the last look, judged by the time of now.
  func credentialStates() -> [CredentialState] {
    let now = SystemClock.source()
    return credentials.sights.map {
      CredentialState($0, oversight.settings, now: now.wall, isCertain: now.quality == .synchronised)
    }
  }

  private func alarmReports() -> [StatusReport.Alarm] {
    let settings = oversight.settings
    return alarmBoard.alarms.map { alarm in
      StatusReport.Alarm(
        kind: alarm.kind, text: alarm.text, subject: alarm.subject, severity: alarm.severity,
        since: RFC3339.text(alarm.since), runbook: settings.runbook(alarm.kind))
    }
  }

  /// Those that have not ended, and those of which something waits for its delivery.
  private func replayReports() throws -> [ReplayReport] {
    let note = pipelines.replayNote
    return try spool.state.replays().filter { !$0.state.hasEnded || $0.ledger.inOutbox > 0 }.map { replay in
      ReplayReport(replay, waitsFor: note?.0 == replay.id ? note?.1 : nil)
    }
  }
}

extension StatusReport.Pipeline {
  init(_ figures: DaemonFigures.Pipeline, now: Moment) {
    let counters = figures.counters
    self.init(
      name: figures.name, version: figures.running?.version ?? "", draining: figures.running?.until != nil,
      backlog: figures.backlog, openReadings: figures.running?.openReadings ?? 0,
      outboxBatches: figures.waiting?.batches ?? 0, outboxReadings: figures.waiting?.readings ?? 0,
      oldestOutboxSeconds: figures.oldestOutbox.map { max(0, Double($0) / 1e9) },
      decoded: counters.decoded, unmatched: counters.unmatched, rejected: counters.rejected,
      damaged: counters.damaged, produced: counters.produced, duplicate: counters.duplicate,
      filtered: counters.filtered, refused: counters.refused, emitted: counters.emitted, late: counters.late,
      absorbed: counters.absorbed, delivered: counters.delivered, deadLetters: figures.deadLetters,
      deadLetterBytes: figures.deadLetterBytes, deadLettersExpired: counters.expired)
    backlogSeconds = Double(figures.backlogAge) / 1e9
    outboxBytes = figures.waiting?.bytes ?? 0
    freshnessSeconds = Double(figures.freshness) / 1e9
    if let running = figures.running { show(running, now: now) }
  }
}

extension StatusReport.Source {
  /// - Parameter now: monotonic nanoseconds.
  init(_ status: SourceStatus, now: Int64) {
    self.init(
      name: status.name, state: status.state.rawValue,
      subscribed: status.isSubscribed, detail: status.parkedFor ?? status.plainFault, messages: status.messages,
      bytes: status.bytes,
      groups: status.groups, reconnects: status.reconnects, redelivered: status.redelivered,
      droppedByBroker: status.droppedByBroker?.total,
      lastMessageSeconds: status.lastMessage.map { Double(max(0, now - $0)) / 1e9 })
  }
}

extension StatusReport.Uplink {
  init(_ status: UplinkStatus, now: Int64) {
    self.init(
      name: status.name, state: status.state.rawValue, attempts: status.attempts,
      answers: Dictionary(
        uniqueKeysWithValues: status.answers.map { ($0.key.rawValue, $0.value) }),
      batchesDelivered: status.batchesDelivered, readingsDelivered: status.readingsDelivered,
      bytesSent: status.bytesSent, inFlight: status.inFlight, lastError: status.lastError,
      nextAttemptSeconds: status.nextAttemptIn.map { Double($0) / 1e9 },
      failingSeconds: status.outage.map { Double(max(0, now - $0.since)) / 1e9 },
      holds: status.holds.map(\.text))
  }
}

extension DeliveryHold {
  var text: String {
    switch scope {
    case .uplink: "held (\(cause.rawValue)): \(reason)"
    case .pipeline(let name): "pipeline \(name) held (\(cause.rawValue)): \(reason)"
    case .batch(let identity): "batch \(identity) held (\(cause.rawValue)): \(reason)"
    }
  }
}
