internal import ArgumentParser
internal import Compression
internal import Pipeline
internal import Spool
internal import Telemetry

struct LineageCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lineage",
    abstract: "Show where a batch came from: its messages, its version and steps, its deliveries.",
    discussion: """
      A batch is named by its identity, as it stands in its Idempotency-Key, in the receiver's store and in the \
      outbox: gateway/pipeline/epoch/sequence, or a part of it. PIPELINE/SEQUENCE means the present epoch. What is \
      known of a batch is kept for a month after its delivery, or as long as raw messages are.

      With --line, from one reading of the batch to its messages. The messages between the batch's offsets are \
      run through the batch's version again. Where that gives the batch's digest, the answer is proved; otherwise \
      the line itself is needed, and the answer names the messages that it can have come from. The line is found \
      in the outbox while the batch waits there; afterwards give it with --data: the lines of the whole batch as \
      they were delivered (also with gzip or zstd), or that one line without --line.

      --json prints an OpenLineage run event (2-0-2); with --line or --data, what was found of the line.

      EXAMPLES:
        forebay lineage gw-042/climate/00c0ffee00c0ffee/17
        forebay lineage climate/17 --messages
        forebay lineage climate/17 --line 3
        forebay lineage climate/17 --data line.json
        forebay lineage climate/17 --json > event.json

      EXIT STATUS: 0 shown; 1 nothing is known of the batch, or no message was found for the line; 2 the spool or \
      the data cannot be read; 64 wrong usage.
      """)

  @Argument(help: "The batch's identity, or PIPELINE/SEQUENCE.") var batch: String
  @Option(help: "The number of one line of the batch, from 1.") var line: Int?
  @Option(help: ArgumentHelp("The batch's lines or one line, as delivered; - for standard input.", valueName: "file"))
  var data: String?
  @Flag(help: "Show the raw messages, as far as they are kept.") var messages = false
  @Option(help: "Show at most so many messages and topics.") var limit = 20
  @Flag(help: "Print JSON.") var json = false
  @OptionGroup var place: SpoolPlace

  func validate() throws {
    if let line, line < 1 { throw ValidationError("--line takes a number from 1") }
    if limit < 1 { throw ValidationError("--limit takes a number from 1") }
    if BatchName(batch) == nil {
      throw ValidationError(
        "\(quoted(batch)) names no batch: gateway/pipeline/epoch/sequence, with .part/parts behind it or not, or "
          + "pipeline/sequence")
    }
  }

  func run() throws {
    try orComplain("lineage") {
      let state = try place.state()
      defer { state.close() }
      let reader = try place.reader()
      guard let identity = try BatchName(batch)?.identity(in: state),
        let account = try BatchAccount(identity, in: state, reader, spool: try place.existing())
      else {
        Output.complain(
          "forebay lineage: nothing is known of batch \(batch): it was never sealed here, or left so long ago that it "
            + "has been forgotten")
        throw ExitCode(1)
      }
      if line == nil, data == nil {
        try show(account, reader)
      } else {
        try trace(account, state, reader)
      }
    }
  }

  // MARK: The batch

  private func show(_ account: BatchAccount, _ reader: LogReader) throws {
    let topics = try account.topics(in: reader)
    if json {
      print(try Output.json(OpenLineageEvent(account, topics: account.isWhollyKept ? topics : [])))
      return
    }
    print(LineageText(account).text)
    if !topics.isEmpty {
      print("\nWhat its version took between these offsets:")
      print(
        Output.table(
          ["SOURCE", "TOPIC", "MESSAGES", "BYTES"],
          topics.prefix(limit).map { topic in
            [
              topic.origin.source, Output.plain(topic: topic.origin.topic), Output.grouped(Int64(topic.messages)),
              Output.grouped(Int64(topic.bytes)),
            ]
          }))
      if topics.count > limit { print("and \(Output.count(Int64(topics.count - limit), "topic")) more (--limit)") }
    }
    if messages, let kept = account.kept {
      print("")
      let filters = account.explanation?.topics.compactMap { text in try? TopicFilter(parsing: text) }
      try show(kept, of: reader) { origin in filters?.contains { $0.matches(origin.topic) } ?? true }
    }
  }

  private func show(
    _ kept: (first: Offset, end: Offset), of reader: LogReader, where isMeant: (Origin) -> Bool
  ) throws {
    var offset = kept.first
    var shown = 0
    while offset < kept.end {
      switch try reader.next(from: offset, interested: isMeant) {
      case nil: return
      case .uninteresting(_, let end), .unreadable(_, let end, _): offset = end
      case .block(let block):
        for index in block.group.entries.indices {
          let record = block.record(at: index)
          guard record.offset >= offset, record.offset < kept.end, isMeant(record.message.origin) else { continue }
          guard shown < limit else { return print("and more (--limit)") }
          print(LogCommand.Show.line(record))
          shown += 1
        }
        offset = block.end
      }
    }
  }

  // MARK: A line

  private struct TraceReport: Encodable {
    var batch: String
    var lineNumber: Int?
    var line: String?
    var certainty: LineTracer.Certainty
    var log: String
    var offsets: [Int64]
    var count: Int
    var reason: String
  }

  private func trace(_ account: BatchAccount, _ state: StateStore, _ reader: LogReader) throws {
    var lines = try state.waitingLines(of: account.batch.identity).map(LineageData.lines)
    var one: [UInt8]?
    if let data {
      switch try LineageData(reading: data, of: account.batch) {
      case .batch(let given): lines = given
      case .line(let line): one = line
      }
    }
    if let line, let lines {
      guard lines.indices.contains(line - 1) else {
        throw LineageData.Fault("the batch has \(Output.count(Int64(lines.count), "line")), not \(line)")
      }
      one = lines[line - 1]
    }
    guard line != nil || one != nil else {
      throw LineageData.Fault("--data holds the whole batch: --line says which line")
    }
    if let line, line > account.batch.count {
      throw LineageData.Fault("the batch has \(Output.count(Int64(account.batch.count), "line")), not \(line)")
    }
    guard let settings = account.settings else {
      throw LineageData.Fault(
        "the settings of version \(account.batch.version) can no longer be read as they were, so its messages cannot "
          + "be run again")
    }
    let answer = try LineTracer(batch: account.batch, settings: settings, reader: reader)
      .trace(number: line.map { $0 - 1 }, line: one)
    if json {
      print(
        try Output.json(
          TraceReport(
            batch: account.batch.identity.description, lineNumber: line,
            line: answer.line.map { String(decoding: $0, as: UTF8.self) }, certainty: answer.certainty,
            log: account.batch.log.rawValue, offsets: answer.offsets.map(\.rawValue), count: answer.count,
            reason: answer.reason)))
    } else {
      if let line = answer.line { print(String(decoding: line, as: UTF8.self)) }
      print("\(answer.certainty.rawValue): \(answer.reason)")
      if !answer.offsets.isEmpty {
        let named = answer.offsets.prefix(limit).map(\.description).joined(separator: ", ")
        let more = answer.count > limit ? " and \(Output.grouped(Int64(answer.count - limit))) more" : ""
        print("offset\(answer.count == 1 ? "" : "s") \(named)\(more) of log \(account.batch.log)")
      }
      if messages {
        for offset in answer.offsets.prefix(limit) { try show((offset, offset + 1), of: reader) { _ in true } }
      }
    }
    if answer.certainty == .none { throw ExitCode(1) }
  }
}
