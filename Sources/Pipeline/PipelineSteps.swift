internal import Telemetry

/// One thing that a pipeline does to what it takes, for people and for programs.
package struct PipelineStep: Sendable, Hashable, Codable {
  package enum Name: String, Sendable, Hashable, Codable, CaseIterable {
    case take, decode, each, key, time, contract, dedupe, sequence, drift, enrich, `where`, select, mask, window, batch
  }

  package var name: Name
  /// What it does, in words; holds the settings, and no secret.
  package var text: String

  package init(_ name: Name, _ text: String) {
    self.name = name
    self.text = text
  }
}

/// A field that a contract describes.
package struct ContractField: Sendable, Hashable, Codable {
  package var name: String
  /// As JSON Schema names them, several joined by `|`; nil where the schema leaves it open.
  package var type: String?
  package var isRequired: Bool

  package init(name: String, type: String?, isRequired: Bool) {
    self.name = name
    self.type = type
    self.isRequired = isRequired
  }
}

/// What a version of a pipeline does: kept with the version, so that its batches can be explained when the
/// configuration says something else.
package struct PipelineExplanation: Sendable, Hashable, Codable {
  package struct ContractNote: Sendable, Hashable, Codable {
    /// `climate@1.2.0`.
    package var name: String
    /// SHA-256 of its file, hexadecimal.
    package var digest: String
  }

  /// In the order in which a message meets them.
  package var steps: [PipelineStep]
  /// The topic filters.
  package var topics: [String]
  /// Nil: all of them.
  package var sources: [String]?
  package var contract: ContractNote?
  /// Of the delivered data, where a contract describes it and no later step makes other data of it.
  package var fields: [ContractField]?

  package init(_ settings: PipelineSettings) {
    steps = settings.steps
    topics = settings.from.map(\.description)
    sources = settings.sources?.sorted()
    contract = settings.contract.map { ContractNote(name: $0.description, digest: $0.digest.hex) }
    guard let contract = settings.contract, settings.select.isEmpty, settings.enrich.isEmpty, settings.mask == nil,
      settings.window == nil
    else { return }
    let described = contract.schema.fields.prefix(PipelineExplanation.maximumFields)
    fields = described.isEmpty ? nil : Array(described)
  }

  /// Fields that are kept of a contract: enough for every device, and a bound on what a version takes on disk.
  private static let maximumFields = 256
}

extension PipelineSettings {
  /// What the pipeline does, step by step, in the order in which a message meets them.
  package var steps: [PipelineStep] {
    var steps = [PipelineStep(.take, "take \(from.map(\.description).joined(separator: ", ")) from \(sourceNames)")]
    func add(_ name: PipelineStep.Name, _ text: String) { steps.append(PipelineStep(name, text)) }
    let options = format.canonicalSettings.filter { $0.name != "charset" || $0.value != CharacterSet.utf8.rawValue }
    add(
      .decode,
      "decode \(format.name.rawValue)" + parenthesised(options.map { "\($0.name) \($0.value)" } + limits.phrases))
    if let each { add(.each, "each element of \(each) is a reading") }
    add(.key, key.map { "key \($0)" } ?? "no key")
    switch time {
    case .receipt(let hold):
      add(.time, "time of receipt" + (hold == 0 ? "" : ", held \(spoken(hold)) at most for the clock to be set"))
    case .field(let path, let unit): add(.time, "time from \(path) in \(unit.rawValue)")
    }
    if let contract {
      let count = contract.expectations.count
      add(
        .contract,
        "contract \(contract.description)" + (count == 0 ? "" : " with \(count) expectation\(count == 1 ? "" : "s")"))
    }
    if let dedupe {
      let by = dedupe.by.isEmpty ? "all of the data" : dedupe.by.map(\.description).joined(separator: ", ")
      add(.dedupe, "dedupe by \(by) within \(spoken(dedupe.within)), \(dedupe.limit) readings at most")
    }
    if let sequence {
      add(.sequence, "count gaps in \(sequence.field)" + (sequence.modulus.map { ", which restarts at \($0)" } ?? ""))
    }
    if drift != nil { add(.drift, "report fields that appear, vanish or change their type") }
    for table in enrich {
      add(.enrich, "look up \(table.by?.description ?? "the key") in a table of \(table.table.count) rows")
    }
    if let condition { add(.where, "where \(condition)") }
    if !select.isEmpty { add(.select, "select \(select.joined(separator: ", "))") }
    if let mask {
      add(.mask, "mask \(mask.rules.map { "\($0.fields) (\($0.method.spoken))" }.joined(separator: ", "))")
    }
    if let window { add(.window, window.spoken) }
    add(
      .batch,
      "batch of \(batch.maximumBytes) bytes, \(batch.maximumCount) readings or \(spoken(batch.maximumAge)), "
        + "\(batch.encoding.rawValue), \(batch.compression.rawValue)")
    return steps
  }

  private var sourceNames: String {
    guard let sources else { return "every source" }
    return sources.isEmpty ? "no source" : sources.sorted().joined(separator: ", ")
  }
}

private func parenthesised(_ parts: [String]) -> String {
  parts.isEmpty ? "" : " (\(parts.joined(separator: ", ")))"
}

/// A duration in the largest unit that gives a whole number, as configurations write it.
private func spoken(_ nanoseconds: Int64) -> String {
  let units: [(Int64, String)] = [
    (86_400_000_000_000, "d"), (3_600_000_000_000, "h"), (60_000_000_000, "min"), (1_000_000_000, "s"),
    (1_000_000, "ms"), (1_000, "us"),
  ]
  for (unit, name) in units where nanoseconds != 0 && nanoseconds % unit == 0 { return "\(nanoseconds / unit) \(name)" }
  return "\(nanoseconds) ns"
}

extension FieldMask.Method {
  fileprivate var spoken: String {
    switch self {
    case .drop: "drop"
    case .mask(let last): last == 0 ? "hide" : "keep last \(last)"
    case .hash(let digits): "hash to \(digits) digits"
    case .tokenise: "tokenise"
    }
  }
}

extension WindowingSettings {
  fileprivate var spoken: String {
    let form =
      switch span {
      case .tumbling(let length): "window of \(Pipeline.spoken(length))"
      case .hopping(let length, let every): "window of \(Pipeline.spoken(length)) every \(Pipeline.spoken(every))"
      case .session(let gap): "session that ends after \(Pipeline.spoken(gap)) of silence"
      }
    let lateness =
      switch late {
      case .drop: "drop what is later"
      case .deadLetter: "set aside what is later"
      case .correct(let within): "correct for \(Pipeline.spoken(within)) what is later"
      }
    let results = emit.map { "\($0.name) = \($0.function.spoken(of: $0.argument ?? "*"))" }
    return "\(form), late by \(Pipeline.spoken(watermark.allowedLateness)) at most, \(lateness): "
      + results.joined(separator: ", ")
  }
}

extension WindowSettings.Function {
  fileprivate func spoken(of argument: String) -> String {
    let name =
      switch self {
      case .count: "count"
      case .sum: "sum"
      case .minimum: "min"
      case .maximum: "max"
      case .average: "avg"
      case .first: "first"
      case .last: "last"
      case .standardDeviation: "stddev"
      case .percentile: "percentile"
      case .rate: "rate"
      case .timeWeightedAverage: "time-weighted average"
      case .distinct: "distinct"
      }
    if case .percentile(let share) = self { return "\(name)(\(argument), \(share))" }
    return "\(name)(\(argument))"
  }
}
