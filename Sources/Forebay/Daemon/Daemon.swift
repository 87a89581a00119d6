internal import Delivery
internal import Glibc
internal import Ingest
internal import Logging
internal import Spool
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
  let configuration: Mutex<Configuration>
  let started = SystemClock.monotonic()
  private let bootAlarm: Mutex<String?>
  private let logger: Logger

  /// Opens the spool and builds every stage; nothing runs yet.
  /// - Parameter bootAlarm: what is wrong already, for the status.
  init(_ configuration: Configuration, bootAlarm: String?, logger: Logger) throws {
    let now = SystemClock.source()
    spool = try Spool.open(
      configuration.spool, machine: .current(), now: now, random: { .random(in: 0 ... .max) })
    for finding in spool.findings {
      logger.warning("the spool needed attention", metadata: ["finding": "\(finding)"])
    }
    let uplinks = Uplinks(outbox: SpooledOutbox(state: spool.state), logger: logger)
    let pipelines = PipelineWorker(
      spool: spool, moment: SystemClock.source, logger: logger, onSealed: { uplinks.wake() })
    intake = Intake(
      group: configuration.group, sources: configuration.sources,
      log: SpooledLog(spool: spool, onCommit: { pipelines.wake() }),
      sessions: SpooledSessions(state: spool.state), moment: SystemClock.source, logger: logger)
    self.pipelines = pipelines
    self.uplinks = uplinks
    self.configuration = Mutex(configuration)
    self.bootAlarm = Mutex(bootAlarm)
    self.logger = logger
  }

  /// Starts the stages from the far end, so that each finds the next one running.
  /// - Parameter previous: the configuration that ran last, for pipelines that have been dropped since.
  func start(previous: Configuration?) async throws {
    let configuration = configuration.withLock { $0 }
    try spool.space.update(used: try spool.usedBytes())
    await uplinks.apply(configuration.uplinks)
    try pipelines.start(
      configuration.pipelines.map(PipelineWorker.Assignment.init),
      previous: previous?.pipelines.map(PipelineWorker.Assignment.init) ?? [],
      gateway: configuration.gateway.id)
    try intake.start()
    try LocalSocket.serve(configuration.status.socket) { [self] in await statusDocument() }
  }

  /// Takes over another configuration without losing or repeating a message: what was read under the
  /// old one is sealed under the old one.
  func reload(_ next: Configuration) async throws {
    let before = configuration.withLock { $0 }
    for key in next.keysThatNeedARestart(since: before) {
      logger.warning("this change takes effect at the next start", metadata: ["key": "\(key)"])
    }
    await uplinks.apply(next.uplinks)
    try await pipelines.reload(
      next.pipelines.map(PipelineWorker.Assignment.init), gateway: next.gateway.id)
    intake.reload(sources: next.sources)
    configuration.withLock { $0 = next }
    bootAlarm.withLock { $0 = nil }
  }

  /// Stops from the near end: nothing new is taken in, what is in the log is sealed, what is sealed is
  /// delivered, each as far as the grace period allows. What is left is there at the next start.
  func stop() async {
    let grace = configuration.withLock { $0.shutdown.grace }
    let end = SystemClock.monotonic() + grace
    func share(_ part: Int64) -> Int64 { max(0, end - SystemClock.monotonic()) / part }
    if !intake.stop(graceNanoseconds: share(3)) {
      logger.warning("the intake did not end in time; its brokers send again what was not acknowledged")
    }
    await pipelines.finish(deadline: SystemClock.monotonic() + share(2))
    await uplinks.stop(deadline: end)
    spool.close()
    unlink(configuration.withLock { $0.status.socket })
  }

  var alarmAtBoot: String? { bootAlarm.withLock { $0 } }

  /// Whether the threads that must go round do: the watchdog's question. The intake waits for the disk
  /// and the disk may be slow, so it is given a minute.
  func isAlive(now: Int64) -> Bool { now - pipelines.lastPass < 60_000_000_000 }
}

extension Configuration {
  /// What a reload cannot change.
  func keysThatNeedARestart(since before: Configuration) -> [String] {
    var keys: [String] = []
    if spool != before.spool || group != before.group { keys.append("spool") }
    if status != before.status { keys.append("status") }
    return keys
  }
}
