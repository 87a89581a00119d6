internal import Ingest
internal import Logging
internal import Pipeline
internal import Spool
internal import Synchronization
internal import Telemetry

/// Runs every pipeline on one thread, and the spool's housekeeping between their steps.
final class PipelineWorker: Sendable {
  /// What a pipeline is to do, as the configuration says it.
  struct Assignment: Sendable, Hashable {
    var settings: PipelineSettings
    var version: String

    init(_ settings: PipelineSettings) {
      self.settings = settings
      version = pipelineVersion(settings)
    }

    var registration: PipelineRegistration {
      PipelineRegistration(
        name: settings.name, uplink: settings.to, version: version,
        explanation: PipelineExplanation(settings).encoded)
    }
  }

  /// What a configuration says of pipelines.
  struct Plan: Sendable {
    var assignments: [Assignment]
    var gateway: String
    /// The configuration as it is kept for pipelines that a later one drops.
    var configuration: [UInt8]
    /// For what is left of pipelines that it does not have.
    var deadLetters: DeadLetterBounds

    init(_ configuration: Configuration) {
      assignments = configuration.pipelines.map(Assignment.init)
      gateway = configuration.gateway.id
      self.configuration = configuration.origin.kept
      deadLetters = configuration.deadLetters
    }
  }

  /// What `status` shows of a running pipeline.
  struct Figures: Sendable {
    var readPosition: Offset
    var checkpoint: Offset
    var openReadings: Int
    var openBytes: Int
    var version: String
    /// Where it ends, once it was dropped from the configuration.
    var until: Offset?
    var observations: StageObservations
    /// What the findings among them are about.
    var expectations: [Expectation]
    /// The receipt of the oldest message whose readings wait for their seal; nil where none does.
    var oldestUnsealed: Moment?
    /// Until when its next message waits for the wall clock, in monotonic nanoseconds; nil where none does.
    var heldUntil: Int64?
  }

  private enum Command: Sendable {
    case reload(Plan, done: CheckedContinuation<Void, any Error>)
    /// Reads and seals everything that is in the log, at most until `deadline`, and ends the thread.
    case finish(deadline: Int64, done: CheckedContinuation<Void, Never>)
  }

  private struct Shared: Sendable {
    var commands: [Command] = []
    var figures: [String: Figures] = [:]
    var expired: [String: DeadLetterKeeping.EarlyExpiry] = [:]
    var replayNote: (ReplayID, String)?
    var trouble: String?
    var lastPass: Int64 = 0
  }

  private let spool: Spool
  private let moment: MomentSource
  private let logger: Logger
  private let meters: StageMeters
  private let doorbell = Doorbell()
  private let shared = Mutex(Shared())
  private let onSealed: @Sendable () -> Void

  /// - Parameter onSealed: called after a seal that holds batches.
  init(
    spool: Spool, moment: @escaping MomentSource, logger: Logger, meters: StageMeters = StageMeters(),
    onSealed: @escaping @Sendable () -> Void
  ) {
    self.spool = spool
    self.moment = moment
    self.logger = logger
    self.meters = meters
    self.onSealed = onSealed
  }

  /// Begins. Pipelines that the configuration has dropped since the last run seal their backlog first,
  /// under the configuration that they ran under.
  func start(_ plan: Plan) throws {
    let work = try Work(
      spool: spool, plan: plan, read: PipelineWorker.assignments(keptIn: spool.settings.directory), now: moment(),
      logger: logger, meters: meters)
    // The value moves to the thread, which is the only one that ever touches it.
    let handover = Handover(work)
    try Worker.start("pipelines") { self.run(handover.take()) }.detach()
  }

  /// Reads what an older configuration said of a pipeline, with the files beside it as they were. What it says of
  /// the machine around it does not matter any more.
  static func assignments(keptIn spool: String) -> (_ name: String, _ kept: [UInt8]) -> Assignment? {
    { name, kept in
      guard let origin = Configuration.Origin(kept: kept) else { return nil }
      let files = AttachmentStore(spool: spool).overlay(.system, with: origin.attachments)
      let configuration = try? Configuration.decode(
        origin, shownAs: origin.path, files: files, toleratesSurroundings: true)
      return configuration?.pipelines.first { $0.name == name }.map(Assignment.init)
    }
  }

  /// New messages are in the log, or there is room again.
  func wake() { doorbell.ring() }

  func reload(_ plan: Plan) async throws {
    try await withCheckedThrowingContinuation { done in
      shared.withLock { $0.commands.append(.reload(plan, done: done)) }
      doorbell.ring()
    }
  }

  /// Seals what is in the log and ends; gives up at `deadline` (monotonic nanoseconds), from where the
  /// next start goes on.
  func finish(deadline: Int64) async {
    await withCheckedContinuation { done in
      shared.withLock { $0.commands.append(.finish(deadline: deadline, done: done)) }
      doorbell.ring()
    }
  }

  var figures: [String: Figures] { shared.withLock { $0.figures } }
  /// Dead letters that went before they were old, by pipeline.
  var expired: [String: DeadLetterKeeping.EarlyExpiry] { shared.withLock { $0.expired } }
  /// What the replay at hand waits for.
  var replayNote: (ReplayID, String)? { shared.withLock { $0.replayNote } }
  /// Why nothing is sealed at present; nil when all is well.
  var trouble: String? { shared.withLock { $0.trouble } }
  /// When the thread last went round, in monotonic nanoseconds: the watchdog's question.
  var lastPass: Int64 { shared.withLock { $0.lastPass } }

  // MARK: The thread

  private func run(_ work: consuming Work) {
    var work = work
    let read = PipelineWorker.assignments(keptIn: spool.settings.directory)
    var finishing: (deadline: Int64, done: CheckedContinuation<Void, Never>)?
    while true {
      let commands = shared.withLock { shared in
        defer { shared.commands = [] }
        return shared.commands
      }
      for command in commands {
        switch command {
        case .reload(let plan, let done):
          let now = moment()
          let result = Result { try work.reload(plan, read: read, now: now) }
          if case .failure(let error) = result { work.recover(from: error, now: now) }
          done.resume(with: result)
        case .finish(let deadline, let done):
          work.endReplays()
          finishing = (deadline, done)
        }
      }
      let now = moment()
      let progress = pass(&work, now: now)
      if work.takeSealedBatches() > 0 { onSealed() }
      shared.withLock { shared in
        shared.figures = work.figures
        shared.expired = work.letters.early
        shared.replayNote = work.replayNote
        shared.lastPass = now.monotonic
      }
      if let ending = finishing, progress == .idle || now.monotonic >= ending.deadline {
        work.finish(now: now)
        if work.takeSealedBatches() > 0 { onSealed() }
        ending.done.resume()
        return
      }
      if progress != .busy { doorbell.wait(until: work.nextDeadline(after: now.monotonic)) }
    }
  }

  private enum Progress {
    case busy
    /// Everything is read and nothing waits for its age.
    case idle
    /// A failure: wait before the next try.
    case stuck
  }

  private func pass(_ work: inout Work, now: Moment) -> Progress {
    do {
      let progressed = try work.pass(now: now)
      shared.withLock { $0.trouble = work.blocked ?? work.unmirrored }
      return progressed ? .busy : .idle
    } catch {
      shared.withLock { $0.trouble = "\(error)" }
      logger.error("pipelines cannot go on; they will try again", metadata: ["error": "\(error)"])
      work.recover(from: error, now: now)
      return .stuck
    }
  }
}

/// Carries a value that is not Sendable to the one thread that will own it.
//
// @unchecked: `take` is called once, on the new thread, before which nobody else keeps the value.
private final class Handover<Value>: @unchecked Sendable {
  private var value: Value?
  init(_ value: Value) { self.value = value }
  func take() -> Value {
    defer { value = nil }
    guard let value else { preconditionFailure("a value is handed over once") }
    return value
  }
}
