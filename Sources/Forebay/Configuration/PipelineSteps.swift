internal import Pipeline
internal import Telemetry

/// What a pipeline does, for the summary of a configuration.
extension PipelineSettings {
  /// What happens to a message, in its order; each in a few words, without expressions and names of secrets.
  var steps: [String] {
    var steps = ["decode \(format.name.rawValue)" + (each.map { ", each of \($0)" } ?? "")]
    switch time {
    case .receipt(let hold):
      steps.append("time of receipt" + (hold > 0 ? ", held up to \(Quantity.describe(duration: hold))" : ""))
    case .field(let path, let unit): steps.append("time from \(path) (\(unit.rawValue))")
    }
    if let contract { steps.append("contract \(contract.description)") }
    if let dedupe { steps.append("dedupe within \(Quantity.describe(duration: dedupe.within))") }
    if let sequence { steps.append("sequence \(sequence.field)") }
    if drift != nil { steps.append("drift") }
    for table in enrich { steps.append("enrich from \(table.table.count) rows") }
    if condition != nil { steps.append("where") }
    if !select.isEmpty { steps.append("select \(select.count)") }
    if let mask { steps.append("mask \(mask.rules.map(\.fields.description).joined(separator: " "))") }
    if let window { steps.append(window.summary) }
    return steps
  }
}

extension WindowingSettings {
  fileprivate var summary: String {
    let describe = Quantity.describe(duration:)
    let windows =
      switch span {
      case .tumbling(let length): "windows of \(describe(length))"
      case .hopping(let length, let every): "windows of \(describe(length)) every \(describe(every))"
      case .session(let gap): "sessions with gaps of \(describe(gap))"
      }
    let closing =
      watermark.idleAfter.map { "closed after \(describe($0)) without readings" } ?? "closed by readings only"
    return "\(windows), late by \(describe(watermark.allowedLateness)), \(closing): "
      + emit.map(\.name).joined(separator: " ")
  }
}
