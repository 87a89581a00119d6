internal import Logging
internal import Pipeline
internal import Spool
internal import Telemetry

/// What the pipeline thread owns: the runners, the reader, and the housekeeping of the spool.
struct Work {
  /// Nanoseconds between two looks at space, retention and dead letters.
  static let housekeepingInterval: Int64 = 1_000_000_000
  /// Nanoseconds between two writings of the mirror: a mark that lags costs only possible duplicates.
  private static let mirrorInterval: Int64 = 10_000_000_000
  /// Nanoseconds before a failed pass is tried again.
  private static let retryInterval: Int64 = 1_000_000_000

  private let spool: Spool
  private let reader: LogReader
  private let logger: Logger
  private let meters: StageMeters
  private var runners: [PipelineRunner] = []
  private(set) var letters: DeadLetterKeeping
  private var replays: ReplayWork
  private var nextHousekeeping: Int64 = 0
  private var nextMirror: Int64 = 0
  private var retryAt: Int64 = 0
  /// The state was opened anew, and the cores have yet to begin again at what is committed.
  private var mustRestart = false
  /// Batches of runners that are gone.
  private var retiredBatches = 0
  private var reportedBatches = 0
  /// Why sealing waits; nil when it does not.
  private(set) var blocked: String?
  /// Why the marks cannot be mirrored; nil when they can.
  private(set) var unmirrored: String?

  init(
    spool: Spool, plan: PipelineWorker.Plan, read: (String, [UInt8]) -> PipelineWorker.Assignment?,
    now: Moment, logger: Logger, meters: StageMeters = StageMeters()
  ) throws {
    self.spool = spool
    self.logger = logger
    self.meters = meters
    replays = ReplayWork(meters: meters)
    reader = try spool.reader()
    letters = DeadLetterKeeping(bounds: plan.deadLetters, logger: logger)
    try adopt(plan, read: read, now: now)
  }

  /// Registers what is configured, and goes on with what still drains.
  private mutating func adopt(
    _ plan: PipelineWorker.Plan, read: (String, [UInt8]) -> PipelineWorker.Assignment?, now: Moment
  ) throws {
    for assignment in plan.assignments { try closeOldWindows(before: assignment, read: read, now: now) }
    let registered = try spool.register(
      plan.assignments.map(\.registration), configuration: plan.configuration, gateway: plan.gateway,
      wall: now.wall, random: { UInt64.random(in: 0 ... .max) })
    letters.bounds = plan.deadLetters
    let old = runners
    runners = try plan.assignments.compactMap { assignment in
      try registered.states[assignment.settings.name].map {
        try runner(assignment, state: $0, now: now)
      }
    }
    for draining in registered.draining {
      if var runner = old.first(where: { $0.name == draining.name }) {
        runner.drain(until: draining.until)
        runners.append(runner)
      } else if let assignment = read(draining.name, draining.configuration) {
        var runner = try runner(assignment, state: draining.state, now: now)
        runner.drain(until: draining.until)
        runners.append(runner)
      } else {
        let unread = max(0, draining.until - draining.state.checkpoint)
        logger.error(
          "the settings of a pipeline that was dropped cannot be read any more",
          metadata: ["pipeline": "\(draining.name)", "unread": "\(unread)"])
        do {
          try spool.state.retire(draining.name, unread: unread, wall: now.wall)
        } catch {
          // The registration stands; the book is closed at the next start.
          logger.error("its book cannot be closed yet", metadata: ["error": "\(error)"])
        }
      }
    }
    retiredBatches += old.filter { runner in !runners.contains { $0.name == runner.name && $0.life != .running } }
      .reduce(0) { $0 + $1.batchesSealed }
  }

  /// Windows that were opened under other rules than today's, while the daemon was stopped or before a reload, are
  /// closed under theirs. Then nothing is left of them but how far they were closed, where today's go on. Where the
  /// rules are lost, ``runner(_:state:now:)`` books it.
  private func closeOldWindows(
    before assignment: PipelineWorker.Assignment, read: (String, [UInt8]) -> PipelineWorker.Assignment?, now: Moment
  ) throws {
    let name = assignment.settings.name
    guard let state = try spool.state.state(of: name) else { return }
    let stages = try spool.state.stages(of: name)
    guard stages.contains(where: { $0.stage == .windows }),
      let text = try spool.state.configuration(of: name), let old = read(name, text),
      old.settings.window != nil, !assignment.settings.continuesWindows(of: old.settings)
    else { return }
    guard
      var runner = try? PipelineRunner(
        settings: old.settings, version: old.version, state: state, stages: stages, now: now, meters: meters)
    else { return }
    try runner.drainWindows(spool, now: now)
    logger.notice(
      "the rules of windows have changed: those that were open were closed under the old ones",
      metadata: ["pipeline": "\(name)"])
  }

  /// A runner with what its stages remember. A stage whose memory cannot be read begins with none, and that is
  /// booked; one that is no longer configured is forgotten.
  private func runner(
    _ assignment: PipelineWorker.Assignment, state: PipelineState, now: Moment
  ) throws -> PipelineRunner {
    let name = assignment.settings.name
    var stages = try spool.state.stages(of: name)
    for stage in stages.map(\.stage) where !assignment.settings.remembers(stage) {
      try spool.state.forget(stage, of: name)
      stages.removeAll { $0.stage == stage }
    }
    while true {
      do {
        return try PipelineRunner(
          settings: assignment.settings, version: assignment.version, state: state, stages: stages, now: now,
          meters: meters)
      } catch let damage as StageDamage where stages.contains(where: { $0.stage == damage.stage }) {
        logger.error(
          "what a stage remembers cannot be read: it begins with nothing",
          metadata: ["pipeline": "\(name)", "cause": "\(damage)"])
        try spool.state.forget(damage.stage, of: name)
        try spool.state.book(
          StateStore.Fault(
            wall: now.wall, kind: "stage-forgotten", detail: "pipeline \(name): \(damage)", messages: 0))
        stages.removeAll { $0.stage == damage.stage }
      }
    }
  }

  var figures: [String: PipelineWorker.Figures] {
    Dictionary(
      runners.map { runner in
        (
          runner.name,
          PipelineWorker.Figures(
            readPosition: runner.core.readPosition, checkpoint: runner.core.checkpoint,
            openReadings: runner.core.openReadings, openBytes: runner.core.openBytes,
            version: runner.core.version, until: runner.until, observations: runner.core.observations,
            expectations: runner.core.settings.contract?.expectations ?? [],
            oldestUnsealed: runner.core.oldestUnsealed, heldUntil: runner.core.heldUntil)
        )
      }, uniquingKeysWith: { first, _ in first })
  }

  /// Batches that were committed since the last call, by whatever occasion.
  mutating func takeSealedBatches() -> Int {
    let total = retiredBatches + replays.batchesSealed + runners.reduce(0) { $0 + $1.batchesSealed }
    defer { reportedBatches = total }
    return total - reportedBatches
  }

  /// One step of every pipeline.
  /// - Returns: whether any of them got on; if not, nothing is left to do until something comes or time passes.
  mutating func pass(now: Moment) throws -> Bool {
    if now.monotonic < retryAt { return false }
    try reopenIfClosed(now: now)
    if now.monotonic >= nextHousekeeping { try housekeep(now: now) }
    guard spool.space.maySeal else {
      blocked = "there is no room for another batch: " + (spool.space.parked ?? "the spool is full")
      return false
    }
    blocked = nil
    var progressed = false
    var failure: (any Error)?
    for index in runners.indices {
      let name = runners[index].name
      do {
        let stepped = try runners[index].step(reader, spool: spool, now: now) { [logger] reason in
          logger.error(
            "messages cannot be read and are booked as damaged",
            metadata: ["pipeline": "\(name)", "reason": "\(reason)"])
        }
        progressed = stepped || progressed
      } catch {
        // What one cannot do must not stop the others.
        failure = failure ?? error
      }
    }
    try retireDrained(now: now)
    if let failure { throw failure }
    // Only when there is nothing else to do.
    if !progressed, let replays = runReplays(now: now) { progressed = replays }
    return progressed
  }

  private mutating func runReplays(now: Moment) -> Bool? {
    let running = runners.filter { $0.life == .running }
    return replays.pass(spool, logger: logger, now: now) { name, version in
      running.first { $0.name == name && $0.core.version == version }?.settings
    }
  }

  /// Replays rest until the next start: whoever ends the pipelines does not wait for them.
  mutating func endReplays() { replays.end() }
  /// What the replay at hand waits for; nil when it does not, and when there is none.
  var replayNote: (ReplayID, String)? { replays.note }

  private mutating func retireDrained(now: Moment) throws {
    for index in runners.indices.reversed() where runners[index].isDrained {
      try runners[index].drainWindows(spool, now: now)
      try spool.state.retire(runners[index].name, unread: 0, wall: now.wall)
      logger.notice(
        "a pipeline that is no longer configured has sealed its backlog",
        metadata: ["pipeline": "\(runners[index].name)"])
      retiredBatches += runners[index].batchesSealed
      runners.remove(at: index)
    }
  }

  private mutating func housekeep(now: Moment) throws {
    let makesRoom = try makeRoom(now: now)
    let isBusy = try letters.expire(runners, state: spool.state, now: now) || makesRoom
    nextHousekeeping = now.monotonic + (isBusy ? 0 : Work.housekeepingInterval)
    spool.ballast.take()
    if spool.space.maySeal { try letters.requeue(&runners, from: reader, state: spool.state, now: now) }
    if now.monotonic >= nextMirror {
      nextMirror = now.monotonic + Work.mirrorInterval
      mirror(now: now)
    }
  }

  /// Deletes what need not be kept and takes new readings of the space.
  /// - Returns: whether there is more to delete that is wanted now.
  private func makeRoom(now: Moment) throws(SpoolError) -> Bool {
    do throws(SpoolError) {
      try spool.space.update(used: try spool.usedBytes())
      let deleted = try spool.retain(now: now)
      if deleted > 0 { try spool.space.update(used: try spool.usedBytes()) }
      // While space is short there is no waiting for the next look: what can go goes at once.
      return deleted > 0 && spool.space.isShort
    } catch {
      // The intake opens a log that has failed; what is in it can be read and sealed meanwhile.
      guard error.kind == .unavailable || error.kind == .busy else { throw error }
      logger.debug("no look at the space this time", metadata: ["error": "\(error)"])
      return false
    }
  }

  /// A mirror that cannot be written must not hold up what it mirrors.
  private mutating func mirror(now: Moment) {
    do {
      try spool.mirror()
      unmirrored = nil
    } catch {
      if unmirrored == nil {
        logger.error("the marks cannot be mirrored", metadata: ["error": "\(error)"])
      }
      spool.examine(error, wall: now.wall)
      unmirrored = "the marks cannot be mirrored: \(error)"
    }
  }

  /// Takes over another plan: what was read under the old settings is sealed under them.
  mutating func reload(
    _ plan: PipelineWorker.Plan, read: (String, [UInt8]) -> PipelineWorker.Assignment?, now: Moment
  ) throws {
    try reopenIfClosed(now: now)
    for index in runners.indices where runners[index].life == .running {
      try runners[index].close(spool, now: now)
      let next = plan.assignments.first { $0.settings.name == runners[index].name }
      // Dropped pipelines go on; those with other rules close their windows under the old ones.
      if let next, !next.settings.continuesWindows(of: runners[index].settings) {
        try runners[index].drainWindows(spool, now: now)
      }
    }
    try adopt(plan, read: read, now: now)
  }

  /// Opens a state that a failure has closed, whoever met it. What the last commit did is not known, so
  /// every pipeline begins again at what is committed, until all of them have.
  private mutating func reopenIfClosed(now: Moment) throws {
    if !spool.state.isOpen {
      mustRestart = true
      spool.ballast.release()
      try spool.state.reopen()
      logger.notice("the state is open again")
    }
    guard mustRestart else { return }
    for index in runners.indices { try runners[index].restart(state: spool.state, now: now) }
    replays.drop()
    mustRestart = false
  }

  /// After a failure: the next pass comes a little later.
  mutating func recover(from error: any Error, now: Moment) {
    retryAt = now.monotonic + Work.retryInterval
    if let error = error as? SpoolError { spool.examine(error, wall: now.wall) }
  }

  /// The last thing: open batches are sealed, and the mirror is written.
  mutating func finish(now: Moment) {
    do {
      try reopenIfClosed(now: now)
      for index in runners.indices { try runners[index].close(spool, now: now) }
      try retireDrained(now: now)
    } catch {
      logger.error(
        "open batches could not be sealed; their messages are read again at the next start",
        metadata: ["error": "\(error)"])
    }
    mirror(now: now)
  }

  func nextDeadline(after now: Int64) -> Int64 {
    if retryAt > now { return retryAt }
    // Nothing is sealed before there is room, and room is looked for by the housekeeping.
    let soonest = blocked == nil ? min(replays.deadline, runners.map(\.deadline).min() ?? .max) : .max
    return max(now + 1_000_000, min(soonest, nextHousekeeping))
  }
}
