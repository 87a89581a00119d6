internal import ArgumentParser
internal import FoundationEssentials
internal import Pipeline
internal import Spool
internal import Telemetry

// The subcommands of `dead-letters` that change nothing.

extension DeadLettersCommand {
  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List dead letters, oldest first.")

    @OptionGroup var choice: DeadLetterChoice
    @OptionGroup var place: SpoolPlace
    @Option(help: "Show at most so many.") var limit = 100
    @Option(help: "Show only those behind this number, to page on.") var after: Int64 = 0
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
      if limit < 1 { throw ValidationError("--limit takes a number from 1") }
    }

    func run() throws {
      try onState(place) { state in
        try choice.checkPipeline(in: state)
        let letters = try state.deadLetters(try choice.filter, after: after, limit: limit)
        guard !json else {
          return print(try Output.json(letters.map { DeadLetterReport($0, withPayload: false) }))
        }
        let active = Set(try state.activePipelines().map(\.name))
        print(
          letters.isEmpty
            ? (choice.isEmpty && after == 0 ? "no dead letters" : "no dead letters fit")
            : Output.table(
              ["ID", "PIPELINE", "RULE", "TOPIC", "RECEIVED", "BYTES", "REASON"],
              letters.map { row($0, isActive: active.contains($0.pipeline)) }))
        if letters.count == limit, let last = letters.last {
          Output.complain("more may follow: --after \(last.letter.id)")
        }
      }
    }

    private func row(_ stored: StoredDeadLetter, isActive: Bool) -> [String] {
      let rejection = stored.letter.rejection
      return [
        String(stored.letter.id),
        stored.pipeline
          + (isActive || ReplayID.parse(book: stored.pipeline) != nil ? "" : " (no longer configured)"),
        rejection.rule,
        Output.plain(topic: rejection.origin.topic), Output.time(rejection.received.wall),
        rejection.isWithheld ? "withheld" : String(rejection.payload.count),
        rejection.reason + (stored.requested ? " (waits to be run again)" : ""),
      ]
    }
  }

  struct Counts: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Count dead letters, by pipeline, stage and rule.",
      discussion: """
        FIRST and LAST are when the messages were received, BYTES those of the payloads. \
        EXPIRED are those that have gone since the pipeline began, because they were older \
        or took more bytes than dead_letters in the configuration allows; they are left \
        out where a choice needs to know more of them than pipeline, stage and rule.
        """)

    @OptionGroup var choice: DeadLetterChoice
    @OptionGroup var place: SpoolPlace
    @Flag(help: "Print JSON.") var json = false

    struct Count: Codable {
      var pipeline: String
      var stage: String
      var rule: String
      var count: Int64
      var bytes: Int64
      var first: String?
      var last: String?
      var expired: Int64
    }

    func run() throws {
      try onState(place) { state in
        try choice.checkPipeline(in: state)
        let counts = try state.deadLetterCounts(try choice.filter)
        guard !json else {
          return print(try Output.json(counts.map(Count.init)))
        }
        print(
          counts.isEmpty
            ? (choice.isEmpty ? "no dead letters" : "no dead letters fit")
            : Output.table(
              ["PIPELINE", "STAGE", "RULE", "COUNT", "BYTES", "FIRST", "LAST", "EXPIRED"],
              counts.map {
                [
                  $0.pipeline, $0.stage, $0.rule, Output.grouped($0.count), Output.bytes($0.bytes),
                  $0.first.map(Output.time) ?? "-", $0.last.map(Output.time) ?? "-", Output.grouped($0.expired),
                ]
              }))
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show dead letters whole, with their bytes.",
      discussion: """
        A pipeline that masks fields keeps no bytes of what it refuses. The message is in \
        the log for as long as spool.keep and spool.keep_bytes hold it, where \
        'forebay log show' prints it.
        """)

    @Argument(help: "The numbers of dead letters, as 'list' shows them.") var ids: [Int64]
    @OptionGroup var place: SpoolPlace
    @Flag(help: "Print JSON, the payload in base 64.") var json = false
    @Flag(help: "Print the payload alone, byte for byte.") var raw = false

    func run() throws {
      try onState(place) { state in
        let letters = try state.deadLetters(DeadLetterFilter(ids: ids), limit: ids.count)
        if json {
          print(
            try Output.json(
              letters.map { stored in
                var report = DeadLetterReport(stored, withPayload: true)
                if report.withheld { report.inLog = absence(of: stored.letter.rejection) == nil }
                return report
              }))
        } else {
          for letter in letters { show(letter) }
        }
        let found = Set(letters.map(\.letter.id))
        for id in ids where !found.contains(id) {
          Output.complain("forebay dead-letters: there is no dead letter \(id)")
        }
        if found.count < Set(ids).count { throw ExitCode(1) }
        if raw, letters.contains(where: \.letter.rejection.isWithheld) { throw ExitCode(1) }
      }
    }

    /// Why the message of a letter without bytes is not to be had; nil: it is.
    private func absence(of rejection: Rejection) -> String? {
      do {
        switch try place.reader().message(at: rejection.offset, of: rejection.log) {
        case .message: return nil
        case .gone(let reason): return reason
        }
      } catch {
        return "\(error)"
      }
    }

    private func show(_ stored: StoredDeadLetter) {
      let rejection = stored.letter.rejection
      if raw {
        if rejection.isWithheld {
          Output.complain(
            "forebay dead-letters: the payload of dead letter \(stored.letter.id) is withheld: the pipeline masks fields"
          )
        } else {
          StandardStream.output.write(rejection.payload)
        }
        return
      }
      print(Show.text(stored, absence: rejection.isWithheld ? absence(of: rejection) : nil))
    }

    /// A letter for people.
    /// - Parameter absence: why the log cannot give the message of a letter without bytes; nil: it can.
    static func text(_ stored: StoredDeadLetter, absence: String?) -> String {
      let rejection = stored.letter.rejection
      let received = Output.time(rejection.received.wall)
      let part = rejection.reading.map { ", reading \($0) of its message, counted from 0" } ?? ""
      // What the upstream refuses is a line of a batch, which says nothing of topics.
      let origin = rejection.origin
      let topic =
        origin.topic.isEmpty
        ? "not known: a reading out of a batch" : "\(Output.plain(topic: origin.topic)) from \(origin.source)"
      let head = """
        dead letter \(stored.letter.id)
          pipeline  \(stored.pipeline)
          stage     \(rejection.stage.rawValue), rule \(rejection.rule)
          reason    \(rejection.reason)
          topic     \(topic)
          received  \(received), offset \(rejection.offset) of log \(rejection.log)\(part)
          kept      \(stored.since.map { "since \(Output.time($0))" } ?? "since before the clock was synchronised")
          attempts  \(stored.attempts)\(stored.requested ? ", waits to be run again" : "")
        """
      guard rejection.isWithheld else {
        return head + "\n  payload   " + Output.count(Int64(rejection.payload.count), "byte") + "\n"
          + Dump.text(rejection.payload)
      }
      let place =
        absence.map { "it cannot be run again: \($0)" }
        ?? "the message is in the log at offset \(rejection.offset) until spool.keep or spool.keep_bytes lets it go"
      return head + "\n  payload   withheld: the pipeline masks fields; " + place
    }
  }
}

/// Bytes for people.
enum Dump {
  /// The text itself where it is printable UTF-8; nil otherwise.
  static func printable(_ bytes: [UInt8]) -> String? {
    guard let text = String(validating: bytes, as: UTF8.self),
      text.unicodeScalars.allSatisfy({ $0 == "\n" || $0 == "\t" || ($0.value >= 32 && $0.value != 127) })
    else { return nil }
    return text
  }

  /// The text itself where it is printable UTF-8, what hides in it or turns it around escaped; a hexadecimal dump
  /// otherwise; at most 4 KiB of it.
  static func text(_ bytes: [UInt8]) -> String {
    let shown = Array(bytes.prefix(4096))
    let rest = bytes.count > shown.count ? "\n... and \(bytes.count - shown.count) bytes more (--raw)" : ""
    if let text = printable(shown) { return Output.plain(text, limit: .max, keepsLines: true) + rest }
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
