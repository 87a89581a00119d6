package import Telemetry

/// One pipeline: topic filters in, one dataset out.
package struct PipelineSettings: Sendable, Hashable {
  package enum Decoder: String, Sendable, Hashable, CaseIterable {
    case json
  }

  /// What a number in the event-time field counts, or that it is an RFC 3339 text.
  package enum TimeUnit: String, Sendable, Hashable, CaseIterable {
    case seconds = "s"
    case milliseconds = "ms"
    case microseconds = "us"
    case nanoseconds = "ns"
    case rfc3339
  }

  package enum EventTime: Sendable, Hashable {
    case receipt
    /// A top-level field of the payload.
    case field(String, TimeUnit)
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
  package var decoder: Decoder = .json
  /// A capture of the filter or a top-level field of the payload that names the device.
  package var key: String?
  package var time: EventTime = .receipt
  package var batch = Batching()
  /// The name of the uplink that takes the batches.
  package var to: String

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
    if let key, key.isEmpty {
      throw PipelineSettingsError(
        "key", "the name of a capture or a field is empty", hint: "leave it out where there is no key")
    }
    if case .field(let name, _) = time, name.isEmpty {
      throw PipelineSettingsError(
        "time.field", "the name of the field is empty", hint: "leave time out to use the receipt")
    }
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
