internal import Pipeline
internal import Spool
internal import Telemetry

/// What came of a trial, for programs.
struct TrialReport: Encodable {
  struct Reading: Encodable {
    var offset: Int64?
    var line: String
  }

  struct Refused: Encodable {
    var stage: String
    var rule: String
    var candidate: Int64
    var against: Int64?
    var firstOffset: Int64
    var reason: String
  }

  struct Difference: Encodable {
    var offset: Int64?
    var candidate: String?
    var against: String?
    var fields: [String]
  }

  struct Comparison: Encodable {
    var version: String
    var same: Int
    var changed: Int
    var onlyCandidate: Int
    var onlyAgainst: Int
    var changedFields: [String: Int]
    var isComplete: Bool
    /// The first ones.
    var differences: [Difference]
    var books: [String: Int64]
  }

  var pipeline: String
  var version: String
  var messages: Int64
  var books: [String: Int64]
  var rejections: [Refused]
  /// The first ones.
  var readings: [Reading]
  var comparison: Comparison?

  init(_ trial: Trial) {
    pipeline = trial.name
    version = trial.candidate.version
    messages = trial.messages
    let books = trial.books
    self.books = Dictionary(uniqueKeysWithValues: books.map { ($0.name, $0.candidate) })
    rejections = trial.rejected.map {
      Refused(
        stage: $0.stage.rawValue, rule: $0.rule, candidate: $0.candidate,
        against: trial.against == nil ? nil : $0.against, firstOffset: $0.offset.rawValue, reason: $0.reason)
    }
    func text(_ line: [UInt8]) -> String { String(decoding: line, as: UTF8.self) }
    readings = trial.readings.map { Reading(offset: $0.offset?.rawValue, line: text($0.line)) }
    guard let against = trial.against else { return }
    let found = trial.comparison
    comparison = Comparison(
      version: against.version, same: found.same, changed: found.changed, onlyCandidate: found.onlyCandidate,
      onlyAgainst: found.onlyAgainst, changedFields: found.fields, isComplete: !found.isCut,
      differences: found.differences.map {
        Difference(
          offset: $0.offset?.rawValue, candidate: $0.candidate.map(text), against: $0.against.map(text),
          fields: $0.fields)
      },
      books: Dictionary(uniqueKeysWithValues: books.map { ($0.name, $0.against ?? 0) }))
  }
}

/// What came of a trial, for people.
struct TrialText {
  let trial: Trial
  /// What the other side is called.
  let against: String

  var text: String {
    var parts = [head]
    parts.append(
      trial.against == nil
        ? Output.table(["BOOK", "CANDIDATE"], trial.books.map { [$0.name, Output.grouped($0.candidate)] })
        : Output.table(
          ["BOOK", "CANDIDATE", against.uppercased()],
          trial.books.map { [$0.name, Output.grouped($0.candidate), Output.grouped($0.against ?? 0)] }))
    if !trial.rejected.isEmpty {
      let rows = trial.rejected.map { refused in
        [refused.stage.rawValue, refused.rule, Output.grouped(refused.candidate)]
          + (trial.against == nil ? [] : [Output.grouped(refused.against)])
          + ["offset \(refused.offset): \(refused.reason)"]
      }
      let header =
        ["STAGE", "RULE", "CANDIDATE"] + (trial.against == nil ? [] : [against.uppercased()]) + ["THE FIRST"]
      parts.append("Set aside:\n" + Output.table(header, rows))
    }
    if trial.against != nil { parts.append(differences) }
    if !trial.readings.isEmpty {
      let more = trial.lines - trial.readings.count
      parts.append(
        "Readings:\n" + trial.readings.map { "\(place($0.offset))  \(line($0.line))" }.joined(separator: "\n")
          + (more > 0 ? "\nand \(Output.grouped(Int64(more))) more (--limit)" : ""))
    }
    return parts.joined(separator: "\n\n")
  }

  private var head: String {
    var text = "pipeline \(trial.name), version \(trial.candidate.version)"
    if let other = trial.against {
      text +=
        other.version == trial.candidate.version
        ? ", the same as the \(against) one" : ", against the \(against) version \(other.version)"
    } else {
      text += ", with nothing to compare"
    }
    return text + ": \(Output.count(trial.messages, "message"))"
  }

  private var differences: String {
    let found = trial.comparison
    guard found.count > 0 else {
      return found.isCut ? "No differences in the results that were compared." : "No differences."
    }
    var text =
      "Differences: \(Output.grouped(Int64(found.changed))) changed, \(Output.grouped(Int64(found.onlyCandidate))) only in "
      + "the candidate, \(Output.grouped(Int64(found.onlyAgainst))) only in the \(against) one, "
      + "\(Output.grouped(Int64(found.same))) the same"
    if !found.fields.isEmpty {
      let fields = found.fields.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        .prefix(20).map { "\(Output.plain($0.key)) \(Output.grouped(Int64($0.value)))" }
      text += "\nFields that changed: \(fields.joined(separator: ", "))"
    }
    if found.isCut { text += "\nThere are more results than are compared." }
    for difference in found.differences {
      let fields =
        difference.fields.isEmpty ? "" : " (\(difference.fields.map { Output.plain($0) }.joined(separator: ", ")))"
      text += "\n\(place(difference.offset))\(fields)"
      if let line = difference.against { text += "\n  - \(self.line(line))" }
      if let line = difference.candidate { text += "\n  + \(self.line(line))" }
    }
    return text
  }

  private func place(_ offset: Offset?) -> String { offset?.description ?? "-" }

  /// A line for people, who do not want to see a megabyte.
  private func line(_ bytes: [UInt8]) -> String { Output.plain(String(decoding: bytes, as: UTF8.self), limit: 500) }
}
