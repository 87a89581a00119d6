internal import Pipeline
internal import Spool
internal import Telemetry

/// `dead_letters`, at the top and of a pipeline.
extension ConfigurationDecoder {
  /// The share of the spool that the dead letters of all pipelines together have unless the file says otherwise.
  /// Those that are being run again may be as many once more, and pages are never quite full: with an eighth
  /// they do not come near the mark at which taking in stops, whatever devices publish.
  private static let usualShare: Int64 = 8
  /// The largest share that may be asked for.
  private static let largestShare: Int64 = 3

  /// What holds for pipelines that say nothing of their own.
  func deadLetterBounds(
    _ value: ConfigurationValue?, spool: SpoolSettings, pipelines: Int
  ) -> DeadLetterBounds {
    var usual = DeadLetterBounds()
    let share = spool.maximumBytes / ConfigurationDecoder.usualShare / Int64(max(1, pipelines))
    usual.maximumBytes = max(DeadLetterBounds.sizes.lowerBound, min(usual.maximumBytes, share))
    return value.map { bounds($0, from: usual) } ?? usual
  }

  /// - Parameter usual: what holds for what is left out.
  func bounds(_ value: ConfigurationValue, from usual: DeadLetterBounds) -> DeadLetterBounds {
    var bounds = usual
    guard let section = value.section() else { return bounds }
    section.set(&bounds.keep, from: "keep") { $0.duration(in: DeadLetterBounds.ages) }
    section.set(&bounds.maximumBytes, from: "max") { $0.byteSize(in: DeadLetterBounds.sizes) }
    section.close()
    return bounds
  }

  /// Letters that fill the spool would park the intake, and devices could do that by publishing garbage.
  func checkDeadLetters(
    of pipelines: [Placed<PipelineSettings>], spool: SpoolSettings, in root: ConfigurationValue
  ) {
    let total = pipelines.reduce(Int64(0)) { sum, pipeline in
      let (next, overflow) = sum.addingReportingOverflow(pipeline.settings.deadLetters.maximumBytes)
      return overflow ? .max : next
    }
    guard total > spool.maximumBytes / ConfigurationDecoder.largestShare else { return }
    let largest = pipelines.max { $0.settings.deadLetters.maximumBytes < $1.settings.deadLetters.maximumBytes }
    let isOwn = largest?.value.nearest("dead_letters", "max").path.hasSuffix(".max") == true
    let culprit = isOwn ? largest?.value.nearest("dead_letters", "max") : root.nearest("dead_letters", "max")
    culprit?.error(
      "the dead letters of all pipelines may take \(Quantity.describe(roughly: total)), more than a third of the "
        + "\(Quantity.describe(bytes: spool.maximumBytes)) that the spool may have",
      hint: "they would leave too little room for what is to be delivered")
  }
}
