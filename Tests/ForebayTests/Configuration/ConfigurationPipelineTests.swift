import Pipeline
import Testing

@testable import forebay

@Suite("Configuration: what a pipeline does")
struct ConfigurationPipelineTests {
  private static func pipeline(_ lines: String...) throws -> PipelineSettings {
    let text = Sample.replacing(
      "    to: central", (lines.map { "    \($0)" } + ["    to: central"]).joined(separator: "\n"))
    return try #require(try Sample.decode(text).pipelines.first)
  }

  @Test("a format is a word, or a mapping with its options")
  func formats() throws {
    #expect(try Self.pipeline().format == .json(.utf8))
    #expect(try Self.pipeline("decode: cbor").format == .cbor)
    #expect(try Self.pipeline("decode: senml").format == .senml)
    #expect(try Self.pipeline("decode: raw").format == .raw)
    #expect(try Self.pipeline("decode: { format: json, charset: utf-16 }").format == .json(.utf16))
    var line = LineProtocolTranscoder.Settings()
    #expect(try Self.pipeline("decode: line-protocol").format == .lineProtocol(line))
    line.precision = .milliseconds
    #expect(try Self.pipeline("decode: { format: line-protocol, precision: ms }").format == .lineProtocol(line))
    var csv = CSVTranscoder.Settings()
    csv.columns = ["time", "value"]
    csv.delimiter = UInt8(ascii: ";")
    csv.decimalComma = true
    csv.characterSet = .latin1
    #expect(
      try Self.pipeline(
        #"decode: { format: csv, columns: [time, value], delimiter: ";", decimal_comma: true, charset: iso-8859-1 }"#
      ).format == .csv(csv))
    var scalar = ScalarTranscoder.Settings()
    scalar.decimalComma = true
    #expect(try Self.pipeline("decode: { format: scalar, decimal_comma: true }").format == .scalar(scalar))
  }

  @Test("paths, dedupe, where and select are read as they are written")
  func stages() throws {
    let pipeline = try Self.pipeline(
      "each: data.readings", "time: { field: 'rx[0].time', unit: rfc3339 }",
      "dedupe: { by: [seq, 'a.b'], within: 10 min, max_readings: 5000 }", "where: temperature > -40",
      "select: ['*', '\"object.t\" AS t']")
    #expect(pipeline.each == (try FieldPath(parsing: "data.readings")))
    #expect(pipeline.time == .field(try FieldPath(parsing: "rx[0].time"), .rfc3339))
    var dedupe = PipelineSettings.Dedupe(within: 600_000_000_000)
    dedupe.by = [try FieldPath(parsing: "seq"), try FieldPath(parsing: "a.b")]
    dedupe.limit = 5_000
    #expect(pipeline.dedupe == dedupe)
    #expect(pipeline.condition == "temperature > -40" && pipeline.select == ["*", "\"object.t\" AS t"])
    #expect(try Self.pipeline("select: temperature").select == ["temperature"])
  }

  struct Fault: Sendable, CustomTestStringConvertible {
    var line: String
    var expected: [String]
    init(_ line: String, _ expected: String...) {
      self.line = line
      self.expected = expected
    }
    var testDescription: String { line }
  }

  @Test(
    "a fault is told with its place and a way out",
    arguments: [
      Fault("decode: jsn", "12:13", "'jsn' is not known here", "did you mean 'json'?"),
      Fault("decode: { format: cbor, charset: utf-8 }", "12:29", "charset: unknown key"),
      Fault("decode: { charset: utf-8 }", "format"),
      Fault("decode: { format: csv, delimiter: ab }", "12:39", "expected one ASCII character"),
      Fault("decode: { format: csv, columns: [a, a] }", "the column 'a' is here twice"),
      Fault("decode: { format: csv, decimal_comma: yes }", "one of true, false"),
      Fault("each: a..b", "12:13", "the path 'a..b' is not valid", "rxInfo[0].rssi"),
      Fault("time: { field: 'a[', unit: s }", "the path 'a[' is not valid"),
      Fault("dedupe: { by: [seq] }", "within"),
      Fault("dedupe: { within: 100 ms }", "12:23", "1 s"),
      Fault("where: temperature >", "12:25", "pipelines.climate.where: the expression ends too early"),
      Fault("where: (SELECT 1)", "12:13", "pipelines.climate.where"),
      Fault("select: [a, 'b +']", "12:17", "pipelines.climate.select[1]"),
      Fault("select: [random() AS r]", "12:14", "pipelines.climate.select[0]", "replay"),
    ])
  func faults(_ fault: Fault) throws {
    let text = Sample.replacing("    to: central", "    \(fault.line)\n    to: central")
    do throws(ConfigurationErrors) {
      _ = try Sample.decode(text)
      Issue.record("must be refused")
    } catch {
      let told = error.diagnostics.map { fault in
        "\(fault.place.map { "\($0.line):\($0.column)" } ?? "") \(fault.path): \(fault.message); \(fault.hint ?? "")"
      }.joined(separator: "\n")
      for part in fault.expected { #expect(told.contains(part), "\(told)") }
    }
  }
}
