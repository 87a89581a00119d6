internal import Logging
internal import Pipeline
internal import Spool
internal import Telemetry

/// The replays of a spool, one at a time, on the pipelines' thread. What goes wrong with one holds up nothing else.
struct ReplayWork {
  private let meters: StageMeters
  /// Nanoseconds between two looks for what an operator has asked for.
  private static let lookInterval: Int64 = 1_000_000_000
  /// Nanoseconds before a failed step is tried again.
  private static let retryInterval: Int64 = 5_000_000_000

  private var runner: ReplayRunner?
  private var nextLook: Int64 = 0
  private var due: Int64 = 0
  private var hasEnded = false
  private var goneBatches = 0
  /// What the replay at hand waits for; nil when it does not.
  private(set) var note: (ReplayID, String)?

  init(meters: StageMeters = StageMeters()) { self.meters = meters }

  /// Batches that were committed since the daemon began.
  var batchesSealed: Int { goneBatches + (runner?.batchesSealed ?? 0) }

  /// When it wants to be called again.
  var deadline: Int64 { hasEnded ? .max : min(nextLook, runner == nil ? .max : due) }

  /// Does nothing any more: the next start goes on.
  mutating func end() {
    drop()
    hasEnded = true
  }

  /// Forgets what is not committed.
  mutating func drop() {
    goneBatches += runner?.batchesSealed ?? 0
    runner = nil
    note = nil
    nextLook = 0
  }

  /// One step, if there is one to be done.
  /// - Parameter settings: those of a pipeline that runs in that version.
  /// - Returns: whether it got on; if not, there is nothing to do until ``deadline``.
  mutating func pass(
    _ spool: Spool, logger: Logger, now: Moment, settings: (_ name: String, _ version: String) -> PipelineSettings?
  ) -> Bool {
    guard !hasEnded else { return false }
    do {
      if now.monotonic >= nextLook {
        nextLook = now.monotonic + ReplayWork.lookInterval
        try look(spool, logger: logger, now: now, settings: settings)
      }
      guard let replay = runner?.replay, now.monotonic >= due else { return false }
      guard !spool.space.isShort else {
        due = nextLook
        note = (replay.id, "room in the spool")
        return false
      }
      return try step(replay, spool, logger: logger, now: now)
    } catch {
      let id = runner?.replay.id
      logger.error(
        "the replay cannot go on; it will try again",
        metadata: ["replay": "\(id.map(\.rawValue) ?? "-")", "error": "\(error)"])
      if let error = error as? SpoolError { spool.examine(error, wall: now.wall) }
      drop()
      nextLook = now.monotonic + ReplayWork.retryInterval
      note = id.map { ($0, "the next try, after: \(error)") }
      return false
    }
  }

  private mutating func step(_ replay: Replay, _ spool: Spool, logger: Logger, now: Moment) throws -> Bool {
    let label: Logger.Metadata = ["replay": "\(replay.id)", "pipeline": "\(replay.pipeline)"]
    let step = try runner?.step(spool, now: now) { reason in
      logger.error(
        "messages cannot be read and are booked as damaged",
        metadata: label.merging(["reason": "\(reason)"], uniquingKeysWith: { $1 }))
    }
    switch step {
    case nil, .stopped: drop()
    case .progressed: note = nil
    case .waits(let until, let cause):
      due = until
      note = cause.map { (replay.id, $0) }
      return false
    case .overBudget(let bytes):
      try spool.state.pauseReplay(
        replay.id,
        reason: "its budget of \(Output.bytes(replay.request.budget)) does not hold the next "
          + "\(Output.bytes(bytes)): forebay replay resume \(replay.id) --budget more")
      logger.notice("the budget of a replay is used up: it is paused", metadata: label)
      drop()
    case .finished:
      try spool.state.finishReplay(replay.id, wall: now.wall)
      logger.notice("a replay is read and sealed", metadata: label)
      drop()
    }
    return true
  }

  /// Follows what the operator wants.
  private mutating func look(
    _ spool: Spool, logger: Logger, now: Moment, settings: (String, String) -> PipelineSettings?
  ) throws {
    guard let replay = try spool.state.nextReplay() else {
      if runner != nil { drop() }
      nextLook = now.monotonic + ReplayWork.lookInterval
      return
    }
    if let runner, runner.replay.id == replay.id, runner.replay.request == replay.request { return }
    drop()
    nextLook = now.monotonic + ReplayWork.lookInterval
    due = now.monotonic
    guard try spool.state.runReplay(replay.id) else { return }
    let reader = try spool.reader()
    guard let state = try spool.state.state(of: replay.book), state.log == reader.log else {
      return try fail(replay, "the log that it was to read has been replaced", spool, logger: logger, now: now)
    }
    let stored = settings(replay.pipeline, replay.version)
    let assignment = try stored == nil ? older(replay, spool) : nil
    guard let settings = stored ?? assignment else {
      return try fail(
        replay,
        "pipeline \(replay.pipeline) has changed, and version \(replay.version), which the replay began with, cannot "
          + "be put together any more: start another", spool, logger: logger, now: now)
    }
    runner = try ReplayRunner(
      replay, settings: settings, state: state, stages: try stages(of: replay, settings, spool), reader: reader,
      now: now, meters: meters)
    logger.notice(
      replay.checkpoint > replay.request.offsets.lowerBound ? "a replay goes on" : "a replay begins",
      metadata: [
        "replay": "\(replay.id)", "pipeline": "\(replay.pipeline)", "version": "\(replay.version)",
        "offsets": "\(replay.checkpoint) to \(replay.request.offsets.upperBound)",
      ])
  }

  /// The settings that it began with, where the pipeline has others by now, out of the configuration that is kept.
  private func older(_ replay: Replay, _ spool: Spool) throws -> PipelineSettings? {
    let text = try spool.state.configuration(of: replay)
    let assignment = PipelineWorker.assignments(keptIn: spool.settings.directory)(replay.pipeline, text)
    return assignment?.version == replay.version ? assignment?.settings : nil
  }

  private func stages(
    of replay: Replay, _ settings: PipelineSettings, _ spool: Spool
  ) throws -> [StageState] {
    try spool.state.stages(of: replay.book).filter { settings.remembers($0.stage) }
  }

  private func fail(_ replay: Replay, _ reason: String, _ spool: Spool, logger: Logger, now: Moment) throws {
    logger.error("a replay cannot go on", metadata: ["replay": "\(replay.id)", "reason": "\(reason)"])
    try spool.state.failReplay(replay.id, reason: reason, wall: now.wall)
  }
}
