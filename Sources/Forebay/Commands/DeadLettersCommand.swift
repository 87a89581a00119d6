internal import ArgumentParser
internal import FoundationEssentials
internal import Pipeline
internal import Spool
internal import Telemetry

struct DeadLettersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dead-letters",
    abstract: "See, run again or discard what was refused.",
    discussion: """
      A message that cannot be decoded, and a reading that the upstream refuses for \
      good, are set aside with their bytes, the rule that refused them and the reason. \
      All of this works beside a running daemon.

      EXAMPLES:
        forebay dead-letters list
        forebay dead-letters list --pipeline climate --rule json.syntax
        forebay dead-letters show 17
        forebay dead-letters requeue --pipeline climate --rule time.missing
        forebay dead-letters discard 17 18 19

      EXIT STATUS: 0 done, also when 'list' has nothing to show: no dead letters is \
      good news; 1 what was named is not there (a pipeline, a number), or nothing could \
      be requeued or discarded, or not all of it; 2 the spool cannot be read; 64 wrong \
      usage.
      """,
    subcommands: [List.self, Show.self, Requeue.self, Discard.self])
}

/// Which dead letters a subcommand means.
struct DeadLetterChoice: ParsableArguments {
  @Argument(help: "The numbers of dead letters, as 'list' shows them.")
  var ids: [Int64] = []

  @Option(help: "Only of this pipeline.")
  var pipeline: String?

  @Option(help: "Only of this stage: \(Stage.allCases.map(\.rawValue).joined(separator: ", ")).")
  var stage: String?

  @Option(help: "Only those that this rule refused, for example json.syntax.")
  var rule: String?

  func validate() throws {
    guard let stage, Stage(rawValue: stage) == nil else { return }
    throw ValidationError(
      "there is no stage '\(stage)'; stages are \(Stage.allCases.map(\.rawValue).joined(separator: ", "))")
  }

  var filter: DeadLetterFilter {
    DeadLetterFilter(
      pipeline: pipeline, stage: stage.flatMap(Stage.init(rawValue:)), rule: rule,
      ids: ids.isEmpty ? nil : ids)
  }

  var isEmpty: Bool { ids.isEmpty && pipeline == nil && stage == nil && rule == nil }

  /// For what changes things: nothing named means nothing, not everything.
  func requireDeliberate(all: Bool) throws {
    if !all, isEmpty {
      throw ValidationError("name the dead letters by number, --pipeline, --stage or --rule, or say --all")
    }
    if all, !isEmpty { throw ValidationError("--all and a choice exclude each other") }
  }

  func matches(_ count: (pipeline: String, stage: String, rule: String, count: Int64)) -> Bool {
    (pipeline ?? count.pipeline) == count.pipeline && (stage ?? count.stage) == count.stage
      && (rule ?? count.rule) == count.rule
  }

  /// Ends the command when the pipeline that was named is none that this spool knows.
  func checkPipeline(in state: StateStore) throws {
    guard let pipeline else { return }
    let names = try state.books().map(\.pipeline)
    guard !names.contains(pipeline) else { return }
    Output.complain(
      "forebay dead-letters: there is no pipeline \(quoted(pipeline)); "
        + (names.isEmpty ? "this spool knows none yet" : "there is: \(names.joined(separator: ", "))"))
    throw ExitCode(1)
  }
}

/// A dead letter for people and for programs.
struct DeadLetterReport: Codable {
  var id: Int64
  var pipeline: String
  var stage: String
  var rule: String
  var reason: String
  var source: String
  var topic: String
  var log: String
  var offset: Int64
  var received: String
  var requested: Bool
  var attempts: Int64
  var payloadBytes: Int
  /// Base 64, so that any bytes survive.
  var payload: String?

  init(_ stored: StoredDeadLetter, withPayload: Bool) {
    let rejection = stored.letter.rejection
    id = stored.letter.id
    pipeline = stored.pipeline
    stage = rejection.stage.rawValue
    rule = rejection.rule
    reason = rejection.reason
    source = rejection.origin.source
    topic = rejection.origin.topic
    log = rejection.log.rawValue
    offset = rejection.offset.rawValue
    received = RFC3339.text(rejection.received.wall)
    requested = stored.requested
    attempts = stored.attempts
    payloadBytes = rejection.payload.count
    payload = withPayload ? Data(rejection.payload).base64EncodedString() : nil
  }
}

private func onState<R>(_ place: SpoolPlace, _ body: (StateStore) throws -> R) throws -> R {
  try orComplain("dead-letters") {
    let state = try place.state()
    defer { state.close() }
    return try body(state)
  }
}

extension DeadLettersCommand {
  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List dead letters, oldest first.")

    @OptionGroup var choice: DeadLetterChoice
    @OptionGroup var place: SpoolPlace
    @Option(help: "Show at most so many.") var limit = 100
    @Option(help: "Show only those behind this number, to page on.") var after: Int64 = 0
    @Flag(help: "Only count them, by pipeline, stage and rule.") var counts = false
    @Flag(help: "Print JSON.") var json = false

    struct Count: Codable {
      var pipeline: String
      var stage: String
      var rule: String
      var count: Int64
    }

    func validate() throws {
      if limit < 1 { throw ValidationError("--limit takes a number from 1") }
      if counts, !choice.ids.isEmpty { throw ValidationError("--counts and numbers exclude each other") }
    }

    private var nothing: String { choice.isEmpty && after == 0 ? "no dead letters" : "no dead letters fit" }

    func run() throws {
      try onState(place) { state in
        try choice.checkPipeline(in: state)
        if counts { try printCounts(state) } else { try printLetters(state) }
      }
    }

    private func printCounts(_ state: StateStore) throws {
      let counts = try state.deadLetterCounts().filter(choice.matches).map {
        Count(pipeline: $0.pipeline, stage: $0.stage, rule: $0.rule, count: $0.count)
      }
      guard !json else { return print(try Output.json(counts)) }
      print(
        counts.isEmpty
          ? nothing
          : Output.table(
            ["PIPELINE", "STAGE", "RULE", "COUNT"],
            counts.map { [$0.pipeline, $0.stage, $0.rule, Output.grouped($0.count)] }))
    }

    private func printLetters(_ state: StateStore) throws {
      let letters = try state.deadLetters(choice.filter, after: after, limit: limit)
      guard !json else {
        return print(try Output.json(letters.map { DeadLetterReport($0, withPayload: false) }))
      }
      let active = Set(try state.activePipelines().map(\.name))
      print(
        letters.isEmpty
          ? nothing
          : Output.table(
            ["ID", "PIPELINE", "RULE", "TOPIC", "RECEIVED", "BYTES", "REASON"],
            letters.map { stored in
              let rejection = stored.letter.rejection
              return [
                String(stored.letter.id),
                stored.pipeline
                  + (active.contains(stored.pipeline) || ReplayID.parse(book: stored.pipeline) != nil
                    ? "" : " (no longer configured)"),
                rejection.rule, rejection.origin.topic, Output.time(rejection.received.wall),
                String(rejection.payload.count),
                rejection.reason + (stored.requested ? " (waits to be run again)" : ""),
              ]
            }))
      if letters.count == limit, let last = letters.last {
        Output.complain("more may follow: --after \(last.letter.id)")
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show dead letters whole, with their bytes.")

    @Argument(help: "The numbers of dead letters, as 'list' shows them.") var ids: [Int64]
    @OptionGroup var place: SpoolPlace
    @Flag(help: "Print JSON, the payload in base 64.") var json = false
    @Flag(help: "Print the payload alone, byte for byte.") var raw = false

    func run() throws {
      try onState(place) { state in
        let letters = try state.deadLetters(DeadLetterFilter(ids: ids), limit: ids.count)
        if json {
          print(try Output.json(letters.map { DeadLetterReport($0, withPayload: true) }))
        } else {
          for letter in letters { show(letter) }
        }
        let found = Set(letters.map(\.letter.id))
        for id in ids where !found.contains(id) {
          Output.complain("forebay dead-letters: there is no dead letter \(id)")
        }
        if found.count < Set(ids).count { throw ExitCode(1) }
      }
    }

    private func show(_ stored: StoredDeadLetter) {
      let rejection = stored.letter.rejection
      if raw {
        StandardStream.output.write(rejection.payload)
        return
      }
      let received = Output.time(rejection.received.wall)
      print(
        """
        dead letter \(stored.letter.id)
          pipeline  \(stored.pipeline)
          stage     \(rejection.stage.rawValue), rule \(rejection.rule)
          reason    \(rejection.reason)
          topic     \(rejection.origin.topic) from \(rejection.origin.source)
          received  \(received), offset \(rejection.offset) of log \(rejection.log)
          attempts  \(stored.attempts)\(stored.requested ? ", waits to be run again" : "")
          payload   \(Output.count(Int64(rejection.payload.count), "byte"))
        """)
      print(Dump.text(rejection.payload))
    }
  }

  struct Requeue: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run dead letters through today's pipeline once more.",
      discussion: """
        The daemon takes them up within a second or two, or at its next start. One that \
        is refused again stays, with its new reason and one more attempt. Those of a \
        pipeline that is no longer configured are left as they are: nobody would run \
        them. Configure it again, or discard them.
        """)

    @OptionGroup var choice: DeadLetterChoice
    @OptionGroup var place: SpoolPlace
    @Flag(help: "All of them.") var all = false

    func validate() throws { try choice.requireDeliberate(all: all) }

    func run() throws {
      try onState(place) { state in
        try choice.checkPipeline(in: state)
        let active = Set(try state.activePipelines().map(\.name))
        var count = 0
        for name in active.sorted() where choice.pipeline ?? name == name {
          var filter = choice.filter
          filter.pipeline = name
          count += try state.requeueDeadLetters(filter)
        }
        let orphans = try orphans(in: state, active: active)
        if count > 0 || orphans.isEmpty {
          print("\(Output.count(Int64(count), "dead letter")) \(count == 1 ? "is" : "are") to be run again")
        }
        for (name, number) in orphans.sorted(by: { $0.key < $1.key }) {
          let reason =
            ReplayID.parse(book: name) == nil
            ? "it is no longer configured; configure it again, or discard them"
            : "that is a replay; replay their offsets once more, or discard them"
          Output.complain(
            "forebay dead-letters: \(Output.count(number, "dead letter")) of pipeline \(quoted(name)) "
              + "cannot be run again: \(reason)")
        }
        if count == 0 || !orphans.isEmpty { throw ExitCode(1) }
      }
    }

    /// How many of those that are meant belong to pipelines that are gone.
    private func orphans(in state: StateStore, active: Set<String>) throws -> [String: Int64] {
      var orphans: [String: Int64] = [:]
      if choice.ids.isEmpty {
        for count in try state.deadLetterCounts() where choice.matches(count) && !active.contains(count.pipeline) {
          orphans[count.pipeline, default: 0] += count.count
        }
      } else {
        for letter in try state.deadLetters(choice.filter, limit: choice.ids.count)
        where !active.contains(letter.pipeline) {
          orphans[letter.pipeline, default: 0] += 1
        }
      }
      return orphans
    }
  }

  struct Discard: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Delete dead letters for good; the ledger keeps their number.")

    @OptionGroup var choice: DeadLetterChoice
    @OptionGroup var place: SpoolPlace
    @Flag(help: "All of them.") var all = false

    func validate() throws { try choice.requireDeliberate(all: all) }

    func run() throws {
      try onState(place) { state in
        try choice.checkPipeline(in: state)
        let count = try state.discardDeadLetters(choice.filter)
        print("\(Output.count(Int64(count), "dead letter")) discarded")
        if count == 0 { throw ExitCode(1) }
      }
    }
  }
}

/// Bytes for people.
enum Dump {
  /// The text itself where it is printable UTF-8, a hexadecimal dump otherwise; at most 4 KiB of it.
  static func text(_ bytes: [UInt8]) -> String {
    let shown = Array(bytes.prefix(4096))
    let rest = bytes.count > shown.count ? "\n... and \(bytes.count - shown.count) bytes more (--raw)" : ""
    if let text = String(validating: shown, as: UTF8.self),
      text.unicodeScalars.allSatisfy({ $0 == "\n" || $0 == "\t" || ($0.value >= 32 && $0.value != 127) })
    {
      return text + rest
    }
    var lines: [String] = []
    for start in stride(from: 0, to: shown.count, by: 16) {
      let row = shown[start..<min(start + 16, shown.count)]
      let hex = row.map { Hex.encode([$0]) }.joined(separator: " ")
      let pad = String(repeating: " ", count: 48 - hex.count)
      let ascii = String(
        decoding: row.map { (32...126).contains($0) ? $0 : UInt8(ascii: ".") }, as: UTF8.self)
      let address = Hex.encode([UInt8(truncatingIfNeeded: start >> 8), UInt8(truncatingIfNeeded: start)])
      lines.append("\(address)  \(hex)\(pad)|\(ascii)|")
    }
    return lines.joined(separator: "\n") + rest
  }
}
