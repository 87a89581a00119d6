import Foundation
import Telemetry
import TestSupport
import Testing

@testable import Pipeline
@testable import forebay

@Suite("Status: what the stages have seen")
struct StageStatusTests {
  private static func blank() -> StatusReport.Pipeline {
    StatusReport.Pipeline(
      name: "climate", version: "v", draining: false, backlog: 0, openReadings: 0, outboxBatches: 0, outboxReadings: 0,
      decoded: 0, unmatched: 0, rejected: 0, damaged: 0, produced: 0, delivered: 0, deadLetters: 0)
  }

  private static func report(_ plant: TrialPlant, change: (inout PipelineWorker.Figures) -> Void = { _ in }) throws
    -> StatusReport.Pipeline
  {
    var figures = try #require(plant.figures["climate"])
    change(&figures)
    var report = blank()
    report.show(figures, now: TrialPlant.moment(1_795_231_200_000_000_000))
    return report
  }

  private static func members(_ report: StatusReport.Pipeline) throws -> Set<String> {
    let object = try JSONSerialization.jsonObject(with: Data(try Output.json(report).utf8))
    return Set(try #require(object as? [String: Any]).keys)
  }

  @Test("has a member for each stage that the pipeline has, and none for the others")
  func members() throws {
    let optional: Set = ["expectations", "sequence", "drift", "windows", "heldSeconds"]
    let plain = try Self.report(try TrialPlant())
    #expect(try Self.members(plain).isDisjoint(with: optional) && plain.stageRows.isEmpty)
    let counting = try Self.report(try TrialPlant("key: device, sequence: n"))
    #expect(try Self.members(counting).intersection(optional) == ["sequence"])
    let drifting = try Self.report(try TrialPlant("key: device, drift: true"))
    #expect(try Self.members(drifting).intersection(optional) == ["drift"])
    #expect(drifting.stageRows == [["climate", "drift", "changes 0"]])
  }

  @Test("tells what was left out, what has changed and how far the windows are, for programs and for people")
  func seen() throws {
    let plant = try TrialPlant(
      "key: device, time: { field: ts, unit: s }, sequence: n, drift: true, "
        + "window: { every: 1 min, late: 10 s, emit: { mean: avg(t) } }")
    let before = try Self.report(plant)
    #expect(before.windows?.watermark == nil)
    #expect(before.stageRows.last == ["climate", "window", "open 0, of 0 keys, no reading yet"])
    let start: Int64 = 1_795_231_080
    try plant.take([
      (device: "p1", payload: #"{"ts":\#(start),"n":1,"t":20}"#),
      (device: "p1", payload: #"{"ts":\#(start + 1),"n":5,"t":20,"u":"secret"}"#),
      (device: "p2", payload: #"{"ts":\#(start + 2),"n":"x","t":20}"#),
    ])
    let report = try Self.report(plant)
    #expect(report.sequence?.devices == 1 && report.sequence?.missing == 3 && report.sequence?.unnumbered == 1)
    #expect(report.drift?.count == 1 && report.drift?.recent.map(\.field) == ["/u"])
    #expect(report.drift?.recent.first?.device == "p1" && report.drift?.recent.first?.offset == 1)
    #expect(report.drift?.recent.first?.change == "appeared as a string")
    #expect(report.windows?.open == 2 && report.windows?.keys == 2)
    #expect(report.windows?.watermark == "2026-11-21T03:17:52Z" && report.windows?.behindSeconds == 128)
    #expect(
      report.stageRows.map { $0[2] } == [
        "missing 3, repeats 0, resets 0, unnumbered 1, of 1 device",
        "changes 1; the last: /u of p1 appeared as a string, at offset 1",
        "open 2, of 2 keys, watermark 2026-11-21T03:17:52Z (2 min 8 s behind)",
      ])
    #expect(!(try Output.json(report)).contains("secret"))
  }

  @Test("names the expectations that were not met, most often first, and when nothing was wrong says that")
  func expectations() throws {
    let plant = try TrialPlant()
    let rules: [Pipeline.Expectation] = [
      .init(path: try FieldPath(parsing: "t"), rule: .increasing(strictly: false), action: .tag),
      .init(path: nil, rule: .fresh(nanoseconds: 1), action: .deadLetter),
      .init(path: try FieldPath(parsing: "u"), rule: .step(maximum: 1), action: .count),
    ]
    let report = try Self.report(plant) {
      $0.expectations = rules
      $0.observations.findings = [3, 1_200, 0]
    }
    #expect(report.expectations?.map(\.expectation) == ["monotonic:t", "freshness", "jump:u"])
    #expect(report.expectations?.map(\.action) == ["tag", "dead-letter", "count"])
    #expect(report.expectations?.map(\.count) == [3, 1_200, 0])
    #expect(
      report.stageRows == [["climate", "contract", "not met: freshness 1,200 (dead-letter), monotonic:t 3 (tag)"]])
    let fine = try Self.report(plant) {
      $0.expectations = rules
      $0.observations.findings = [0, 0, 0]
    }
    #expect(fine.stageRows.map { $0[2] } == ["every expectation was met"])
    let many = try Self.report(plant) {
      $0.expectations = Array(repeating: rules[0], count: 6)
      $0.observations.findings = Array(repeating: 1, count: 6)
    }
    #expect(many.stageRows[0][2].hasSuffix("monotonic:t 1 (tag) and 2 more"))
  }

  @Test("says that messages wait for the clock, and that a watermark lies ahead of it")
  func clock() throws {
    let report = try Self.report(try TrialPlant()) {
      $0.heldUntil = 1_795_231_240_000_000_000
      $0.observations.windows = .init(open: 1, keys: 1, closedEarly: 7, watermark: 1_795_231_205_000_000_000)
    }
    #expect(report.heldSeconds == 40 && report.windows?.behindSeconds == -5)
    #expect(
      report.stageRows.map { $0[2] } == [
        "messages wait for the wall clock to be synchronised, for 40 s at most",
        "open 1, of 1 key, 7 closed early, watermark 2026-11-21T03:20:05Z (5 s ahead)",
      ])
    // Between its time and the look that lets it go.
    #expect(try Self.report(try TrialPlant()) { $0.heldUntil = 5 }.heldSeconds == 0)
  }
}
