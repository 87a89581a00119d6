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
      await look(measures: true)
      notifier.start()
      if oversight.keepIfDue(now: SystemClock.source()) { notifier.keep() }
      try? await Task.sleep(nanoseconds: UInt64(Oversight.interval))
    }
  }

  /// One look at everything that an alarm or an objective is about.
  func look(measures: Bool) async {
    let uplinkStatus = await uplinks.status()
    let receipts = Receipts(gauge: logGauge, log: spool.log.id)
    var sight = sight(uplinks: uplinkStatus, receipts)
    // Half of the ages say nothing of the whole.
    if receipts.gaveUp { sight.pipelines = nil }
    oversight.look(sight, measures: measures) { receipts.around($1, of: $0) }
  }

  /// Times of receipt, from the log. After the first that cannot be had no more are asked for.
  private final class Receipts {
    let gauge: LogGauge
    let log: LogID
    private(set) var gaveUp = false

    init(gauge: LogGauge, log: LogID) {
      self.gauge = gauge
      self.log = log
    }

    func around(_ offset: Offset, of log: LogID) -> (first: Moment, last: Moment)? {
      guard log == self.log, !gaveUp else { return nil }
      do throws(SpoolError) {
        return try gauge.received(around: offset)
      } catch {
        gaveUp = true
        return nil
      }
    }
  }

  private func sight(uplinks: [UplinkStatus], _ receipts: Receipts) -> Sight {
    var sight = Sight(now: SystemClock.source())
    sight.sources = intake.status()
    sight.uplinks = uplinks
    sight.configuration = configurationAlarm
    sight.tables = tableFaults
    sight.api = api.fault
    sight.paused = self.uplinks.paused
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
    sight.stranded = try? standings.filter { standing in
      standing.oldest != nil && !uplinks.contains { $0.name == standing.uplink }
    }.map {
      Sight.Stranded(book: $0.book, uplink: $0.uplink, readings: try spool.state.waitingReadings(of: $0.book))
    }
    sight.pipelines = standings.filter { $0.replay == nil && ($0.active || $0.oldest != nil) }.map { standing in
      let figure = figures[standing.book]
      let unread =
        standing.active && standing.log == end.log
        && standing.checkpoint < min(end.next, figure?.until ?? end.next)
      let ages = [
        standing.oldest.flatMap { age(of: $0, receipts, now: sight.now) },
        unread ? age(of: receipts.around(standing.checkpoint, of: end.log), now: sight.now) : nil,
      ]
      return Sight.Pipeline(
        standing: standing, waits: unread || standing.oldest != nil, oldestAge: ages.compactMap { $0 }.max(),
        fills: fills[standing.book] ?? 0, missing: figure?.observations.sequences?.missing)
    }
    return sight
  }

  private func age(of received: (first: Moment, last: Moment)?, now: Moment) -> Int64? {
    received?.first.elapsed(until: now).map { max(0, $0) }
  }

  /// Since the receipt of its first message, or, where the log has it no more, since it was sealed.
  private func age(of batch: Standing.Waiting, _ receipts: Receipts, now: Moment) -> Int64? {
    if let age = age(of: receipts.around(batch.first, of: batch.log), now: now) { return age }
    return now.quality == .synchronised ? max(0, now.wall - batch.sealed) : nil
  }
}
