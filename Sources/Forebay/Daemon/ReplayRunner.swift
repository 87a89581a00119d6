internal import Failpoints
internal import Pipeline
internal import Spool
internal import Telemetry

/// One replay at work: reads its stretch of the log, runs a core of its own, commits its seals. Used by one thread.
///
/// No tick ever closes its batches, only count, bytes and the end of its range: what they hold does not depend on
/// when it ran, how fast, or how often it was interrupted.
struct ReplayRunner {
  /// Bytes of its batches that may wait for their delivery. What is in the log need not stand in the outbox as
  /// well, and who pauses or cancels wants it to end.
  static let outboxLimit: Int64 = 8 << 20
  /// Nanoseconds between two looks at an outbox that was full.
  static let outboxPause: Int64 = 250_000_000

  enum Step: Equatable {
    case progressed
    /// Nothing is to be done before (monotonic nanoseconds).
    case waits(until: Int64, for: String?)
    /// Everything is read and sealed.
    case finished
    /// The next seal has so many bytes, which would exceed the budget. It is not committed.
    case overBudget(Int64)
    /// It is paused or cancelled.
    case stopped
  }

  private enum SealResult {
    case stored
    case nothing
    case overBudget(Int64)
    case stopped
  }

  let replay: Replay
  private var core: PipelineCore
  private let reader: LogReader
  private var bytesSealed: Int64
  private var lastSeal: Int64
  /// What was paid for by the rate is used up until then.
  private var due: Int64
  /// Something was sealed since the outbox was last found to have room.
  private var mustLook = true
  /// Batches that it has committed since it began.
  private(set) var batchesSealed = 0

  /// Goes on from what is committed.
  init(
    _ replay: Replay, settings: PipelineSettings, state: PipelineState, stages: [StageState], reader: LogReader,
    now: Moment
  ) throws {
    self.replay = replay
    self.reader = reader
    core = try PipelineCore(settings: settings, version: replay.version, state: state, stages: stages)
    bytesSealed = replay.bytes
    lastSeal = now.monotonic
    due = now.monotonic
  }

  private var end: Offset { replay.request.offsets.upperBound }

  /// Reads the next stretch, and seals when there is enough.
  mutating func step(_ spool: Spool, now: Moment, onUnreadable: (String) -> Void) throws -> Step {
    guard now.monotonic >= due else { return .waits(until: due, for: nil) }
    if mustLook {
      guard try spool.state.outboxBytes(of: replay) < ReplayRunner.outboxLimit else {
        return .waits(until: now.monotonic + ReplayRunner.outboxPause, for: "its batches to be delivered")
      }
      mustLook = false
    }
    let isDone = core.readPosition >= end
    if isDone {
      core.close(now)
    } else {
      let before = core.readPosition
      try read(now: now, onUnreadable: onUnreadable)
      pay(for: core.readPosition - before, now: now)
    }
    // With a budget every batch is sealed as it closes, so that little is thrown away when it is used up.
    let isFull =
      core.sealableBytes >= PipelineRunner.sealBytes || core.sealableBatches >= PipelineRunner.sealBatches
      || (replay.request.budget > 0 && core.sealableBatches > 0)
    if isDone || isFull || now.monotonic - lastSeal >= PipelineRunner.sealInterval {
      switch try seal(spool, now: now) {
      case .stored, .nothing: break
      case .overBudget(let bytes): return .overBudget(bytes)
      case .stopped: return .stopped
      }
    }
    return isDone ? .finished : .progressed
  }

  private mutating func read(now: Moment, onUnreadable: (String) -> Void) throws {
    let position = core.readPosition
    switch try reader.next(from: position, interested: core.interested) {
    case nil:
      // The log has lost its end since the range was found.
      onUnreadable("the log ends at \(position), before the end of the replay's range")
      core.skip(to: end, damaged: end - position)
    case .block(let block):
      process(block, now: now)
      Failpoints.blockRead()
    case .uninteresting(let first, let stop):
      let stop = min(stop, end)
      core.skip(to: stop, unmatched: stop - first)
    case .unreadable(let first, let stop, let reason):
      onUnreadable(reason)
      let stop = min(stop, end)
      core.skip(to: stop, damaged: stop - first)
    }
  }

  /// Takes the messages of a block that lie in the range, and passes over those that were received at another time.
  private mutating func process(_ block: LogBlock, now: Moment) {
    let stop = min(block.end, end)
    guard let times = replay.request.times else {
      return core.process(stop == block.end ? block : block.slice(block.first..<stop), now: now)
    }
    let entries = block.group.entries
    while core.readPosition < stop {
      let start = core.readPosition
      let isMeant = times.contains(entries[Int(start - block.first)].wall)
      var run = start + 1
      while run < stop, times.contains(entries[Int(run - block.first)].wall) == isMeant { run = run + 1 }
      if !isMeant {
        core.skip(to: run, unmatched: run - start)
      } else if start == block.first, run == block.end {
        core.process(block, now: now)
      } else {
        core.process(block.slice(start..<run), now: now)
      }
    }
  }

  /// Messages cost time by the rate. What was not used is not saved up.
  private mutating func pay(for messages: Int64, now: Moment) {
    guard replay.request.rate > 0 else { return }
    let cost = Double(messages) / Double(replay.request.rate) * 1e9
    due = max(due, now.monotonic) + Int64(min(cost, 1e17))
  }

  private mutating func seal(_ spool: Spool, now: Moment) throws -> SealResult {
    lastSeal = now.monotonic
    guard let seal = try core.nextSeal() else { return .nothing }
    let bytes = Int64(seal.batches.reduce(0) { $0 + $1.body.count })
    let budget = replay.request.budget
    if budget > 0, bytes > 0, bytesSealed + bytes > budget { return .overBudget(bytes) }
    guard try spool.state.seal(seal, pipeline: replay.book) else { return .stopped }
    core.sealed(seal)
    spool.space.add(Int(bytes))
    bytesSealed += bytes
    batchesSealed += seal.batches.count
    mustLook = mustLook || !seal.batches.isEmpty
    return .stored
  }
}
