package import Telemetry

/// One pipeline: topic filters in, one dataset out.
package struct PipelineSettings: Sendable, Hashable {
  /// What a number in the event-time field counts, or that it is an RFC 3339 text.
  package enum TimeUnit: String, Sendable, Hashable, CaseIterable {
    case seconds = "s"
    case milliseconds = "ms"
    case microseconds = "us"
    case nanoseconds = "ns"
    case rfc3339
  }

  package enum EventTime: Sendable, Hashable {
    /// When the message was received, put right where the wall clock was wrong (``ClockCorrection``).
    /// - Parameter hold: nanoseconds that messages wait at most for the wall clock to be synchronised, 0 for none.
    case receipt(hold: Int64)
    /// A field of the reading, or else of the message that holds it.
    case field(FieldPath, TimeUnit)
  }

  /// When a reading is one that was met before.
  package struct Dedupe: Sendable, Hashable {
    /// The fields that tell the readings of one key apart; empty: all of the data.
    package var by: [FieldPath] = []
    /// Nanoseconds of receipt within which the second one is a duplicate.
    package var within: Int64
    /// Readings that are remembered at most; beyond, the oldest are forgotten early.
    package var limit = 100_000

    package static let times: ClosedRange<Int64> = 1_000_000_000...31 * 24 * 3_600_000_000_000
    package static let limits = 100...10_000_000

    package init(within: Int64) { self.within = within }
  }

  package struct Batching: Sendable, Hashable {
    /// Uncompressed bytes at which a batch is closed, 1 KiB...64 MiB.
    package var maximumBytes: Int = 256 << 10
    /// Readings, 1...1,000,000.
    package var maximumCount: Int = 10_000
    /// Nanoseconds from a batch's first reading to its close, 1 ms...24 h.
    package var maximumAge: Int64 = 1_000_000_000
    package var encoding: BatchEncoding = .ndjson
    package var compression: BatchCompression = .gzip

    package static let bytes = 1 << 10...64 << 20
    package static let counts = 1...1_000_000
    package static let ages: ClosedRange<Int64> = 1_000_000...24 * 3_600_000_000_000

    package init() {}
  }

  package var name: String
  package var from: [TopicFilter]
  /// The names of the sources that are read from; nil: all of them.
  package var sources: Set<String>?
  /// What is more is refused.
  package var limits = MessageLimits()
  package var format: PayloadFormat = .json(.utf8)
  /// The array in the payload whose elements are the readings; nil: the payload is one reading.
  package var each: FieldPath?
  /// A capture of the filter, or the path of a field, that names the device.
  package var key: String?
  package var time: EventTime = .receipt(hold: 0)
  /// What readings have to be like; nil: any object will do.
  package var contract: Contract?
  package var dedupe: Dedupe?
  package var sequence: SequenceSettings?
  package var drift: DriftSettings?
  /// In their order.
  package var enrich: [EnrichmentSettings] = []
  /// `where`: an SQL expression; readings of which it is not true are not delivered.
  package var condition: String?
  /// What is delivered of a reading's data, in SQL; empty: all of it as it is. See ``Selection``.
  package var select: [String] = []
  package var mask: MaskSettings?
  /// Results of windows are delivered in place of the readings.
  package var window: WindowingSettings?
  package var batch = Batching()
  /// Devices that ``DeviceView`` has at most, within its limits; 0: there is none. Shapes no batch.
  package var devices = DeviceView.usualLimit
  /// What is kept of what is refused; shapes no batch.
  package var deadLetters = DeadLetterBounds()
  /// The name of the uplink that takes the batches.
  package var to: String

  /// ``key`` as a path, for topics that do not capture it.
  package var keyPath: FieldPath? { key.flatMap { try? FieldPath(parsing: $0) } }

  /// Whether the pipeline has this stage.
  package func remembers(_ stage: StageState.Stage) -> Bool {
    switch stage {
    case .dedupe: dedupe != nil
    case .sequence: sequence != nil
    case .expectations: contract?.expectations.isEmpty == false
    case .drift: drift != nil
    case .clock: if case .receipt = time { true } else { false }
    case .watermark, .windows: window != nil
    }
  }

  /// The names of the filters' captures, each once, in the order in which they first stand.
  package var captureNames: [String] {
    from.flatMap(\.captureNames).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }

  package init(name: String, from: [TopicFilter], to: String) {
    self.name = name
    self.from = from
    self.to = to
  }
}

/// A setting of a pipeline that is out of its range.
package struct PipelineSettingsError: Error, Sendable, Hashable, CustomStringConvertible {
  /// As the configuration names it, below the pipeline: `batch.max_bytes`.
  package var setting: String
  package var reason: String
  package var hint: String

  package init(_ setting: String, _ reason: String, hint: String) {
    self.setting = setting
    self.reason = reason
    self.hint = hint
  }

  package var description: String { "\(setting): \(reason) (\(hint))" }
}

extension PipelineSettings {
  /// Checks every range that the types do not.
  package func validate() throws(PipelineSettingsError) {
    guard BatchIdentity.isName(name) else {
      throw PipelineSettingsError(
        "name", "a pipeline's name is 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a dot",
        hint: "it stands in the identity of every batch")
    }
    guard !from.isEmpty else {
      throw PipelineSettingsError(
        "from", "a pipeline takes at least one topic filter", hint: "for example sensors/{device}/climate")
    }
    if let key {
      do throws(FieldPath.Malformed) { _ = try FieldPath(parsing: key) } catch {
        throw PipelineSettingsError(
          "key", "\(error)", hint: "a capture of the filter or the path of a field; leave it out where there is no key")
      }
    }
    if let dedupe {
      guard Dedupe.times.contains(dedupe.within) else {
        throw PipelineSettingsError(
          "dedupe.within", "\(dedupe.within) ns are not between 1 s and 31 d", hint: "10 min suits most resends")
      }
      guard Dedupe.limits.contains(dedupe.limit) else {
        throw PipelineSettingsError(
          "dedupe.max_readings", "\(dedupe.limit) is not between 100 and 10000000",
          hint: "each costs up to 40 bytes of memory and 16 on disk")
      }
    }
    do throws(ExpressionError) {
      _ = try Selection(where: condition, select: select, captures: captureNames)
    } catch {
      throw PipelineSettingsError(error.place.description, error.reason, hint: "SQL over the fields of a reading")
    }
    try validateStages()
    guard Batching.bytes.contains(batch.maximumBytes) else {
      throw PipelineSettingsError(
        "batch.max_bytes", "\(batch.maximumBytes) bytes are not between 1 KiB and 64 MiB",
        hint: "256 KiB suits most links")
    }
    guard Batching.counts.contains(batch.maximumCount) else {
      throw PipelineSettingsError(
        "batch.max_count", "\(batch.maximumCount) is not between 1 and 1000000",
        hint: "leave it out and let max_bytes decide")
    }
    guard Batching.ages.contains(batch.maximumAge) else {
      throw PipelineSettingsError(
        "batch.max_age", "\(batch.maximumAge) ns are not between 1 ms and 24 h",
        hint: "1 s suits most uses")
    }
  }
}
