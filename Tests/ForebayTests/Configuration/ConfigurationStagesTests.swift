import Pipeline
import Telemetry
import Testing

@testable import forebay

/// The sample with more lines in its pipeline.
private func sample(_ lines: [String]) -> String {
  Sample.replacing("    to: central", (lines.map { "    \($0)" } + ["    to: central"]).joined(separator: "\n"))
}

private func pipeline(_ lines: String..., files: ConfigurationFiles = Sample.machine()) throws -> PipelineSettings {
  let pipeline = try #require(try Sample.decode(sample(lines), files: files).pipelines.first)
  // What is read can be run.
  try pipeline.validate()
  return pipeline
}

@Suite("Configuration: event time, sequence numbers, windows, masks")
struct ConfigurationStagesTests {
  private static let second: Int64 = 1_000_000_000

  @Test("messages may be held until the clock is known")
  func hold() throws {
    #expect(try pipeline().time == .receipt(hold: 0))
    #expect(try pipeline("time: receipt").time == .receipt(hold: 0))
    #expect(try pipeline("time: { hold: 2 min }").time == .receipt(hold: 120 * Self.second))
    #expect(try pipeline("time: { field: ts, unit: ms }").time == .field(try FieldPath(parsing: "ts"), .milliseconds))
  }

  @Test("a sequence is a field, or a mapping with its options")
  func sequence() throws {
    var expected = SequenceSettings(field: try FieldPath(parsing: "data.fCnt"))
    #expect(try pipeline("sequence: data.fCnt").sequence == expected)
    expected.modulus = 65_536
    expected.maximumGap = 1_000
    expected.limit = 500
    #expect(
      try pipeline("sequence: { field: data.fCnt, modulus: 65536, max_gap: 1000, max_devices: 500 }").sequence
        == expected)
  }

  @Test("windows are side by side, overlapping, or sessions")
  func spans() throws {
    func span(_ text: String) throws -> WindowSettings.Span? {
      try pipeline("window: { \(text), emit: { n: count(*) } }").window?.span
    }
    #expect(try span("every: 10 s") == .tumbling(10 * Self.second))
    #expect(try span("every: 10 s, length: 10 s") == .tumbling(10 * Self.second))
    #expect(try span("every: 10 s, length: 1 min") == .hopping(length: 60 * Self.second, every: 10 * Self.second))
    #expect(try span("gap: 5 min") == .session(gap: 300 * Self.second))
  }

  @Test("what a window emits keeps its order, and what late readings do is said")
  func window() throws {
    let window = try #require(
      try pipeline(
        "time: { field: ts, unit: ms }",
        "window:", "  every: 10 s", "  late: 1 min", "  max_ahead: 5 min", "  idle_after: 3 min",
        "  late_readings: { correct: 10 min }", "  max_windows: 5000", "  when_full: refuse", "  emit:",
        "    peak: max(temperature)", #"    mean: avg("object.t")"#, #"    "95 %": percentile(t, 0.95)"#,
        "    n: count(*)"
      ).window)
    #expect(
      window.emit == [
        .init(name: "peak", function: .maximum, argument: "temperature"),
        .init(name: "mean", function: .average, argument: "\"object.t\""),
        .init(name: "95 %", function: .percentile(0.95), argument: "t"),
        .init(name: "n", function: .count, argument: nil),
      ])
    #expect(
      window.watermark
        == Watermark.Settings(
          allowedLateness: 60 * Self.second, maximumAhead: 300 * Self.second, idleAfter: 180 * Self.second))
    #expect(window.late == .correct(within: 600 * Self.second))
    #expect(window.maximumWindows == 5_000 && window.overflow == .refuse)
  }

  @Test("the defaults: readings of a field may be 30 s late, and silence closes windows")
  func windowDefaults() throws {
    func watermark(_ time: String, _ window: String) throws -> Watermark.Settings? {
      try pipeline("time: \(time)", "window: { \(window), emit: { n: count(*) } }").window?.watermark
    }
    let field = "{ field: ts, unit: s }"
    let hour = 3_600 * Self.second
    #expect(
      try watermark(field, "every: 5 min")
        == Watermark.Settings(allowedLateness: 30 * Self.second, maximumAhead: hour, idleAfter: 330 * Self.second))
    #expect(
      try watermark("receipt", "every: 10 s")
        == Watermark.Settings(allowedLateness: 0, maximumAhead: hour, idleAfter: 60 * Self.second))
    #expect(
      try watermark(field, "every: 1 min, length: 1 h")
        == Watermark.Settings(allowedLateness: 30 * Self.second, maximumAhead: hour, idleAfter: 90 * Self.second))
    #expect(try watermark(field, "gap: 5 min, late: 0")?.idleAfter == 300 * Self.second)
    #expect(try watermark(field, "every: 366 d, late: 366 d")?.idleAfter == 366 * 86_400 * Self.second)
    #expect(try watermark(field, "every: 5 min, idle_after: never")?.idleAfter == nil)
    let window = try #require(try pipeline("window: { every: 1 s, emit: { n: count(*) } }").window)
    #expect(window.late == .drop && window.overflow == .closeEarly && window.maximumWindows == 100_000)
    let kept = try pipeline("window: { every: 1 s, late_readings: dead-letter, emit: { n: count(*) } }")
    #expect(kept.window?.late == .deadLetter)
  }

  private static let keys = Sample.machine(
    [
      "/etc/k1": "000102030405060708090a0b0c0d0e0f\n", "/etc/k2": "not hexadecimal, but long enough\n",
      "/etc/short": "abcd", "/etc/open": "000102030405060708090a0b0c0d0e0f", "/run/c/k3": "0123456789abcdef!",
    ], worldReadable: ["/etc/open"], credentials: "/run/c")

  @Test("a mask says what becomes of each field, in its order")
  func mask() throws {
    let pipeline = try pipeline(
      "mask:", "  serial: tokenise", "  owner: drop", "  phone: { keep_last: 4 }", "  pin: hide", "  email: hash",
      "  plate: { hash: 16 }", "  rxInfo[*].id: drop",
      "token_keys: [{ id: k1, file: k1 }, { id: k2, file: k2 }]", files: Self.keys)
    let mask = try #require(pipeline.mask)
    #expect(
      mask.rules.map(\.fields.description) == ["serial", "owner", "phone", "pin", "email", "plate", "rxInfo[*].id"])
    #expect(
      mask.rules.map(\.method) == [
        .tokenise, .drop, .mask(keepingLast: 4), .mask(keepingLast: 0), .hash(digits: 64), .hash(digits: 16), .drop,
      ])
    let tokens = try #require(mask.tokeniser).tokens(of: Array("x".utf8))
    let expected = try Tokeniser(keys: [
      .init(id: "k1", secret: Secret(Array(0...15))),
      .init(id: "k2", secret: Secret("not hexadecimal, but long enough")),
    ]).tokens(of: Array("x".utf8))
    #expect(tokens == expected)
    #expect(try Self.decodeKey("credential:k3").tokens(of: []).first?.hasPrefix("k.") == true)
  }

  private static func decodeKey(_ file: String) throws -> Tokeniser {
    let pipeline = try pipeline("mask: { a: tokenise }", "token_keys: { id: k, file: '\(file)' }", files: keys)
    return try #require(pipeline.mask?.tokeniser)
  }

  @Test("keys are kept with the configuration, unless systemd hands them over")
  func keysAreAttachments() throws {
    let text = sample([
      "mask: { a: tokenise }", "token_keys: [{ id: a, file: k1 }, { id: b, file: 'credential:k3' }]",
    ])
    let configuration = try Sample.decode(text, files: Self.keys)
    #expect(configuration.origin.attachments.map(\.path) == ["/etc/k1"])
    // Without them nothing is tolerated.
    #expect(throws: ConfigurationErrors.self) { try Sample.decode(text, toleratesSurroundings: true) }
  }

  @Test("another key is another version of the pipeline, and the key is in no description of it")
  func keyVersion() throws {
    func settings(_ file: String) throws -> PipelineSettings {
      try pipeline("mask: { a: tokenise }", "token_keys: { id: k, file: \(file) }", files: Self.keys)
    }
    let (one, two) = (try settings("k1"), try settings("k2"))
    #expect(one != two && pipelineVersion(one) != pipelineVersion(two))
    var dumped = ""
    dump(two, to: &dumped)
    #expect(!dumped.contains("hexadecimal") && !"\(two)".contains("hexadecimal"))
  }

  @Test("a mask on a field beside the key is fine, and so is one on a field that the topic stands in for")
  func masksBesideTheKey() throws {
    #expect(try pipeline("mask: { device: drop }").mask != nil)
    #expect(try pipeline("select: ['id AS key2', name]", "mask: { name: drop }").mask != nil)
  }

  struct Fault: Sendable, CustomTestStringConvertible {
    var lines: [String]
    var expected: [String]
    init(_ line: String, _ expected: String...) {
      lines = line.split(separator: "|").map(String.init)
      self.expected = expected
    }
    var testDescription: String { lines.joined(separator: " | ") }
  }

  @Test(
    "a fault is told with its place and a way out",
    arguments: [
      Fault("time: reciept", "12:11 pipelines.climate.time", "did you mean 'receipt'?"),
      Fault("time: { hold: 2 d }", "12:19 pipelines.climate.time.hold", "out of range"),
      Fault("time: { field: ts, hold: 2 s }", "12:13 pipelines.climate.time.field", "leave 'hold' out"),
      Fault("time: { unit: s }", "the key 'field' is missing"),
      Fault("sequence: a..b", "12:17 pipelines.climate.sequence"),
      Fault("sequence: { field: n, modulus: 100 }", "12:36 pipelines.climate.sequence.modulus", "256"),
      Fault("sequence: { modulus: 256 }", "the key 'field' is missing"),
      Fault("sequence: { field: n, moduls: 256 }", "did you mean 'modulus'?"),
      Fault("window: { every: 10 s }", "12:5 pipelines.climate.window", "the key 'emit' is missing"),
      Fault(
        "window: { emit: { n: count(*) } }",
        "12:5 pipelines.climate.window", "nothing says how long", "'gap' for sessions"),
      Fault("window: { length: 1 min, emit: { n: count(*) } }", "12:15 pipelines.climate.window.length"),
      Fault("window: { gap: 1 min, every: 1 s, emit: { n: count(*) } }", "12:27 pipelines.climate.window.every"),
      Fault(
        "window: { every: 1 min, length: 10 s, emit: { n: count(*) } }",
        "12:37 pipelines.climate.window.length", "would leave out"),
      Fault("window: { every: 1 s, length: 10 min, emit: { n: count(*) } }", "in 600 windows"),
      Fault("window: { every: 100 us, emit: { n: count(*) } }", "12:22 pipelines.climate.window.every", "1 ms"),
      Fault("window: { every: 1 s, emit: {} }", "pipelines.climate.window.emit", "is empty"),
      Fault(
        "window: { every: 1 s, emit: { window: count(*) } }",
        "12:35 pipelines.climate.window.emit.window", "bounds"),
      Fault("window: { every: 1 s, emit: avg(t) }", "12:33 pipelines.climate.window.emit", "is not a mapping"),
      Fault(
        "window: { every: 1 s, emit: { m: avgg(t) } }",
        "12:38 pipelines.climate.window.emit.m", "did you mean 'avg'?"),
      Fault("window: { every: 1 s, emit: { m: t } }", "12:38 pipelines.climate.window.emit.m", "avg(t) or last(t)"),
      Fault("window: { every: 1 s, emit: { m: max(t) - min(t) } }", "12:45", "a name of its own"),
      Fault("window: { every: 1 s, emit: { m: 'avg(t +)' } }", "12:46", "the expression ends too early"),
      Fault("window: { every: 1 s, emit: { m: avg(random()) } }", "12:42", "a replay would give other readings"),
      Fault("window: { every: 1 s, late_readings: correct, emit: { n: count(*) } }", "drop, dead-letter"),
      Fault("window: { every: 1 s, late_readings: { correct: 0 }, emit: { n: count(*) } }", "12:53", "out of range"),
      Fault("window: { every: 1 s, when_full: refus, emit: { n: count(*) } }", "did you mean 'refuse'?"),
      Fault("window: { every: 1 s, max_windows: 0, emit: { n: count(*) } }", "a whole number from 1 to 10000000"),
      Fault("window: { every: 1 s, idle_after: nevr, emit: { n: count(*) } }", "is not a duration"),
      Fault(
        "mask: { a: tokenize }|token_keys: { id: k, file: k1 }",
        "12:16 pipelines.climate.mask.a", "did you mean 'tokenise'?"),
      Fault("mask: { a: tokenise }", "12:16 pipelines.climate.mask.a", "openssl rand -hex 32"),
      Fault("mask: { a: {} }", "12:16 pipelines.climate.mask.a", "{ keep_last: 4 }"),
      Fault("mask: { a: { keep_last: 4, hash: 16 } }", "either hashed or cut"),
      Fault("mask: { a: { keep_last: 33 } }", "from 0 to 32"),
      Fault("mask: { a: { hash: 8 } }", "from 16 to 64"),
      Fault("mask: { 'a[x]': drop }", "12:13 pipelines.climate.mask", "rxInfo[].gatewayId"),
      Fault("mask: { 'a[]': drop, 'a[*]': hide }", "12:26", "the same field"),
      Fault("mask: {}", "12:11 pipelines.climate.mask", "is empty"), Fault("mask: drop", "is not a mapping"),
      Fault("token_keys: { id: k, file: k1 }", "12:5 pipelines.climate.token_keys", "nothing is tokenised"),
      Fault(
        "mask: { a: drop }|token_keys: { id: k, file: k1 }",
        "13:5 pipelines.climate.token_keys", "no field is tokenised"),
      Fault("mask: { a: tokenise }|token_keys: [{ id: k, file: k1 }, { id: k, file: k2 }]", "13:45", "in every token"),
      Fault("mask: { a: tokenise }|token_keys: { id: 'a.b', file: k1 }", "13:23", "1 to 16 letters"),
      Fault("mask: { a: tokenise }|token_keys: { id: k, file: short }", "13:32", "has 2 bytes and needs 16"),
      Fault("mask: { a: tokenise }|token_keys: { id: k, file: none }", "13:32", "/etc/none does not exist"),
      Fault("mask: { a: tokenise }|token_keys: { id: k, file: open }", "13:32", "chmod o-r /etc/open"),
    ])
  func faults(_ fault: Fault) throws {
    let told = Sample.diagnostics(sample(fault.lines), files: Self.keys).map { fault in
      "\(fault.place.map { "\($0.line):\($0.column)" } ?? "") \(fault.path): \(fault.message); \(fault.hint ?? "")"
    }.joined(separator: "\n")
    for part in fault.expected { #expect(told.contains(part), "\(told)") }
  }

  @Test(
    "a mask on the field of the key, under whatever name, is refused: every line would have the key beside it",
    arguments: [
      ("mask: { id: tokenise }", "id", true), ("mask: { info: drop }", "info.id", true),
      ("mask: { 'info[0]': drop }", "info.id", false), ("mask: { id.x: drop }", "id", false),
      ("mask: { 'a[]': drop }", "a[3]", true), ("mask: { other: drop }", "id", false),
      ("select: ['id AS s']|mask: { s: hash }", "id", true), ("select: ['id AS s']|mask: { id: hash }", "id", false),
      ("select: ['upper(id) AS s']|mask: { s: hash }", "id", true),
      ("select: ['key AS s']|mask: { s: hash }", "id", true), ("select: ['*']|mask: { id: hash }", "id", true),
      ("select: ['* EXCEPT (id)']|mask: { id: hash }", "id", false),
      ("select: ['*', 'v AS id']|mask: { id: hash }", "id", false),
      ("select: ['info AS i']|mask: { i.id: hash }", "info.id", true),
      ("select: [info]|mask: { info.other: hash }", "info.id", false),
    ])
  func keyAndMask(_ lines: String, _ key: String, _ isRefused: Bool) {
    let text = sample(lines.split(separator: "|").map(String.init)).replacing("key: device", with: "key: \(key)")
    let told = Sample.diagnostics(text)
    #expect(told.contains { $0.message.contains("stands in every line") } == isRefused, "\(told)")
    if isRefused { #expect(told.first?.path.hasPrefix("pipelines.climate.mask.") == true) }
  }

  @Test("the summary says what happens to a reading, in its order")
  func summary() throws {
    let text = sample([
      "decode: { format: csv, columns: [id, t] }", "time: { field: t, unit: s }", "dedupe: { within: 1 h }",
      "sequence: n", "where: t > 0", "select: [t]", "mask: { t: drop }",
      "window: { every: 10 s, late: 30 s, emit: { mean: avg(t), n: count(*) } }",
    ])
    let configuration = try Sample.decode(text)
    let line =
      "decode csv, time from t (s), dedupe within 1 h, sequence n, where, select 1, mask t, "
      + "windows of 10 s, late by 30 s, closed after 1 min without readings: mean n"
    #expect(configuration.summary.contains("\n          \(line)\n"), "\(configuration.summary)")
    #expect(configuration.summaryJSON.contains(#""steps":["decode csv","time from t (s)","dedupe within 1 h","#))
  }
}
