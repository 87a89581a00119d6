internal import Pipeline
internal import Telemetry

/// Event time, sequence numbers and windows.
extension ConfigurationDecoder {
  private enum TimeWord: String, CaseIterable {
    case receipt
  }

  func eventTime(_ value: ConfigurationValue) -> PipelineSettings.EventTime? {
    if case .scalar = value.node.content {
      return value.choice(TimeWord.self) == nil ? nil : .receipt(hold: 0)
    }
    guard let section = value.section() else { return nil }
    defer { section.close() }
    let hold = section.optional("hold")
    guard let hold else {
      let field = section.required("field")?.fieldPath()
      let unit = section.required("unit")?.choice(PipelineSettings.TimeUnit.self)
      guard let field, let unit else { return nil }
      return .field(field, unit)
    }
    for other in ["field", "unit"].compactMap(section.optional) {
      other.error(
        at: other.keyPlace, "a time of receipt comes from no field",
        hint: "leave 'hold' out where the time is in a field: a message waits for the clock only without one")
    }
    return hold.duration(in: PipelineSettings.holds).map { .receipt(hold: $0) }
  }

  func sequence(_ value: ConfigurationValue) -> SequenceSettings? {
    if case .scalar = value.node.content { return value.fieldPath().map { SequenceSettings(field: $0) } }
    guard let section = value.section() else { return nil }
    defer { section.close() }
    let field = section.required("field")?.fieldPath()
    var modulus: Int?
    section.set(&modulus, from: "modulus") { $0.integer(in: SequenceSettings.moduli.asInt) }
    var gap: Int?
    section.set(&gap, from: "max_gap") { $0.integer(in: SequenceSettings.gaps.asInt) }
    var limit: Int?
    section.set(&limit, from: "max_devices") { $0.integer(in: SequenceSettings.limits) }
    guard let field else { return nil }
    var sequence = SequenceSettings(field: field)
    sequence.modulus = modulus.map { Int64($0) }
    sequence.maximumGap = gap.map { Int64($0) } ?? sequence.maximumGap
    sequence.limit = limit ?? sequence.limit
    return sequence
  }

  // MARK: window

  private enum LateWord: String, CaseIterable {
    case drop
    case deadLetter = "dead-letter"
  }

  private enum OverflowWord: String, CaseIterable {
    case closeEarly = "close-early"
    case refuse
  }

  /// - Parameter time: of the pipeline, on which it depends how late readings usually are.
  func window(
    _ value: ConfigurationValue, time: PipelineSettings.EventTime, captures: [String]
  ) -> WindowingSettings? {
    guard let section = value.section() else { return nil }
    defer { section.close() }
    let span = span(section)
    let emit = section.required("emit").map { emitted($0, captures: captures) } ?? []
    var window = WindowingSettings(span: span ?? .tumbling(ConfigurationDecoder.second), emit: emit)
    // Times of receipt come in their order.
    if case .field = time { window.watermark.allowedLateness = WindowingSettings.usualLateness }
    section.set(&window.watermark.allowedLateness, from: "late") { $0.duration(in: WindowingSettings.lateness) }
    section.set(&window.watermark.maximumAhead, from: "max_ahead") { $0.duration(in: WindowingSettings.aheads) }
    window.watermark.idleAfter = WindowingSettings.idleAfter(
      window.span, allowedLateness: window.watermark.allowedLateness)
    if let idle = section.optional("idle_after") {
      if idle.isWord("never") {
        window.watermark.idleAfter = nil
      } else if let duration = idle.duration(in: WindowingSettings.idleTimes) {
        window.watermark.idleAfter = duration
      }
    }
    section.set(&window.late, from: "late_readings", lateReadings)
    section.set(&window.maximumWindows, from: "max_windows") { $0.integer(in: WindowingSettings.limits) }
    section.set(&window.overflow, from: "when_full") {
      $0.choice(OverflowWord.self).map { $0 == .refuse ? .refuse : .closeEarly }
    }
    return span == nil || emit.isEmpty ? nil : window
  }

  /// `every` alone: side by side; with `length`: hopping; `gap`: sessions.
  private func span(_ section: ConfigurationSection) -> WindowSettings.Span? {
    let every = section.optional("every")
    let length = section.optional("length")
    let gap = section.optional("gap")
    if let gap {
      for other in [every, length].compactMap({ $0 }) {
        other.error(
          at: other.keyPlace, "a session is as long as its readings come without the gap",
          hint: "leave 'gap' out for windows of one length")
      }
      return gap.duration(in: WindowSettings.lengths).map { .session(gap: $0) }
    }
    guard let every else {
      let culprit = length ?? section.value
      culprit.error(
        at: culprit.keyPlace, "nothing says how long the windows are",
        hint: "add 'every' for windows side by side, 'every' and 'length' for overlapping ones, 'gap' for sessions")
      return nil
    }
    let step = every.duration(in: WindowSettings.lengths)
    guard let length else { return step.map { .tumbling($0) } }
    guard let duration = length.duration(in: WindowSettings.lengths), let step else { return nil }
    guard duration != step else { return .tumbling(step) }
    guard duration > step else {
      length.error(
        "windows of \(Quantity.describe(duration: duration)) every \(Quantity.describe(duration: step)) would leave out what lies between them",
        hint: "leave 'length' out, or make it longer than 'every'")
      return nil
    }
    guard (duration - 1) / step + 1 <= WindowSettings.maximumOverlap else {
      length.error(
        "each reading would be in \((duration - 1) / step + 1) windows, expected at most \(WindowSettings.maximumOverlap)",
        hint: "take a longer 'every' or a shorter 'length'")
      return nil
    }
    return .hopping(length: duration, every: step)
  }

  private func lateReadings(_ value: ConfigurationValue) -> WindowingSettings.Late? {
    if case .scalar = value.node.content {
      return value.choice(LateWord.self).map { $0 == .drop ? .drop : .deadLetter }
    }
    guard let section = value.section() else { return nil }
    defer { section.close() }
    return section.required("correct")?.duration(in: 1_000_000_000...WindowingSettings.lateness.upperBound)
      .map { .correct(within: $0) }
  }

  private func emitted(_ value: ConfigurationValue, captures: [String]) -> [WindowingSettings.Emitted] {
    let parser = AggregateParser(captures: captures)
    let entries = value.members(of: "a result")
    if entries.count > WindowSettings.maximumAggregates {
      value.error(
        at: value.keyPlace, "has \(entries.count) entries, expected at most \(WindowSettings.maximumAggregates)",
        hint: "name others in a second pipeline")
    }
    return entries.compactMap { name, value in
      if name == WindowingSettings.boundsName {
        value.error(at: value.keyPlace, "the window's bounds have this name", hint: "take another one")
      }
      guard let text = value.text(expected: "an aggregate, for example avg(temperature)") else { return nil }
      do throws(AggregateError) {
        let call = try parser.parse(text)
        return WindowingSettings.Emitted(name: name, function: call.function, argument: call.argument)
      } catch {
        let meant = error.unknown.flatMap { value.suggestion($0, AggregateParser.names) }
        value.error(
          at: error.position.map { value.node.place(ofCharacter: $0) }, error.reason, hint: meant)
        return nil
      }
    }
  }
}

extension WindowingSettings {
  /// How late readings may be unless it is said: devices' clocks and their ways here differ by seconds.
  static let usualLateness: Int64 = 30_000_000_000
}

extension ClosedRange<Int64> {
  var asInt: ClosedRange<Int> { Int(clamping: lowerBound)...Int(clamping: upperBound) }
}

extension ConfigurationValue {
  /// Whether it is this word, for values that are a word or something else.
  func isWord(_ word: String) -> Bool {
    if case .scalar(let scalar) = node.content { scalar.text == word } else { false }
  }

  /// A mapping whose keys are names of fields, which may be any text, in the file's order.
  /// - Parameter kind: of what they are the names.
  func members(of kind: String) -> [(name: String, value: ConfigurationValue)] {
    guard case .mapping(let entries) = node.content else {
      error("is not a mapping, expected names of \(kind), each with a value behind it")
      return []
    }
    if entries.isEmpty { error("is empty, expected at least one entry") }
    if entries.count > ConfigurationValue.mostEntries {
      error("has \(entries.count) entries, expected at most \(ConfigurationValue.mostEntries)")
    }
    return entries.prefix(ConfigurationValue.mostEntries).compactMap { entry in
      let value = child(entry)
      let scalars = entry.key.unicodeScalars
      guard !entry.key.isEmpty, scalars.count <= ConfigurationValue.longestMember,
        !scalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F })
      else {
        value.error(
          at: entry.keyPlace,
          "\(quoted(entry.key)) cannot name \(kind), expected 1 to \(ConfigurationValue.longestMember) characters without line breaks"
        )
        return nil
      }
      return (entry.key, value)
    }
  }

  /// Characters of a field's path in a mapping.
  static let longestMember = 256
}
