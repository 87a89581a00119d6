import Pipeline
import Telemetry
import Testing

@Suite("What a pipeline says it does")
struct PipelineStepsTests {
  private func contract() throws -> Contract {
    let schema = try JSONSchema(
      compiling: Array(
        #"""
        {"type":"object","required":["device"],"properties":{
          "temperature":{"type":["number","null"],"minimum":-40},"device":{"type":"string"},"note":{}}}
        """#.utf8))
    let rule = Expectation(path: nil, rule: .fresh(nanoseconds: 1), action: .count)
    return Contract(
      name: "climate", version: ContractVersion(major: 1, minor: 2, patch: 0), schema: schema, expectations: [rule],
      digest: Digest(of: [1]))
  }

  @Test("A bare pipeline takes, decodes, keys, times and batches")
  func bare() throws {
    let steps = try makeSettings().steps
    #expect(steps.map(\.name) == [.take, .decode, .key, .time, .batch])
    #expect(
      steps.map(\.text) == [
        "take sensors/{device}/climate from every source", "decode json", "key device", "time of receipt",
        "batch of 262144 bytes, 10000 readings or 1 s, ndjson, identity",
      ])
  }

  @Test("Every stage has its step, with its settings, in the order in which a reading meets them")
  func everything() throws {
    var settings = try makeSettings(key: nil, time: .field(try FieldPath(parsing: "ts"), .milliseconds))
    settings.sources = ["floor", "attic"]
    var csv = CSVTranscoder.Settings()
    csv.characterSet = .latin1
    csv.decimalComma = true
    settings.format = .csv(csv)
    settings.each = try FieldPath(parsing: "readings")
    settings.contract = try contract()
    settings.dedupe = PipelineSettings.Dedupe(within: 3_600_000_000_000)
    settings.dedupe?.by = [try FieldPath(parsing: "device"), try FieldPath(parsing: "seq")]
    var sequence = SequenceSettings(field: try FieldPath(parsing: "seq"))
    sequence.modulus = 65_536
    settings.sequence = sequence
    settings.drift = DriftSettings()
    settings.condition = "temperature < 85"
    settings.select = ["temperature", "round(x) AS y"]
    settings.mask = MaskSettings(
      rules: [
        .init(fields: try FieldPattern(parsing: "owner"), method: .drop),
        .init(fields: try FieldPattern(parsing: "plate"), method: .mask(keepingLast: 2)),
        .init(fields: try FieldPattern(parsing: "a"), method: .mask(keepingLast: 0)),
        .init(fields: try FieldPattern(parsing: "b"), method: .hash(digits: 16)),
      ], tokeniser: nil)
    var window = WindowingSettings(
      span: .hopping(length: 60_000_000_000, every: 1_500_000_000),
      emit: [
        .init(name: "mean", function: .average, argument: "temperature"),
        .init(name: "n", function: .count, argument: nil),
        .init(name: "p95", function: .percentile(0.95), argument: "temperature"),
      ])
    window.watermark.allowedLateness = 30_000_000_000
    window.late = .correct(within: 300_000_000_000)
    settings.window = window
    let steps = settings.steps
    #expect(
      steps.map(\.name) == [
        .take, .decode, .each, .key, .time, .contract, .dedupe, .sequence, .drift, .where, .select, .mask, .window,
        .batch,
      ])
    #expect(steps[0].text == "take sensors/{device}/climate from attic, floor")
    #expect(steps[1].text.hasPrefix("decode csv (charset") && steps[1].text.contains("decimal-comma true"))
    #expect(
      steps[2...].map(\.text).dropLast() == [
        "each element of readings is a reading", "no key", "time from ts in ms",
        "contract climate@1.2.0 with 1 expectation", "dedupe by device, seq within 1 h, 100000 readings at most",
        "count gaps in seq, which restarts at 65536", "report fields that appear, vanish or change their type",
        "where temperature < 85", "select temperature, round(x) AS y",
        "mask owner (drop), plate (keep last 2), a (hide), b (hash to 16 digits)",
        "window of 1 min every 1500 ms, late by 30 s at most, correct for 5 min what is later: "
          + "mean = avg(temperature), n = count(*), p95 = percentile(temperature, 0.95)",
      ])
  }

  @Test("The explanation names the contract, and the fields only where the data is delivered as it came")
  func explanation() throws {
    var settings = try makeSettings()
    settings.contract = try contract()
    let explanation = PipelineExplanation(settings)
    #expect(explanation.contract?.name == "climate@1.2.0")
    #expect(explanation.contract?.digest == Digest(of: [1]).hex)
    #expect(explanation.topics == ["sensors/{device}/climate"] && explanation.sources == nil)
    #expect(
      explanation.fields == [
        ContractField(name: "temperature", type: "null|number", isRequired: false),
        ContractField(name: "device", type: "string", isRequired: true),
        ContractField(name: "note", type: nil, isRequired: false),
      ])
    settings.select = ["temperature"]
    #expect(PipelineExplanation(settings).fields == nil)
    #expect(PipelineExplanation(try makeSettings()).contract == nil)
  }
}
