import Pipeline
import Telemetry
import Testing

@Suite("Pipeline settings")
struct PipelineSettingsTests {
  static let changes: [@Sendable (inout PipelineSettings) -> Void] = [
    { $0.name = "other" },
    { $0.from = [] },
    { $0.from = $0.from + $0.from },
    { $0.sources = [] },
    { $0.sources = ["floor"] },
    { $0.key = nil },
    { $0.key = "kind" },
    { $0.time = .field("ts", .seconds) },
    { $0.time = .field("ts", .milliseconds) },
    { $0.time = .field("t", .milliseconds) },
    { $0.batch.maximumBytes += 1 },
    { $0.batch.maximumCount += 1 },
    { $0.batch.maximumAge += 1 },
    { $0.batch.compression = .zstd },
  ]

  @Test("The version is 16 hexadecimal digits that every setting of the data changes, and no other")
  func version() throws {
    let settings = try makeSettings()
    let version = pipelineVersion(settings)
    #expect(version.utf8.count == 16 && Hex.decode(version) != nil)
    #expect(pipelineVersion(try makeSettings()) == version)
    var elsewhere = settings
    elsewhere.to = "another"
    #expect(pipelineVersion(elsewhere) == version)

    var seen = [version]
    for change in PipelineSettingsTests.changes {
      var changed = settings
      change(&changed)
      seen.append(pipelineVersion(changed))
    }
    #expect(Set(seen).count == PipelineSettingsTests.changes.count + 1)
  }

  @Test("A capture's name is part of the version, for it stands in the lines")
  func captureName() throws {
    #expect(pipelineVersion(try makeSettings(["a/{x}"])) != pipelineVersion(try makeSettings(["a/{y}"])))
    #expect(pipelineVersion(try makeSettings(["a/{x}"])) != pipelineVersion(try makeSettings(["a/+"])))
  }

  static let invalid: [(setting: String, change: @Sendable (inout PipelineSettings) -> Void)] = [
    ("name", { $0.name = "a/b" }), ("name", { $0.name = "" }), ("from", { $0.from = [] }), ("key", { $0.key = "" }),
    ("batch.max_bytes", { $0.batch.maximumBytes = 1_023 }),
    ("batch.max_bytes", { $0.batch.maximumBytes = 64 << 20 + 1 }), ("batch.max_count", { $0.batch.maximumCount = 0 }),
    ("batch.max_count", { $0.batch.maximumCount = 1_000_001 }), ("batch.max_age", { $0.batch.maximumAge = 999_999 }),
    ("batch.max_age", { $0.batch.maximumAge = .max }),
  ]

  private static func emitting(
    _ emit: [WindowingSettings.Emitted], span: WindowSettings.Span = .tumbling(1_000_000_000),
    _ change: (inout WindowingSettings) -> Void = { _ in }
  ) -> WindowingSettings {
    var window = WindowingSettings(span: span, emit: emit)
    change(&window)
    return window
  }

  private static let mean = WindowingSettings.Emitted(name: "mean", function: .average, argument: "t")

  private static func rule(_ fields: String, _ method: FieldMask.Method) -> FieldMask.Rule {
    guard let pattern = try? FieldPattern(parsing: fields) else { preconditionFailure(fields) }
    return FieldMask.Rule(fields: pattern, method: method)
  }

  static let invalidStages: [(setting: String, change: @Sendable (inout PipelineSettings) -> Void)] = [
    ("time.hold", { $0.time = .receipt(hold: -1) }), ("time.hold", { $0.time = .receipt(hold: .max) }),
    (
      "sequence.modulus",
      {
        $0.sequence = SequenceSettings(field: "n"); $0.sequence?.modulus = 255
      }
    ),
    (
      "sequence.max_gap",
      {
        $0.sequence = SequenceSettings(field: "n"); $0.sequence?.maximumGap = 0
      }
    ),
    (
      "sequence.max_devices",
      {
        $0.sequence = SequenceSettings(field: "n"); $0.sequence?.limit = 0
      }
    ),
    (
      "drift.vanished_after",
      {
        $0.drift = DriftSettings(); $0.drift?.vanishedAfter = 1
      }
    ),
    (
      "drift.max_devices",
      {
        $0.drift = DriftSettings(); $0.drift?.limit = 1_000_001
      }
    ),
    ("mask.a", { $0.mask = MaskSettings(rules: [rule("a", .tokenise)], tokeniser: nil) }),
    ("mask.a", { $0.mask = MaskSettings(rules: [rule("a", .hash(digits: 8))], tokeniser: nil) }),
    (
      "mask.id",
      {
        $0.key = "id"
        $0.mask = MaskSettings(rules: [rule("id", .drop)], tokeniser: nil)
      }
    ),
    ("window", { $0.window = emitting([]) }),
    ("window", { $0.window = emitting([mean], span: .tumbling(0)) }),
    ("window", { $0.window = emitting([mean], span: .hopping(length: 1_000_000_000, every: 1_000_000)) }),
    ("window", { $0.window = emitting([mean]) { $0.maximumWindows = 0 } }),
    ("window", { $0.window = emitting([.init(name: "p", function: .percentile(2), argument: "t")]) }),
    ("window.late", { $0.window = emitting([mean]) { $0.watermark.allowedLateness = .max } }),
    ("window.max_ahead", { $0.window = emitting([mean]) { $0.watermark.maximumAhead = 0 } }),
    ("window.idle_after", { $0.window = emitting([mean]) { $0.watermark.idleAfter = 0 } }),
    ("window.late_readings.correct", { $0.window = emitting([mean]) { $0.late = .correct(within: 0) } }),
    ("window.emit", { $0.window = emitting([mean, mean]) }),
    ("window.emit.window", { $0.window = emitting([.init(name: "window", function: .count, argument: nil)]) }),
    ("window.emit.x", { $0.window = emitting([mean, .init(name: "x", function: .sum, argument: "a +")]) }),
  ]

  @Test("Settings out of range are refused by name")
  func validation() throws {
    try makeSettings().validate()
    for (setting, change) in PipelineSettingsTests.invalid + PipelineSettingsTests.invalidStages {
      var settings = try makeSettings()
      change(&settings)
      let error = #expect(throws: PipelineSettingsError.self) { try settings.validate() }
      #expect(error?.setting == setting)
    }
  }
}
