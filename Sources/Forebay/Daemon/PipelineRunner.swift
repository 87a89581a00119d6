internal import Failpoints
internal import Pipeline
internal import Spool
internal import Telemetry

/// One pipeline at work: reads the log, runs the core, commits its seals. Used by one thread.
struct PipelineRunner {
  enum Life: Equatable {
    case running
    /// The configuration has dropped it: it reads up to this offset, seals, and is retired.
    case draining(until: Offset)
  }

  /// How much may be decided in memory before it is sealed while there is more to read. A seal costs an
  /// fsync, so a backlog is sealed in megabytes; live data is sealed as its batches close.
  static let sealBytes = 1 << 20
  static let sealBatches = 16
  /// Nanoseconds after which progress without a batch (messages of other pipelines, dead letters) is
  /// committed.
  static let sealInterval: Int64 = 1_000_000_000
  /// The same of a pipeline with windows, where every device that has sent something costs a row.
  static let windowSealInterval: Int64 = 10_000_000_000

  private var sealInterval: Int64 {
    settings.window == nil ? PipelineRunner.sealInterval : PipelineRunner.windowSealInterval
  }

  private(set) var core: PipelineCore
  private(set) var life: Life = .running
  private(set) var lastSeal: Int64
  /// Since when nothing has kept messages from coming: the start, and the end of parking. Monotonic nanoseconds.
  private var openSince: Int64
  /// The last letter that was taken up of each request.
  private var requeued: [Int64: Int64] = [:]
  private let meters: StageMeters

  var name: String { core.settings.name }
  var settings: PipelineSettings { core.settings }

  /// - Parameter stages: what its stages remembered at `state`.
  init(
    settings: PipelineSettings, version: String, state: PipelineState, stages: [StageState], now: Moment,
    meters: StageMeters = StageMeters()
  ) throws {
    self.meters = meters
    core = try PipelineCore(settings: settings, version: version, state: state, stages: stages)
    core.devices = settings.devices > 0 ? DeviceView(limit: settings.devices) : nil
    lastSeal = now.monotonic
    openSince = now.monotonic
  }

  /// Batches that it has committed since it began.
  private(set) var batchesSealed = 0

  /// The batches of the last seal, for the log.
  private var lastSealed: [(identity: BatchIdentity, first: Offset, last: Offset, count: Int)] = []

  /// Gives the batches of the last seal once.
  mutating func takeLastSealed() -> [(identity: BatchIdentity, first: Offset, last: Offset, count: Int)] {
    defer { lastSealed = [] }
    return lastSealed
  }

  /// Reads the next stretch and seals when there is enough or nothing more to read.
  /// - Returns: false at the end of the log with nothing to seal yet.
  mutating func step(
    _ reader: LogReader, spool: Spool, now: Moment, onUnreadable: (Offset, String) -> Void
  ) throws -> Bool {
    var atEnd = false
    if core.sealableBytes < PipelineRunner.sealBytes, core.sealableBatches < PipelineRunner.sealBatches {
      atEnd = try !read(reader, now: now, onUnreadable: onUnreadable)
    }
    if spool.space.parked != nil { openSince = now.monotonic }
    core.tick(now, isCaughtUp: atEnd && isSilent(now))
    let full =
      core.sealableBytes >= PipelineRunner.sealBytes
      || core.sealableBatches >= PipelineRunner.sealBatches
    let due = now.monotonic - lastSeal >= sealInterval
    if full || (atEnd && core.sealableBatches > 0) || due {
      if try seal(spool, now: now) { return true }
    }
    return !atEnd
  }

  /// Whether a time without readings says something of the devices. It does not when the gateway was down or parked,
  /// and what brokers kept meanwhile is only on its way: all of that would come too late for its windows.
  private func isSilent(_ now: Moment) -> Bool {
    guard let idleAfter = settings.window?.watermark.idleAfter else { return false }
    return now.monotonic - openSince >= idleAfter
  }

  /// False at the end of what it may read.
  private mutating func read(
    _ reader: LogReader, now: Moment, onUnreadable: (Offset, String) -> Void
  ) throws -> Bool {
    if case .draining(let until) = life, core.readPosition >= until { return false }
    switch try reader.next(from: core.readPosition, interested: core.interested) {
    case nil: return false
    case .block(let block):
      core.process(block, now: now)
      Failpoints.blockRead()
      if core.isHeld { return false }
    case .uninteresting(let first, let end):
      core.skip(to: end, unmatched: end - first)
    case .unreadable(let first, let end, let reason):
      onUnreadable(first, reason)
      let end = until.map { min($0, end) } ?? end
      core.skip(to: end, damaged: end - first)
    }
    return true
  }

  /// Commits what is decided.
  /// - Returns: false when there was nothing to commit.
  private mutating func seal(_ spool: Spool, now: Moment) throws -> Bool {
    lastSeal = now.monotonic
    guard let seal = try core.nextSeal() else { return false }
    let began = SystemClock.monotonic()
    try spool.state.seal(seal, pipeline: name, now: now)
    meters.sealed(seal, pipeline: name, began: began)
    core.sealed(seal)
    spool.space.add(
      seal.rejections.reduce(seal.batches.reduce(0) { $0 + $1.body.count }) {
        $0 + $1.payload.count + $1.origin.topic.utf8.count
      })
    batchesSealed += seal.batches.count
    lastSealed = seal.batches.map { ($0.identity, $0.firstOffset, $0.lastOffset, $0.count) }
    return true
  }

  /// Letters that are taken up at one look at most.
  static let requeueLimit = 10_000

  /// Takes up dead letters of a request, oldest first; each once, for what waits for its seal is still marked.
  /// - Parameters:
  ///   - reader: where the messages of letters without bytes are looked for.
  ///   - limit: letters at most.
  /// - Returns: how many were taken up.
  mutating func requeue(
    _ request: RequeueRequest, from reader: LogReader, state: StateStore, now: Moment, limit: Int
  ) throws -> Int {
    // What was taken up waits in memory for the next seal, like everything else.
    var room = PipelineRunner.sealBytes - core.sealableBytes
    guard room > 0, limit > 0 else { return 0 }
    let letters = try state.requestedDeadLetters(
      pipeline: name, request: request.id, after: requeued[request.id] ?? 0,
      limit: min(limit, PipelineRunner.requeueLimit), bytes: room)
    var count = 0
    for letter in letters where room > 0 {
      let message = try message(of: letter.rejection, from: reader)
      core.requeue(letter, message: message, now: now)
      requeued[request.id] = letter.id
      room -= (try? message?.get().count) ?? letter.rejection.payload.count
      count += 1
    }
    return count
  }

  /// Nil for a letter that has its bytes.
  private func message(
    of rejection: Rejection, from reader: LogReader
  ) throws(SpoolError) -> Result<[UInt8], Refusal>? {
    guard rejection.isWithheld else { return nil }
    return switch try reader.message(at: rejection.offset, of: rejection.log) {
    case .message(let message): .success(message.payload)
    case .gone(let reason): .failure(Refusal(.logGone, reason))
    }
  }

  /// The request is over.
  mutating func forget(_ request: RequeueRequest) { requeued[request.id] = nil }

  /// Closes the open batch and commits it.
  mutating func close(_ spool: Spool, now: Moment) throws {
    core.close(now)
    _ = try seal(spool, now: now)
  }

  /// Closes every window and commits their results: other rules take over, or the pipeline ends.
  mutating func drainWindows(_ spool: Spool, now: Moment) throws {
    core.drainWindows(now)
    _ = try seal(spool, now: now)
  }

  /// Begins again at the committed state, after a failed commit, of which nobody knows what the disk
  /// holds.
  mutating func restart(state: StateStore, now: Moment) throws {
    guard let committed = try state.state(of: name) else { return }
    let devices = core.devices
    core = try PipelineCore(
      settings: core.settings, version: core.version, state: committed, stages: try state.stages(of: name))
    core.devices = devices
    // A registration whose commit was reported as failed may have been made all the same.
    if let end = try state.end(of: name) { drain(until: end) }
    lastSeal = now.monotonic
    requeued = [:]
  }

  /// Goes on with what the runner before it knew of the devices, where they have the same names.
  mutating func adoptDevices(of old: PipelineRunner) {
    guard core.devices != nil, var devices = old.core.devices, old.settings.key == settings.key else { return }
    devices.change(limit: settings.devices)
    core.devices = devices
  }

  mutating func drain(until offset: Offset) { life = .draining(until: offset) }

  /// Where it ends, once it was dropped.
  var until: Offset? {
    if case .draining(let until) = life { until } else { nil }
  }

  /// It was dropped and has read everything that it has to.
  var isDrained: Bool { until.map { core.readPosition >= $0 } ?? false }

  /// When it wants to be stepped again without anything new to read.
  var deadline: Int64 {
    min(core.deadline ?? .max, lastSeal + sealInterval)
  }
}
