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
      They are kept for as long, and as many bytes of them, as dead_letters in the \
      configuration says. All of this works beside a running daemon.

      EXAMPLES:
        forebay dead-letters list
        forebay dead-letters list --pipeline climate --rule json.syntax
        forebay dead-letters list --topic 'sensors/+/climate' --since 2h
        forebay dead-letters counts
        forebay dead-letters show 17
        forebay dead-letters requeue --rule time.missing --rate 20/s --budget 10MiB
        forebay dead-letters discard 17 18 19

      EXIT STATUS: 0 done, also when 'list' has nothing to show: no dead letters is \
      good news; 1 what was named is not there (a pipeline, a number), or nothing could \
      be requeued or discarded, or not all of it for another reason than the budget; \
      2 the spool cannot be read; 64 wrong usage.
      """,
    subcommands: [List.self, Counts.self, Show.self, Requeue.self, Discard.self])
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

  @Option(help: "Only of this source.")
  var source: String?

  @Option(help: "Only topics that this filter matches, in MQTT's or the configuration's form.")
  var topic: String?

  @Option(
    help: ArgumentHelp(
      "Only those received since then: an RFC 3339 time or date, or how long ago (90min, 2h, 7d).",
      valueName: "time"))
  var since: String?

  @Option(help: ArgumentHelp("Only those received before then, written likewise.", valueName: "time"))
  var until: String?

  func validate() throws {
    if let stage, Stage(rawValue: stage) == nil {
      throw ValidationError(
        "there is no stage '\(stage)'; stages are \(Stage.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    _ = try filter(now: SystemClock.wall())
  }

  /// - Parameter now: what times that are told as "so long ago" count back from, in wall nanoseconds.
  func filter(now: Int64) throws -> DeadLetterFilter {
    let matching: TopicFilter?
    do throws(TopicFilterError) {
      matching = try topic.map { text throws(TopicFilterError) in try TopicFilter(parsing: text) }
    } catch {
      throw ValidationError("--topic: \(error)")
    }
    return DeadLetterFilter(
      pipeline: pipeline, stage: stage.flatMap(Stage.init(rawValue:)), rule: rule, source: source, topic: matching,
      since: try since.map { try DeadLetterChoice.time($0, option: "--since", now: now) },
      until: try until.map { try DeadLetterChoice.time($0, option: "--until", now: now) },
      ids: ids.isEmpty ? nil : ids)
  }

  var filter: DeadLetterFilter { get throws { try filter(now: SystemClock.wall()) } }

  private static func time(_ text: String, option: String, now: Int64) throws -> Int64 {
    for whole in [text, text + "T00:00:00Z"] {
      let bytes = Array(whole.utf8)
      if let time = bytes.withUnsafeBytes({ bytes in try? RFC3339.nanoseconds(bytes) }) { return time }
    }
    guard let ago = try? Quantity.duration(text) else {
      throw ValidationError(
        "\(option) '\(text)': expected a time such as 2026-11-21T06:00:00Z, a date, or how long ago, such as 2h or 7d")
    }
    return now - ago
  }

  /// For the audit log.
  var words: [String: String?] {
    [
      "ids": ids.isEmpty ? nil : ids.map(String.init).joined(separator: " "), "pipeline": pipeline, "stage": stage,
      "rule": rule, "source": source, "topic": topic, "since": since, "until": until,
      "all": isEmpty ? "true" : nil,
    ]
  }

  var isEmpty: Bool {
    ids.isEmpty && [pipeline, stage, rule, source, topic, since, until].allSatisfy { $0 == nil }
  }

  /// For what changes things: nothing named means nothing, not everything.
  func requireDeliberate(all: Bool) throws {
    if !all, isEmpty {
      throw ValidationError("name the dead letters by number, --pipeline, --rule or another choice, or say --all")
    }
    if all, !isEmpty { throw ValidationError("--all and a choice exclude each other") }
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
  /// When it was set aside, where a clock is known that was worth it.
  var since: String?
  var requested: Bool
  var attempts: Int64
  /// Which reading of its message it was, from 0; absent: the message as a whole.
  var reading: Int?
  /// Its bytes are not kept, because the pipeline masks fields; they are looked for in the log.
  var withheld: Bool
  /// Whether the log still holds the message; only in `show`, where bytes are withheld.
  var inLog: Bool?
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
    since = stored.since.map(RFC3339.text)
    requested = stored.requested
    attempts = stored.attempts
    reading = rejection.reading
    withheld = rejection.isWithheld
    payloadBytes = rejection.payload.count
    payload = withPayload && !withheld ? Data(rejection.payload).base64EncodedString() : nil
  }
}

func onState<R>(_ place: SpoolPlace, _ body: (StateStore) throws -> R) throws -> R {
  try orComplain("dead-letters") {
    let state = try place.state()
    defer { state.close() }
    return try body(state)
  }
}
