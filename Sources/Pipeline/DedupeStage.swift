package import Telemetry

/// Finds readings that were met before.
struct DedupeStage: Sendable {
  private let by: [FieldPath]
  var window: DedupeWindow
  private var identity: [UInt8] = []

  init(_ settings: PipelineSettings.Dedupe, stored: [StageState]) throws(StageDamage) {
    by = settings.by
    do throws(StateDamage) {
      window = try DedupeWindow(
        restoring: stored.rows(of: .dedupe), within: settings.within, limit: settings.limit)
    } catch { throw StageDamage(stage: .dedupe, damage: error) }
  }

  /// Whether a reading was met before; remembers it where not.
  /// - Parameter time: of its receipt, in wall nanoseconds.
  mutating func isDuplicate(
    _ reading: Reading, key: [UInt8], _ tape: JSONTape, _ index: Int, in text: UnsafeRawBufferPointer, at time: Int64
  ) -> Bool {
    identity.removeAll(keepingCapacity: true)
    identity += key
    // Control characters stand in no key and no value as they are written.
    if by.isEmpty {
      identity.append(0)
      identity.append(contentsOf: text[reading.data])
    }
    for path in by {
      identity.append(0)
      guard let found = tape.index(of: path, from: index, in: text) else { continue }
      identity.append(1)
      identity.append(contentsOf: text[tape.values[found].range])
    }
    return window.isDuplicate(DedupeDigest(Digest(of: identity)), at: time)
  }
}

/// What a stage remembers cannot be read.
package struct StageDamage: Error, Sendable, CustomStringConvertible {
  package var stage: StageState.Stage
  package var damage: StateDamage

  package init(stage: StageState.Stage, damage: StateDamage) {
    self.stage = stage
    self.damage = damage
  }

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
