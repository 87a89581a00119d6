internal import Delivery
internal import Ingest
internal import Pipeline
internal import Spool
internal import Status
internal import Telemetry

extension Daemon {
  /// What Prometheus scrapes: the text format 0.0.4. docs/metrics.md describes every metric. Where the state cannot be
  /// read, the page has what can be had without it.
  func metricsPage() async -> [UInt8] {
    var page = PrometheusPage()
    await gatherMetrics(into: &page)
    return page.document()
  }

  func gatherMetrics(into sink: inout some MetricsSink) async {
    if let figures = try? await figures() { figures.gather(into: &sink) }
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

/// Nanoseconds as the seconds of a metric.
private func seconds(_ nanoseconds: Int64) -> Double { Double(nanoseconds) / 1e9 }

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
    sink.single("forebay_uptime_seconds", .gauge, seconds(uptime), help: "Seconds since the daemon started.")
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
    let sources = sources.map { (labels: MetricLabels("source", $0.name), status: $0) }
    sink.family("forebay_source_connected", .gauge, help: "1: the broker has accepted us.")
    for source in sources { sink.sample(source.labels, Int64(source.status.state == .connected ? 1 : 0)) }
    sink.family("forebay_source_messages_total", .counter, help: "Messages of the source that were committed.")
    for source in sources { sink.sample(source.labels, source.status.messages) }
    sink.family("forebay_source_bytes_total", .counter, help: "Payload bytes of those messages.")
    for source in sources { sink.sample(source.labels, source.status.bytes) }
    sink.family("forebay_source_groups_total", .counter, help: "Commits with at least one message of the source.")
    for source in sources { sink.sample(source.labels, source.status.groups) }
    sink.family("forebay_source_reconnects_total", .counter, help: "Accepted connections after the first.")
    for source in sources { sink.sample(source.labels, source.status.reconnects) }
    sink.family(
      "forebay_source_redelivered_messages_total", .counter,
      help: "Messages that the broker sent again and that were recognised: not taken twice.")
    for source in sources { sink.sample(source.labels, source.status.redelivered) }
    sink.family(
      "forebay_source_broker_dropped_messages_total", .counter,
      help: "Messages that the broker says it has dropped since it started, for whomever; absent when it does not say.")
    for source in sources {
      if let dropped = source.status.droppedByBroker { sink.sample(source.labels, dropped.total) }
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
    let books = pipelines.map { (labels: MetricLabels("pipeline", $0.name), figures: $0) }
    gatherBooks(books, into: &sink)
    gatherRunning(books, into: &sink)
    gatherOutbox(books, into: &sink)
  }

  private func gatherBooks(_ books: [(labels: MetricLabels, figures: Pipeline)], into sink: inout some MetricsSink) {
    sink.family(
      "forebay_pipeline_messages_total", .counter, help: "Messages by what became of them (docs/guarantees.md).")
    for book in books {
      for column in LedgerLabels.messages {
        sink.sample(book.labels.followed(by: column.labels), column.count(book.figures.counters))
      }
    }
    sink.family(
      "forebay_pipeline_readings_total", .counter,
      help: "Readings by where they came from and what became of them (docs/guarantees.md).")
    for book in books {
      for column in LedgerLabels.readings {
        sink.sample(book.labels.followed(by: column.labels), column.count(book.figures.counters))
      }
    }
    sink.family("forebay_dead_letters", .gauge, help: "Dead letters that are kept.")
    for book in books { sink.sample(book.labels, book.figures.deadLetters) }
    sink.family(
      "forebay_dead_letter_bytes", .gauge, help: "Bytes of them as they count against dead_letters.max.")
    for book in books { sink.sample(book.labels, book.figures.deadLetterBytes) }
    sink.family(
      "forebay_dead_letters_expired_total", .counter,
      help: "Dead letters that went because of dead_letters.keep or dead_letters.max.")
    for book in books { sink.sample(book.labels, book.figures.counters.expired) }
  }

  private func gatherRunning(_ books: [(labels: MetricLabels, figures: Pipeline)], into sink: inout some MetricsSink) {
    sink.family(
      "forebay_pipeline_backlog_messages", .gauge, help: "Messages in the log that the pipeline has not read.")
    for book in books { sink.sample(book.labels, book.figures.backlog) }
    sink.family("forebay_pipeline_backlog_bytes", .gauge, help: "Payload bytes of those messages.")
    for book in books { sink.sample(book.labels, book.figures.backlogBytes) }
    sink.family(
      "forebay_pipeline_backlog_seconds", .gauge, help: "Seconds since the first of them was received; 0 without any.")
    for book in books { sink.sample(book.labels, seconds(book.figures.backlogAge)) }
    sink.family(
      "forebay_pipeline_freshness_seconds", .gauge,
      help: "Seconds since the oldest message was received of which readings wait, anywhere between the log and the "
        + "upstream; 0 when nothing waits.")
    for book in books { sink.sample(book.labels, seconds(book.figures.freshness)) }
    let running = books.compactMap { book in book.figures.running.map { (book.labels, $0) } }
    sink.family("forebay_pipeline_open_readings", .gauge, help: "Readings in the open batch.")
    for (labels, figures) in running { sink.sample(labels, Int64(figures.openReadings)) }
    let windows = running.compactMap { book in book.1.observations.windows.map { (book.0, $0) } }
    sink.family("forebay_pipeline_open_windows", .gauge, help: "Windows in memory, of pipelines that have them.")
    for (labels, figures) in windows { sink.sample(labels, Int64(figures.open)) }
    sink.family(
      "forebay_pipeline_watermark_timestamp_seconds", .gauge,
      help: "Event time up to which windows are closed, in seconds since 1970; absent before the first reading.")
    for (labels, figures) in windows {
      if let watermark = figures.watermark { sink.sample(labels, seconds(watermark)) }
    }
    sink.family(
      "forebay_pipeline_watermark_lag_seconds", .gauge,
      help: "How far that lies behind the wall clock; below zero where it lies ahead.")
    for (labels, figures) in windows {
      if let watermark = figures.watermark { sink.sample(labels, (Double(now.wall) - Double(watermark)) / 1e9) }
    }
  }

  private func gatherOutbox(_ books: [(labels: MetricLabels, figures: Pipeline)], into sink: inout some MetricsSink) {
    sink.family("forebay_outbox_batches", .gauge, help: "Batches that wait for their delivery.")
    for book in books { sink.sample(book.labels, book.figures.waiting?.batches ?? 0) }
    sink.family("forebay_outbox_readings", .gauge, help: "Readings in them.")
    for book in books { sink.sample(book.labels, book.figures.waiting?.readings ?? 0) }
    sink.family("forebay_outbox_bytes", .gauge, help: "Bytes of them, as compressed.")
    for book in books { sink.sample(book.labels, book.figures.waiting?.bytes ?? 0) }
    sink.family(
      "forebay_outbox_oldest_seconds", .gauge, help: "Seconds since the oldest of them was sealed; 0 without any.")
    for book in books { sink.sample(book.labels, seconds(book.figures.oldestOutbox ?? 0)) }
  }

  private func gatherUplinks(into sink: inout some MetricsSink) {
    let uplinks = uplinks.map { (labels: MetricLabels("uplink", $0.name), status: $0) }
    sink.family("forebay_uplink_attempts_total", .counter, help: "Attempts to deliver a batch that have ended.")
    for uplink in uplinks { sink.sample(uplink.labels, uplink.status.attempts) }
    sink.family(
      "forebay_uplink_answers_total", .counter,
      help: "How those attempts ended (docs/delivery-protocol.md, section 5); kinds that have not come are absent.")
    for uplink in uplinks {
      for answer in AnswerLabels.all {
        guard let count = uplink.status.answers[answer.kind] else { continue }
        sink.sample(uplink.labels.followed(by: answer.labels), count)
      }
    }
    sink.family("forebay_uplink_batches_delivered_total", .counter, help: "Batches that the upstream has.")
    for uplink in uplinks { sink.sample(uplink.labels, uplink.status.batchesDelivered) }
    sink.family("forebay_uplink_readings_delivered_total", .counter, help: "Readings in them.")
    for uplink in uplinks { sink.sample(uplink.labels, uplink.status.readingsDelivered) }
    sink.family(
      "forebay_uplink_sent_bytes_total", .counter,
      help: "Bytes of bodies, as compressed, that went out, those of attempts that failed included.")
    for uplink in uplinks { sink.sample(uplink.labels, uplink.status.bytesSent) }
    sink.family("forebay_uplink_in_flight_batches", .gauge, help: "Batches that are on the way now.")
    for uplink in uplinks { sink.sample(uplink.labels, Int64(uplink.status.inFlight)) }
    sink.family("forebay_uplink_held", .gauge, help: "1: it, one of its pipelines or a batch waits for a person.")
    for uplink in uplinks { sink.sample(uplink.labels, Int64(uplink.status.holds.isEmpty ? 0 : 1)) }
    sink.family(
      "forebay_uplink_failing_seconds", .gauge,
      help: "Seconds since the first of the failures that no success has ended; 0 when there are none.")
    for uplink in uplinks {
      sink.sample(uplink.labels, uplink.status.outage.map { seconds(max(0, now.monotonic - $0.since)) } ?? 0)
    }
  }

  private func gatherObjectives(into sink: inout some MetricsSink) {
    let objectives = objectives.map { (labels: MetricLabels("objective", $0.name), figures: $0) }
    sink.family("forebay_objective_target_ratio", .gauge, help: "The share of events that is to be good.")
    for objective in objectives { sink.sample(objective.labels, objective.figures.target) }
    sink.family(
      "forebay_objective_error_budget_remaining_ratio", .gauge,
      help: "What is left of the bad events that the objective allows; below zero when more came.")
    for objective in objectives {
      if let left = objective.figures.budgetRemaining { sink.sample(objective.labels, left) }
    }
    sink.family(
      "forebay_objective_burn_rate", .gauge,
      help: "How many times faster than allowed the error budget was used within the window.")
    for objective in objectives {
      for burn in objective.figures.burnRates {
        sink.sample(objective.labels.adding("window", burn.window), burn.rate)
      }
    }
    sink.family("forebay_alarm", .gauge, help: "Alarms of a kind that last now.")
    for alarm in alarms {
      let labels = MetricLabels("kind", alarm.kind).adding("severity", alarm.severity.rawValue)
      sink.sample(labels, Int64(alarm.count))
    }
  }
}
