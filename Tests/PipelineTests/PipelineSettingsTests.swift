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

  @Test("Settings out of range are refused by name")
  func validation() throws {
    try makeSettings().validate()
    for (setting, change) in PipelineSettingsTests.invalid {
      var settings = try makeSettings()
      change(&settings)
      let error = #expect(throws: PipelineSettingsError.self) { try settings.validate() }
      #expect(error?.setting == setting)
    }
  }
}
