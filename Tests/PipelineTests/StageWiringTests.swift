import Telemetry
import Testing

@testable import Pipeline

@Suite("Contracts, sequences, drift, enrichment and masks in a pipeline")
struct StageWiringTests {
  private static func seal(_ settings: PipelineSettings, _ payloads: String...) throws -> Seal {
    var core = try makeCore(settings)
    core.process(block(payloads.map { message("sensors/d1/climate", $0) }), now: moment())
    core.close(moment(1))
    return try #require(try core.takeSeal())
  }

  private static func lines(_ seal: Seal) throws -> [String] { try seal.batches.flatMap { try linesOf($0) } }

  /// What stands behind `"data":` of the only line.
  private static func data(_ settings: PipelineSettings, _ payload: String) throws -> String {
    let line = try #require(try lines(try seal(settings, payload)).first)
    let start = try #require(line.firstRange(of: #""data":"#))
    return String(line[start.upperBound...].dropLast())
  }

  private static func contract(_ schema: String, _ expectations: [Pipeline.Expectation] = []) throws -> Contract {
    Contract(
      name: "climate", version: ContractVersion(major: 1, minor: 0, patch: 0),
      schema: try JSONSchema(compiling: Array(schema.utf8)), expectations: expectations, digest: .zero)
  }

  private static func range(_ action: Pipeline.Expectation.Action) throws -> Pipeline.Expectation {
    Pipeline.Expectation(
      path: "t", rule: .range(minimum: try #require(ExactNumber("-40")), maximum: try #require(ExactNumber("85"))),
      action: action)
  }

  @Test("a reading that breaks its contract's schema is set aside with its line, and comes through once it fits")
  func schema() throws {
    let settings = try makeSettings {
      $0.contract = try? Self.contract(#"{"required":["t"]}"#)
    }
    let seal = try Self.seal(settings, #"{"t":1}"#, #"{"u":1}"#)
    #expect(try Self.lines(seal).count == 1 && seal.refused == 1)
    let rejection = try #require(seal.rejections.first)
    #expect(rejection.stage == .contract && rejection.rule == "schema.required")
    #expect(String(decoding: rejection.payload, as: UTF8.self).contains(#""data":{"u":1}"#))

    let loose = try makeSettings { $0.contract = try? Self.contract("true") }
    var core = try makeCore(loose)
    core.requeue(DeadLetter(id: 1, rejection: rejection), now: moment())
    core.close(moment(1))
    let again = try #require(try core.takeSeal())
    #expect(again.requeued == 1 && again.resolvedDeadLetters == [1])
    #expect(try Self.lines(again).first?.hasSuffix(#""data":{"u":1}}"#) == true)
  }

  @Test("an expectation marks a reading, sets it aside or counts it, as its action says")
  func expectations() throws {
    func seal(_ action: Pipeline.Expectation.Action) throws -> (Seal, StageObservations) {
      let contract = try Self.contract("true", [try Self.range(action)])
      let settings = try makeSettings { $0.contract = contract }
      var core = try makeCore(settings)
      core.process(block([message("sensors/d1/climate", #"{"t":99}"#)]), now: moment())
      core.close(moment(1))
      return (try #require(try core.takeSeal()), core.observations)
    }
    let (tagged, _) = try seal(.tag)
    #expect(try Self.lines(tagged).first?.contains(#""tags":["range:t"],"data":{"t":99}"#) == true)
    let (refused, seen) = try seal(.deadLetter)
    #expect(refused.batches.isEmpty && refused.rejections.first?.rule == "expectation.range")
    #expect(refused.rejections.first?.stage == .contract && seen.findings == [1])
    let (counted, counts) = try seal(.count)
    #expect(try Self.lines(counted).first?.contains("tags") == false && counts.findings == [1])
  }

  @Test("numbers that a device leaves out are counted, also over a restart; duplicates are none of them")
  func sequence() throws {
    let settings = try makeSettings {
      $0.sequence = SequenceSettings(field: "seq")
      $0.dedupe = PipelineSettings.Dedupe(within: 60_000_000_000)
    }
    var core = try makeCore(settings)
    core.process(
      block([1, 2, 2, 5].map { message("sensors/d1/climate", #"{"seq":\#($0)}"#) }), now: moment())
    core.close(moment(1))
    #expect(core.observations.sequences?.missing == 2 && core.observations.sequences?.repeats == 0)
    let seal = try #require(try core.takeSeal())
    let again = try PipelineCore(settings: settings, version: "1", state: seal.state, stages: seal.stages)
    #expect(again.observations.sequences == core.observations.sequences)
  }

  @Test("fields that appear, vanish or change their type are reported and stop nothing")
  func drift() throws {
    var settings = try makeSettings()
    settings.drift = DriftSettings()
    settings.drift?.vanishedAfter = 2
    var core = try makeCore(settings)
    let payloads = [#"{"a":1,"b":1}"#, #"{"a":"x","c":1}"#, #"{"a":"x","c":1}"#, #"{"a":"x","c":1}"#]
    core.process(block(payloads.map { message("sensors/d1/climate", $0) }), now: moment())
    core.close(moment(1))
    #expect(try core.takeSeal()?.batches.first?.count == 4)
    let changes = core.observations.recentDrifts.filter { $0.offset > Offset(0) }.map(\.drift)
    #expect(
      changes == [
        Drift(field: "/a", change: .retyped(from: .number, to: .string)),
        Drift(field: "/c", change: .appeared(.number)), Drift(field: "/b", change: .vanished),
      ])
  }

  @Test("where, select and masks see what a reference table adds; masks come last")
  func transform() throws {
    var table = ReferenceTable.Settings(key: "id")
    table.columns = [ReferenceTable.Column("site"), ReferenceTable.Column("owner")]
    let csv = Array("id,site,owner\nd1,north,Ann\nd2,south,Bob\n".utf8)
    let reference = try csv.withUnsafeBytes { try ReferenceTable(csv: $0, settings: table) }
    let settings = try makeSettings {
      $0.enrich = [EnrichmentSettings(by: nil, table: reference, digest: .zero)]
      $0.condition = "site = 'north'"
      $0.select = ["t * 2 AS t", "site", "owner", "phone"]
      $0.mask = MaskSettings(
        rules: [
          FieldMask.Rule(fields: try! FieldPattern(parsing: "owner"), method: .drop),
          FieldMask.Rule(fields: try! FieldPattern(parsing: "phone"), method: .mask(keepingLast: 2)),
        ], tokeniser: nil)
    }
    #expect(
      try Self.data(settings, #"{"t":21,"phone":"030 1234"}"#) == #"{"t":42,"site":"north","phone":"****34"}"#)
  }

  @Test("what a pipeline that masks fields refuses is kept without its bytes, with the number of its reading")
  func withheld() throws {
    let settings = try makeSettings {
      $0.each = "e"
      $0.condition = "json_extract(name, '$') = 1"
      $0.mask = MaskSettings(
        rules: [FieldMask.Rule(fields: try! FieldPattern(parsing: "name"), method: .drop)], tokeniser: nil)
    }
    let seal = try Self.seal(settings, #"{"e":[{"name":"1"},{"name":"Ann {"}]}"#, "Ann")
    #expect(seal.rejections.map(\.reading) == [1, nil] && seal.rejections.map(\.stage) == [.transform, .decode])
    #expect(seal.rejections.allSatisfy { $0.isWithheld && $0.payload.isEmpty && !$0.reason.contains("Ann") })
  }

  @Test("a message received before the clock was right waits for it, and is stamped with the time put right")
  func held() throws {
    let settings = try makeSettings(time: .receipt(hold: 60_000_000_000))
    var core = try makeCore(settings)
    var early = moment(1_000)
    early.wall = 5
    early.quality = .unsynchronised
    let message = Message(
      origin: Origin(source: "floor", topic: "sensors/d1/climate"), payload: Array("{}".utf8), qos: .atLeastOnce,
      packetID: 1, received: early)
    var now = early
    now.monotonic += 1_000_000
    core.process(block([message]), now: now)
    #expect(core.isHeld && core.readPosition == Offset(0) && core.deadline == 61_000_000_000)
    core.process(block([message]), now: moment(2_000))
    core.close(moment(2_001))
    #expect(!core.isHeld)
    #expect(
      try Self.lines(try #require(try core.takeSeal())) == [
        #"{"key":"d1","time":"2026-11-21T03:18:01Z","data":{}}"#
      ])

    var never = try makeCore(settings)
    var late = now
    late.monotonic += 60_000_000_000
    never.process(block([message]), now: late)
    never.close(late)
    #expect(try Self.lines(try #require(try never.takeSeal())).first?.contains(#""clock":"unsynchronised""#) == true)
  }
}
