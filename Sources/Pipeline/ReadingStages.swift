internal import Telemetry

/// What happens to a reading between decoder and batch: contract, dedupe, sequence, drift, then ``ReadingTransform``
/// and windows.
///
/// Stages remember at once what they have met. So ``beginPending()`` comes before the message that opens a batch,
/// which is known by ``mayGiveLines(_:)``; where no line has come after all, ``pendingDecided()`` takes it back.
struct ReadingStages: Sendable {
  /// Whether readings pass as they were decoded.
  let isPlain: Bool
  private let withholds: Bool
  /// Readings whose receipt time nobody could put right are marked, where they were held for it.
  private let marksClock: Bool
  private var contract: ContractStage?
  private var dedupe: DedupeStage?
  private var sequence: SequenceStage?
  private var drift: DriftStage?
  private var transform: ReadingTransform
  private(set) var window: WindowStage?
  /// Nil where nobody wants to know.
  var devices: DeviceView?

  /// The key of the reading at hand as it stands in JSON, and members of its line that stages add.
  private var key: [UInt8] = []
  private var extra: [UInt8] = []

  /// - Parameters:
  ///   - stored: what the stages remember, as the last stored seal left it.
  ///   - mark: where windows stood that are not stored.
  /// - Throws: `ExpressionError`, `MaskError`, `WindowSettingsError`; ``StageDamage`` where what is stored cannot be
  ///   read.
  init(settings: PipelineSettings, stored: [StageState], mark: WindowMark? = nil) throws {
    contract = try settings.contract.map { contract throws(StageDamage) in
      try ContractStage(contract, stored: stored)
    }
    dedupe = try settings.dedupe.map { dedupe throws(StageDamage) in try DedupeStage(dedupe, stored: stored) }
    sequence = try settings.sequence.map { sequence throws(StageDamage) in
      try SequenceStage(sequence, stored: stored)
    }
    drift = try settings.drift.map { drift throws(StageDamage) in try DriftStage(drift, stored: stored) }
    window = try settings.window.map { try WindowStage($0, of: settings, stored: stored, mark: mark) }
    transform = try ReadingTransform(settings: settings)
    withholds = settings.mask != nil
    marksClock = if case .receipt(let hold) = settings.time { hold > 0 } else { false }
    isPlain =
      !marksClock && contract == nil && dedupe == nil && sequence == nil && drift == nil && window == nil
      && transform.isIdentity
  }

  // MARK: Memory

  /// An open batch begins: what is remembered from here on is in no seal until the batch is.
  mutating func beginPending() {
    if isPlain { return }
    contract?.beginPending()
    dedupe?.window.beginPending()
    sequence?.beginPending()
    drift?.report.beginPending()
    window?.beginPending()
  }

  mutating func pendingDecided() {
    if isPlain { return }
    contract?.pendingDecided()
    dedupe?.window.pendingDecided()
    sequence?.pendingDecided()
    drift?.report.pendingDecided()
    window?.pendingDecided()
  }

  /// What has changed since the last ``stored()``, as of the checkpoint.
  func changes() -> [StageState] {
    var changes: [StageState] = []
    if let dedupe { changes.append(StageState(stage: .dedupe, rows: dedupe.window.changes())) }
    if let sequence { changes.append(sequence.changes()) }
    if let contract { changes.append(contract.changes()) }
    if let drift { changes.append(StageState(stage: .drift, rows: drift.report.changes())) }
    if let window { changes += window.changes() }
    return changes.filter { !$0.rows.isEmpty }
  }

  mutating func stored() {
    contract?.stored()
    dedupe?.window.stored()
    sequence?.stored()
    drift?.report.stored()
    window?.stored()
  }

  // MARK: Readings

  /// Where the readings of one message come from.
  struct Source {
    var route: Route
    var origin: Origin
    var log: LogID
    var offset: Offset
    /// The wall time is put right where it was wrong (``ClockCorrection``).
    var received: Moment
    /// The stage that has refused it before, as a dead letter that is put back: those before it are passed.
    var behind = Stage.decode
    /// Whether the stages with a memory have met it already.
    var isRemembered = false
    /// Which reading of its message it is, where only that one is looked at.
    var reading: Int?

    /// Whether a stage is passed already.
    func hasPassed(_ stage: Stage) -> Bool {
      switch stage {
      case .contract: behind == .transform || behind == .window
      case .decode, .transform, .window, .upstream: false
      }
    }
  }

  /// Whether these readings could give lines.
  func mayGiveLines(_ items: [ReadingDecoder.Item]) -> Bool {
    guard let window else { return !items.isEmpty }
    return window.mayGiveResults(items)
  }

  /// Writes the lines of those readings that pass, and of windows that close; books the others.
  /// - Parameters:
  ///   - text: what items and tape point into.
  ///   - outcome: gets what became of the others.
  /// - Returns: how many lines were written.
  mutating func run(
    _ items: [ReadingDecoder.Item], _ tape: JSONTape, _ text: UnsafeRawBufferPointer, from source: Source,
    into lines: inout LineBuffer, outcome: inout Tally
  ) -> Int {
    guard !isPlain else {
      for item in items { lines.append(item.reading, of: text, route: source.route) }
      for item in items { note(item, text, from: source) }
      return items.count
    }
    dedupe?.window.advance(to: source.received.wall)
    var count = 0
    for (number, item) in items.enumerated() {
      do throws(Setback) {
        if try pass(item, tape, text, from: source, into: &lines, outcome: &outcome) { count += 1 }
      } catch {
        outcome.add(rejection(error, of: item, number: number, text, from: source))
      }
    }
    if window != nil {
      let results = window?.writeResults(into: &lines) ?? 0
      outcome.counters.emitted += Int64(results)
      count += results
    }
    return count
  }

  /// Why a reading is set aside.
  private struct Setback: Error {
    var stage: Stage
    var rule: String
    var reason: String

    init(_ stage: Stage, _ why: (rule: String, reason: String)) {
      self.stage = stage
      (rule, reason) = why
    }
  }

  /// - Returns: whether a line was written for it.
  private mutating func pass(
    _ item: ReadingDecoder.Item, _ tape: JSONTape, _ text: UnsafeRawBufferPointer, from source: Source,
    into lines: inout LineBuffer, outcome: inout Tally
  ) throws(Setback) -> Bool {
    let reading = item.reading
    setKey(reading, text, source.route)
    extra.removeAll(keepingCapacity: true)
    if marksClock, source.received.quality == .unsynchronised { extra.append(",\"clock\":\"unsynchronised\"") }
    if let contract, !source.hasPassed(.contract), let found = contract.violation(tape, item.index, in: text) {
      throw Setback(.contract, found)
    }
    if !source.isRemembered {
      if dedupe?.isDuplicate(reading, key: key, tape, item.index, in: text, at: source.received.wall) == true {
        outcome.counters.duplicate += 1
        return false
      }
      key.withUnsafeBytes { key in
        sequence?.observe(key: key, tape, item.index, in: text)
        drift?.look(key: key, at: source.offset, tape, item.index, in: text)
      }
    }
    if contract != nil, !source.hasPassed(.contract) {
      let received = source.received.wall
      let found = key.withUnsafeBytes { key in
        contract?.check(reading, key: key, received: received, tape, item.index, in: text, extra: &extra)
      }
      if let found { throw Setback(.contract, found) }
    }
    let fate: WindowStage.Fate
    do throws(EvaluationError) {
      guard try transform.apply(item, tape, text, key: key, from: source) else {
        outcome.counters.filtered += 1
        return false
      }
      guard window != nil else {
        transform.append(item, text, route: source.route, extra: extra, to: &lines)
        note(item, text, from: source)
        return true
      }
      fate = try absorb(item, tape, text, from: source)
    } catch {
      throw Setback(.transform, (error.kind.rawValue, "\(error)"))
    }
    switch fate {
    case .absorbed:
      outcome.counters.absorbed += 1
      note(item, text, from: source)
    case .late: outcome.counters.late += 1
    case .refused(let rule, let reason): throw Setback(.window, (rule, reason))
    }
    return false
  }

  /// The reading went into a batch or a window.
  @inline(__always)
  private mutating func note(_ item: ReadingDecoder.Item, _ text: UnsafeRawBufferPointer, from source: Source) {
    devices?.note(item.reading, text, route: source.route, offset: source.offset, received: source.received.wall)
  }

  private mutating func absorb(
    _ item: ReadingDecoder.Item, _ tape: JSONTape, _ text: UnsafeRawBufferPointer, from source: Source
  ) throws(EvaluationError) -> WindowStage.Fate {
    // Taken out, so that each has one owner while both are used.
    guard var window = window.take() else { return .late }
    defer { self.window = window }
    let key = key
    return try transform.look(item, tape, text, key: key, from: source) {
      tape, index, bytes, context throws(EvaluationError) in
      try window.take(item.reading, key: key, tape, index, in: bytes, from: source, context)
    }
  }

  private func rejection(
    _ setback: Setback, of item: ReadingDecoder.Item, number: Int, _ text: UnsafeRawBufferPointer,
    from source: Source
  ) -> Rejection {
    var line = LineBuffer(keeping: 0)
    if !withholds { line.append(item.reading, of: text, route: source.route) }
    return Rejection(
      stage: setback.stage, rule: setback.rule, reason: setback.reason, origin: source.origin, log: source.log,
      offset: source.offset, received: source.received, payload: line.takeFirst(line.count),
      reading: source.reading ?? number, isWithheld: withholds)
  }

  private mutating func setKey(_ reading: Reading, _ text: UnsafeRawBufferPointer, _ route: Route) {
    key.removeAll(keepingCapacity: true)
    switch reading.key {
    case .none: break
    case .topic: key.append(contentsOf: route.keyContent)
    case .field(let range): key.append(contentsOf: text[range])
    }
  }
}

extension ReadingStages {
  /// Closes every window, whatever the watermark.
  /// - Returns: how many results were written.
  mutating func drainWindows(into lines: inout LineBuffer, outcome: inout Tally) -> Int {
    let results = window?.drain(into: &lines) ?? 0
    outcome.counters.emitted += Int64(results)
    return results
  }

  /// Time has come to `now`.
  /// - Returns: how many results were written.
  mutating func tick(_ now: Moment, into lines: inout LineBuffer, outcome: inout Tally) -> Int {
    let results = window?.tick(now, into: &lines) ?? 0
    outcome.counters.emitted += Int64(results)
    return results
  }

  func sequence(of key: [UInt8]) -> SequenceState? { sequence?.tracker.state(of: key) }

  /// What the stages have seen.
  var observations: StageObservations {
    var seen = StageObservations()
    if let contract { seen.findings = contract.findings }
    if let sequence {
      seen.sequences = StageObservations.Sequences(
        devices: sequence.tracker.count, missing: sequence.missing, repeats: sequence.repeats, resets: sequence.resets,
        unnumbered: sequence.unnumbered)
    }
    if let drift {
      seen.drifts = drift.count
      seen.recentDrifts = drift.recent
    }
    if let window {
      seen.windows = StageObservations.Windows(
        open: window.windows.windows, keys: window.windows.keys, closedEarly: window.windows.closedEarly,
        watermark: window.watermark.value)
    }
    return seen
  }
}

extension Rejection {
  /// Whether the stages with a memory had met the reading before it was refused.
  var wasRemembered: Bool {
    switch stage {
    case .decode, .upstream: false
    case .contract: rule.hasPrefix(ContractStage.expectationRule)
    case .transform, .window: true
    }
  }
}
