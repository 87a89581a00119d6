internal import Delivery
internal import Glibc
internal import Ingest
internal import Spool
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

  func report() async throws -> StatusReport {
    let configuration = configuration.withLock { $0 }
    let now = SystemClock.source()
    let sources = intake.status()
    let uplinkStatus = await uplinks.status()
    let space = spool.space.figures
    let end = try spool.log.end()
    let pipelines = try pipelineReports(end: end, now: now)
    return StatusReport(
      gateway: configuration.gateway.id, site: configuration.gateway.site,
      software: Version.current, uptimeSeconds: Double(now.monotonic - started) / 1e9,
      clockSynchronised: now.quality == .synchronised, residentBytes: ProcessMemory.resident(),
      sources: sources.map(StatusReport.Source.init),
      spool: StatusReport.Spool(
        directory: spool.settings.directory, usedBytes: space.used, maximumBytes: space.maximum,
        freeBytes: space.free, minimumFreeBytes: space.minimumFree, parked: spool.space.parked,
        log: end.log.rawValue, nextOffset: end.next.rawValue, received: end.received),
      pipelines: pipelines, uplinks: uplinkStatus.map(StatusReport.Uplink.init),
      alarms: alarms(sources: sources, uplinks: uplinkStatus))
  }

  private func pipelineReports(
    end: LogStore.End, now: Moment
  ) throws -> [StatusReport.Pipeline] {
    let figures = pipelines.figures
    let books = try spool.state.books()
    let totals = try spool.state.outboxTotals()
    return books.filter { $0.active || totals[$0.pipeline] != nil }.map { book in
      let figure = figures[book.pipeline]
      let total = totals[book.pipeline]
      return StatusReport.Pipeline(
        name: book.pipeline, version: figure?.version ?? "", draining: figure?.draining ?? false,
        backlog: figure.map { max(0, end.next - $0.readPosition) } ?? 0,
        openReadings: figure?.openReadings ?? 0, outboxBatches: total?.batches ?? 0,
        outboxReadings: total?.readings ?? 0,
        oldestOutboxSeconds: total.map { max(0, Double(now.wall - $0.oldestWall) / 1e9) },
        decoded: book.ledger.decoded, unmatched: book.ledger.unmatched,
        rejected: book.ledger.rejected, damaged: book.ledger.damaged,
        produced: book.ledger.produced, delivered: book.ledger.delivered,
        deadLetters: book.ledger.deadLetters)
    }
  }

  private func alarms(sources: [SourceStatus], uplinks: [UplinkStatus]) -> [StatusReport.Alarm] {
    var alarms: [StatusReport.Alarm] = []
    func raise(_ kind: String, _ text: String) {
      alarms.append(StatusReport.Alarm(kind: kind, text: text))
    }
    if let text = alarmAtBoot { raise("configuration", text) }
    if let text = spool.space.parked { raise("parked", text) }
    if let text = pipelines.trouble { raise("pipelines", text) }
    for source in sources {
      switch source.state {
      case .refused, .takenOver, .logFailed:
        raise("source", "\(source.name): \(source.fault ?? source.state.rawValue)")
      case .connecting, .connected, .waiting, .parked, .stopped:
        if let fault = source.fault, source.state != .connected {
          raise("source", "\(source.name): \(fault)")
        }
      }
      for (filter, reason) in source.refusedFilters.sorted(by: { $0.key < $1.key }) {
        raise("subscription", "\(source.name): \(filter): \(reason)")
      }
      for filter in source.weakFilters {
        raise("subscription", "\(source.name): the broker grants \(filter) at QoS 0 only")
      }
      if let dropped = source.droppedByBroker, dropped.sinceConnected > 0 {
        raise(
          "dropped-by-broker",
          "\(source.name): the broker has dropped \(dropped.sinceConnected) messages since we connected")
      }
    }
    for uplink in uplinks {
      for hold in uplink.holds { raise("uplink", "\(uplink.name): \(hold.text)") }
    }
    return alarms
  }
}

extension StatusReport.Source {
  init(_ status: SourceStatus) {
    self.init(
      name: status.name, state: status.state.rawValue,
      detail: status.parkedFor ?? status.fault, messages: status.messages, bytes: status.bytes,
      groups: status.groups, reconnects: status.reconnects,
      droppedByBroker: status.droppedByBroker?.total)
  }
}

extension StatusReport.Uplink {
  init(_ status: UplinkStatus) {
    self.init(
      name: status.name, state: status.state.rawValue, attempts: status.attempts,
      answers: Dictionary(
        uniqueKeysWithValues: status.answers.map { ($0.key.rawValue, $0.value) }),
      batchesDelivered: status.batchesDelivered, readingsDelivered: status.readingsDelivered,
      bytesSent: status.bytesSent, inFlight: status.inFlight, lastError: status.lastError,
      nextAttemptSeconds: status.nextAttemptIn.map { Double($0) / 1e9 },
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

/// What the kernel says of this process.
enum ProcessMemory {
  /// Resident bytes (proc(5), statm).
  static func resident() -> Int64 {
    let fields = (try? TextFile.read("/proc/self/statm"))?.split(separator: " ") ?? []
    guard fields.count > 1, let pages = Int64(fields[1]) else { return 0 }
    return pages * Int64(sysconf(Int32(_SC_PAGESIZE)))
  }
}
