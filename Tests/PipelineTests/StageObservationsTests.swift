import Telemetry
import Testing

@testable import Pipeline

@Suite("What stages have seen")
struct StageObservationsTests {
  @Test("a pipeline has seen nothing of stages that it does not have")
  func absent() throws {
    let seen = try makeCore(try makeSettings()).observations
    #expect(seen.findings.isEmpty && seen.sequences == nil && seen.drifts == nil && seen.windows == nil)
    let drifting = try makeCore(try makeSettings { $0.drift = DriftSettings() }).observations
    #expect(drifting.drifts == 0 && drifting.recentDrifts.isEmpty)
  }

  @Test("a sighting has the device's name as it is, and not more of a long one than can be shown")
  func names() throws {
    let settings = try makeSettings(["sensors/#"], key: "id") {
      $0.drift = DriftSettings()
      $0.limits.key = 65_535
    }
    var core = try makeCore(settings)
    let long = String(repeating: "ä", count: 1_000)
    let payloads = ["\"a\\\"\\u00e9\"", "\"\(long)\""].flatMap { name in
      [#"{"id":\#(name)}"#, #"{"id":\#(name),"x":1}"#]
    }
    core.process(block(payloads.map { message("sensors/d1", $0) }), now: moment())
    let names = core.observations.recentDrifts.map(\.key)
    #expect(core.observations.drifts == 2)
    #expect(names == ["a\"é", String(repeating: "ä", count: StageObservations.DriftSighting.longestKey / 2)])
  }

  @Test("only the last sightings are kept, and all are counted")
  func bounded() throws {
    var settings = try makeSettings()
    settings.drift = DriftSettings()
    var core = try makeCore(settings)
    let payloads = (0..<30).map { #"{"v":\#($0 % 2 == 0 ? "1" : "true")}"# }
    core.process(block(payloads.map { message("sensors/d1/climate", $0) }), now: moment())
    let seen = core.observations
    #expect(seen.drifts == 29 && seen.recentDrifts.count == DriftStage.recentLimit)
    #expect(seen.recentDrifts.last?.offset == Offset(29) && seen.recentDrifts.first?.offset == Offset(10))
  }

  @Test(
    "a remembered key is told as the text that it stands for, and as it is where it is none",
    arguments: [
      ("plain", "plain"), (#"a\"b\\c"#, #"a"b\c"#), (#"\u00e9"#, "é"), (#"broken\u12"#, #"broken\u12"#), ("", ""),
      (#"x",\"#, #"x",\"#),
    ])
  func plainNames(_ key: String, _ text: String) { #expect(DeviceName.text(Array(key.utf8)) == text) }

  @Test("an expectation is named by its kind and its field")
  func expectations() {
    let fresh = Pipeline.Expectation(path: nil, rule: .fresh(nanoseconds: 1), action: .tag)
    let share = Pipeline.Expectation(path: "o.t", rule: .nullShare(maximum: 0.5, readings: 2), action: .count)
    #expect(fresh.name == "freshness" && share.name == "null-share:o.t")
  }
}
