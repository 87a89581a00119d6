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
      A message that cannot be decoded, and a reading that the upstream refuses for good, are set
      aside with their bytes, the rule that refused them and the reason. All of this works beside a
      running daemon.

      EXAMPLES:
        forebay dead-letters list
        forebay dead-letters list --pipeline climate --rule json.syntax
        forebay dead-letters show 17
        forebay dead-letters requeue --pipeline climate --rule time.missing
        forebay dead-letters discard 17 18 19

      EXIT STATUS: 0 done; 1 no dead letter fits; 2 the spool cannot be read; 64 wrong usage.
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

  func filter() throws -> DeadLetterFilter {
    let known = try stage.map { name in
      guard let stage = Stage(rawValue: name) else {
        throw ValidationError(
          "there is no stage '\(name)'; stages are \(Stage.allCases.map(\.rawValue).joined(separator: ", "))")
      }
      return stage
    }
    return DeadLetterFilter(pipeline: pipeline, stage: known, rule: rule, ids: ids.isEmpty ? nil : ids)
  }

  /// For what changes things: nothing named means nothing, not everything.
  func deliberateFilter(all: Bool) throws -> DeadLetterFilter {
    guard all || !ids.isEmpty || pipeline != nil || stage != nil || rule != nil else {
      throw ValidationError("name the dead letters by number, --pipeline, --stage or --rule, or say --all")
    }
    return try filter()
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

/// Runs a command on the state; what goes wrong with the spool ends it with exit status 2.
private func onState<R>(_ place: SpoolPlace, _ body: (StateStore) throws -> R) throws -> R {
  do {
    let state = try place.state()
    defer { state.close() }
    return try body(state)
  } catch let error as SpoolError {
    Output.complain("forebay dead-letters: \(error)")
    throw ExitCode(2)
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

    func run() throws {
      try onState(place) { state in
        if counts {
          let counts = try state.deadLetterCounts().map {
            Count(pipeline: $0.pipeline, stage: $0.stage, rule: $0.rule, count: $0.count)
          }
          print(
            json
              ? try Output.json(counts)
              : Output.table(
                ["PIPELINE", "STAGE", "RULE", "COUNT"],
                counts.map { [$0.pipeline, $0.stage, $0.rule, String($0.count)] }))
          return
        }
        let letters = try state.deadLetters(try choice.filter(), after: after, limit: limit)
        let reports = letters.map { DeadLetterReport($0, withPayload: false) }
        if json {
          print(try Output.json(reports))
        } else {
          print(
            Output.table(
              ["ID", "PIPELINE", "RULE", "TOPIC", "RECEIVED", "BYTES", "REASON"],
              reports.map {
                [
                  String($0.id), $0.pipeline, $0.rule, $0.topic, $0.received, String($0.payloadBytes),
                  $0.reason + ($0.requested ? " (waits to be run again)" : ""),
                ]
              }))
          if letters.count == limit {
            Output.complain("more may follow: --after \(reports.last?.id ?? 0)")
          }
        }
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
      let payload = stored.letter.rejection.payload
      if raw {
        StandardStream.output.write(payload)
        return
      }
      let report = DeadLetterReport(stored, withPayload: false)
      print(
        """
        dead letter \(report.id)
          pipeline  \(report.pipeline)
          stage     \(report.stage), rule \(report.rule)
          reason    \(report.reason)
          topic     \(report.topic) from \(report.source)
          received  \(report.received), offset \(report.offset) of log \(report.log)
          attempts  \(report.attempts)\(report.requested ? ", waits to be run again" : "")
          payload   \(report.payloadBytes) bytes
        """)
      print(Dump.text(payload))
    }
  }

  struct Requeue: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run dead letters through today's pipeline once more.",
      discussion: """
        The daemon takes them up within a second or two, or at its next start. One that is refused
        again stays, with its new reason and one more attempt.
        """)

    @OptionGroup var choice: DeadLetterChoice
    @OptionGroup var place: SpoolPlace
    @Flag(help: "All of them.") var all = false

    func run() throws {
      let filter = try choice.deliberateFilter(all: all)
      let count = try onState(place) { try $0.requeueDeadLetters(filter) }
      print("\(count) dead letters are to be run again")
      if count == 0 { throw ExitCode(1) }
    }
  }

  struct Discard: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Delete dead letters for good; the ledger keeps their number.")

    @OptionGroup var choice: DeadLetterChoice
    @OptionGroup var place: SpoolPlace
    @Flag(help: "All of them.") var all = false

    func run() throws {
      let filter = try choice.deliberateFilter(all: all)
      let count = try onState(place) { try $0.discardDeadLetters(filter) }
      print("\(count) dead letters discarded")
      if count == 0 { throw ExitCode(1) }
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
