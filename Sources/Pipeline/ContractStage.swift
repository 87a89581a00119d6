internal import Telemetry

/// What a contract says of a reading: its schema, and what is expected of how values follow each other.
struct ContractStage: Sendable {
  private let schema: JSONSchema
  private let hasExpectations: Bool
  private var checks: ExpectationChecks
  /// `"range:temperature"`, for each expectation.
  private let tags: [[UInt8]]

  /// Readings that did not meet an expectation, for each of them, since the pipeline began.
  private(set) var findings: [Int64]

  init(_ contract: Contract, stored: [StageState]) throws(StageDamage) {
    schema = contract.schema
    hasExpectations = !contract.expectations.isEmpty
    tags = contract.expectations.map { expectation in
      var tag: [UInt8] = []
      tag.append(jsonString: Array(expectation.name.utf8))
      return tag
    }
    findings = Array(repeating: 0, count: contract.expectations.count)
    do throws(StateDamage) {
      checks = try ExpectationChecks(
        contract.expectations, limit: ContractStage.maximumDevices, restoring: stored.rows(of: .expectations))
    } catch { throw StageDamage(stage: .expectations, damage: error) }
  }

  /// Devices whose values are remembered. One with a few expectations takes some 200 bytes.
  static let maximumDevices = 20_000

  // MARK: Memory

  mutating func beginPending() { checks.beginPending() }
  mutating func pendingDecided() { checks.pendingDecided() }
  mutating func stored() { checks.stored() }
  func changes() -> StageState { StageState(stage: .expectations, rows: checks.changes()) }

  // MARK: Readings

  /// Why a reading does not fit the schema: the rule, and the reason for people; nil where it fits.
  func violation(
    _ tape: JSONTape, _ index: Int, in bytes: UnsafeRawBufferPointer
  ) -> (rule: String, reason: String)? {
    guard let violation = schema.validate(tape, at: index, in: bytes) else { return nil }
    let rule = if case .keyword(let keyword) = violation.kind { keyword.rawValue } else { "limit" }
    return ("schema." + rule, violation.description)
  }

  /// Checks a reading against the expectations.
  /// - Parameter extra: gets the tags of those that mark readings, as a member of the line.
  /// - Returns: why it is to be set aside; nil where it is not.
  mutating func check(
    _ reading: Reading, key: UnsafeRawBufferPointer, received: Int64, _ tape: JSONTape, _ index: Int,
    in bytes: UnsafeRawBufferPointer, extra: inout [UInt8]
  ) -> (rule: String, reason: String)? {
    guard hasExpectations else { return nil }
    let found = checks.check(key: key, time: reading.time, received: received, tape: tape, at: index, in: bytes)
    guard !found.isEmpty else { return nil }
    for finding in found { findings[finding.expectation] += 1 }
    if let refusing = found.first(where: { $0.action == .deadLetter }) {
      return (ContractStage.expectationRule + refusing.kind.rawValue, refusing.description)
    }
    var isFirst = true
    for finding in found where finding.action == .tag {
      if isFirst { extra.append(",\"tags\":[") } else { extra.append(",") }
      isFirst = false
      extra += tags[finding.expectation]
    }
    if !isFirst { extra.append("]") }
    return nil
  }

  /// How the rules begin under which expectations set readings aside.
  static let expectationRule = "expectation."
}

/// Counts of what devices' sequence numbers say.
struct SequenceStage: Sendable {
  private let settings: SequenceSettings
  private(set) var tracker: SequenceTracker
  /// Numbers left out, numbers that came again, and countings that began anew, of all devices that are known.
  private(set) var missing: Int64 = 0
  private(set) var repeats: Int64 = 0
  private(set) var resets: Int64 = 0
  /// Readings without a whole number in the field, since the pipeline began.
  private(set) var unnumbered: Int64 = 0

  init(_ settings: SequenceSettings, stored: [StageState]) throws(StageDamage) {
    self.settings = settings
    do throws(StateDamage) {
      tracker = try SequenceTracker(
        restoring: stored.rows(of: .sequence), modulus: settings.modulus, maximumGap: settings.maximumGap,
        limit: settings.limit)
    } catch { throw StageDamage(stage: .sequence, damage: error) }
    for device in tracker.devices {
      missing = saturating(missing, plus: device.state.missing)
      repeats = saturating(repeats, plus: device.state.repeats)
      resets = saturating(resets, plus: device.state.resets)
    }
  }

  mutating func beginPending() { tracker.beginPending() }
  mutating func pendingDecided() { tracker.pendingDecided() }
  mutating func stored() { tracker.stored() }
  func changes() -> StageState { StageState(stage: .sequence, rows: tracker.changes()) }

  mutating func observe(
    key: UnsafeRawBufferPointer, _ tape: JSONTape, _ index: Int, in bytes: UnsafeRawBufferPointer
  ) {
    guard let found = tape.index(of: settings.field, from: index, in: bytes), tape.values[found].kind == .number,
      case .integer(let number) = FieldNumber(UnsafeRawBufferPointer(rebasing: bytes[tape.values[found].range]))
    else {
      unnumbered += 1
      return
    }
    switch tracker.observe(number, of: key) {
    case .first, .next, .refused: break
    case .gap(let count): missing = saturating(missing, plus: count)
    case .filled: missing = max(0, missing - 1)
    case .repeated: repeats += 1
    case .reset: resets += 1
    case .outOfRange: unnumbered += 1
    }
  }
}
