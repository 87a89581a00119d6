internal import Delivery
internal import Glibc
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
      for (channel, fault) in notifier.failing() {
        if let fault {
          oversight.report(
            AlarmCondition(.notification, subject: channel, severity: .ticket, text: "\(channel): \(fault)"))
        } else {
          oversight.clear(.notification, subject: channel)
        }
      }
      await look(measures: true)
      notifier.start()
      oversight.keepIfDue(now: SystemClock.source())
      try? await Task.sleep(nanoseconds: UInt64(Oversight.interval))
    }
  }

  /// One look at everything that an alarm or an objective is about.
  func look(measures: Bool) async {
    let sight = sight(uplinks: await uplinks.status())
    oversight.look(sight, measures: measures) { [spool] log, offset in
      log == spool.log.id ? try? spool.log.received(around: offset) : nil
    }
  }

  private func sight(uplinks: [UplinkStatus]) -> Sight {
    var sight = Sight(now: SystemClock.source())
    sight.sources = intake.status()
    sight.uplinks = uplinks
    sight.configuration = configurationAlarm
    sight.tables = tableFaults
    sight.parked = spool.space.parked
    sight.trouble = pipelines.trouble
    sight.expired = pipelines.expired
    sight.space = spool.space.figures
    // The state may be closed for its recovery, which is an alarm of its own.
    guard let standings = try? spool.state.standings() else { return sight }
    let end = spool.log.lastEnd
    let figures = pipelines.figures
    let fills = configuration.withLock { configuration in
      Dictionary(configuration.pipelines.map { ($0.name, $0.batch.maximumAge) }, uniquingKeysWith: max)
    }
    sight.stranded = standings.filter { standing in
      standing.oldest != nil && !uplinks.contains { $0.name == standing.uplink }
    }.map {
      Sight.Stranded(
        book: $0.book, uplink: $0.uplink, readings: (try? spool.state.waitingReadings(of: $0.book)) ?? 0)
    }
    sight.pipelines = standings.filter { $0.replay == nil && ($0.active || $0.oldest != nil) }.map { standing in
      let figure = figures[standing.book]
      let unread =
        standing.active && standing.log == end.log
        && standing.checkpoint < min(end.next, figure?.until ?? end.next)
      let ages = [
        standing.oldest.flatMap { age(of: $0, now: sight.now) },
        unread ? age(at: standing.checkpoint, now: sight.now) : nil,
      ]
      return Sight.Pipeline(
        standing: standing, waits: unread || standing.oldest != nil, oldestAge: ages.compactMap { $0 }.max(),
        fills: fills[standing.book] ?? 0, missing: figure?.observations.sequences?.missing)
    }
    return sight
  }

  private func age(at offset: Offset, now: Moment) -> Int64? {
    (try? spool.log.received(around: offset)).flatMap { $0?.first.elapsed(until: now) }.map { max(0, $0) }
  }

  /// Since the receipt of its first message, or, where the log has it no more, since it was sealed.
  private func age(of batch: Standing.Waiting, now: Moment) -> Int64? {
    if batch.log == spool.log.id, let age = age(at: batch.first, now: now) { return age }
    return now.quality == .synchronised ? max(0, now.wall - batch.sealed) : nil
  }
}
