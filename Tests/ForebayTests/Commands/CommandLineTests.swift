import ArgumentParser
import Glibc
import Telemetry
import TestSupport
import Testing

@testable import forebay

@Suite("Commands: what is typed")
struct CommandLineTests {
  @Test(
    "wrong usage is found before anything is done, and the usage shown is the command's own",
    arguments: [
      (["log", "show", "--from", "5", "--to", "3"], "forebay log show"),
      (["log", "export", "--from", "-1"], "forebay log export"),
      (["log", "show", "--topic", "a/#/b"], "forebay log show"),
      (["log", "show", "--last", "0"], "forebay log show"),
      (["dead-letters", "list", "--stage", "nowhere"], "forebay dead-letters list"),
      (["dead-letters", "list", "--limit", "0"], "forebay dead-letters list"),
      (["dead-letters", "list", "--topic", "a/#/b"], "forebay dead-letters list"),
      (["dead-letters", "counts", "--since", "yesterday"], "forebay dead-letters counts"),
      (["dead-letters", "discard", "--until", "2026-13-01"], "forebay dead-letters discard"),
      (["dead-letters", "requeue"], "forebay dead-letters requeue"),
      (["dead-letters", "requeue", "--all", "--rate", "0/s"], "forebay dead-letters requeue"),
      (["dead-letters", "requeue", "--all", "--rate", "1/week"], "forebay dead-letters requeue"),
      (["dead-letters", "requeue", "--all", "--budget", "10 M"], "forebay dead-letters requeue"),
      (["dead-letters", "requeue", "--all", "--rule", "json.syntax"], "forebay dead-letters requeue"),
      (["dead-letters", "discard"], "forebay dead-letters discard"),
      (["schema", "infer"], "forebay schema infer"),
      (["schema", "infer", "--pipeline", "p", "--from", "noon"], "forebay schema infer"),
      (["schema", "infer", "f.json", "--as", "climate@1"], "forebay schema infer"),
      (["restore"], "forebay restore"),
      (["demo", "--devices", "0"], "forebay demo"),
      (["demo", "--seconds", "0"], "forebay demo"),
      (["simulate", "--url", "http://x"], "forebay simulate"),
      (["receive", "--store", "/tmp/x", "--listen", "nowhere"], "forebay receive"),
      (["fleet"], "forebay fleet"),
      (["fleet", "http://a", "--fail-on", "bad"], "forebay fleet"),
      (["fleet", "http://a", "--every", "15"], "forebay fleet"),
      (["fleet", "http://a", "--serve", "0.0.0.0:9180"], "forebay fleet"),
      (["simulate-gateways", "--faults", "sleepy"], "forebay simulate-gateways"),
    ])
  func wrongUsage(_ arguments: [String], _ command: String) throws {
    let error = #expect(throws: (any Error).self) { try Forebay.parseAsRoot(arguments) }
    let wrong = try #require(error)
    #expect(Forebay.exitCode(for: wrong) == .validationFailure)
    let text = Forebay.fullMessage(for: wrong)
    #expect(text.contains("Usage: \(command) ["), "\(text)")
  }

  @Test("the lines of every help that are not running text fit into 80 columns")
  func help() {
    var commands: [any ParsableCommand.Type] = [Forebay.self]
    var seen = 0
    while let command = commands.popLast() {
      commands += command.configuration.subcommands
      seen += 1
      for line in command.configuration.discussion.split(separator: "\n") where line.hasPrefix(" ") {
        #expect(line.count <= 80, "\(command): \(line)")
      }
      // Running text is one line of the source's text, for the terminal to wrap.
      let lines = command.configuration.discussion.split(separator: "\n", omittingEmptySubsequences: false)
      for (line, next) in zip(lines, lines.dropFirst())
      where !line.isEmpty && !line.hasPrefix(" ") && !line.hasSuffix(":") {
        #expect(next.isEmpty || next.hasPrefix(" "), "\(command): \(line) | \(next)")
      }
    }
    #expect(seen >= 16)
  }

  @Test("a spool or a socket that cannot be used is not said to be missing when it is not permitted")
  func permissions() throws {
    let denied = SpoolPlace.Fault(path: "/s/state.db", code: EACCES).description
    #expect(denied.contains("Permission denied") && denied.contains("sudo") && !denied.contains("no spool"))
    let missing = SpoolPlace.Fault(path: "/s/state.db", code: ENOENT).description
    #expect(missing.contains("there is no spool here") && missing.contains("--spool"))
    func socket(_ code: Int32) -> String { LocalSocket.Failure("connect to", "/s", code: code).description }
    #expect(socket(EACCES).contains("Permission denied") && socket(EACCES).contains("may well be running"))
    #expect(socket(ENOENT).contains("is it running"))
    #expect(socket(ECONNREFUSED).contains("no daemon listens"))
    #expect(Set([EACCES, ENOENT, ECONNREFUSED].map(socket)).count == 3)
  }

  @Test("a spool that is not there ends every command that reads one with 2, its own words once")
  func missingSpool() throws {
    let box = try TemporaryDirectory("nospool")
    let arguments = [
      ["audit"], ["dead-letters", "list"], ["log", "show"], ["dead-letters", "requeue", "--all"],
      ["devices", "--pipeline", "p"],
    ].map { $0 + ["--spool", box.path] }
    for arguments in arguments {
      var command = try Forebay.parseAsRoot(arguments)
      #expect(throws: ExitCode(2), "\(arguments)") { try command.run() }
    }
    var audit = try Forebay.parseAsRoot(["audit", "--config", box.file("none.yaml")])
    #expect(throws: ExitCode(2)) { try audit.run() }
  }

  @Test("a file that stands where the socket should be is left alone")
  func socketPath() throws {
    let box = try TemporaryDirectory("socket")
    let path = try box.write("precious", to: "f.sock")
    #expect(throws: LocalSocket.Failure.self) { try LocalSocket.serve(path, document: { _ in [] }) }
    #expect(TemporaryDirectory.read(path) == "precious")
  }
}

@Suite("Commands: what is printed")
struct OutputTests {
  @Test("one is one, and more are more", arguments: [(0, "0 batches"), (1, "1 batch"), (1200, "1,200 batches")])
  func plural(_ number: Int64, _ text: String) { #expect(Output.count(number, "batch") == text) }

  @Test("dead letters are not misspelt")
  func letters() { #expect(Output.count(1, "dead letter") == "1 dead letter" && Output.count(2, "byte") == "2 bytes") }

  @Test("times are told to the millisecond")
  func times() {
    #expect(Output.time(1_795_244_029_079_985_509) == "2026-11-21T06:53:49.079Z")
    #expect(Output.time(1_795_244_029_000_000_000) == "2026-11-21T06:53:49.000Z")
    #expect(Output.time(1_795_244_029_500_000_000) == "2026-11-21T06:53:49.500Z")
  }

  @Test(
    "durations have their two largest units",
    arguments: [
      (0, "0 s"), (59, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (7500, "2 h 5 min"),
      (90_061, "1 d 1 h"),
    ])
  func durations(_ seconds: Int64, _ text: String) {
    #expect(Output.duration(seconds * 1_000_000_000) == text)
    #expect(Output.duration(seconds: Double(seconds)) == text)
  }

  private static func status(messages: Int64, bytes: Int64, delivered: Int64, sent: Int64) -> StatusReport {
    StatusReport(
      gateway: "g", software: "0", uptimeSeconds: 1, clockSynchronised: true, residentBytes: 1,
      sources: [
        .init(name: "s", state: "connected", messages: messages, bytes: bytes, groups: 1, reconnects: 0, redelivered: 0)
      ],
      spool: .init(
        directory: "/s", usedBytes: 0, maximumBytes: 0, freeBytes: 0, minimumFreeBytes: 0, log: "l", nextOffset: 0,
        received: 0), pipelines: [],
      uplinks: [
        .init(
          name: "u", state: "delivering", attempts: 1, answers: [:], batchesDelivered: 1, readingsDelivered: delivered,
          bytesSent: sent, inFlight: 0, holds: [])
      ], alarms: [])
  }

  @Test("what a message cost is told for each byte of payload once there is one, and not guessed without an account")
  func cost() {
    var status = Self.status(messages: 10, bytes: 1000, delivered: 5, sent: 125)
    status.writtenBytes = 1450
    #expect(
      status.cost == "cost  1.4 KiB (1.45 per payload byte) written to disk, 125 B (0.13 per payload byte) sent "
        + "upstream, since the start")
    status.writtenBytes = nil
    status.sources[0].bytes = 0
    #expect(status.cost == "cost  125 B sent upstream, since the start")
  }

  @Test("bytes saved are those of what was delivered, and unknown before")
  func saved() {
    #expect(LiveView.saved(Self.status(messages: 10, bytes: 1000, delivered: 0, sent: 0)) == nil)
    #expect(LiveView.saved(Self.status(messages: 0, bytes: 0, delivered: 5, sent: 10)) == nil)
    // Half of it delivered, for a tenth of its bytes.
    #expect(LiveView.saved(Self.status(messages: 10, bytes: 1000, delivered: 5, sent: 50)) == 0.9)
  }

  @Test("a daemon that cannot make its status says why")
  func statusTrouble() {
    let failure = #expect(throws: LocalSocket.Failure.self) {
      try StatusReport(document: Array(#"{"error":"the state is closed"}"#.utf8))
    }
    #expect(failure?.description == "the daemon cannot make its status: the state is closed")
  }
}

@Suite("Commands: event times in the log")
struct EventTimesTests {
  private static func times(_ payload: String, unit: String, topic: String = "sensors/a/climate") throws -> [String:
    Int64]
  {
    let text = Sample.replacing("    to: central", "    time: { field: ts, unit: \(unit) }\n    to: central")
    let message = Message(
      origin: Origin(source: "floor", topic: topic), payload: Array(payload.utf8), qos: .atLeastOnce,
      received: Moment(
        boot: BootID(high: 1, low: 1), monotonic: 1, wall: 1_795_244_029_000_000_000, quality: .synchronised))
    var events = EventTimes(try Sample.decode(text).pipelines)
    return events.times(of: message)
  }

  @Test("are what the pipeline reads, and doubtful when the unit is wrong")
  func units() throws {
    let right = try Self.times(#"{"ts":1795244029079}"#, unit: "ms")
    #expect(right == ["climate": 1_795_244_029_079_000_000])
    #expect(!EventTimes.isDoubtful(1_795_244_029_079_000_000, received: 1_795_244_029_000_000_000))
    let wrong = try #require(try Self.times(#"{"ts":1795244029079}"#, unit: "us")["climate"])
    #expect(Output.time(wrong).hasPrefix("1970-01-21"))
    #expect(EventTimes.isDoubtful(wrong, received: 1_795_244_029_000_000_000))
    #expect(EventTimes.isDoubtful(4_000_000_000_000_000_000, received: 1_795_244_029_000_000_000))
    #expect(
      try Self.times(#"{"ts":"2026-11-21T06:53:49Z"}"#, unit: "rfc3339") == ["climate": 1_795_244_029_000_000_000])
  }

  @Test(
    "are none where there is no such field, no such topic, or no JSON", arguments: ["{}", "[]", "", #"{"ts":null}"#])
  func none(_ payload: String) throws {
    #expect(try Self.times(payload, unit: "ms") == [:])
    #expect(try Self.times(#"{"ts":1}"#, unit: "ms", topic: "other/a") == [:])
  }
}
