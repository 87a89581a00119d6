package import Telemetry

/// What happens to a reading between decoder and batch: dedupe, `where`, `select`.
///
/// ``run(_:_:_:from:into:outcome:)`` looks only; what it found is remembered by ``remember()``, because only then
/// is it known whether the message belongs to an open batch, which no seal may know anything of.
struct ReadingStages: Sendable {
  private let by: [FieldPath]
  private var dedupe: DedupeWindow?
  /// Of the message at hand, in its order, and to be found: a message may hold a million readings.
  private var fresh: [DedupeDigest] = []
  private var freshSet: Set<DedupeDigest> = []
  private var received: Int64 = 0
  private var selection: Selection?
  /// What `select` made of the reading.
  private var selected: [UInt8] = []

  /// - Parameter stored: what the stages remember, as the last stored seal left it.
  /// - Throws: `ExpressionError`; ``StageDamage`` where what is stored cannot be read.
  init(settings: PipelineSettings, stored: [StageState]) throws {
    by = settings.dedupe?.by ?? []
    if let settings = settings.dedupe {
      let rows = stored.first { $0.stage == .dedupe }?.rows ?? []
      do throws(StateDamage) {
        dedupe = try DedupeWindow(restoring: rows, within: settings.within, limit: settings.limit)
      } catch {
        throw StageDamage(stage: .dedupe, damage: error)
      }
    }
    guard settings.condition != nil || !settings.select.isEmpty else { return }
    selection = try Selection(
      where: settings.condition, select: settings.select, captures: settings.captureNames)
  }

  // MARK: Memory

  /// An open batch begins: what is remembered from here on is in no seal until the batch is.
  mutating func beginPending() { dedupe?.beginPending() }
  mutating func pendingDecided() { dedupe?.pendingDecided() }

  /// Remembers the readings of the last message.
  mutating func remember() {
    dedupe?.advance(to: received)
    for digest in fresh { dedupe?.insert(digest, at: received) }
    fresh.removeAll(keepingCapacity: true)
    freshSet.removeAll(keepingCapacity: true)
  }

  /// What has changed since the last ``stored()``, as of the checkpoint.
  func changes() -> [StageState] {
    guard let rows = dedupe?.changes(), !rows.isEmpty else { return [] }
    return [StageState(stage: .dedupe, rows: rows)]
  }

  mutating func stored() { dedupe?.stored() }

  // MARK: Readings

  /// Where the readings of one message come from.
  struct Source {
    var route: Route
    var origin: Origin
    var log: LogID
    var offset: Offset
    var received: Moment
    /// The stage that it has passed already, as a dead letter that is put back.
    var behind = Stage.decode
  }

  /// Writes the lines of those readings that pass, and books the others.
  /// - Parameters:
  ///   - text: what items and tape point into.
  ///   - outcome: gets what became of the others.
  /// - Returns: how many lines were written.
  mutating func run(
    _ items: [ReadingDecoder.Item], _ tape: JSONTape, _ text: UnsafeRawBufferPointer, from source: Source,
    into lines: inout LineBuffer, outcome: inout Tally
  ) -> Int {
    guard selection != nil || dedupe != nil else {
      for item in items { lines.append(item.reading, of: text, route: source.route) }
      return items.count
    }
    received = source.received.wall
    var count = 0
    for item in items {
      if source.behind != .transform, isDuplicate(item, tape, text, from: source) {
        outcome.counters.duplicate += 1
        continue
      }
      do throws(EvaluationError) {
        if try select(item, tape, text, from: source, into: &lines) {
          count += 1
        } else {
          outcome.counters.filtered += 1
        }
      } catch {
        var line = LineBuffer(keeping: 0)
        line.append(item.reading, of: text, route: source.route)
        outcome.add(
          Rejection(
            stage: .transform, rule: error.kind.rawValue, reason: "\(error)", origin: source.origin, log: source.log,
            offset: source.offset, received: source.received, payload: line.takeFirst(line.count)))
      }
    }
    return count
  }

  private mutating func isDuplicate(
    _ item: ReadingDecoder.Item, _ tape: JSONTape, _ text: UnsafeRawBufferPointer, from source: Source
  ) -> Bool {
    guard let dedupe else { return false }
    var identity: [UInt8] = []
    switch item.reading.key {
    case .none: break
    case .topic: identity = source.route.key
    case .field(let range): identity.append(contentsOf: text[range])
    }
    // Control characters stand in no key and no value as they are written.
    if by.isEmpty {
      identity.append(0)
      identity.append(contentsOf: text[item.reading.data])
    }
    for path in by {
      identity.append(0)
      guard let index = tape.index(of: path, from: item.index, in: text) else { continue }
      identity.append(1)
      identity.append(contentsOf: text[tape.values[index].range])
    }
    let digest = DedupeDigest(Digest(of: identity))
    if dedupe.contains(digest, at: received) || !freshSet.insert(digest).inserted { return true }
    fresh.append(digest)
    return false
  }

  /// False for a reading that `where` does not want.
  private mutating func select(
    _ item: ReadingDecoder.Item, _ tape: JSONTape, _ text: UnsafeRawBufferPointer, from source: Source,
    into lines: inout LineBuffer
  ) throws(EvaluationError) -> Bool {
    // Taken out, so that it is the only one that uses its connection.
    guard var selection = selection.take() else {
      lines.append(item.reading, of: text, route: source.route)
      return true
    }
    defer { self.selection = selection }
    let key: Selection.Context.Key =
      switch item.reading.key {
      case .none: .none
      case .topic: .text(source.route.key)
      case .field(let range): .content(range)
      }
    let context = Selection.Context(
      key: key, time: item.reading.time, received: source.received.wall, topic: source.origin.topic,
      captures: source.route.captures)
    guard try selection.passes(tape, item.index, in: text, context) == true else { return false }
    guard selection.changesReadings else {
      lines.append(item.reading, of: text, route: source.route)
      return true
    }
    selected.removeAll(keepingCapacity: true)
    try selection.append(tape, item.index, in: text, context, to: &selected)
    selected.withUnsafeBytes { data in
      lines.append(item.reading, of: text, data: data, isCompact: true, route: source.route)
    }
    return true
  }
}

/// What a stage remembers cannot be read.
package struct StageDamage: Error, Sendable, CustomStringConvertible {
  package var stage: StageState.Stage
  package var damage: StateDamage
  package var description: String { "\(stage.rawValue): \(damage)" }
}

extension DedupeDigest {
  /// Half of a SHA-256 is more than enough to tell readings apart, also those that somebody made up to be taken
  /// for others.
  init(_ digest: Digest) {
    func word(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
    self.init(high: word(digest.bytes[..<8]), low: word(digest.bytes[8..<16]))
  }
}
