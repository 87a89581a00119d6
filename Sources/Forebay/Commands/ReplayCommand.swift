internal import ArgumentParser
internal import Delivery
internal import Glibc
internal import Pipeline
internal import Spool
internal import Telemetry

struct ReplayCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay",
    abstract: "Run a stretch of the raw log through a pipeline once more.",
    discussion: """
      A replay runs beside what comes in and only when that leaves time; its batches are \
      sent when nothing else waits. They carry its id, and are a chain of their own under \
      an epoch of their own. It runs under the configuration that is at work when it is \
      made, and goes on after a restart, however the daemon ended. One runs at a time.

      EXAMPLES:
        forebay replay --pipeline climate --from '24 h' --dry-run
        forebay replay --pipeline climate --from 2026-05-21T06:00:00Z \\
          --to 2026-05-21T08:00:00Z --rate 2000 --budget '50 MB'
        forebay replay --pipeline climate --from 120000 --to 129999 --wait
        forebay replay list
        forebay replay pause 814937dd
        forebay replay resume 814937dd --budget '80 MB'

      docs/replay.md tells the rest.

      EXIT STATUS: 0 done; 1 what was asked for cannot be had (no such pipeline or \
      replay, no message in the range, not in this state), or with --wait the replay was \
      paused, cancelled or failed; 2 the spool cannot be read; 64 wrong usage.
      """,
    subcommands: [Start.self, List.self, Show.self, Pause.self, Resume.self, Cancel.self],
    defaultSubcommand: Start.self)
}

/// One end of a replay's range.
enum ReplayPoint: Sendable, Hashable {
  case offset(Int64)
  /// Wall nanoseconds.
  case time(Int64)

  /// Reads an offset, an RFC 3339 time, a date, a duration (so long ago) or `now`; nil for anything else.
  init?(_ text: String, now: Int64) {
    let digits = text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    if text == "now" {
      self = .time(now)
    } else if !text.isEmpty, digits {
      guard let offset = Int64(text), offset < 1 << 58 else { return nil }
      self = .offset(offset)
    } else if let wall = ReplayPoint.wall(text) ?? ReplayPoint.wall(text + "T00:00:00Z") {
      self = .time(wall)
    } else {
      let past = text.hasSuffix(" ago") ? String(text.dropLast(4)) : text
      guard let duration = try? Quantity.duration(past), duration > 0, duration <= now else { return nil }
      self = .time(now - duration)
    }
  }

  private static func wall(_ text: String) -> Int64? {
    Array(text.utf8).withUnsafeBytes { try? RFC3339.nanoseconds($0) }
  }
}

/// How much a replay may do.
struct ReplayLimits: ParsableArguments {
  @Option(help: ArgumentHelp("Messages a second, at most.", valueName: "number"))
  var rate: Int64?
  @Option(help: ArgumentHelp("Bytes upstream, compressed, at which it pauses: 50 MB.", valueName: "size"))
  var budget: String?

  func validate() throws {
    if let rate, !(1...1_000_000_000).contains(rate) {
      throw ValidationError("--rate takes messages a second, from 1 to 1000000000")
    }
    if budget != nil, budgetBytes == nil {
      throw ValidationError("--budget takes a size above zero, such as '50 MB' or '1 GiB'")
    }
  }

  var budgetBytes: Int64? {
    budget.flatMap { try? Quantity.bytes($0) }.flatMap { (1..<1 << 58).contains($0) ? $0 : nil }
  }
}

private func onReplays<R>(_ place: SpoolPlace, _ body: (StateStore) throws -> R) throws -> R {
  try orComplain("replay") {
    let state = try place.state()
    defer { state.close() }
    do {
      return try body(state)
    } catch let refusal as ReplayRefusal {
      Output.complain("forebay replay: \(refusal)")
      throw ExitCode(1)
    }
  }
}

/// A replay by its id.
struct ReplayChoice: ParsableArguments {
  @Argument(help: "The id of a replay, as 'list' shows it.") var id: String
  @OptionGroup var place: SpoolPlace

  func replay(in state: StateStore) throws -> Replay {
    guard let id = ReplayID(rawValue: id), let replay = try state.replay(id) else {
      throw ReplayRefusal.unknownReplay(id)
    }
    return replay
  }
}

extension ReplayCommand {
  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List replays, the oldest first.")

    @OptionGroup var place: SpoolPlace
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
      try onReplays(place) { state in
        let reports = try state.replays().map { ReplayReport($0) }
        guard !json else { return print(try Output.json(reports)) }
        print(reports.isEmpty ? "no replays" : ReplayReport.table(reports))
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show a replay: its range, how far it is, its limits.")

    @OptionGroup var choice: ReplayChoice
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
      try onReplays(choice.place) { state in
        let report = ReplayReport(try choice.replay(in: state))
        print(json ? try Output.json(report) : report.text)
      }
    }
  }

  struct Pause: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Let a replay rest, over restarts too, until it is resumed.",
      discussion: "What it has sealed is delivered. The log keeps what it has yet to read, while there is room.")

    @OptionGroup var choice: ReplayChoice

    func run() throws {
      try onReplays(choice.place) { state in
        let id = try choice.replay(in: state).id
        try state.pauseReplay(id).get()
        print("replay \(id) is paused")
      }
    }
  }

  struct Resume: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Let a paused replay go on where it stopped.",
      discussion: "The budget counts from the replay's beginning.")

    @OptionGroup var choice: ReplayChoice
    @OptionGroup var limits: ReplayLimits

    func run() throws {
      try onReplays(choice.place) { state in
        let id = try choice.replay(in: state).id
        try state.resumeReplay(id, rate: limits.rate, budget: limits.budgetBytes).get()
        print("replay \(id) goes on")
      }
    }
  }

  struct Cancel: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "End a replay before its time.",
      discussion: "What it has sealed is still delivered, so that its chain has no gap.")

    @OptionGroup var choice: ReplayChoice

    func run() throws {
      try onReplays(choice.place) { state in
        let id = try choice.replay(in: state).id
        try state.cancelReplay(id, wall: SystemClock.wall()).get()
        print("replay \(id) is cancelled")
      }
    }
  }
}

extension ReplayCommand {
  struct Start: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a replay, after an estimate of what it will be; the daemon takes it up.",
      discussion: """
        The range is that of receipt by the gateway's clock, from --from to before --to, \
        or of offsets as 'log show' shows them, both included. A time is RFC 3339, a \
        date (midnight UTC), or how long ago: 90 min. Estimating reads the log, or a \
        sample of a long range, for ten seconds at most, and writes nothing.
        """)

    @Option(help: "The pipeline.") var pipeline: String
    @Option(help: ArgumentHelp("Where it begins: a time or an offset.", valueName: "point"))
    var from: String
    @Option(help: ArgumentHelp("Where it ends; now, unless named.", valueName: "point"))
    var to: String?
    @OptionGroup var limits: ReplayLimits
    @Flag(help: "Only estimate: nothing is made and nothing written.") var dryRun = false
    @Flag(help: "Wait until everything of it is delivered.") var wait = false
    @OptionGroup var place: SpoolPlace
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
      if dryRun, wait { throw ValidationError("--dry-run and --wait exclude each other") }
      _ = try order()
    }

    private func order() throws -> ReplayOrder {
      do {
        return try ReplayOrder(
          pipeline: pipeline, from: from, to: to, rate: limits.rate, budget: limits.budgetBytes,
          now: SystemClock.wall(), names: ("--from", "--to"))
      } catch {
        throw ValidationError("\(error)")
      }
    }

    func run() throws {
      let order = try order()
      try onReplays(place) { state in
        let plan: ReplayOrder.Plan
        do {
          plan = try order.plan(
            state, try place.reader(), spool: try place.existing(), try? Configuration.load(path: place.config))
        } catch let refusal as ReplayOrder.Refusal {
          Output.complain("forebay replay: \(refusal)")
          throw ExitCode(1)
        }
        for note in plan.notes { Output.complain("forebay replay: \(note)") }
        if plan.estimate == nil {
          Output.complain(
            "forebay replay: no estimate: the pipeline's version \(plan.version) cannot be put together from here; "
              + "name its configuration with --config")
          if dryRun { throw ExitCode(1) }
        }
        if let estimate = plan.estimate, !json || dryRun { print(json ? try Output.json(estimate) : estimate.text) }
        if dryRun { return }
        let replay = try state.createReplay(
          plan.request, wall: SystemClock.wall(), random: { .random(in: 0 ... .max) }
        ).get()
        guard wait else {
          if json { return print(try Output.json(ReplayReport(replay))) }
          print("replay \(replay.id) is made; the daemon takes it up within a second or two, or at its next start")
          return
        }
        try follow(replay.id, state)
      }
    }

    /// Tells how it goes on standard error, and in the end what came of it.
    private func follow(_ id: ReplayID, _ state: StateStore) throws {
      let isTerminal = isatty(STDERR_FILENO) == 1
      var told = ""
      while true {
        guard let replay = try state.replay(id) else { throw ReplayRefusal.unknownReplay(id.rawValue) }
        let report = ReplayReport(replay)
        if isTerminal, report.progress != told {
          told = report.progress
          Output.complain(told)
        }
        if report.isSettled || replay.state == .paused || replay.state == .failed {
          print(json ? try Output.json(report) : report.text)
          if replay.state != .finished { throw ExitCode(1) }
          return
        }
        usleep(500_000)
      }
    }
  }
}
