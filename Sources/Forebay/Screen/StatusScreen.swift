internal import Pipeline
internal import Status

/// The status of a gateway as lines for people: the state first, then what is wrong, then the way of the data from
/// the sources to the uplinks. With one source, two pipelines and one uplink it fits 80 columns and 24 lines.
struct StatusScreen {
  /// An earlier report, for what has happened since.
  struct Earlier {
    var report: StatusReport
    /// Seconds between the two, above 0.
    var seconds: Double
  }

  let report: StatusReport
  let judgement: StatusJudgement
  /// Nil: no rates.
  var earlier: Earlier?
  /// Whether there are columns for rates, also while nothing is known of them.
  var showsRates = false
  /// Wall nanoseconds; nil: how long alarms have lasted is not told.
  var now: Int64?
  /// Columns of the terminal; nil: lines are as long as they are.
  var width: Int?

  var lines: [ScreenLine] {
    var sections = [head, alarms]
    if let objectives { sections.append(objectives) }
    sections += [sources, pipelines]
    let stages = report.pipelines.flatMap(\.stageRows)
    if !stages.isEmpty {
      sections.append(
        plain(
          ScreenText.table(
            [
              .init(title: "PIPELINE", cells: stages.map { $0[0] }), .init(title: "STAGE", cells: stages.map { $0[1] }),
              .init(title: "SEEN", cells: stages.map { $0[2] }),
            ], width: width)))
    }
    if let replays = report.replays, !replays.isEmpty {
      sections.append(
        plain(ReplayReport.table(replays).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)))
    }
    sections += [uplinks, foot]
    return Array(sections.filter { !$0.isEmpty }.joined(separator: [ScreenLine("")]))
  }

  private func plain(_ lines: [String]) -> [ScreenLine] { lines.map { ScreenLine($0) } }

  /// A foreign text that may be long.
  private func text(_ text: String) -> String { Output.plain(text, limit: 1_000) }

  // MARK: What it is, and how it is

  private var head: [ScreenLine] {
    let state = judgement.overall
    let items = [
      state.rawValue, report.gateway + (report.site.map { " at \($0)" } ?? ""), "forebay \(report.software)",
      "up \(Output.duration(seconds: report.uptimeSeconds))", "\(Output.bytes(report.residentBytes)) resident",
      report.clockSynchronised ? "clock synchronised" : "clock NOT synchronised",
    ]
    var lines = plain(ScreenText.flow(items, width: width, indentation: state.rawValue.count + 2))
    lines[0].tone = state.tone
    lines[0].toned = state.rawValue.count
    return lines
  }

  private var alarms: [ScreenLine] {
    let headline = "\(text(report.headline))."
    guard !report.alarms.isEmpty else { return plain(ScreenText.wrap("No alarms. \(headline)", width: width)) }
    let ranked = zip(report.alarms, judgement.alarms).enumerated().sorted {
      ($0.element.1.severity == "page" ? 0 : 1, $0.offset) < ($1.element.1.severity == "page" ? 0 : 1, $1.offset)
    }
    let all: [ScreenLine] = ranked.flatMap { _, pair in
      let (alarm, judged) = pair
      let label = "ALARM \(text(alarm.name)):"
      let details = [judged.severity.map(text), age(judged)].compactMap { $0 }.joined(separator: ", ")
      let ending = details.isEmpty ? "" : " (\(details))"
      var lines = plain(
        ScreenText.wrap("\(label) \(text(alarm.textBesideName))\(ending)", width: width)
          + (judged.runbook.map { ["  see \(text($0))"] } ?? []))
      lines[0].tone = judged.severity == "page" ? .bad : .doubtful
      lines[0].toned = label.count
      return lines
    }
    return all + plain(ScreenText.wrap(headline, width: width))
  }

  private func age(_ alarm: StatusJudgement.Alarm) -> String? {
    guard let now, let since = alarm.since,
      let wall = try? Array(since.utf8).withUnsafeBytes({ try RFC3339.nanoseconds($0) })
    else { return nil }
    return "for \(Output.duration(max(0, now - wall)))"
  }

  private var objectives: [ScreenLine]? {
    guard let objectives = judgement.objectives, !objectives.isEmpty else { return nil }
    func percent(_ share: Double) -> String { Output.decimal(share * 100, places: share > 0.995 ? 2 : 1) + " %" }
    let missed = objectives.filter { $0.state != "ok" }
    let met = objectives.count - missed.count
    let scarcest = objectives.compactMap { one in
      one.budgetRemaining.map { (one.name, $0) }
    }.min { $0.1 < $1.1 }
    var lines = ScreenText.flow(
      [
        "objectives  \(met) of \(objectives.count) met",
        scarcest.map { name, left in
          "least error budget left: \(name)" + (ObjectiveReport.usedUp(left).map { ", \($0)" } ?? " \(percent(left))")
        } ?? "",
      ], width: width
    ).map { ScreenLine($0, missed.isEmpty ? nil : .doubtful, toned: 0) }
    for one in missed {
      let figures = [
        one.measured.map { measured in percent(measured) + (one.target.map { " of \(percent($0))" } ?? "") },
        one.budgetRemaining.map { left in
          ObjectiveReport.usedUp(left).map { "error budget \($0)" } ?? "\(percent(left)) of the error budget left"
        },
        one.burnRate1h.map { "burn rate \(Output.decimal($0, places: 1)) over 1 h" },
      ].compactMap { $0 }
      let label = "  \(one.name) \(one.state)"
      let text = figures.isEmpty ? label : "\(label): \(figures.joined(separator: ", "))"
      lines += ScreenText.wrap(text, width: width, indentation: 4).enumerated().map {
        ScreenLine($0.element, one.state == "spent" ? .bad : .doubtful, toned: $0.offset == 0 ? label.count : 0)
      }
    }
    return lines
  }

  // MARK: The way of the data

  /// How much a counter has grown each second since the earlier report; `-` where nothing is known of it, also when
  /// the daemon has begun to count anew.
  private func rate(_ now: Int64, _ before: Int64?, _ text: (Double) -> String = StatusScreen.number) -> String {
    guard let earlier, let before, now >= before, earlier.seconds > 0 else { return "-" }
    return text(Double(now - before) / earlier.seconds)
  }

  private static func number(_ rate: Double) -> String {
    rate < 100 ? Output.decimal(rate, places: 1) : Output.grouped(Int64(min(rate, 9e15)))
  }

  /// What stands under a table: a long text for a row.
  private func notes(_ notes: [(name: String, text: String?)]) -> [ScreenLine] {
    notes.flatMap { name, note in
      note.map { plain(ScreenText.wrap("  \(name): \(text($0))", width: width, indentation: 4)) } ?? []
    }
  }

  private var sources: [ScreenLine] {
    let sources = report.sources
    var columns: [ScreenText.Column] = [
      .init(title: "SOURCE", cells: sources.map(\.name)), .init(title: "STATE", cells: sources.map(\.state)),
      .init(title: "MESSAGES", cells: sources.map { Output.grouped($0.messages) }),
    ]
    if showsRates {
      let before = Dictionary(
        earlier?.report.sources.map { ($0.name, $0.messages) } ?? [], uniquingKeysWith: { first, _ in first })
      columns.append(.init(title: "/S", cells: sources.map { rate($0.messages, before[$0.name]) }))
    }
    columns += [
      .init(
        title: "LAST MESSAGE",
        cells: sources.map { $0.lastMessageSeconds.map { "\(Output.duration(seconds: $0)) ago" } ?? "-" }),
      .init(title: "BYTES", cells: sources.map { Output.bytes($0.bytes) }, dispensable: 1),
      .init(title: "RECONNECTS", cells: sources.map { Output.grouped($0.reconnects) }, dispensable: 2),
    ]
    return plain(ScreenText.table(columns, width: width)) + notes(sources.map { ($0.name, $0.detail) })
  }

  private var pipelines: [ScreenLine] {
    let pipelines = report.pipelines
    var columns: [ScreenText.Column] = [
      .init(title: "PIPELINE", cells: pipelines.map { $0.name + ($0.draining ? " (draining)" : "") }),
      .init(title: "BACKLOG", cells: pipelines.map { Output.grouped($0.backlog) }),
      .init(title: "OPEN", cells: pipelines.map { Output.grouped(Int64($0.openReadings)) }, dispensable: 3),
      .init(title: "OUTBOX", cells: pipelines.map { Output.grouped($0.outboxReadings) }),
      .init(
        title: "OLDEST", cells: pipelines.map { $0.oldestOutboxSeconds.map { Output.duration(seconds: $0) } ?? "-" },
        dispensable: 2),
      .init(title: "DELIVERED", cells: pipelines.map { Output.grouped($0.delivered) }),
    ]
    if showsRates {
      let before = Dictionary(
        earlier?.report.pipelines.map { ($0.name, $0.delivered) } ?? [], uniquingKeysWith: { first, _ in first })
      columns.append(.init(title: "/S", cells: pipelines.map { rate($0.delivered, before[$0.name]) }))
    }
    columns.append(.init(title: "DEAD LETTERS", cells: pipelines.map { Output.grouped($0.deadLetters) }))
    let fresh = judgement.pipelines.map(\.freshnessSeconds)
    if fresh.count == pipelines.count, fresh.contains(where: { $0 != nil }) {
      columns.append(
        .init(
          title: "FRESHNESS", cells: fresh.map { $0.map { Output.decimal($0, places: 1) + " s" } ?? "-" },
          dispensable: 1))
    }
    return plain(ScreenText.table(columns, width: width))
      + notes(
        pipelines.map {
          (
            $0.name,
            $0.deadLettersExpired > 0 ? "\(Output.count($0.deadLettersExpired, "dead letter")) have expired" : nil
          )
        })
  }

  private var uplinks: [ScreenLine] {
    let uplinks = report.uplinks
    let before = Dictionary(
      earlier?.report.uplinks.map { ($0.name, $0) } ?? [], uniquingKeysWith: { first, _ in first })
    var columns: [ScreenText.Column] = [
      .init(title: "UPLINK", cells: uplinks.map(\.name)),
      .init(
        title: "STATE",
        cells: uplinks.map { $0.state + ($0.failingSeconds.map { " for " + Output.duration(seconds: $0) } ?? "") }),
      .init(title: "DELIVERED", cells: uplinks.map { Output.grouped($0.readingsDelivered) }),
      .init(title: "SENT", cells: uplinks.map { Output.bytes($0.bytesSent) }, dispensable: 1),
    ]
    if showsRates {
      columns.append(
        .init(
          title: "SENT/S",
          cells: uplinks.map { rate($0.bytesSent, before[$0.name]?.bytesSent) { Output.bytes(Int64($0)) } }
        ))
    }
    columns += [
      .init(title: "IN FLIGHT", cells: uplinks.map { String($0.inFlight) }, dispensable: 3),
      .init(
        title: "NEXT", cells: uplinks.map { $0.nextAttemptSeconds.map { Output.decimal($0, places: 1) + " s" } ?? "-" },
        dispensable: 2),
    ]
    return plain(ScreenText.table(columns, width: width)) + notes(uplinks.map { ($0.name, $0.lastError) })
  }

  private var foot: [ScreenLine] {
    let spool = report.spool
    var lines = ScreenText.flow(
      [
        "spool  \(Output.bytes(spool.usedBytes)) of \(Output.bytes(spool.maximumBytes)) used",
        "\(Output.bytes(spool.freeBytes)) free on the disk", "\(Output.count(spool.received, "message")) received",
        spool.directory,
      ], width: width, indentation: 7
    ).map { ScreenLine($0) }
    if let credentials = report.credentials, !credentials.isEmpty {
      let first = credentials.filter { $0.remainingSeconds != nil }
        .min { ($0.remainingSeconds ?? 0) < ($1.remainingSeconds ?? 0) }
      let end = first.map { first in
        let left = first.remainingSeconds ?? 0
        let when = left < 0 ? "ran out" : "runs out in \(Output.duration(seconds: left))"
        return "the first to end: \(text(first.role)) of \(text(first.holder)), \(when)"
      }
      lines += ScreenText.flow(
        ["credentials  \(Output.count(Int64(credentials.count), "file"))", end ?? ""], width: width, indentation: 13
      ).map { ScreenLine($0) }
    }
    if let parked = spool.parked {
      lines += ScreenText.wrap("  PARKED: \(text(parked))", width: width, indentation: 4).enumerated().map {
        ScreenLine($0.element, .bad, toned: $0.offset == 0 ? 9 : 0)
      }
    }
    return lines + plain(ScreenText.wrap(report.cost, width: width, indentation: 6))
      + plain(
        ScreenText.wrap(
          "Sources and uplinks are counted since the start, pipelines since they began.", width: width, indentation: 0))
  }
}

extension StatusJudgement.State {
  fileprivate var tone: ScreenLine.Tone {
    switch self {
    case .ok: .good
    case .warning: .doubtful
    case .critical: .bad
    }
  }
}
