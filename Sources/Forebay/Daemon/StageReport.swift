internal import Pipeline
internal import Telemetry

/// What the stages of a pipeline have seen, in the status. Keys of devices and paths of fields stand in it, values
/// of readings never.
extension StatusReport {
  struct ExpectationCount: Codable, Sendable {
    /// Its kind and its field, as the tags of readings have them: `range:temperature`.
    var expectation: String
    /// What becomes of a reading: `tag`, `dead-letter` or `count`.
    var action: String
    /// Readings that did not meet it, since the pipeline began to run.
    var count: Int64
  }

  struct SequenceCounts: Codable, Sendable {
    var devices: Int
    // Of the devices that are known, over restarts:
    var missing: Int64
    var repeats: Int64
    var resets: Int64
    /// Since the pipeline began to run.
    var unnumbered: Int64
  }

  struct DriftCounts: Codable, Sendable {
    struct Sighting: Codable, Sendable {
      var device: String
      var field: String
      /// In words: `appeared as a number`.
      var change: String
      var offset: Int64
    }

    /// Since the pipeline began to run.
    var count: Int64
    /// The last ones, the newest last.
    var recent: [Sighting]
  }

  struct WindowCounts: Codable, Sendable {
    var open: Int
    var keys: Int
    /// Since the pipeline began to run.
    var closedEarly: Int64
    /// RFC 3339; nil before the first reading.
    var watermark: String?
    /// How far it lies behind the wall clock; below zero where it lies ahead.
    var behindSeconds: Double?
  }
}

extension StatusReport.Pipeline {
  mutating func show(_ figures: PipelineWorker.Figures, now: Moment) {
    let seen = figures.observations
    if !figures.expectations.isEmpty {
      expectations = zip(figures.expectations, seen.findings).map {
        StatusReport.ExpectationCount(expectation: $0.name, action: $0.action.word, count: $1)
      }
    }
    sequence = seen.sequences.map {
      StatusReport.SequenceCounts(
        devices: $0.devices, missing: $0.missing, repeats: $0.repeats, resets: $0.resets, unnumbered: $0.unnumbered)
    }
    drift = seen.drifts.map { count in
      StatusReport.DriftCounts(
        count: count,
        recent: seen.recentDrifts.map {
          StatusReport.DriftCounts.Sighting(
            device: $0.key, field: $0.drift.field, change: $0.drift.change.words, offset: $0.offset.rawValue)
        })
    }
    windows = seen.windows.map { windows in
      StatusReport.WindowCounts(
        open: windows.open, keys: windows.keys, closedEarly: windows.closedEarly,
        watermark: windows.watermark.map(RFC3339.text),
        behindSeconds: windows.watermark.map { (Double(now.wall) - Double($0)) / 1e9 })
    }
    heldSeconds = figures.heldUntil.map { max(0, (Double($0) - Double(now.monotonic)) / 1e9) }
  }
}

extension Expectation.Action {
  /// As contract files write it.
  fileprivate var word: String {
    switch self {
    case .tag: "tag"
    case .deadLetter: "dead-letter"
    case .count: "count"
    }
  }
}

extension Drift.Change {
  fileprivate var words: String {
    switch self {
    case .appeared(let kind): "appeared as \(kind.phrase)"
    case .vanished: "vanished"
    case .retyped(let old, let new): "was \(old.phrase), is \(new.phrase)"
    }
  }
}

// MARK: For people

extension StatusReport.Pipeline {
  /// Expectations that are named in the text, those that most readings did not meet first.
  private static let shownExpectations = 4

  /// A line for each stage: pipeline, stage, what it has seen.
  var stageRows: [[String]] {
    var rows: [(stage: String, text: String)] = []
    if let seconds = heldSeconds {
      rows.append(
        (
          "clock",
          "messages wait for the wall clock to be synchronised, for \(Output.duration(seconds: seconds)) at most"
        ))
    }
    if let expectations { rows.append(("contract", Self.text(expectations))) }
    if let sequence {
      rows.append(
        (
          "sequence",
          "missing \(Output.grouped(sequence.missing)), repeats \(Output.grouped(sequence.repeats)), "
            + "resets \(Output.grouped(sequence.resets)), unnumbered \(Output.grouped(sequence.unnumbered)), "
            + "of \(Output.count(Int64(sequence.devices), "device"))"
        ))
    }
    if let drift {
      let last = drift.recent.last.map {
        "; the last: \(Output.plain($0.field)) of \(Output.plain($0.device)) \($0.change), at offset \($0.offset)"
      }
      rows.append(("drift", "changes \(Output.grouped(drift.count))\(last ?? "")"))
    }
    if let windows {
      let early = windows.closedEarly > 0 ? ", \(Output.grouped(windows.closedEarly)) closed early" : ""
      rows.append(
        (
          "window",
          "open \(Output.grouped(Int64(windows.open))), of \(Output.count(Int64(windows.keys), "key"))\(early)"
            + Self.text(windows)
        ))
    }
    return rows.map { [name, $0.stage, $0.text] }
  }

  private static func text(_ expectations: [StatusReport.ExpectationCount]) -> String {
    let failed = expectations.enumerated().filter { $0.element.count > 0 }
      .sorted { ($1.element.count, $0.offset) < ($0.element.count, $1.offset) }.map(\.element)
    guard !failed.isEmpty else { return "every expectation was met" }
    let named = failed.prefix(shownExpectations).map {
      "\(Output.plain($0.expectation)) \(Output.grouped($0.count)) (\($0.action))"
    }
    let more = failed.count > named.count ? " and \(failed.count - named.count) more" : ""
    return "not met: \(named.joined(separator: ", "))\(more)"
  }

  private static func text(_ windows: StatusReport.WindowCounts) -> String {
    guard let watermark = windows.watermark, let behind = windows.behindSeconds else { return ", no reading yet" }
    let distance = Output.duration(seconds: behind.magnitude) + (behind < 0 ? " ahead" : " behind")
    return ", watermark \(watermark) (\(distance))"
  }
}
