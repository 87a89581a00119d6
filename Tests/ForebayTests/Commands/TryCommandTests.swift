import ArgumentParser
import Pipeline
import Telemetry
import TestSupport
import Testing

@testable import Spool
@testable import forebay

@Suite("try")
struct TryCommandTests {
  /// Runs a candidate beside the settings that run, over a whole log.
  private func trial(_ plant: TrialPlant, _ candidate: String, limit: Int = 100) throws -> Trial {
    let reader = try plant.spool.reader()
    let running = try #require(try RegisteredPipeline.all(in: plant.folder).first)
    let old = try #require(PipelineWorker.assignments(keptIn: plant.folder)(running.name, running.configuration))
    #expect(old.version == running.version)
    let new = try #require(try TryCommand.assignments(try plant.candidate(candidate)).first)
    var trial = try Trial(new, against: old, log: reader.log, first: try reader.start(), limit: limit)
    try LogRange.parse([]).forEach(in: reader) { try trial.take($0) }
    try trial.finish()
    return trial
  }

  private func plant(_ pipeline: String = "key: device") throws -> TrialPlant {
    let plant = try TrialPlant(pipeline)
    try plant.take(
      (0..<600).map { (device: "p\($0 % 5)", payload: $0 == 300 ? "oops" : #"{"n":\#($0 % 500),"t":\#($0)}"#) })
    return plant
  }

  @Test("the same settings make no difference, and show the batch's lines")
  func same() throws {
    let plant = try plant()
    let trial = try trial(plant, "key: device", limit: 2)
    #expect(trial.comparison.count == 0 && trial.comparison.same == 599 && trial.lines == 599)
    #expect(trial.rejected.map(\.rule) == ["json.syntax"] && trial.rejections == 1)
    #expect(trial.rejected.first?.offset == Offset(300))
    #expect(trial.readings.map(\.offset) == [Offset(0), Offset(1)])
    #expect(
      trial.readings.first.map { String(decoding: $0.line, as: UTF8.self) }
        == #"{"key":"p0","time":"2026-11-21T03:18:00Z","data":{"n":0,"t":0}}"#)
    #expect(trial.books.first { $0.name == "decoded" }?.candidate == 599)
    let text = TrialText(trial: trial, against: "running").text
    #expect(text.contains("the same as the running one: 600 messages") && text.contains("No differences."))
    #expect(text.contains("and 597 more (--limit)"))
  }

  @Test("what where, select and dedupe change is told reading by reading and field by field")
  func differences() throws {
    let plant = try plant("key: device, where: n < 400")
    let trial = try trial(plant, "key: device, dedupe: { by: [n], within: 1 h }, select: [n, \"t * 2 AS t\"]")
    // 0..<400 pass in both (300 never), of which t = 0 stays what it is; 400..<500 only in the candidate; and of
    // 500..<600, which are 0..<100 again, all are duplicates.
    #expect(trial.comparison.same == 1 && trial.comparison.fields == ["data.t": trial.comparison.changed])
    let duplicates = Int(trial.counters.duplicate)
    #expect(duplicates == 100)
    #expect(trial.comparison.onlyCandidate == 100 && trial.comparison.onlyAgainst == duplicates)
    #expect(trial.comparison.changed == 398 + 100 - duplicates)
    #expect(trial.lines == 599 - duplicates && trial.linesAgainst == 499)
    let first = try #require(trial.comparison.differences.first)
    #expect(first.offset == Offset(1) && first.fields == ["data.t"])
    let report = TrialReport(trial)
    #expect(report.comparison?.books["filtered"] == 100 && report.books["duplicate"] == Int64(duplicates))
    #expect(report.comparison?.differences.count == 100 && report.comparison?.isComplete == true)
    let text = TrialText(trial: trial, against: "running").text
    #expect(text.contains("Fields that changed: data.t") && text.contains("  + {\"key\":\"p1\""))
  }

  @Test("within one message equal readings are paired first")
  func pairing() {
    func readings(_ lines: [String], _ offset: Int64 = 1) -> [PipelineTrial.Reading] {
      lines.map { PipelineTrial.Reading(offset: Offset(offset), line: Array($0.utf8)) }
    }
    var comparison = TrialComparison(limit: 10, byResult: false)
    comparison.add(
      readings([#"{"data":{"a":2}}"#, #"{"data":{"a":3}}"#]) + readings(["x"], 7),
      readings([#"{"data":{"a":1}}"#, #"{"data":{"a":2}}"#, #"{"data":{"b":3}}"#]) + readings(["y", "y"], 6))
    comparison.finish()
    #expect(comparison.same == 1 && comparison.changed == 1)
    #expect(comparison.onlyCandidate == 1 && comparison.onlyAgainst == 3)
    #expect(comparison.fields == ["data.a": 1])
    #expect(comparison.differences.map(\.offset) == [1, 1, 6, 6, 7].map { Offset($0) })
  }

  @Test("results of windows are paired by key and window, whenever they come out")
  func results() {
    func result(_ key: String, _ start: Int, _ mean: Int, _ offset: Int64) -> PipelineTrial.Reading {
      PipelineTrial.Reading(
        offset: Offset(offset),
        line: Array(
          #"{"key":"\#(key)","time":"t","data":{"mean":\#(mean),"window":{"start":\#(start),"end":9}}}"#.utf8))
    }
    var comparison = TrialComparison(limit: 10, byResult: true)
    comparison.add([result("a", 1, 5, 1)], [])
    comparison.add([result("b", 1, 5, 2)], [result("a", 1, 5, 3), result("b", 1, 6, 3), result("b", 2, 6, 3)])
    comparison.finish()
    #expect(comparison.same == 1 && comparison.changed == 1 && comparison.onlyAgainst == 1)
    #expect(comparison.fields == ["data.mean": 1] && comparison.onlyCandidate == 0)
  }

  @Test("nothing is written: no byte of the spool changes, with the daemon at work and without it")
  func nothingIsWritten() throws {
    let plant = try plant()
    let candidate = try plant.candidate("key: device, where: n < 10, dedupe: { within: 1 h }")
    let arguments = ["try", "--config", candidate, "--last", "500", "--json", "--limit", "0"]
    for isRunning in [true, false] {
      if !isRunning { plant.spool.close() }
      let before = try plant.files()
      var command = try Forebay.parseAsRoot(arguments)
      try command.run()
      #expect(try plant.files() == before)
      #expect(before.keys.contains("log.db") && before.keys.contains("state.db"))
    }
  }

  @Test("what --fail-on names ends it with 1, a refused configuration too, a spool that is not there with 2")
  func exits() throws {
    let plant = try plant()
    let other = try plant.candidate("key: device, where: n < 10")
    func run(_ arguments: [String]) throws {
      var command = try Forebay.parseAsRoot(["try", "--json", "--limit", "0"] + arguments); try command.run()
    }
    try run(["--config", plant.config])
    try run(["--config", other])
    try run(["--config", plant.config, "--fail-on", "differences"])
    #expect(throws: ExitCode(1)) { try run(["--config", other, "--fail-on", "differences"]) }
    #expect(throws: ExitCode(1)) { try run(["--config", other, "--fail-on", "any", "--against", plant.config]) }
    #expect(throws: ExitCode(1)) { try run(["--config", plant.config, "--fail-on", "rejections"]) }
    try run(["--config", plant.config, "--fail-on", "rejections", "--last", "10"])
    #expect(throws: ExitCode(1)) { try run(["--config", other, "--pipeline", "nowhere"]) }
    let wrong = try plant.candidate("key: device, where: \"n <\"", name: "wrong.yaml")
    #expect(throws: ExitCode(1)) { try run(["--config", wrong]) }
    #expect(throws: ExitCode(2)) { try run(["--config", other, "--spool", plant.directory.file("none")]) }
    #expect(throws: ExitCode(2)) { try run(["--config", plant.directory.file("none.yaml")]) }
    for wrong in [
      ["--limit", "-1"], ["--source", "x"], ["--sample", "x", "--last", "2"], ["--sample", "x", "--topic", "a/#"],
    ] {
      let error = #expect(throws: (any Error).self) { try Forebay.parseAsRoot(["try"] + wrong) }
      #expect(Forebay.exitCode(for: try #require(error)) == .validationFailure, "\(wrong)")
    }
  }

  @Test("a sample is one payload on a topic, or messages as the log exports them, also where there is no spool")
  func samples() throws {
    let now = TrialPlant.moment(5)
    func records(_ text: String, topic: String? = nil) throws -> [Record] {
      try SampleMessages.records(Array(text.utf8), shownAs: "s", topic: topic, source: "floor", now: now)
    }
    let one = try records("a\nb", topic: "x/y")
    #expect(one.map(\.message.payload) == [Array("a\nb".utf8)])
    #expect(one.first?.message.origin == Origin(source: "floor", topic: "x/y"))
    let many = try records(
      """
      {"topic":"t","payload":"{}"}

      {"topic":"u","source":"attic","payloadBase64":"AAE=","received":"2026-01-01T00:00:00Z","clockSynchronised":false}
      """)
    #expect(many.map(\.offset) == [Offset(0), Offset(1)] && many[0].message.received == now)
    #expect(many[1].message.payload == [0, 1] && many[1].message.origin.source == "attic")
    #expect(many[1].message.received.wall == 1_767_225_600_000_000_000)
    #expect(many[1].message.received.quality == .unsynchronised)
    for (text, reason) in [
      ("{}", "s:1: topic is missing"), ("x", "s:1: it is no JSON"), ("[]", "it is no JSON object"),
      (#"{"topic":"t","payload":{"secret":1}}"#, "payload must be the payload as a text"),
      (#"{"topic":"t","payload":"","qos":"high"}"#, "qos holds a value of another kind"),
      (#"{"topic":"t"}"#, "one of payload"),
      ("\n" + #"{"topic":"t","payloadBase64":"*"}"#, "s:2: payloadBase64"),
      (#"{"topic":"t","payload":"","received":"noon"}"#, "received is no"),
    ] {
      let fault = #expect(throws: SampleMessages.Fault.self) { try records(text) }
      #expect(fault?.description.contains(reason) == true, "\(fault?.description ?? "")")
    }

    let desk = try TemporaryDirectory("desk")
    let config = try desk.write(TrialPlant.text("key: device", in: desk), to: "c.yaml")
    let sample = try desk.write(#"{"n":1}"#, to: "payload")
    var command = try Forebay.parseAsRoot(
      ["try", "--config", config, "--sample", sample, "--topic", "sensors/p/climate", "--json", "--fail-on", "any"])
    try command.run()
    var refused = try Forebay.parseAsRoot(
      ["try", "--config", config, "--sample", config, "--topic", "sensors/p/climate", "--json", "--fail-on", "any"])
    #expect(throws: ExitCode(1)) { try refused.run() }
  }
}
