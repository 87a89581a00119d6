internal import Delivery
internal import Glibc
internal import Ingest
internal import Spool
internal import Synchronization
internal import Telemetry

extension Daemon {
  /// What the local socket gives.
  func document(_ request: LocalSocket.Request) async -> [UInt8] {
    switch request {
    case .status: await statusDocument()
    case .metrics: await metricsPage()
    case .traces: traces()
    }
  }

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
    let end = spool.log.lastEnd
    let books = try spool.state.books()
    let waiting = try spool.state.outboxTotals()
    let stranded = books.filter { book in
      waiting[book.pipeline] != nil && !uplinkStatus.contains { $0.name == book.uplink }
    }
    return StatusReport(
      gateway: configuration.gateway.id, site: configuration.gateway.site,
      software: Version.current, uptimeSeconds: Double(now.monotonic - started) / 1e9,
      clockSynchronised: now.quality == .synchronised, listen: api.listen, residentBytes: ProcessMemory.resident(),
      writtenBytes: ProcessDisk.written().flatMap { now in writtenBefore.map { now - $0 } },
      sources: sources.map(StatusReport.Source.init),
      spool: StatusReport.Spool(
        directory: spool.settings.directory, usedBytes: space.used, maximumBytes: space.maximum,
        freeBytes: space.free, minimumFreeBytes: space.minimumFree, parked: spool.space.parked,
        log: end.log.rawValue, nextOffset: end.next.rawValue, received: end.received),
      pipelines: pipelineReports(books, waiting, try spool.state.deadLetterBytes(), end: end, now: now),
      replays: try replayReports(),
      uplinks: uplinkStatus.map { StatusReport.Uplink($0, now: now.monotonic) },
      alarms: alarms(
        sources: sources, uplinks: uplinkStatus, stranded: stranded, now: now.monotonic))
  }

  private func pipelineReports(
    _ books: [Audit.Entry],
    _ totals: [String: (batches: Int64, readings: Int64, oldestWall: Int64)], _ letterBytes: [String: Int64],
    end: LogStore.End, now: Moment
  ) -> [StatusReport.Pipeline] {
    let figures = pipelines.figures
    return books.filter { $0.replay == nil && ($0.active || totals[$0.pipeline] != nil) }.map { book in
      let figure = figures[book.pipeline]
      let total = totals[book.pipeline]
      var report = StatusReport.Pipeline(
        name: book.pipeline, version: figure?.version ?? "", draining: figure?.until != nil,
        backlog: figure.map { max(0, ($0.until ?? end.next) - $0.readPosition) } ?? 0,
        openReadings: figure?.openReadings ?? 0, outboxBatches: total?.batches ?? 0,
        outboxReadings: total?.readings ?? 0,
        oldestOutboxSeconds: total.map { max(0, Double(now.wall - $0.oldestWall) / 1e9) },
        decoded: book.ledger.decoded, unmatched: book.ledger.unmatched,
        rejected: book.ledger.rejected, damaged: book.ledger.damaged,
        produced: book.ledger.produced, duplicate: book.ledger.duplicate, filtered: book.ledger.filtered,
        refused: book.ledger.refused, emitted: book.ledger.emitted, late: book.ledger.late,
        absorbed: book.ledger.absorbed, delivered: book.ledger.delivered,
        deadLetters: book.ledger.deadLetters, deadLetterBytes: letterBytes[book.pipeline] ?? 0,
        deadLettersExpired: book.ledger.expired)
      if let figure { report.show(figure, now: now) }
      return report
    }
  }

  /// Those that have not ended, and those of which something waits for its delivery.
  private func replayReports() throws -> [ReplayReport] {
    let note = pipelines.replayNote
    return try spool.state.replays().filter { !$0.state.hasEnded || $0.ledger.inOutbox > 0 }.map { replay in
      ReplayReport(replay, waitsFor: note?.0 == replay.id ? note?.1 : nil)
    }
  }

  private func alarms(
    sources: [SourceStatus], uplinks: [UplinkStatus], stranded: [Audit.Entry], now: Int64
  ) -> [StatusReport.Alarm] {
    var alarms: [StatusReport.Alarm] = []
    func raise(_ kind: String, _ text: String) {
      alarms.append(StatusReport.Alarm(kind: kind, text: text))
    }
    if let text = configurationAlarm { raise("configuration", text) }
    if let text = api.fault { raise("api", text) }
    for text in tableFaults { raise("table", "\(text); the old one goes on") }
    if let text = spool.space.parked { raise("parked", text) }
    if let text = pipelines.trouble { raise("pipelines", text) }
    for source in sources {
      switch source.state {
      case .refused, .takenOver, .logFailed:
        raise("source", "\(source.place): \(source.plainFault ?? source.state.rawValue)")
      case .connecting, .connected, .waiting, .parked, .stopped:
        if source.state != .connected, let fault = source.plainFault {
          raise("source", "\(source.place): \(fault)")
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
          "\(source.name): the broker has dropped \(Output.count(dropped.sinceConnected, "message")) "
            + "since we connected")
      }
    }
    for (pipeline, expired) in pipelines.expired.sorted(by: { $0.key < $1.key }) {
      raise(
        "dead-letters",
        "\(Output.count(expired.count, "dead letter")) of pipeline \(pipeline) went before their time "
          + "(\(DeadLetterKeeping.text(expired.rules))): there are more than dead_letters.max allows; look at 'forebay dead-letters counts'"
      )
    }
    for book in stranded {
      raise(
        "uplink",
        "\(Output.count(book.ledger.inOutbox, "reading")) of pipeline \(book.pipeline) wait for uplink "
          + "\(book.uplink.isEmpty ? "unknown" : book.uplink), which is not configured: configure it until "
          + "they are delivered")
    }
    for pause in self.uplinks.paused {
      raise(
        "paused",
        "uplink \(pause.uplink) is paused since \(pause.since) by \(pause.by): nothing is delivered; resume it")
    }
    for uplink in uplinks {
      for hold in uplink.holds {
        raise("uplink", "\(uplink.name): \(hold.text) (for \(Output.duration(now - hold.since)))")
      }
      if let outage = uplink.outage, outage.isAlarming(now: now) {
        raise("uplink", "\(uplink.name): \(outage.text(now: now))")
      }
    }
    return alarms
  }
}

extension StatusReport.Source {
  init(_ status: SourceStatus) {
    self.init(
      name: status.name, state: status.state.rawValue,
      subscribed: status.isSubscribed, detail: status.parkedFor ?? status.plainFault, messages: status.messages,
      bytes: status.bytes,
      groups: status.groups, reconnects: status.reconnects, redelivered: status.redelivered,
      droppedByBroker: status.droppedByBroker?.total)
  }
}

extension SourceStatus {
  fileprivate var place: String { "\(name) (\(address))" }

  /// The fault without `source NAME, ADDRESS: `, which intake says for its log: here the name stands beside it.
  fileprivate var plainFault: String? {
    let prefix = "source \(name), \(address): "
    return fault.map { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : $0 }
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

extension DeliveryOutage {
  fileprivate func text(now: Int64) -> String {
    "nothing could be delivered for \(Output.duration(now - since)), "
      + (isLocal ? "because of this machine: " : "it is tried again and again: ") + reason
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

enum ProcessDisk {
  /// Bytes that this process caused to be written to disk, less those that were deleted before they got there
  /// (proc(5), io); nil when the kernel keeps no such account.
  static func written() -> Int64? {
    var figures: [Substring: Int64] = [:]
    for line in (try? TextFile.read("/proc/self/io"))?.split(separator: "\n") ?? [] {
      let parts = line.split(separator: ":")
      if parts.count == 2 { figures[parts[0]] = Int64(parts[1].drop { $0 == " " }) }
    }
    guard let written = figures["write_bytes"] else { return nil }
    return written - (figures["cancelled_write_bytes"] ?? 0)
  }
}
