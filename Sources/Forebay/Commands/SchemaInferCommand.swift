internal import ArgumentParser
internal import Glibc
internal import Pipeline
internal import Spool
internal import Telemetry

extension SchemaCommand {
  struct Infer: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Learn a contract from logged messages, or from a file of readings.",
      discussion: """
        Writes a whole contract file to standard output, and what was read to standard error. From the \
        log, messages are decoded as the pipeline decodes them: the newest, up to --limit, unless --from \
        names where to begin. A file holds a JSON object, an array of objects, or one object in each \
        line; - is standard input.

        What is learned is what was seen: look at what is required, and widen an enum that is not complete. \
        Of fields that the pipeline masks only the type is learned; where it also has a select, no enum and \
        no range of any field.

        EXAMPLES:
          forebay schema infer --pipeline climate > climate.json
          forebay schema infer --pipeline climate --from 2h --to 1h
          forebay schema infer --from 2026-05-01T00:00:00Z --pipeline climate
          forebay schema infer readings.ndjson --as climate@1.0.0

        EXIT STATUS: 0 done; 1 there was no reading; 2 the log, the configuration or the file cannot be \
        read; 64 wrong usage.
        """)

    @Argument(help: ArgumentHelp("A file of readings, instead of the log.", valueName: "file"))
    var path: String?
    @Option(help: ArgumentHelp("The pipeline whose messages and decoder are taken.", valueName: "name"))
    var pipeline: String?
    @Option(help: ArgumentHelp("Received at or after: an RFC 3339 time, or an age such as 2h.", valueName: "time"))
    var from: String?
    @Option(help: ArgumentHelp("Received before: an RFC 3339 time, or an age.", valueName: "time"))
    var to: String?
    @Option(help: "So many messages, or readings of a file, at most.") var limit = 100_000
    @Option(
      name: .customLong("as"),
      help: ArgumentHelp("Name and version of the contract; those of the pipeline or file, and 1.0.0.", valueName: "id")
    )
    var id: String?
    @OptionGroup var place: SpoolPlace
    @Flag(help: "Print one JSON object: the contract, and what was read.") var json = false

    /// Bytes of a file that are read.
    private static let fileLimit = 256 << 20

    func validate() throws {
      guard (path == nil) != (pipeline == nil) else {
        throw ValidationError("name a file, or a pipeline with --pipeline")
      }
      if path != nil, from != nil || to != nil { throw ValidationError("--from and --to are about the log") }
      guard limit >= 1 else { throw ValidationError("--limit takes a number from 1") }
      if id != nil, named == nil { throw ValidationError("--as takes a name and a version such as climate@1.0.0") }
      for (option, text) in [("--from", from), ("--to", to)] {
        if let text, LogTime(text) == nil {
          throw ValidationError("\(option) takes a time such as 2026-05-01T12:00:00Z, or an age such as 2h")
        }
      }
    }

    private var named: ContractID? { id.flatMap { ContractID(fileName: "\($0).json") } }

    func run() throws {
      try orComplain("schema infer") {
        let draft = try path.map(learn(file:)) ?? learn(pipeline: pipeline ?? "")
        let source = path == nil ? "message" : "line"
        if draft.refusals > 0 {
          Output.complain(
            "\(Output.count(Int64(draft.refusals), source)) could not be read; most often: \(draft.commonestRefusal ?? "")"
          )
        }
        guard draft.readings > 0 else {
          Output.complain("forebay schema infer: there is no reading to learn from")
          throw ExitCode(1)
        }
        Output.complain("learned from \(Output.count(Int64(draft.readings), "reading"))")
        let file = draft.file(named ?? ContractID(name: defaultName, version: .init(major: 1, minor: 0, patch: 0)))
        guard json else { return StandardStream.output.write(Array(file.utf8)) }
        StandardStream.output.write(
          line: CompactJSON.object { json in
            json.add("readings", draft.readings)
            json.add("refused", draft.refusals)
            json.add("contract", raw: file.split(separator: "\n").map { $0.drop { $0 == " " } }.joined())
          })
      }
    }

    /// Of the pipeline, or of the file as far as it is a name.
    private var defaultName: String {
      let base = (pipeline ?? path ?? "").split(separator: "/").last.map(String.init) ?? ""
      let stem = base.split(separator: ".").first.map(String.init) ?? ""
      return [pipeline, stem].compactMap { $0 }.first(where: ContractID.isName) ?? "readings"
    }

    // MARK: From a file

    private func learn(file path: String) throws -> ContractDraft {
      let absolute = PathText.absolute(path, from: PathText.workingDirectory)
      var draft = ContractDraft()
      if path == "-" {
        draft.add(text: try StandardStream.read(limit: Infer.fileLimit), limit: limit)
        return draft
      }
      switch ConfigurationFiles.system.read(absolute, Infer.fileLimit) {
      case .success(let contents): draft.add(text: contents.bytes, limit: limit)
      case .failure(let fault):
        Output.complain("forebay schema infer: the file \(absolute) \(fault.reason)")
        throw ExitCode(2)
      }
      return draft
    }

    // MARK: From the log

    private func learn(pipeline name: String) throws -> ContractDraft {
      let settings = try settings(of: name)
      var preview = ReadingPreview(settings: settings)
      let reader = try place.reader()
      let now = SystemClock.wall()
      let end = try reader.end().next
      let (earliest, latest) = (
        from.flatMap { LogTime($0)?.wall(now: now) }, to.flatMap { LogTime($0)?.wall(now: now) }
      )
      var offset = try reader.start()
      if let earliest {
        offset = try reader.offset(atWall: earliest) ?? end
      } else {
        let stop = try latest.flatMap { try reader.offset(atWall: $0) } ?? end
        offset = max(offset, Offset(stop.rawValue - Int64(limit)))
      }
      var draft = ContractDraft(readingsOf: settings)
      var taken = 0
      while offset < end, taken < limit {
        switch try reader.next(from: offset, interested: { preview.takes($0) }) {
        case nil: return draft
        case .uninteresting(_, let end): offset = end
        case .unreadable(let first, let end, let reason):
          Output.complain("offsets \(first) to \(end.rawValue - 1) cannot be read: \(reason)")
          offset = end
        case .block(let block):
          if let latest, let first = block.group.entries.indices.first,
            block.record(at: first).message.received.wall >= latest
          {
            return draft
          }
          for index in block.group.entries.indices where taken < limit {
            let record = block.record(at: index)
            let received = record.message.received.wall
            guard record.offset >= offset, received >= earliest ?? .min, received < latest ?? .max else { continue }
            switch preview.forEachReading(of: record.message, { draft.add($0, at: $1, in: $2) }) {
            case .unmatched: continue
            case .refused(let reason): draft.refuse(reason)
            case .readings: break
            }
            taken += 1
            if taken % 20_000 == 0, StandardStream.error.isTerminal {
              Output.complain("\(Output.grouped(Int64(taken))) messages read")
            }
          }
          offset = block.end
        }
      }
      return draft
    }

    /// As the configuration has them, or the one that ran last on the spool.
    private func settings(of name: String) throws -> PipelineSettings {
      let pipelines = try pipelines()
      if let found = pipelines.first(where: { $0.name == name }) { return found }
      let names = pipelines.map(\.name)
      let hint = Suggestion.nearest(to: name, among: names).map { "did you mean '\($0)'?" }
      Output.complain(
        "forebay schema infer: there is no pipeline \(quoted(name)); "
          + (hint ?? (names.isEmpty ? "no configuration could be read" : "there are: \(names.joined(separator: ", "))"))
      )
      throw ExitCode(2)
    }

    private func pipelines() throws -> [PipelineSettings] {
      let path = PathText.absolute(place.config, from: PathText.workingDirectory)
      var origins: [Configuration.Origin] = []
      if place.spool == nil,
        case .success(let contents) = ConfigurationFiles.system.read(path, YAMLParser.Limits().bytes)
      {
        origins.append(Configuration.Origin(path: path, bytes: contents.bytes))
      }
      if let kept = LastGoodConfiguration.copy(in: try place.directory(), files: .system) { origins.append(kept) }
      for origin in origins {
        // Contracts and what else is done behind the decoder do not matter here.
        let configuration = try? Configuration.decode(
          origin, shownAs: origin.path, files: .system, toleratesSurroundings: true, toleratesAttachments: true)
        if let configuration { return configuration.pipelines }
      }
      return []
    }
  }
}

/// A time as options take it: RFC 3339, or an age as the configuration writes durations.
enum LogTime: Sendable, Hashable {
  /// Wall nanoseconds since 1970.
  case moment(Int64)
  /// Nanoseconds before now.
  case age(Int64)

  init?(_ text: String) {
    if let moment = Array(text.utf8).withUnsafeBytes({ try? RFC3339.nanoseconds($0) }) {
      self = .moment(moment)
    } else if let age = try? Quantity.duration(text) {
      self = .age(age)
    } else {
      return nil
    }
  }

  func wall(now: Int64) -> Int64 {
    switch self {
    case .moment(let wall): wall
    case .age(let age): now &- age
    }
  }
}

extension StandardStream {
  /// All of standard input, up to a limit beyond which nothing is read.
  static func read(limit: Int) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while bytes.count < limit {
      let count = Glibc.read(0, &chunk, min(chunk.count, limit - bytes.count))
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw ConfigurationFiles.Fault.refused(ConfigurationFiles.errorText()) }
      if count == 0 { break }
      bytes += chunk[..<count]
    }
    return bytes
  }
}
