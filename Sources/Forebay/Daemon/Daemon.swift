internal import Delivery
internal import Glibc
internal import Ingest
internal import Logging
internal import Pipeline
internal import Spool
internal import Status
internal import Synchronization
internal import Telemetry

/// The house, put together: brokers ▶ intake ▶ log ▶ pipelines ▶ outbox ▶ uplinks ▶ upstream.
///
/// Stages do not call each other. They meet in the spool, and each tells the next only that there is
/// something new.
final class Daemon: Sendable {
  let spool: Spool
  let intake: Intake
  let pipelines: PipelineWorker
  let uplinks: Uplinks
  let api: StatusService
  let oversight: Oversight
  let dropsMemory: BrokerDropsMemory
  let notifier: Notifier
  let credentials = CredentialWatch()
  let meters: StageMeters
  let exporter: TelemetryExporter
  /// Of the log, for figures.
  let logGauge: LogGauge
  /// What was gathered last, for figures that cost much when much waits.
  let totals = Mutex(TotalsCache())
  let configuration: Mutex<Configuration>
  let started = SystemClock.monotonic()
  /// A restart in place goes on with the counters of the process.
  let writtenBefore = ProcessDisk.written()
  /// What the last page of metrics was written in.
  let metricsRoom = Mutex<PrometheusPage?>(nil)
  /// What ran when the spool was opened: some of it cannot change before it is opened again.
  private let booted: Configuration
  private let refused: Mutex<String?>
  private let brokenTables: Mutex<[String]> = Mutex([])
  /// From the start to the stop.
  private let statusSource = Mutex<DaemonSource?>(nil)
  private let logger: Logger

  /// Opens the spool and builds every stage; nothing runs yet.
  /// - Parameters:
  ///   - alarm: what is wrong with the configuration already, for the status.
  ///   - registry: of the process, where libraries leave what they count.
  ///   - report: is told what takes long in opening the spool.
  init(
    _ configuration: Configuration, alarm: String?, logger: Logger, registry: MetricRegistry = MetricRegistry(),
    report: (String) -> Void = { _ in }
  ) throws {
    let meters = StageMeters(registry: registry)
    self.meters = meters
    exporter = TelemetryExporter(meters: meters, logger: logger)
    let now = SystemClock.source()
    spool = try Spool.open(
      configuration.spool, machine: .current(), now: now, report: report, random: { .random(in: 0 ... .max) })
    for finding in spool.findings {
      logger.warning("the spool needed attention", metadata: ["finding": "\(finding)"])
    }
    let notifier = Notifier(
      Notifier.Sender(configuration), channels: Notifier.Channel.all(configuration),
      interval: configuration.notifications.interval, directory: configuration.spool.directory, logger: logger,
      now: SystemClock.monotonic)
    self.notifier = notifier
    oversight = Oversight(
      directory: configuration.spool.directory, objectives: configuration.objectives, alarms: configuration.alarms,
      now: now, logger: logger, known: notifier.known, onLook: { notifier.follow($0) })
    dropsMemory = BrokerDropsMemory(directory: configuration.spool.directory, logger: logger)
    let uplinks = Uplinks(
      outbox: SpooledOutbox(spool: spool, tally: oversight.tally), spool: configuration.spool.directory,
      logger: logger, meters: meters)
    let pipelines = PipelineWorker(
      spool: spool, moment: SystemClock.source, logger: logger, meters: meters, onSealed: { uplinks.wake() })
    intake = Intake(
      group: configuration.group, sources: configuration.sources,
      log: SpooledLog(spool: spool, meters: meters, onCommit: { pipelines.wake() }),
      sessions: SpooledSessions(spool: spool), moment: SystemClock.source, logger: logger)
    logGauge = LogGauge(directory: configuration.spool.directory)
    self.pipelines = pipelines
    self.uplinks = uplinks
    api = StatusService(logger: logger)
    self.configuration = Mutex(configuration)
    booted = configuration.withoutAttached
    refused = Mutex(alarm)
    self.logger = logger
  }

  /// Starts the stages from the far end, so that each finds the next one running.
  func start() async throws {
    let configuration = configuration.withLock { whole in
      defer { whole = whole.withoutAttached }
      return whole
    }
    do {
      try AttachmentStore(spool: spoolDirectory).keep(configuration.attached)
    } catch {
      // On a full disk, too, what is there is run; these are needed when it is dropped or refused.
      logger.error("the files beside the configuration could not be kept", metadata: ["error": "\(error)"])
    }
    try spool.space.update(used: try spool.usedBytes())
    await uplinks.apply(configuration.uplinks)
    try pipelines.start(PipelineWorker.Plan(configuration))
    try intake.start()
    exporter.apply(configuration.telemetry.otlp, exportedDocuments)
    try LocalSocket.serve(configuration.status.socket) { [self] in await answer($0) }
    let source = DaemonSource(daemon: self)
    statusSource.withLock { $0 = source }
    await api.apply(configuration.status.api, source: source)
  }

  /// Takes over another configuration without losing or repeating a message: what was read under the
  /// old one is sealed under the old one.
  func reload(_ next: Configuration) async throws {
    // First what can fail.
    try AttachmentStore(spool: spoolDirectory).keep(next.attached)
    try await pipelines.reload(PipelineWorker.Plan(next))
    await uplinks.apply(next.uplinks)
    intake.reload(sources: next.sources)
    if let source = statusSource.withLock({ $0 }) { await api.apply(next.status.api, source: source) }
    oversight.adopt(objectives: next.objectives, alarms: next.alarms)
    notifier.adopt(
      Notifier.Sender(next), channels: Notifier.Channel.all(next), interval: next.notifications.interval)
    meters.prune(
      pipelines: Set(next.pipelines.map(\.name) + pipelines.figures.keys), uplinks: Set(next.uplinks.map(\.name)))
    configuration.withLock { $0 = next.withoutAttached }
    exporter.apply(next.telemetry.otlp, exportedDocuments)
    refused.withLock { $0 = nil }
    brokenTables.withLock { $0 = [] }
    for key in next.keysThatNeedARestart(since: booted) {
      logger.warning("this change takes effect at the next start", metadata: ["key": "\(key)"])
    }
  }

  /// Deletes the files that no configuration needs any more: neither the one that is kept for the next boot nor one
  /// under which a pipeline drains.
  func pruneAttachments() throws {
    let kept = LastGoodConfiguration.copy(in: spoolDirectory, files: .system)
    let draining = try spool.state.configurations().map(Configuration.Origin.init(kept:))
    let origins = [kept, configuration.withLock { $0.origin }] + draining
    AttachmentStore(spool: spoolDirectory).prune(
      keeping: Set(origins.flatMap { $0?.attachments ?? [] }.map(\.digest)))
  }

  /// The edited configuration was refused, for this reason; the old one goes on.
  func refuse(_ reason: String) { refused.withLock { $0 = reason } }

  /// Tables whose files have changed and cannot be used, so that the old ones go on; empty when all is well.
  func report(tableFaults faults: [String]) {
    let new = brokenTables.withLock { known in
      defer { known = faults }
      return faults.filter { !known.contains($0) }
    }
    for fault in new {
      logger.error("a reference table cannot be used; the old one goes on", metadata: ["cause": "\(fault)"])
    }
  }

  var tableFaults: [String] { brokenTables.withLock { $0 } }

  /// Where the configuration that runs is kept: the spool that is open, whatever the newest one says.
  var spoolDirectory: String { booted.spool.directory }

  /// Stops from the near end: nothing new is taken in, what is in the log is sealed, what is sealed is
  /// delivered, each as far as the grace period allows. What is left is there at the next start.
  /// - Parameter longest: nanoseconds at most, whatever the configuration allows.
  func stop(longest: Int64 = .max) async {
    // What is stopped now is no fault: nobody is called because an uplink runs no more.
    oversight.freeze()
    let grace = min(longest, configuration.withLock { $0.shutdown.grace })
    let end = SystemClock.monotonic() + grace
    func share(_ part: Int64) -> Int64 { max(0, end - SystemClock.monotonic()) / part }
    if !intake.stop(graceNanoseconds: share(3)) {
      logger.warning("the intake did not end in time; its brokers send again what was not acknowledged")
    }
    await pipelines.finish(deadline: SystemClock.monotonic() + share(2))
    await uplinks.stop(deadline: end)
    await api.stop()
    statusSource.withLock { $0 = nil }
    oversight.keep(now: SystemClock.source())
    dropsMemory.keep()
    notifier.keep()
    exporter.stop()
    logGauge.close()
    spool.close()
    unlink(booted.status.socket)
  }

  /// Why another configuration runs than the file says; nil when it does not.
  var configurationAlarm: String? { refused.withLock { $0 } }

  /// Whether the threads that must go round do: the watchdog's question. The intake waits for the disk
  /// and the disk may be slow, so it is given a minute.
  func isAlive(now: Int64) -> Bool { now - pipelines.lastPass < 60_000_000_000 }
}

extension Configuration {
  /// Without the bytes of its attachments, which are kept on disk: tables can be large.
  var withoutAttached: Configuration {
    var copy = self
    copy.attached = [:]
    return copy
  }

  /// What a reload cannot change.
  func keysThatNeedARestart(since before: Configuration) -> [String] {
    var keys: [String] = []
    if spool != before.spool || group != before.group { keys.append("spool") }
    if status.socket != before.status.socket { keys.append("status") }
    return keys
  }
}
