internal import Delivery
internal import Ingest
internal import Pipeline
internal import Spool
internal import Status
internal import Synchronization
internal import Telemetry

extension Daemon {
  /// The objectives as they stand.
  func objectives() -> [ObjectiveReport] { oversight.objectives }
  /// The alarms as they stand.
  var alarmBoard: AlarmBoard { oversight.board }

  /// Looks every ten seconds, until it is cancelled; keeps what is to be kept.
  func oversee() async {
    while !Task.isCancelled {
      let channels = notifier.failing()
      // A channel that a reload has taken away fails no more.
      oversight.clear(.notification, besides: Set(channels.map(\.channel)))
      for (channel, fault) in channels {
        if let fault {
          oversight.report(
            AlarmCondition(.notification, subject: channel, severity: .ticket, text: "\(channel): \(fault)"))
        } else {
          oversight.clear(.notification, subject: channel)
        }
      }
      await look(try? await figures(isFresh: true), measures: true)
      notifier.start()
      if oversight.keepIfDue(now: SystemClock.source()) { notifier.keep() }
      try? await Task.sleep(nanoseconds: UInt64(Oversight.interval))
    }
  }

  /// One look at everything that an alarm or an objective is about.
  /// - Parameter figures: nil: the state cannot be read, being closed for its recovery, which is an alarm of its own.
  func look(_ figures: DaemonFigures?, measures: Bool) async {
    var sight = Sight(now: SystemClock.source())
    if let figures {
      let fills = configuration.withLock { configuration in
        Dictionary(configuration.pipelines.map { ($0.name, $0.batch.maximumAge) }, uniquingKeysWith: max)
      }
      sight.see(figures, fills: fills)
    } else {
      sight.sources = intake.status()
      sight.uplinks = await uplinks.status()
    }
    sight.drops = dropsMemory.look(sight.sources, now: sight.now.monotonic)
    sight.configuration = configurationAlarm
    sight.tables = tableFaults
    sight.api = api.fault
    sight.credentials = credentials.look(at: configuration.withLock { $0.credentialFiles })
    sight.paused = uplinks.paused
    sight.parked = spool.space.parked
    sight.trouble = pipelines.trouble
    sight.expired = pipelines.expired
    sight.space = spool.space.figures
    oversight.look(sight, measures: measures)
  }
}

extension Sight {
  /// - Parameter fills: by pipeline (``Pipeline/fills``).
  mutating func see(_ figures: DaemonFigures, fills: [String: Int64]) {
    sources = figures.sources
    uplinks = figures.uplinks
    stranded = figures.stranded
    pipelines = figures.pipelines.map { figure in
      Pipeline(
        name: figure.name, counters: figure.counters, waits: figure.waits, oldestAge: figure.oldestAge,
        hasUnknownAge: figure.hasUnknownAge, fills: fills[figure.name] ?? 0,
        missing: figure.running?.observations.sequences?.missing)
    }
  }
}
