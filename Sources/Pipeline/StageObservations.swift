package import Telemetry

/// What a pipeline's stages have seen beside what the ledger counts, since the pipeline began to run. Small, and made
/// without a look at any device: somebody asks for it again and again.
package struct StageObservations: Sendable, Hashable {
  /// Of the devices that are known.
  package struct Sequences: Sendable, Hashable {
    package var devices: Int
    /// Numbers that were left out and have not come later.
    package var missing: Int64
    package var repeats: Int64
    /// Times that a device began to count anew.
    package var resets: Int64
    /// Readings without a whole number in the field.
    package var unnumbered: Int64
  }

  package struct Windows: Sendable, Hashable {
    /// Windows in memory, those kept for corrections included.
    package var open: Int
    package var keys: Int
    /// Windows that were closed because there were too many.
    package var closedEarly: Int64
    /// Nanoseconds since 1970; nil before the first reading.
    package var watermark: Int64?
  }

  /// A field that appeared, vanished or changed its type.
  package struct DriftSighting: Sendable, Hashable {
    /// The device, at most ``longestKey`` bytes of its name.
    package var key: String
    package var offset: Offset
    package var drift: Drift

    /// Names are as long as their devices make them, and the last sightings are kept and shown.
    package static let longestKey = 128
  }

  /// Readings that did not meet an expectation, in the order of the contract's.
  package var findings: [Int64] = []
  package var sequences: Sequences?
  /// Nil without the stage.
  package var drifts: Int64?
  /// The last ones, the newest last.
  package var recentDrifts: [DriftSighting] = []
  package var windows: Windows?

  package init() {}
}

/// Reports fields that appear, vanish or change their type.
struct DriftStage: Sendable {
  /// As many as somebody would look at.
  static let recentLimit = 20

  var report: DriftReport
  private(set) var count: Int64 = 0
  private(set) var recent: [StageObservations.DriftSighting] = []

  init(_ settings: DriftSettings, stored: [StageState]) throws(StageDamage) {
    do throws(StateDamage) {
      report = try DriftReport(
        limit: settings.limit, vanishedAfter: settings.vanishedAfter, restoring: stored.rows(of: .drift))
    } catch { throw StageDamage(stage: .drift, damage: error) }
  }

  mutating func look(
    key: UnsafeRawBufferPointer, at offset: Offset, _ tape: JSONTape, _ index: Int, in bytes: UnsafeRawBufferPointer
  ) {
    for drift in report.add(key: key, tape: tape, at: index, in: bytes) {
      count += 1
      if recent.count == DriftStage.recentLimit { recent.removeFirst() }
      let name = JSONText.unescape(key).prefix(StageObservations.DriftSighting.longestKey)
      recent.append(
        StageObservations.DriftSighting(key: String(decoding: name, as: UTF8.self), offset: offset, drift: drift))
    }
  }
}
