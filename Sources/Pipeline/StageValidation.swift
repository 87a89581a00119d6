internal import Telemetry

/// Nanoseconds that the settings of stages may have.
extension PipelineSettings {
  /// Held messages hold up everything behind them: no longer than a day.
  package static let holds: ClosedRange<Int64> = 0...86_400_000_000_000
}

extension WindowingSettings {
  /// How late readings may come, and how far ahead: as long as windows may be.
  package static let lateness: ClosedRange<Int64> = 0...WindowSettings.lengths.upperBound
  package static let aheads: ClosedRange<Int64> = 1_000_000_000...WindowSettings.lengths.upperBound
  package static let idleTimes: ClosedRange<Int64> = 1_000_000_000...WindowSettings.lengths.upperBound
  package static let limits = 1...10_000_000
  /// The member of a result that holds the window's bounds, so that no aggregate can have this name.
  package static let boundsName = "window"

  /// A broker's session is away for so long now and then, and what it brings must not be late for it.
  private static let shortestIdleTime: Int64 = 60_000_000_000

  /// After how many nanoseconds without a reading the watermark follows the wall clock, unless it is said: those by
  /// which a reading may be late and those from window to window, and a minute at least.
  package static func idleAfter(_ span: WindowSettings.Span, allowedLateness: Int64) -> Int64 {
    let step =
      switch span {
      case .tumbling(let length): length
      case .hopping(_, let every): every
      case .session(let gap): gap
      }
    return max(shortestIdleTime, min(saturating(step, plus: allowedLateness), idleTimes.upperBound))
  }

  /// For the windows themselves.
  func windows(_ inputs: WindowInputs) throws(WindowSettingsError) -> WindowSettings {
    try WindowSettings(
      span: span, aggregates: inputs.aggregates, inputs: inputs.count, correctFor: correctFor,
      maximumWindows: maximumWindows, overflow: overflow)
  }
}

extension PipelineSettings {
  /// Checks the settings of sequence, drift, mask and window.
  func validateStages() throws(PipelineSettingsError) {
    if case .receipt(let hold) = time {
      try check(hold, in: PipelineSettings.holds, "time.hold", "messages are held for 0 to 1 d")
    }
    if let sequence {
      if let modulus = sequence.modulus {
        try check(
          modulus, in: SequenceSettings.moduli, "sequence.modulus",
          "256 for a counter of one byte, 65536 for one of two")
      }
      try check(sequence.maximumGap, in: SequenceSettings.gaps, "sequence.max_gap", "100000 suits most counters")
      try check(
        Int64(sequence.limit), in: SequenceSettings.limits, "sequence.max_devices", "10000 suits most gateways")
    }
    if let drift {
      try check(
        Int64(drift.vanishedAfter), in: DriftSettings.patience, "drift.vanished_after", "100 readings suit most devices"
      )
      try check(Int64(drift.limit), in: DriftSettings.limits, "drift.max_devices", "10000 suits most gateways")
    }
    if let mask {
      do throws(MaskError) {
        _ = try FieldMask(rules: mask.rules, tokeniser: mask.tokeniser)
      } catch {
        let rule = error.rule.flatMap { mask.rules.indices.contains($0) ? mask.rules[$0] : nil }
        throw PipelineSettingsError(
          rule.map { "mask.\($0.fields)" } ?? "mask", error.reason, hint: "fields and what becomes of them")
      }
      if let rule = ruleThatTheKeyDefeats(mask.rules) {
        throw PipelineSettingsError(
          "mask.\(rule.fields)", "the pipeline's key comes from this field, and stands in every line as it is",
          hint: "take the key from a level of the topic, or leave it out")
      }
    }
    try window?.validate(captures: captureNames)
  }

  private func check(
    _ value: Int64, in range: ClosedRange<Int64>, _ setting: String, _ hint: String
  ) throws(PipelineSettingsError) {
    guard !range.contains(value) else { return }
    throw PipelineSettingsError(
      setting, "\(value) is not between \(range.lowerBound) and \(range.upperBound)", hint: hint)
  }

  private func check(
    _ value: Int64, in range: ClosedRange<Int>, _ setting: String, _ hint: String
  ) throws(PipelineSettingsError) {
    try check(value, in: Int64(range.lowerBound)...Int64(range.upperBound), setting, hint)
  }

  /// A rule about the field that the key comes from, or about what holds it: every line would have the key beside
  /// what was made unreadable. Also where `select` gives the field another name, or computes with it.
  package func ruleThatTheKeyDefeats(_ rules: [FieldMask.Rule]) -> FieldMask.Rule? {
    guard let key, let keyPath, from.contains(where: { !$0.captureNames.contains(key) }) else { return nil }
    let entries = select.compactMap { try? ExpressionParser(captures: captureNames).entry($0) }
    guard !entries.isEmpty else { return rules.first { $0.fields.covers(keyPath.steps[...]) } }
    return rules.first { rule in
      entries.contains { entry in
        switch entry {
        case .all(let except):
          // A name beside `*` takes the place of the reading's own.
          guard case .member(let first)? = keyPath.steps.first, !except.contains(first),
            !entries.contains(where: { $0.name.map { Array($0.utf8) } == first })
          else { return false }
          return rule.fields.covers(keyPath.steps[...])
        case .field(let path, let name):
          guard keyPath.steps.starts(with: path.steps) else { return false }
          return rule.fields.covers([.member(Array(name.utf8))] + keyPath.steps[path.steps.count...])
        case .computed(let expression, let name):
          guard rule.fields.covers([.member(Array(name.utf8))]) else { return false }
          return expression.pieces.contains { $0.operand == .key || $0.operand == .field(keyPath) }
        }
      }
    }
  }
}

extension FieldPattern {
  /// Whether it is about the value at a path, or about one that holds it.
  fileprivate func covers(_ path: ArraySlice<FieldPath.Step>) -> Bool {
    guard steps.count <= path.count else { return false }
    return zip(steps, path).allSatisfy { step, other in
      switch (step, other) {
      case (.member(let name), .member(let key)): name == key
      case (.element(let number), .element(let index)): number == index
      case (.everyElement, .element): true
      default: false
      }
    }
  }
}

extension WindowingSettings {
  /// - Parameter captures: names of the topic filter's captures, which arguments can use.
  fileprivate func validate(captures: [String]) throws(PipelineSettingsError) {
    let ranges: [(setting: String, value: Int64, range: ClosedRange<Int64>)] = [
      ("late", watermark.allowedLateness, WindowingSettings.lateness),
      ("max_ahead", watermark.maximumAhead, WindowingSettings.aheads),
      ("idle_after", watermark.idleAfter ?? WindowingSettings.idleTimes.lowerBound, WindowingSettings.idleTimes),
    ]
    for (setting, value, range) in ranges where !range.contains(value) {
      throw PipelineSettingsError(
        "window.\(setting)", "\(value) ns are not between \(range.lowerBound) and \(range.upperBound)",
        hint: "at most 366 d")
    }
    if case .correct(let within) = late, within < 1 {
      throw PipelineSettingsError(
        "window.late_readings.correct", "\(within) ns are no time", hint: "write drop where nothing is corrected")
    }
    for (index, emitted) in emit.enumerated() {
      guard !emitted.name.isEmpty, !emit[..<index].contains(where: { $0.name == emitted.name }) else {
        throw PipelineSettingsError(
          "window.emit", "the name '\(emitted.name)' is empty or stands there twice", hint: "each member needs its own")
      }
    }
    guard !emit.contains(where: { $0.name == WindowingSettings.boundsName }) else {
      throw PipelineSettingsError(
        "window.emit.\(WindowingSettings.boundsName)", "the window's bounds have this name", hint: "take another one")
    }
    let inputs: WindowInputs
    do throws(ExpressionError) { inputs = try WindowInputs(emit, captures: captures) } catch {
      var setting = "window.emit"
      if case .emitted(let index) = error.place, emit.indices.contains(index) { setting += ".\(emit[index].name)" }
      throw PipelineSettingsError(setting, error.reason, hint: "SQL over the fields of a reading")
    }
    do throws(WindowSettingsError) { _ = try windows(inputs) } catch {
      throw PipelineSettingsError(
        "window", "\(error)", hint: "for example every: 10 s, emit: { mean: avg(temperature) }")
    }
  }
}
