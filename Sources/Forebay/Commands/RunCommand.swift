internal import ArgumentParser
internal import CLinux
internal import Glibc
internal import Logging
internal import Spool
internal import Status
internal import Synchronization

struct RunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run the collector.",
    discussion: """
      Runs until SIGTERM or SIGINT; then it takes in nothing more, seals and delivers what it has for \
      as long as shutdown.grace allows, and exits 0. SIGHUP reloads the configuration; one that is \
      refused changes nothing. Speaks sd_notify(3) to systemd: readiness, reload, status, watchdog.

      When the configuration is refused at the start, or it cannot start on it, the last one that ran is used, \
      and an alarm is raised: a gateway must come back after a power cut.

      EXAMPLES:
        forebay run
        forebay run --config ./forebay.yaml

      EXIT STATUS: 0 stopped in order; 1 it could not start (the reason is on standard error); 64 wrong \
      usage; 65 it cannot start on its spool, which a newer version wrote: trying again changes nothing, and \
      the service does not.
      """)

  @Option(name: .shortAndLong, help: ArgumentHelp("The configuration.", valueName: "file"))
  var config = Configuration.defaultPath

  @Option(
    help: ArgumentHelp(
      "Where to remember which spool belongs to which configuration.", valueName: "folder"))
  var state: String?

  func run() async throws {
    // A closed socket and the file-size limit come back as errors, which are dealt with.
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
    let signals = SignalStream([SIGTERM, SIGINT, SIGHUP])
    // More arenas than cores only spread the same memory thinner over a small box.
    mallopt(M_ARENA_MAX, 2)
    let kept = LastGoodConfiguration(stateDirectory: state)
    var boot: LastGoodConfiguration.Boot
    do {
      boot = try kept.load(path: config, failure: StartFailure.take())
    } catch {
      Output.complain("\(error)")
      Output.complain("forebay: the configuration is refused, and none is kept that ran before")
      throw ExitCode(1)
    }
    let log = OperatorLog.standard(boot.configuration)
    defer { log.finish() }
    let logger = log.logger("forebay")
    if let alarm = boot.alarm { logger.error("configuration refused", metadata: ["alarm": "\(alarm)"]) }
    for warning in boot.configuration.warnings {
      logger.warning("configuration", metadata: ["warning": "\(warning.summary)"])
    }
    let begun = SystemClock.monotonic()
    let registry = MetricRegistry()
    registry.adoptLibraries()
    let signs = StartSigns.begin()
    defer { signs.end() }
    do {
      let daemon = try Daemon(
        boot.configuration, alarm: boot.alarm, logger: logger, registry: registry, report: signs.note)
      daemon.spool.onDamage { reason in
        logger.critical("a database is damaged; it is rebuilt at once", metadata: ["reason": "\(reason)"])
        signals.send(Supervision.rebuild)
      }
      do {
        try await daemon.start()
      } catch {
        guard let error = error as? SpoolError, error.kind == .damaged else { throw error }
        // Damage that showed only now.
        daemon.spool.examine(error, wall: SystemClock.wall())
        return await ProcessRestart.now(after: daemon.started, unless: signals, logger)
      }
      signs.end()
      boot.configuration = boot.configuration.withoutAttached
      await Supervision(daemon: daemon, kept: kept, path: config, log: log, logger: logger).run(boot, signals)
    } catch {
      let isForAnotherVersion = StartFailure.isForAnotherVersion(error)
      if boot.refused == nil, kept.hasAnother(than: boot.configuration, onAnotherSpool: isForAnotherVersion) {
        logger.error(
          "cannot start on the configuration; the last one that ran takes its place", metadata: ["cause": "\(error)"])
        log.finish()
        StartFailure.leave("\(error)")
        await ProcessRestart.now(after: begun, unless: signals, logger)
      }
      Output.complain("forebay\(isForAnotherVersion ? " \(Version.current)" : ""): \(error)")
      throw ExitCode(isForAnotherVersion ? StartFailure.statusForAnotherVersion : 1)
    }
  }
}

/// What runs beside the daemon until it is told to stop: signals, watchdog, the kept configuration.
struct Supervision: Sendable {
  let daemon: Daemon
  let kept: LastGoodConfiguration
  let path: String
  let log: OperatorLog
  let logger: Logger
  let manager = ServiceManager()
  /// Among the signals, of which none has this number: a database has to be rebuilt, which takes opening
  /// the spool anew.
  static let rebuild: Int32 = 0
  /// As above: the file of a reference table has changed.
  static let tables: Int32 = -1
  /// Nanoseconds to stop in before that.
  private static let rebuildGrace: Int64 = 3_000_000_000

  func run(_ boot: LastGoodConfiguration.Boot, _ signals: SignalStream) async {
    if boot.refused == nil { keep(boot.configuration) }
    manager.ready("running")
    logger.notice(
      "running",
      metadata: ["version": "\(Version.current)", "gateway": "\(boot.configuration.gateway.id)"])
    let watchdog = Task { await watch() }
    let tableWatch = Task { await watchTables(signals) }
    let oversight = Task { await daemon.oversee() }
    let release = Task { await releaseCode() }
    defer {
      oversight.cancel()
      release.cancel()
    }
    for await signal in signals {
      guard signal != SIGHUP else {
        await reload()
        continue
      }
      if signal == Supervision.tables {
        if let next = await daemon.reloadTables() {
          keep(next)
          logger.notice("reference tables reloaded")
        }
        continue
      }
      if signal == Supervision.rebuild {
        await daemon.stop(longest: Supervision.rebuildGrace)
        log.finish()
        await ProcessRestart.now(after: daemon.started, unless: signals, logger)
        return
      }
      manager.stopping(within: daemon.configuration.withLock { $0.shutdown.grace })
      logger.notice("stopping")
      await daemon.stop()
      watchdog.cancel()
      tableWatch.cancel()
      logger.notice("stopped")
      return
    }
  }

  private func reload() async {
    manager.reloading()
    do {
      let next = try Configuration.load(path: path)
      try await daemon.reload(next)
      log.adopt(next)
      keep(next)
      logger.notice("configuration reloaded")
    } catch let error as ConfigurationErrors {
      logger.error(
        "the configuration is refused; the old one goes on", metadata: ["error": "\(error)"])
      let named = error.errors.prefix(3).map(\.summary).joined(separator: " | ")
      daemon.refuse("the configuration \(path) is refused, the old one goes on: \(named)")
    } catch {
      logger.error(
        "the configuration could not be taken over; the old one goes on, and SIGHUP tries again",
        metadata: ["error": "\(error)"])
      daemon.refuse("the configuration \(path) could not be taken over: \(error)")
    }
    manager.ready("running")
  }

  private func keep(_ configuration: Configuration) {
    do {
      try kept.keep(configuration, in: daemon.spoolDirectory)
      try daemon.pruneAttachments()
    } catch {
      logger.error("the configuration could not be kept", metadata: ["error": "\(error)"])
    }
  }

  private func releaseCode() async {
    var pause = ResidentCode.firstRelease
    while (try? await Task.sleep(nanoseconds: UInt64(pause))) != nil {
      ResidentCode.release()
      pause = ResidentCode.interval
    }
  }

  private func watchTables(_ signals: SignalStream) async {
    var watch = TableWatch()
    while !Task.isCancelled {
      try? await Task.sleep(nanoseconds: TableWatch.interval)
      log.flush()
      let paths = daemon.configuration.withLock { Set($0.tables.map(\.path)) }
      // A fault may go without a change to the file: its log is gone, the disk has room again.
      if watch.look(at: paths) || !daemon.tableFaults.isEmpty { signals.send(Supervision.tables) }
    }
  }

  private func watch() async {
    guard let interval = manager.watchdogInterval else { return }
    while !Task.isCancelled {
      if daemon.isAlive(now: SystemClock.monotonic()) { manager.alive() }
      try? await Task.sleep(nanoseconds: UInt64(interval))
    }
  }
}
