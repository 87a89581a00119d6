internal import Delivery
internal import Ingest
internal import Pipeline
internal import Spool
internal import Status
internal import Synchronization
internal import Telemetry

extension Daemon {
  /// What Prometheus scrapes: the text format 0.0.4. docs/metrics.md describes every metric. Where the state cannot be
  /// read, the page has what can be had without it.
  func metricsPage() async -> [UInt8] {
    // The room of the last one; who comes while that is in use makes one of their own.
    var page = metricsRoom.withLock { $0.take() } ?? PrometheusPage()
    page.restart()
    await gatherMetrics(into: &page)
    let document = page.document()
    metricsRoom.withLock { $0 = page }
    return document
  }

  func gatherMetrics(into sink: inout some MetricsSink) async {
    if let figures = try? await figures() { figures.gather(into: &sink) }
    CredentialState.gather(credentialStates(), now: SystemClock.wall(), into: &sink)
    Daemon.gatherState(isOpen: spool.state.isOpen, tracesLost: meters.traces.lost, into: &sink)
    meters.registry.collect(into: &sink)
  }

  /// What is known also when the state cannot be read.
  static func gatherState(isOpen: Bool, tracesLost: Int64, into sink: inout some MetricsSink) {
    sink.single(
      "forebay_state_open", .gauge, Int64(isOpen ? 1 : 0),
      help: "1: the state database is open; 0: a failure has closed it, and it is opened again.")
    sink.single(
      "forebay_traces_lost_total", .counter, tracesLost,
      help: "Traces of delivered batches that were not exported in time.")
  }
}

extension DaemonFigures {
  func gather(into sink: inout some MetricsSink) {
    gatherGateway(into: &sink)
    gatherProcess(into: &sink)
    gatherSources(into: &sink)
    gatherSpool(into: &sink)
    gatherPipelines(into: &sink)
    gatherUplinks(into: &sink)
    gatherObjectives(into: &sink)
  }

  private func gatherGateway(into sink: inout some MetricsSink) {
    sink.family("forebay_build_info", .gauge, help: "Always 1; the labels say what runs where.")
    sink.sample(
      MetricLabels([("version", Version.current), ("gateway", gateway), ("site", site ?? "")]), 1 as Int64)
    sink.family("forebay_uptime_seconds", .gauge, help: "Seconds since the daemon started.")
    sink.sample(.none, nanoseconds: uptime)
    sink.single(
      "forebay_clock_synchronised", .gauge, Int64(now.quality == .synchronised ? 1 : 0),
      help: "1: the kernel says that the wall clock is synchronised.")
    sink.family("forebay_replays", .gauge, help: "Replays by state.")
    for state in ReplayStates.all { sink.sample(state.labels, replays[state.state] ?? 0) }
  }

  private func gatherProcess(into sink: inout some MetricsSink) {
    sink.single(
      "process_cpu_seconds_total", .counter, process.cpuSeconds, help: "Processor seconds used, user and system.")
    sink.single("process_resident_memory_bytes", .gauge, process.residentBytes, help: "Resident memory.")
    // To the hundredth, as the kernel gives it: the two clocks drift apart by less.
    let start = Double((now.wall - uptime) / 10_000_000) / 100
    sink.single("process_start_time_seconds", .gauge, start, help: "When the daemon started, in seconds since 1970.")
    if let open = process.openFiles {
      sink.single("process_open_fds", .gauge, open, help: "Open file descriptors.")
    }
    if let most = process.maximumFiles {
      sink.single("process_max_fds", .gauge, most, help: "File descriptors that may be open.")
    }
    if let written = process.writtenBytes {
      sink.single(
        "forebay_disk_written_bytes_total", .counter, written,
        help: "Bytes that the kernel has booked to the daemon for writing to disk.")
    }
  }

  private func gatherSources(into sink: inout some MetricsSink) {
    let labels = sources.map { MetricLabels("source", $0.name) }
    sink.family("forebay_source_connected", .gauge, help: "1: the broker has accepted us.")
    for index in sources.indices { sink.sample(labels[index], Int64(sources[index].state == .connected ? 1 : 0)) }
    sink.family("forebay_source_messages_total", .counter, help: "Messages of the source that were committed.")
    for index in sources.indices { sink.sample(labels[index], sources[index].messages) }
    sink.family(
      "forebay_source_last_message_timestamp_seconds", .gauge,
      help: "When the last of them was committed, in seconds since 1970; absent before the first since the start.")
    for index in sources.indices {
      guard let last = sources[index].lastMessage else { continue }
      // By the wall clock of now, to the hundredth: it may have been set since.
      let wall = now.wall - max(0, now.monotonic - last)
      sink.sample(labels[index], Double(wall / 10_000_000) / 100)
    }
    sink.family("forebay_source_bytes_total", .counter, help: "Payload bytes of those messages.")
    for index in sources.indices { sink.sample(labels[index], sources[index].bytes) }
    sink.family("forebay_source_groups_total", .counter, help: "Commits with at least one message of the source.")
    for index in sources.indices { sink.sample(labels[index], sources[index].groups) }
    sink.family("forebay_source_reconnects_total", .counter, help: "Accepted connections after the first.")
    for index in sources.indices { sink.sample(labels[index], sources[index].reconnects) }
    sink.family(
      "forebay_source_redelivered_messages_total", .counter,
      help: "Messages that the broker sent again and that were recognised: not taken twice.")
    for index in sources.indices { sink.sample(labels[index], sources[index].redelivered) }
    sink.family(
      "forebay_source_broker_dropped_messages_total", .counter,
      help: "Messages that the broker says it has dropped since it started, for whomever; absent when it does not say.")
    for index in sources.indices {
      if let dropped = sources[index].droppedByBroker { sink.sample(labels[index], dropped.total) }
    }
  }

  private func gatherSpool(into sink: inout some MetricsSink) {
    sink.single("forebay_spool_used_bytes", .gauge, used, help: "Bytes that both databases use.")
    sink.single("forebay_spool_maximum_bytes", .gauge, maximum, help: "Bytes that they may use (spool.max).")
    sink.single("forebay_disk_free_bytes", .gauge, free, help: "Bytes free on the disk of the spool.")
    sink.single(
      "forebay_disk_minimum_free_bytes", .gauge, minimumFree, help: "Bytes that are left free (spool.min_free).")
    sink.single(
      "forebay_parked", .gauge, Int64(parked == nil ? 0 : 1),
      help: "1: nothing is taken in, because there is no room; the brokers keep the backlog.")
    sink.single(
      "forebay_log_messages_total", .counter, end.received, help: "Messages that the log has taken since it was begun.")
  }

  private func gatherPipelines(into sink: inout some MetricsSink) {
    let labels = pipelines.map { MetricLabels("pipeline", $0.name) }
    gatherBooks(labels, into: &sink)
    gatherRunning(labels, into: &sink)
    gatherOutbox(labels, into: &sink)
  }

  private func gatherBooks(_ labels: [MetricLabels], into sink: inout some MetricsSink) {
    sink.family(
      "forebay_pipeline_messages_total", .counter, help: "Messages by what became of them (docs/guarantees.md).")
    for index in pipelines.indices {
      for column in LedgerLabels.messages {
        sink.sample(labels[index], column.labels, column.count(pipelines[index].counters))
      }
    }
    sink.family(
      "forebay_pipeline_readings_total", .counter,
      help: "Readings by where they came from and what became of them (docs/guarantees.md).")
    for index in pipelines.indices {
      for column in LedgerLabels.readings {
        sink.sample(labels[index], column.labels, column.count(pipelines[index].counters))
      }
    }
    sink.family("forebay_dead_letters", .gauge, help: "Dead letters that are kept.")
    for index in pipelines.indices { sink.sample(labels[index], pipelines[index].deadLetters) }
    sink.family(
      "forebay_dead_letter_bytes", .gauge, help: "Bytes of them as they count against dead_letters.max.")
    for index in pipelines.indices { sink.sample(labels[index], pipelines[index].deadLetterBytes) }
    sink.family(
      "forebay_dead_letters_expired_total", .counter,
      help: "Dead letters that went because of dead_letters.keep or dead_letters.max.")
    for index in pipelines.indices { sink.sample(labels[index], pipelines[index].counters.expired) }
  }

  private func gatherRunning(_ labels: [MetricLabels], into sink: inout some MetricsSink) {
    sink.family(
      "forebay_pipeline_backlog_messages", .gauge, help: "Messages in the log that the pipeline has not read.")
    for index in pipelines.indices { sink.sample(labels[index], pipelines[index].backlog) }
    sink.family("forebay_pipeline_backlog_bytes", .gauge, help: "Payload bytes of those messages.")
    for index in pipelines.indices { sink.sample(labels[index], pipelines[index].backlogBytes) }
    sink.family(
      "forebay_pipeline_backlog_seconds", .gauge, help: "Seconds since the first of them was received; 0 without any.")
    for index in pipelines.indices { sink.sample(labels[index], nanoseconds: pipelines[index].backlogAge) }
    sink.family(
      "forebay_pipeline_freshness_seconds", .gauge,
      help: "Seconds since the oldest message was received of which readings wait, anywhere between the log and the "
        + "upstream; 0 when nothing waits.")
    for index in pipelines.indices { sink.sample(labels[index], nanoseconds: pipelines[index].freshness) }
    sink.family("forebay_pipeline_open_readings", .gauge, help: "Readings in the open batch.")
    for index in pipelines.indices {
      if let running = pipelines[index].running { sink.sample(labels[index], Int64(running.openReadings)) }
    }
    let windows = pipelines.indices.compactMap { index in
      pipelines[index].running?.observations.windows.map { (labels: labels[index], figures: $0) }
    }
    sink.family("forebay_pipeline_open_windows", .gauge, help: "Windows in memory, of pipelines that have them.")
    for window in windows { sink.sample(window.labels, Int64(window.figures.open)) }
    sink.family(
      "forebay_pipeline_watermark_timestamp_seconds", .gauge,
      help: "Event time up to which windows are closed, in seconds since 1970; absent before the first reading.")
    for window in windows {
      if let watermark = window.figures.watermark { sink.sample(window.labels, nanoseconds: watermark) }
    }
    sink.family(
      "forebay_pipeline_watermark_lag_seconds", .gauge,
      help: "How far that lies behind the wall clock; below zero where it lies ahead.")
    for window in windows {
      guard let watermark = window.figures.watermark else { continue }
      // Event times are what devices say: the difference may lie beyond 64 bits.
      let (lag, overflow) = now.wall.subtractingReportingOverflow(watermark)
      if !overflow { sink.sample(window.labels, nanoseconds: lag) }
    }
  }

  private func gatherOutbox(_ labels: [MetricLabels], into sink: inout some MetricsSink) {
    sink.family("forebay_outbox_batches", .gauge, help: "Batches that wait for their delivery.")
    for index in pipelines.indices { sink.sample(labels[index], pipelines[index].waiting?.batches ?? 0) }
    sink.family("forebay_outbox_readings", .gauge, help: "Readings in them.")
    for index in pipelines.indices { sink.sample(labels[index], pipelines[index].waiting?.readings ?? 0) }
    sink.family("forebay_outbox_bytes", .gauge, help: "Bytes of them, as compressed.")
    for index in pipelines.indices { sink.sample(labels[index], pipelines[index].waiting?.bytes ?? 0) }
    sink.family(
      "forebay_outbox_oldest_seconds", .gauge, help: "Seconds since the oldest of them was sealed; 0 without any.")
    for index in pipelines.indices { sink.sample(labels[index], nanoseconds: pipelines[index].oldestOutbox ?? 0) }
  }

  private func gatherUplinks(into sink: inout some MetricsSink) {
    let labels = uplinks.map { MetricLabels("uplink", $0.name) }
    sink.family("forebay_uplink_attempts_total", .counter, help: "Attempts to deliver a batch that have ended.")
    for index in uplinks.indices { sink.sample(labels[index], uplinks[index].attempts) }
    sink.family(
      "forebay_uplink_answers_total", .counter,
      help: "How those attempts ended (docs/delivery-protocol.md, section 5); kinds that have not come are absent.")
    for index in uplinks.indices {
      for answer in AnswerLabels.all {
        guard let count = uplinks[index].answers[answer.kind] else { continue }
        sink.sample(labels[index], answer.labels, count)
      }
    }
    sink.family("forebay_uplink_batches_delivered_total", .counter, help: "Batches that the upstream has.")
    for index in uplinks.indices { sink.sample(labels[index], uplinks[index].batchesDelivered) }
    sink.family("forebay_uplink_readings_delivered_total", .counter, help: "Readings in them.")
    for index in uplinks.indices { sink.sample(labels[index], uplinks[index].readingsDelivered) }
    sink.family(
      "forebay_uplink_sent_bytes_total", .counter,
      help: "Bytes of bodies, as compressed, that went out, those of attempts that failed included.")
    for index in uplinks.indices { sink.sample(labels[index], uplinks[index].bytesSent) }
    sink.family("forebay_uplink_in_flight_batches", .gauge, help: "Batches that are on the way now.")
    for index in uplinks.indices { sink.sample(labels[index], Int64(uplinks[index].inFlight)) }
    sink.family("forebay_uplink_held", .gauge, help: "1: it, one of its pipelines or a batch waits for a person.")
    for index in uplinks.indices { sink.sample(labels[index], Int64(uplinks[index].holds.isEmpty ? 0 : 1)) }
    sink.family(
      "forebay_uplink_failing_seconds", .gauge,
      help: "Seconds since the first of the failures that no success has ended; 0 when there are none.")
    for index in uplinks.indices {
      let failing = uplinks[index].outage.map { max(0, now.monotonic - $0.since) }
      sink.sample(labels[index], nanoseconds: failing ?? 0)
    }
  }

  private func gatherObjectives(into sink: inout some MetricsSink) {
    let labels = objectives.map(\.labels)
    sink.family("forebay_objective_target_ratio", .gauge, help: "The share of events that is to be good.")
    for index in objectives.indices { sink.sample(labels[index], objectives[index].target) }
    sink.family(
      "forebay_objective_error_budget_remaining_ratio", .gauge,
      help: "What is left of the bad events that the objective allows; below zero when more came.")
    for index in objectives.indices {
      if let left = objectives[index].budgetRemaining { sink.sample(labels[index], left) }
    }
    sink.family(
      "forebay_objective_burn_rate", .gauge,
      help: "How many times faster than allowed the error budget was used within the window.")
    for index in objectives.indices {
      for burn in objectives[index].burnRates { sink.sample(labels[index], burn.window, burn.rate) }
    }
    sink.family("forebay_alarm", .gauge, help: "Alarms of a kind that last now.")
    for alarm in alarms { sink.sample(alarm.labels, Int64(alarm.count)) }
  }
}
