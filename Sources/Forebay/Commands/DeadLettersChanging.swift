internal import ArgumentParser
internal import Spool
internal import Telemetry

// The subcommands of `dead-letters` that change what is kept.

/// How many dead letters are run again in what time: `100/s`, `10/min`, `5/h`.
struct RequeueRate: ExpressibleByArgument, Sendable, Hashable {
  private static let units: [(name: String, nanoseconds: Int64)] = [
    ("s", 1_000_000_000), ("min", 60_000_000_000), ("h", 3_600_000_000_000),
  ]
  /// Slow enough that live data, of which a small gateway takes thousands of messages a second, does not notice.
  static let usual = RequeueRate(count: 100, unit: 0)
  static let counts: ClosedRange<Int64> = 1...10_000

  let count: Int64
  private let unit: Int

  private init(count: Int64, unit: Int) {
    self.count = count
    self.unit = unit
  }

  /// Nil for anything else; a number alone is one a second.
  init?(argument: String) {
    let parts = argument.split(separator: "/", omittingEmptySubsequences: false)
    guard let count = parts.first.flatMap({ Int64($0) }), RequeueRate.counts.contains(count), parts.count <= 2 else {
      return nil
    }
    guard let unit = parts.count == 1 ? 0 : RequeueRate.units.firstIndex(where: { $0.name == parts[1] }) else {
      return nil
    }
    self.init(count: count, unit: unit)
  }

  /// Nanoseconds between two letters, rounded up: never faster than was said.
  var interval: Int64 { (RequeueRate.units[unit].nanoseconds + count - 1) / count }

  var defaultValueDescription: String { description }
  var description: String { "\(count)/\(RequeueRate.units[unit].name)" }
}

/// A size on the command line, as in the configuration.
struct ByteCount: ExpressibleByArgument, Sendable, Hashable {
  let bytes: Int64

  init?(argument: String) {
    guard let bytes = try? Quantity.bytes(argument) else { return nil }
    self.bytes = bytes
  }
}

extension DeadLettersCommand {
  struct Requeue: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run dead letters through today's pipeline once more.",
      discussion: """
        The daemon takes them up from within a second or two, or from its next start on, \
        oldest first, each once. At most so many in a time as --rate says, on average, and \
        no more than 1 MiB of payloads a second for each pipeline, so that live data does \
        not wait for them. One that is refused again stays, with its new reason and one \
        more attempt.

        With --budget only as many as have so many bytes of payload in all are requested, \
        the oldest; the others stay as they are, and are counted. Where the bytes are \
        withheld because the pipeline masks fields, those of the message in the log count.

        Those of a pipeline that is no longer configured are left as they are: nobody \
        would run them. Configure it again, or discard them.
        """)

    @OptionGroup var choice: DeadLetterChoice
    @OptionGroup var place: SpoolPlace
    @Flag(help: "All of them.") var all = false
    @Option(help: ArgumentHelp("How many in a time, at most: 1 to 10000 a s, min or h.", valueName: "rate"))
    var rate = RequeueRate.usual
    @Option(help: ArgumentHelp("Bytes of payloads in all, at most, such as 10MiB.", valueName: "size"))
    var budget: ByteCount?
    @Flag(help: "Print JSON.") var json = false

    func validate() throws { try choice.requireDeliberate(all: all) }

    struct Report: Codable {
      /// Absent where nothing was requested.
      var request: Int64?
      var rate: String
      var letters: Int64
      var bytes: Int64
      var overBudget: Int64
      var overBudgetBytes: Int64
      /// Of pipelines that are no longer configured.
      var orphans: [String: Int64]
    }

    func run() throws {
      try onState(place) { state in
        try choice.checkPipeline(in: state)
        let reader = budget == nil ? nil : try place.reader()
        let outcome = try state.requeueDeadLetters(
          try choice.filter, interval: rate.interval, budget: budget?.bytes
        ) { log, offset throws(SpoolError) in
          // What the log no longer has costs nothing: it is refused.
          guard case .message(let message) = try reader?.message(at: offset, of: log) else { return 0 }
          return Int64(message.payload.count)
        }
        if json {
          print(try Output.json(Report(outcome, rate: rate)))
        } else {
          tell(outcome)
        }
        if outcome.letters == 0 || !outcome.orphans.isEmpty { throw ExitCode(1) }
      }
    }

    private func tell(_ outcome: RequeueOutcome) {
      if outcome.letters > 0 || outcome.orphans.isEmpty {
        let (letters, are) = (Output.count(outcome.letters, "dead letter"), outcome.letters == 1 ? "is" : "are")
        print("\(letters) \(are) to be run again" + (outcome.letters > 0 ? ", at most \(rate.description)" : ""))
      }
      if outcome.overBudget > 0, let budget {
        let letters = Output.count(outcome.overBudget, "dead letter")
        Output.complain(
          "forebay dead-letters: \(letters) (\(Output.bytes(outcome.overBudgetBytes))) "
            + "\(outcome.overBudget == 1 ? "stays" : "stay"): over the budget of \(Output.bytes(budget.bytes))")
      }
      for (name, number) in outcome.orphans.sorted(by: { $0.key < $1.key }) {
        let reason =
          ReplayID.parse(book: name) == nil
          ? "it is no longer configured; configure it again, or discard them"
          : "that is a replay; replay their offsets once more, or discard them"
        Output.complain(
          "forebay dead-letters: \(Output.count(number, "dead letter")) of pipeline \(quoted(name)) "
            + "cannot be run again: \(reason)")
      }
    }
  }

  struct Discard: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Delete dead letters for good; the ledger keeps their number.")

    @OptionGroup var choice: DeadLetterChoice
    @OptionGroup var place: SpoolPlace
    @Flag(help: "All of them.") var all = false
    @Flag(help: "Print JSON.") var json = false

    func validate() throws { try choice.requireDeliberate(all: all) }

    func run() throws {
      try onState(place) { state in
        try choice.checkPipeline(in: state)
        let count = try state.discardDeadLetters(try choice.filter)
        print(json ? try Output.json(["discarded": count]) : "\(Output.count(count, "dead letter")) discarded")
        if count == 0 { throw ExitCode(1) }
      }
    }
  }
}
