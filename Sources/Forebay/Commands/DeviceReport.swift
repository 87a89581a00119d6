internal import Pipeline
internal import Spool
internal import Telemetry

/// What the stages of a pipeline remember of one device.
struct DeviceReport: Codable, Sendable, Hashable {
  struct Field: Codable, Sendable, Hashable {
    /// JSON Pointer (RFC 6901), at most ``DriftReport/longestPath`` bytes of it.
    var field: String
    var type: String
  }

  /// Empty for all that the key does not tell apart.
  var device: String
  // Of its sequence numbers; nil where the pipeline has no `sequence`, or none has come.
  var received: Int64?
  var missing: Int64?
  var repeats: Int64?
  var resets: Int64?
  var reordered: Int64?
  var last: Int64?
  /// In the order in which they appeared; nil where the pipeline does not report drift, or does not know the device.
  var fields: [Field]?
  // From the running daemon, since it started; nil where none answers, or it has not seen the device yet:
  /// RFC 3339: when the message of its last reading was received.
  var lastSeen: String?
  var readings: Int64?
  var perSecond: Double?
  /// Its last reading as it is delivered, where that was asked for, or why there is none.
  var line: String?
  var noValue: String?
}

/// The devices that a pipeline remembers, as of a seal.
struct DeviceList: Sendable {
  private let tracker: SequenceTracker?
  private let drift: DriftReport?
  private let keys: [[UInt8]]
  private let sequences: [[UInt8]: SequenceState]

  /// - Throws: ``StageDamage`` where what is stored cannot be read.
  init(_ stages: [StageState], settings: PipelineSettings) throws(StageDamage) {
    func rows(_ stage: StageState.Stage) -> [StateRow] { stages.first { $0.stage == stage }?.rows ?? [] }
    do throws(StateDamage) {
      tracker = try settings.sequence.map { sequence throws(StateDamage) in
        try SequenceTracker(
          restoring: rows(.sequence), modulus: sequence.modulus, maximumGap: sequence.maximumGap,
          limit: sequence.limit)
      }
    } catch { throw StageDamage(stage: .sequence, damage: error) }
    do throws(StateDamage) {
      drift = try settings.drift.map { drift throws(StateDamage) in
        try DriftReport(limit: drift.limit, vanishedAfter: drift.vanishedAfter, restoring: rows(.drift))
      }
    } catch { throw StageDamage(stage: .drift, damage: error) }
    let sequences = Dictionary(
      tracker?.devices.map { ($0.key, $0.state) } ?? [], uniquingKeysWith: { first, _ in first })
    self.sequences = sequences
    let others = drift?.keys.filter { sequences[$0] == nil } ?? []
    keys = (Array(sequences.keys) + others).sorted { $0.lexicographicallyPrecedes($1) }
  }

  var count: Int { keys.count }
  var countsNumbers: Bool { tracker != nil }
  var knowsFields: Bool { drift != nil }

  /// The first so many devices, in the order of their keys.
  /// - Parameter worst: those first of which most is missing, then those with most resets, then with most repeats.
  func devices(worst: Bool, limit: Int) -> [DeviceReport] {
    func isWorse(_ key: [UInt8], _ other: [UInt8]) -> Bool {
      let (a, b) = (sequences[key] ?? SequenceState(), sequences[other] ?? SequenceState())
      let (left, right) = ((a.missing, a.resets, a.repeats), (b.missing, b.resets, b.repeats))
      return left == right ? key.lexicographicallyPrecedes(other) : left > right
    }
    return (worst ? keys.sorted(by: isWorse) : keys).prefix(limit).map(report)
  }

  private func report(_ key: [UInt8]) -> DeviceReport {
    var report = DeviceReport(device: DeviceName.text(key))
    if let state = sequences[key] {
      report.received = state.received
      report.missing = state.missing
      report.repeats = state.repeats
      report.resets = state.resets
      report.reordered = state.reordered
      report.last = state.last
    }
    let fields = drift?.fields(of: key).map { DeviceReport.Field(field: $0.field, type: $0.kind.word) }
    report.fields = fields?.isEmpty == false ? fields : nil
    return report
  }
}

extension JSONKind {
  /// As JSON Schema names it.
  fileprivate var word: String {
    switch self {
    case .object: "object"
    case .array: "array"
    case .string: "string"
    case .number: "number"
    case .boolean: "boolean"
    case .null: "null"
    }
  }
}
