internal import Logging
internal import Pipeline
internal import Spool
internal import Telemetry

/// What the pipeline thread owns: the runners, the reader, and the housekeeping of the spool.
struct Work {
  /// Nanoseconds between two looks at space, retention and requeues.
  private static let housekeepingInterval: Int64 = 1_000_000_000
  /// Nanoseconds between two writings of the mirror: a mark that lags costs only possible duplicates.
  private static let mirrorInterval: Int64 = 10_000_000_000
  /// Nanoseconds before a failed pass is tried again.
  private static let retryInterval: Int64 = 1_000_000_000

  private let spool: Spool
  private let reader: LogReader
  private let logger: Logger
  private var runners: [PipelineRunner]
  private var nextHousekeeping: Int64 = 0
  private var nextMirror: Int64 = 0
  private var retryAt: Int64 = 0
  /// Batches of runners that are gone.
  private var retiredBatches = 0
  private var reportedBatches = 0
  /// Why sealing waits; nil when it does not.
  private(set) var blocked: String?

  init(
    spool: Spool, assignments: [PipelineWorker.Assignment], previous: [PipelineWorker.Assignment],
    gateway: String, now: Moment, logger: Logger
  ) throws {
    self.spool = spool
    self.logger = logger
    reader = try spool.reader()
    let known = try spool.state.activePipelines()
    let states = try spool.register(
      assignments.map(\.registration), gateway: gateway, wall: now.wall,
      random: { UInt64.random(in: 0 ... .max) })
    runners = assignments.compactMap { assignment in
      states[assignment.settings.name].map {
        PipelineRunner(
          settings: assignment.settings, version: assignment.version, state: $0, now: now)
      }
    }
    let end = try reader.end().next
    for dropped in known where states[dropped.name] == nil {
      if let old = previous.first(where: { $0.settings.name == dropped.name }),
        let state = try spool.state.state(of: dropped.name)
      {
        var runner = PipelineRunner(
          settings: old.settings, version: old.version, state: state, now: now)
        runner.drain(until: end)
        runners.append(runner)
      } else {
        let unread = try spool.state.state(of: dropped.name).map { try reader.waiting(from: $0.checkpoint) }
        try spool.state.retire(dropped.name, unread: unread ?? 0, wall: now.wall)
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
            version: runner.core.version, draining: runner.life != .running)
        )
      }, uniquingKeysWith: { first, _ in first })
  }

  /// Batches that were committed since the last call, by whatever occasion.
  mutating func takeSealedBatches() -> Int {
    let total = retiredBatches + runners.reduce(0) { $0 + $1.batchesSealed }
    defer { reportedBatches = total }
    return total - reportedBatches
  }

  /// One step of every pipeline.
  /// - Returns: false when there is nothing more to do for now.
  mutating func pass(now: Moment) throws -> Bool {
    if now.monotonic < retryAt { return false }
    if now.monotonic >= nextHousekeeping { try housekeep(now: now) }
    guard spool.space.maySeal else {
      blocked = "there is no room for another batch: " + (spool.space.parked ?? "the spool is full")
      return false
    }
    blocked = nil
    var progressed = false
    for index in runners.indices {
      let name = runners[index].name
      let stepped = try runners[index].step(reader, spool: spool, now: now) { reason in
        logger.error(
          "messages cannot be read and are booked as damaged",
          metadata: ["pipeline": "\(name)", "reason": "\(reason)"])
      }
      progressed = stepped || progressed
    }
    try retireDrained(now: now)
    return progressed
  }

  private mutating func retireDrained(now: Moment) throws {
    for index in runners.indices.reversed() where runners[index].isDrained {
      try runners[index].close(spool, now: now)
      try spool.state.retire(runners[index].name, unread: 0, wall: now.wall)
      logger.notice(
        "a pipeline that is no longer configured has sealed its backlog",
        metadata: ["pipeline": "\(runners[index].name)"])
      retiredBatches += runners[index].batchesSealed
      runners.remove(at: index)
    }
  }

  private mutating func housekeep(now: Moment) throws {
    try spool.space.update(used: try spool.usedBytes())
    let deleted = try spool.retain(now: now)
    if deleted > 0 { try spool.space.update(used: try spool.usedBytes()) }
    // While space is short there is no waiting for the next look: what can go goes at once.
    let busy = deleted > 0 && spool.space.isShort
    nextHousekeeping = now.monotonic + (busy ? 0 : Work.housekeepingInterval)
    spool.ballast.take()
    for index in runners.indices {
      try runners[index].requeue(spool.state, now: now)
    }
    if now.monotonic >= nextMirror {
      nextMirror = now.monotonic + Work.mirrorInterval
      try spool.mirror()
    }
  }

  mutating func reload(
    _ assignments: [PipelineWorker.Assignment], gateway: String, now: Moment
  ) throws {
    let end = try reader.end().next
    // What was read under the old settings is sealed under them, before the state is registered anew.
    for index in runners.indices where runners[index].life == .running {
      try runners[index].close(spool, now: now)
    }
    let states = try spool.register(
      assignments.map(\.registration), gateway: gateway, wall: now.wall,
      random: { UInt64.random(in: 0 ... .max) })
    var next: [PipelineRunner] = []
    for runner in runners where states[runner.name] != nil { retiredBatches += runner.batchesSealed }
    for assignment in assignments {
      guard let state = states[assignment.settings.name] else { continue }
      next.append(
        PipelineRunner(
          settings: assignment.settings, version: assignment.version, state: state, now: now))
    }
    for var runner in runners where states[runner.name] == nil {
      if runner.life == .running { runner.drain(until: end) }
      next.append(runner)
    }
    runners = next
  }

  /// After a failure: the state is opened anew, and every pipeline begins again at what is committed.
  mutating func recover(now: Moment) {
    retryAt = now.monotonic + Work.retryInterval
    do {
      if !spool.state.isOpen { spool.ballast.release() }
      try spool.state.reopen()
      for index in runners.indices { try runners[index].restart(state: spool.state, now: now) }
    } catch {
      logger.error("the state cannot be reopened yet", metadata: ["error": "\(error)"])
    }
  }

  /// The last thing: open batches are sealed, and the mirror is written.
  mutating func finish(now: Moment) {
    do {
      for index in runners.indices { try runners[index].close(spool, now: now) }
      try spool.mirror()
    } catch {
      logger.error(
        "open batches could not be sealed; their messages are read again at the next start",
        metadata: ["error": "\(error)"])
    }
  }

  func nextDeadline(after now: Int64) -> Int64 {
    let soonest = runners.map(\.deadline).min() ?? .max
    return max(now + 1_000_000, min(soonest, max(nextHousekeeping, retryAt)))
  }
}
