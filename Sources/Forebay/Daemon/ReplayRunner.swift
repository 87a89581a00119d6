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
  private let meters: StageMeters
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
    now: Moment, meters: StageMeters = StageMeters()
  ) throws {
    self.meters = meters
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
      core.drainWindows(now)
    } else {
      let before = core.readPosition
      let stretch = try reader.next(from: before, interested: core.interested)
      if let reason = core.replay(stretch, of: replay.request, now: now) { onUnreadable(reason) }
      Failpoints.blockRead()
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
    let began = SystemClock.monotonic()
    guard try spool.state.seal(seal, pipeline: replay.book) else { return .stopped }
    meters.sealed(seal, pipeline: nil, began: began)
    core.sealed(seal)
    spool.space.add(Int(bytes))
    bytesSealed += bytes
    batchesSealed += seal.batches.count
    mustLook = mustLook || !seal.batches.isEmpty
    return .stored
  }
}

extension PipelineCore {
  /// Takes the messages of a stretch at the read position that lie in the range of a replay, and passes over those
  /// between its offsets that were received at another time: they are booked as not its own.
  /// - Parameter stretch: nil at the end of the log.
  /// - Returns: why messages of it cannot be read; nil where all can.
  mutating func replay(_ stretch: LogStretch?, of request: Replay.Request, now: Moment) -> String? {
    let end = request.offsets.upperBound
    switch stretch {
    case nil:
      // The log has lost its end since the range was found.
      skip(to: end, damaged: end - readPosition)
      return "the log ends before the replay's range does"
    case .block(let block):
      replay(block, until: min(block.end, end), received: request.times, now: now)
    case .uninteresting(let first, let stop):
      skip(to: min(stop, end), unmatched: min(stop, end) - first)
    case .unreadable(let first, let stop, let reason):
      skip(to: min(stop, end), damaged: min(stop, end) - first)
      return reason
    }
    return nil
  }

  private mutating func replay(_ block: LogBlock, until stop: Offset, received times: Range<Int64>?, now: Moment) {
    let entries = block.group.entries
    func isMeant(_ offset: Offset) -> Bool {
      times.map { $0.contains(entries[Int(offset - block.first)].wall) } ?? true
    }
    while readPosition < stop {
      let start = readPosition
      var run = start + 1
      while run < stop, isMeant(run) == isMeant(start) { run = run + 1 }
      if !isMeant(start) {
        skip(to: run, unmatched: run - start)
      } else if start == block.first, run == block.end {
        process(block, now: now)
      } else {
        process(block.slice(start..<run), now: now)
      }
    }
  }
}
