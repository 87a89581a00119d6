internal import Telemetry

/// The windows of a pipeline, and the watermark that closes them: readings in, lines of results out.
///
/// A result is a line as a reading's is: the key and captures of its readings, the window's start as its time, and
/// as data the member `window` and the aggregates. Readings are grouped by key and captures.
struct WindowStage: Sendable {
  /// What became of a reading.
  enum Fate {
    case absorbed
    case late
    /// No window may take it: the rule, and the reason for people.
    case refused(rule: String, reason: String)
  }

  private let settings: WindowingSettings
  private let hasKey: Bool
  /// `"mean":`, as many as there are aggregates.
  private let names: [[UInt8]]
  private var inputs: WindowInputs
  private(set) var windows: WindowSet
  private(set) var watermark: Watermark
  // Kept for their room.
  private var values: [WindowInput] = []
  private var key: [UInt8] = []
  private var line: [UInt8] = []

  /// - Parameter mark: where windows stood when the state was lost; nothing where they are stored.
  /// - Throws: `ExpressionError`, `WindowSettingsError`; ``StageDamage`` where what is stored cannot be read, or was
  ///   stored under other rules.
  init(
    _ settings: WindowingSettings, of pipeline: PipelineSettings, stored: [StageState], mark: WindowMark? = nil
  ) throws {
    self.settings = settings
    hasKey = pipeline.key != nil
    names = settings.emit.map { entry in
      var name: [UInt8] = []
      name.append(jsonString: Array(entry.name.utf8))
      return name + [UInt8(ascii: ":")]
    }
    inputs = try WindowInputs(settings.emit, captures: pipeline.captureNames)
    var windowSettings = try settings.windows(inputs)
    windowSettings.rules = windowRules(pipeline)
    do throws(StateDamage) {
      watermark = try Watermark(restoring: stored.rows(of: .watermark), settings: settings.watermark)
    } catch { throw StageDamage(stage: .watermark, damage: error) }
    do throws(StateDamage) {
      windows = try WindowSet(restoring: stored.rows(of: .windows), settings: windowSettings)
    } catch { throw StageDamage(stage: .windows, damage: error) }
    if stored.rows(of: .windows).isEmpty, let closed = mark?.closed {
      windows = WindowSet(settings: windowSettings, closed: closed)
    }
  }

  // MARK: Memory

  mutating func beginPending() {
    windows.beginPending()
    watermark.beginPending()
  }

  mutating func pendingDecided() {
    windows.pendingDecided()
    watermark.pendingDecided()
  }

  mutating func stored() {
    windows.stored()
    watermark.stored()
  }

  func changes() -> [StageState] {
    [
      StageState(stage: .watermark, rows: watermark.changes()),
      StageState(stage: .windows, rows: windows.changes()),
    ]
  }

  // MARK: Readings

  /// Whether readings of these times could lead to results. Changes nothing.
  func mayGiveResults(_ items: [ReadingDecoder.Item]) -> Bool {
    guard !items.isEmpty else { return false }
    let reached = items.reduce(watermark.value ?? .min) { max($0, watermark.value(observing: $1.reading.time)) }
    if windows.windows + items.count * windows.settings.overlap > windows.settings.maximumWindows { return true }
    return items.contains { windows.mayGiveResults(adding: $0.reading.time, advancingTo: reached) }
  }

  /// Puts a reading into its windows.
  /// - Parameters:
  ///   - content: the key as it stands in JSON.
  ///   - index: the reading's object on the tape, as it comes out of `select` and `mask`.
  mutating func take(
    _ reading: Reading, key content: [UInt8], _ tape: JSONTape, _ index: Int,
    in bytes: UnsafeRawBufferPointer, from source: ReadingStages.Source, _ context: Selection.Context
  ) throws(EvaluationError) -> Fate {
    try inputs.read(tape, index, in: bytes, context, into: &values)
    switch watermark.observe(reading.time, received: source.received) {
    case .moved, .unmoved: break
    case .returned: windows.goBack(to: watermark.value ?? .min)
    case .tooFarAhead(let distance):
      return .refused(
        rule: "window.future", reason: "its time lies \(distance / 1_000_000_000) s ahead of the present")
    }
    key.removeAll(keepingCapacity: true)
    key += content
    // No byte of a key or of captures as they are written.
    key.append(0)
    key += source.route.captureObject
    let placement = key.withUnsafeBytes { key in
      values.withUnsafeBufferPointer {
        windows.add(reading.time, offset: source.offset.rawValue, key: key, inputs: $0)
      }
    }
    if placement.isAbsorbed { return .absorbed }
    if placement.isLate {
      guard settings.late == .deadLetter else { return .late }
      return .refused(
        rule: "window.late", reason: "it came \(placement.lateness / 1_000_000) ms after its window was closed")
    }
    return .refused(
      rule: "window.limit",
      reason: "no window could be opened for it: there are \(windows.windows) of at most \(settings.maximumWindows)")
  }

  // MARK: Results

  /// Writes the results that have become due.
  /// - Returns: how many.
  mutating func writeResults(into lines: inout LineBuffer) -> Int {
    guard let value = watermark.value else { return 0 }
    return write(windows.advance(to: value), into: &lines)
  }

  /// Time has come to `now`: without readings it may move the watermark.
  mutating func tick(_ now: Moment, into lines: inout LineBuffer) -> Int {
    watermark.tick(now) ? writeResults(into: &lines) : 0
  }

  /// Whether ``tick(_:into:)`` can ever do anything.
  var followsTheClock: Bool { settings.watermark.idleAfter != nil && windows.windows > 0 }

  /// Closes every window and writes its result.
  mutating func drain(into lines: inout LineBuffer) -> Int { write(windows.drain(), into: &lines) }

  private mutating func write(_ results: [WindowResult], into lines: inout LineBuffer) -> Int {
    for result in results {
      line.removeAll(keepingCapacity: true)
      write(result)
      lines.append(line: line)
    }
    return results.count
  }

  private mutating func write(_ result: WindowResult) {
    let end = result.key.firstIndex(of: 0) ?? result.key.endIndex
    line.append("{")
    if hasKey {
      line.append("\"key\":\"")
      line += result.key[..<end]
      line.append("\",")
    }
    line.append("\"time\":\"")
    line.append(time: result.start)
    line.append("\"")
    let captures = result.key[end...].dropFirst()
    if !captures.isEmpty {
      line.append(",\"captures\":")
      line += captures
    }
    line.append(",\"data\":{\"window\":{\"start\":\"")
    line.append(time: result.start)
    line.append("\",\"end\":\"")
    line.append(time: result.end)
    line.append("\",\"count\":")
    line.appendJSON(result.count)
    line.append(",\"complete\":")
    if result.completeness == .early { line.append("false") } else { line.append("true") }
    if result.revision > 0 {
      line.append(",\"revision\":")
      line.appendJSON(Int64(result.revision))
    }
    if result.unordered > 0 {
      line.append(",\"unordered\":")
      line.appendJSON(Int64(result.unordered))
    }
    writeErrors(result)
    line.append(",\"offsets\":[")
    line.appendJSON(result.offsets.lowerBound)
    line.append(",")
    line.appendJSON(result.offsets.upperBound)
    line.append("]}")
    for (name, value) in zip(names, result.values) {
      line.append(",")
      line += name
      switch value {
      case .missing: line.append("null")
      case .integer(let integer): line.appendJSON(integer)
      case .number(let number), .estimate(let number, _): line.appendJSON(number)
      }
    }
    line.append("}}")
  }

  /// How far estimates may be off, relative to their values.
  private mutating func writeErrors(_ result: WindowResult) {
    var isFirst = true
    for (name, value) in zip(names, result.values) {
      guard case .estimate(_, let error) = value else { continue }
      if isFirst { line.append(",\"relative_error\":{") } else { line.append(",") }
      isFirst = false
      line += name
      line.appendJSON(error)
    }
    if !isFirst { line.append("}") }
  }
}

extension WindowingSettings {
  /// Nanoseconds.
  var correctFor: Int64 { if case .correct(let within) = late { within } else { 0 } }
}

extension [StageState] {
  func rows(of stage: StageState.Stage) -> [StateRow] { first { $0.stage == stage }?.rows ?? [] }
}

extension [UInt8] {
  /// RFC 3339, as lines hold it.
  fileprivate mutating func append(time: Int64) { append(contentsOf: RFC3339.text(time).utf8) }
}
