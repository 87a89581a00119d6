internal import ArgumentParser
internal import Glibc
internal import Pipeline
internal import Spool
internal import Telemetry

struct TryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "try",
    abstract: "Run a configuration over logged or sample messages; nothing is written.",
    discussion: """
      Shows for each pipeline what would be delivered, what would be set aside and why, its books, and what is \
      different from the version that runs. Pipelines begin without memory: what a dedupe or a window would know \
      from before the first message, it does not know here. At the end windows are closed, and show what they have.

      Messages come from the log (the last 1,000 unless a range is named) or from --sample: lines as 'forebay log \
      export' writes them, at least {"topic":…,"payload":…} or payloadBase64, or with --topic one payload as it is.

      EXAMPLES:
        forebay try --config new.yaml
        forebay try --config new.yaml --pipeline climate --last 50000
        forebay try --config new.yaml --sample messages.ndjson --json
        forebay try --sample payload.bin --topic sensors/p1/climate
        forebay try --config new.yaml --against old.yaml --fail-on any

      EXIT STATUS: 0 done; 1 the configuration is refused, or what --fail-on names was found; 2 the spool or a file \
      cannot be read; 64 wrong usage.
      """)

  enum Finding: String, CaseIterable, ExpressibleByArgument {
    case rejections, differences, any
  }

  @OptionGroup var range: LogRange
  @OptionGroup var place: SpoolPlace
  @Option(help: "Only this pipeline; may be given several times.") var pipeline: [String] = []
  @Option(help: ArgumentHelp("Messages from a file instead of the log; - for standard input.", valueName: "file"))
  var sample: String?
  @Option(help: "The source of sample messages that name none; a source of the pipeline unless given.")
  var source: String?
  @Option(help: ArgumentHelp("Compare with this configuration instead of the running one.", valueName: "file"))
  var against: String?
  @Option(help: "Exit with 1 where there are any of these: rejections, differences, any.") var failOn: Finding?
  @Option(help: "Show at most so many readings and differences of each pipeline.") var limit = 10
  @Flag(help: "Print JSON.") var json = false

  func validate() throws {
    if limit < 0 { throw ValidationError("--limit takes a number from 0") }
    guard sample != nil else {
      if source != nil { throw ValidationError("--source is for --sample") }
      return
    }
    if range.from != nil || range.to != nil || range.last != nil {
      throw ValidationError("--from, --to and --last are for the log; --sample takes the whole file")
    }
    if let topic = range.topic, topic.contains(where: { "+#{".contains($0) }) {
      throw ValidationError("--topic with --sample names the topic that the payload came on, without wildcards")
    }
  }

  func run() throws {
    try orComplain("try") {
      let candidates = try Self.assignments(place.config).filter {
        pipeline.isEmpty || pipeline.contains($0.settings.name)
      }
      for name in pipeline where !candidates.contains(where: { $0.settings.name == name }) {
        Output.complain("forebay try: \(place.config) has no pipeline \(quoted(name))")
        throw ExitCode(1)
      }
      var trials = try begin(candidates)
      try feed(&trials)
      for index in trials.indices { try trials[index].finish() }
      if json {
        print(try Output.json(trials.map(TrialReport.init)))
      } else {
        let name = against == nil ? "running" : "other"
        print(trials.map { TrialText(trial: $0, against: name).text }.joined(separator: "\n\n"))
      }
      let rejections = trials.contains { $0.rejections > 0 }
      let differences = trials.contains { $0.comparison.count > 0 }
      switch failOn {
      case .rejections where rejections, .differences where differences, .any where rejections || differences:
        throw ExitCode(1)
      default: break
      }
    }
  }

  // MARK: What runs

  /// The pipelines of a configuration file. Where it is refused that is told, and ends the command with 1. What it
  /// says of the machine around it does not matter: no broker and no upstream is spoken to.
  static func assignments(_ path: String) throws -> [PipelineWorker.Assignment] {
    let absolute = PathText.absolute(path, from: PathText.workingDirectory)
    let bytes = try GivenFile.read(absolute, limit: YAMLParser.Limits().bytes)
    do throws(ConfigurationErrors) {
      return try Configuration.decode(
        Configuration.Origin(path: absolute, bytes: bytes), shownAs: path, files: .system, toleratesSurroundings: true
      ).pipelines.map(PipelineWorker.Assignment.init)
    } catch {
      Output.complain(error.report)
      Output.complain("forebay try: the configuration \(path) is refused")
      throw ExitCode(1)
    }
  }

  /// By pipeline, what the candidates are compared with.
  private func others() throws -> [String: PipelineWorker.Assignment] {
    if let against {
      return Dictionary(
        try Self.assignments(against).map { ($0.settings.name, $0) }, uniquingKeysWith: { first, _ in first })
    }
    // A sample can be tried on a desk, where no spool is.
    guard sample == nil || (try? place.existing()) != nil else { return [:] }
    var others: [String: PipelineWorker.Assignment] = [:]
    for running in try RegisteredPipeline.all(in: try place.existing()) {
      guard let assignment = PipelineWorker.assignment(running.name, running.configuration) else {
        Output.complain(
          "forebay try: the settings that pipeline \(running.name) runs under cannot be read; not compared")
        continue
      }
      if assignment.version != running.version {
        Output.complain(
          "forebay try: files that pipeline \(running.name) refers to have changed since it was loaded; it is compared "
            + "with what they say now")
      }
      others[running.name] = assignment
    }
    return others
  }

  private func begin(_ candidates: [PipelineWorker.Assignment]) throws -> [Trial] {
    let others = try others()
    let (log, first) = sample == nil ? try Self.start(of: try place.reader()) : (SampleMessages.log, Offset(0))
    return try candidates.map {
      try Trial($0, against: others[$0.settings.name], log: log, first: first, limit: limit)
    }
  }

  private static func start(of reader: LogReader) throws -> (LogID, Offset) { (reader.log, try reader.start()) }

  // MARK: Messages

  private func feed(_ trials: inout [Trial]) throws {
    if let sample {
      let source = source ?? trials.lazy.compactMap { $0.candidate.settings.sources?.min() }.first ?? "sample"
      let records = try SampleMessages.read(sample, topic: range.topic, source: source, now: SystemClock.source())
      for record in records {
        for index in trials.indices { try trials[index].take(record) }
      }
      return
    }
    var range = range
    if range.from == nil, range.to == nil, range.last == nil { range.last = 1_000 }
    var done: Int64 = 0
    let isWatched = isatty(STDERR_FILENO) == 1
    try range.forEach(in: try place.reader()) { record in
      for index in trials.indices { try trials[index].take(record) }
      done += 1
      if done % 100_000 == 0, isWatched {
        Output.complain("\(Output.grouped(done)) messages, at offset \(record.offset)")
      }
    }
  }
}
