internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc
internal import Pipeline
internal import Spool
internal import Telemetry

struct LogCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "log",
    abstract: "Look into the raw log of messages.",
    discussion: """
      EXAMPLES:
        forebay log show --last 20
        forebay log show --topic 'sensors/{device}/climate' --from 1200
        forebay log export --from 0 > messages.ndjson

      EXIT STATUS: 0 done, also when no message fits; 2 the spool cannot be read; 64 wrong usage.
      """,
    subcommands: [Show.self, Export.self])
}

/// Which messages a subcommand means.
struct LogRange: ParsableArguments {
  @Option(help: "The first offset; the first that is kept unless named.") var from: Int64?
  @Option(help: "The last offset; the last there is unless named.") var to: Int64?
  @Option(help: "Only so many messages from the end of the log, or of --to.") var last: Int64?
  @Option(help: "Only topics that this filter matches, in MQTT's or the configuration's form.")
  var topic: String?

  func validate() throws {
    if last != nil, from != nil { throw ValidationError("--last and --from exclude each other") }
    if let last, last < 1 { throw ValidationError("--last takes a number from 1") }
    for (option, value) in [("--from", from), ("--to", to)] {
      if let value, value < 0 { throw ValidationError("\(option) takes an offset, from 0") }
    }
    if let from, let to, from > to {
      throw ValidationError("--from \(from) is behind --to \(to): no offset is in between")
    }
    _ = try filter()
  }

  private func filter() throws -> TopicFilter? {
    do throws(TopicFilterError) {
      return try topic.map { text throws(TopicFilterError) in try TopicFilter(parsing: text) }
    } catch {
      throw ValidationError("--topic: \(error)")
    }
  }

  /// Calls `body` with every message that is meant, in the order of the log. Says so when there is none.
  func forEach(in reader: LogReader, _ body: (Record) throws -> Void) throws {
    let filter = try filter()
    let end = try reader.end().next
    let start = try reader.start()
    let stop = to.map { $0 < end.rawValue ? Offset($0) + 1 : end } ?? end
    var offset = start
    if let from { offset = max(offset, Offset(from)) }
    if let last { offset = max(offset, Offset(stop.rawValue - last)) }
    var found = false
    defer {
      if !found {
        Output.complain(
          start < end
            ? "no message fits; the log holds the offsets \(start) to \(end.rawValue - 1)"
            : "no message: the log is empty, its next offset is \(end)")
      }
    }
    while offset < stop {
      let interested = { (origin: Origin) in filter?.matches(origin.topic) ?? true }
      switch try reader.next(from: offset, interested: interested) {
      case nil: return
      case .uninteresting(_, let end): offset = end
      case .unreadable(let first, let end, let reason):
        Output.complain("offsets \(first) to \(end.rawValue - 1) cannot be read: \(reason)")
        offset = end
      case .block(let block):
        for index in block.group.entries.indices {
          let record = block.record(at: index)
          guard record.offset >= offset, record.offset < stop,
            interested(record.message.origin)
          else { continue }
          found = true
          try body(record)
        }
        offset = block.end
      }
    }
  }
}

/// A message for programs.
struct RecordReport: Codable {
  var offset: Int64
  var source: String
  var topic: String
  var qos: UInt8
  var retained: Bool
  var packetID: UInt16?
  var received: String
  var clockSynchronised: Bool
  var properties: [String: String]?
  /// By pipeline: the time that it reads from the payload; only in `log show`.
  var eventTimes: [String: String]?
  /// The payload where it is UTF-8.
  var payload: String?
  /// The payload in base 64 where it is not.
  var payloadBase64: String?

  init(_ record: Record) {
    let message = record.message
    offset = record.offset.rawValue
    source = message.origin.source
    topic = message.origin.topic
    qos = message.qos.rawValue
    retained = message.retained
    packetID = message.packetID
    received = RFC3339.text(message.received.wall)
    clockSynchronised = message.received.quality == .synchronised
    payload = String(validating: message.payload, as: UTF8.self)
    payloadBase64 = payload == nil ? Data(message.payload).base64EncodedString() : nil
    var named: [String: String] = [:]
    for property in message.properties {
      switch property {
      case .payloadFormatIndicator(let value): named["payload-format-indicator"] = String(value)
      case .messageExpiryInterval(let seconds): named["message-expiry-interval"] = String(seconds)
      case .contentType(let value): named["content-type"] = value
      case .responseTopic(let value): named["response-topic"] = value
      case .correlationData(let value): named["correlation-data"] = Hex.encode(value)
      case .user(let name, let value): named["user:" + name] = value
      }
    }
    properties = named.isEmpty ? nil : named
  }
}

private func onLog(_ place: SpoolPlace, _ body: (LogReader) throws -> Void) throws {
  try orComplain("log") { try body(try place.reader()) }
}

extension LogCommand {
  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show messages, one line each; the last 20 unless a range is named.",
      discussion: """
        Where a pipeline takes its time from the payload, 'event' is the time that it \
        reads there. When that lies in 1970 or far ahead, time.unit is probably wrong.
        """)

    @OptionGroup var range: LogRange
    @OptionGroup var place: SpoolPlace
    @Flag(help: "Print one JSON text per line.") var json = false

    func run() throws {
      var range = range
      if range.from == nil, range.to == nil, range.last == nil { range.last = 20 }
      try onLog(place) { reader in
        var events = EventTimes(spool: try place.directory())
        var doubtful: [String: Int64] = [:]
        try range.forEach(in: reader) { record in
          let times = events.times(of: record.message)
          for (pipeline, time) in times
          where EventTimes.isDoubtful(time, received: record.message.received.wall) {
            doubtful[pipeline, default: 0] += 1
          }
          print(json ? try line(json: record, times) : Show.line(record, times))
        }
        for (pipeline, count) in doubtful.sorted(by: { $0.key < $1.key }) {
          Output.complain(
            "pipeline \(pipeline) reads a time from \(Output.count(count, "message")) of these that lies before "
              + "2000 or far ahead: is its time.unit right?")
        }
      }
    }

    private func line(json record: Record, _ times: [String: Int64]) throws -> String {
      var report = RecordReport(record)
      report.eventTimes = times.isEmpty ? nil : times.mapValues(RFC3339.text)
      return try Output.json(report, pretty: false)
    }

    /// Characters of a payload that its line has.
    private static let shownPayload = 200

    static func line(_ record: Record, _ times: [String: Int64] = [:]) -> String {
      let message = record.message
      let payload =
        String(validating: message.payload, as: UTF8.self).map { text in
          Output.plain(String(text.prefix(shownPayload).filter { !$0.isNewline }), limit: shownPayload)
        } ?? "(\(Output.count(Int64(message.payload.count), "byte")), not UTF-8)"
      let events = Set(times.values).sorted().map { "event \(Output.time($0))  " }.joined()
      return "\(record.offset)  \(Output.time(message.received.wall))  \(message.origin.source)  "
        + "\(Output.plain(topic: message.origin.topic))  \(events)\(payload)"
    }
  }

  struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write messages as NDJSON to standard output; everything unless a range is named.")

    @OptionGroup var range: LogRange
    @OptionGroup var place: SpoolPlace

    func run() throws {
      try onLog(place) { reader in
        let total: Int64 = try reader.end().next - reader.start()
        var done: Int64 = 0
        try range.forEach(in: reader) { record in
          print(try Output.json(RecordReport(record), pretty: false))
          done += 1
          if done % 100_000 == 0, isatty(STDERR_FILENO) == 1 {
            Output.complain("\(Output.grouped(done)) messages written, of \(Output.grouped(total)) kept")
          }
        }
      }
    }
  }
}
