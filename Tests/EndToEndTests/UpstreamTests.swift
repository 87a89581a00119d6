import Foundation
import TestSupport
import Testing

@Suite("The daemon and an upstream that misbehaves")
struct UpstreamTests {
  /// A way in which the upstream fails, and how the daemon must count the answers.
  struct Row: Sendable, CustomTestStringConvertible {
    var rule: String
    var kind: String
    var deadLetters = 0
    /// Something holds delivery until it is mended or tried again.
    var holds = false
    var testDescription: String { rule }
  }

  static let rows: [Row] = [
    Row(rule: "503x3", kind: "not-now"),
    Row(rule: "500x2", kind: "not-now"),
    Row(rule: "408x2", kind: "not-now"),
    Row(rule: "425x2", kind: "not-now"),
    Row(rule: "429x2:retry-after=1", kind: "not-now"),
    Row(rule: "401x2", kind: "credentials", holds: true),
    Row(rule: "403x2", kind: "credentials", holds: true),
    Row(rule: "404x2", kind: "unknown-upstream", holds: true),
    Row(rule: "405x1", kind: "unknown-upstream", holds: true),
    Row(rule: "407x1", kind: "unknown-upstream", holds: true),
    Row(rule: "410x1", kind: "unknown-upstream", holds: true),
    Row(rule: "418x1", kind: "unknown-upstream", holds: true),
    Row(rule: "redirectx2", kind: "unknown-upstream", holds: true),
    Row(rule: "captivex2", kind: "unknown-upstream", holds: true),
    Row(rule: "conflictx2", kind: "identity-conflict", holds: true),
    Row(rule: "409x2", kind: "still-taking-in"),
    Row(rule: "has-itx2", kind: "has-it"),
    Row(rule: "silentx1", kind: "unreachable"),
    Row(rule: "halfx2", kind: "unreachable"),
    Row(rule: "garbagex2", kind: "unreachable"),
    Row(rule: "drop-after-storex2", kind: "unreachable"),
    Row(rule: "413:over=3000", kind: "too-large"),
    Row(rule: "400:matching=\"seq\":17,", kind: "refused", deadLetters: 1),
    Row(rule: "415:matching=\"seq\":17,", kind: "refused", deadLetters: 1),
    Row(rule: "422:matching=\"seq\":17,", kind: "refused", deadLetters: 1),
  ]

  @Test("delivers everything once after the upstream has answered every row of the answer table")
  func answerTable() throws {
    let house = try House("table")
    try house.startUpstream()
    try house.startDaemon()
    var expected = 0
    var letters = 0
    for (index, row) in UpstreamTests.rows.enumerated() {
      let before = try house.status().uplinks[0].answers[row.kind] ?? 0
      try house.setFaults([row.rule], signal: true)
      try house.wait("the upstream has the rule") {
        TemporaryDirectory.read(house.directory.file("upstream.log"))
          .components(separatedBy: "failing with").count >= index + 2
      }
      // One device, numbered on from row to row by its own name.
      try house.publish(devices: 1, count: 100, seed: index + 1)
      expected += 100
      letters += row.deadLetters
      try house.wait("row \(row.rule) is over", within: 40) {
        let status = try house.status()
        let pipeline = status.pipelines[0]
        return status.spool.received == expected && pipeline.backlog == 0
          && pipeline.openReadings == 0 && pipeline.outboxReadings == 0
          && pipeline.deadLetters == letters
      }
      let status = try house.status()
      #expect((status.uplinks[0].answers[row.kind] ?? 0) > before, "\(row.rule) was answered")
      #expect(status.uplinks[0].holds.isEmpty, "\(row.rule) leaves no hold behind")
    }
    let readings = try house.delivered()
    #expect(readings.count == expected - letters)
    try house.expectProof()
  }

  @Test("is held rather than turning the stream into dead letters when everything is refused")
  func refusesEverything() throws {
    let house = try House("refused")
    try house.startUpstream(fail: ["400"])
    try house.startDaemon()
    try house.publish(devices: 10, count: 4_000, rate: 2_000)
    try house.wait("delivery is held") { try !house.status().uplinks[0].holds.isEmpty }
    try house.wait("all is taken in and sealed") {
      let status = try house.status()
      return status.spool.received == 4_000 && status.pipelines[0].backlog == 0
    }
    let aside = try house.status().pipelines[0].deadLetters
    #expect(aside < 20, "only a few readings may be set aside, not \(aside)")
    try house.setFaults([])
    try house.wait("the rest is delivered", within: 60) {
      try house.status().pipelines[0].outboxReadings == 0
    }
    let letters = try house.status().pipelines[0].deadLetters
    #expect(try house.delivered().count == 4_000 - letters)
    if letters > 0 {
      // What was set aside can be sent after all.
      let requeue = try house.run("dead-letters", ["requeue", "--all", "--spool", house.spool])
      #expect(requeue.status == 0, "\(requeue.output)")
      try house.wait("they are delivered") { try house.delivered().count == 4_000 }
    }
    try house.expectDelivered(count: 4_000)
    try house.expectBalance()
  }

  @Test("keeps everything while the upstream is away and delivers it once when it is back")
  func outage() throws {
    let house = try House("outage")
    try house.startDaemon()
    try house.publish(devices: 50, count: 30_000)
    try house.wait("all is sealed") {
      let status = try house.status()
      return status.spool.received == 30_000 && status.pipelines[0].backlog == 0
    }
    #expect(try house.status().uplinks[0].state == "retrying")
    try house.startUpstream()
    try house.settle(received: 30_000)
    try house.expectDelivered(count: 30_000)
    try house.expectProof()
  }

  @Test("delivers once to an upstream that is killed with -9 again and again")
  func killedUpstream() throws {
    let house = try House("upkill")
    try house.startUpstream()
    try house.startDaemon()
    let devices = try house.simulate(["--devices", "20", "--count", "8000", "--total-rate", "2000"])
    for part in 1...5 {
      try house.wait("some is delivered") { try house.status().pipelines[0].delivered > part * 400 }
      house.killUpstream()
      try house.startUpstream()
    }
    #expect(devices.wait(seconds: 120) == 0)
    try house.settle(received: 8_000)
    try house.expectDelivered(count: 8_000)
    try house.expectProof()
  }

  @Test(
    "agrees with a receiver that was written in Python from the protocol's page alone",
    arguments: ["ndjson", "columns"])
  func pythonReceiver(_ encoding: String) throws {
    var options = House.Options()
    options.batch = ", encoding: \(encoding)"
    let house = try House("python", options)
    let store = house.directory.file("python.ndjson")
    let script = House.root + "/Tests/EndToEndTests/receiver.py"
    let receiver = try ChildProcess(
      "python3", [script, "\(house.upstreamPort)", store], output: house.directory.file("python.log"))
    try house.wait("it listens") { MosquittoBroker.accepts(port: house.upstreamPort) }
    try house.startDaemon()
    try house.publish(devices: 10, count: 5_000, rate: 2_500)
    try house.settle(received: 5_000)
    receiver.signal(SIGKILL)
    _ = receiver.wait(seconds: 5)
    let verdict = try ChildProcess.run("python3", [script, "--verify", store])
    #expect(verdict.status == 0, "\(verdict.output)")
    struct Record: Decodable { var text: [String] }
    let records = try String(contentsOfFile: store, encoding: .utf8).split(separator: "\n")
    let readings = try records.flatMap { line in
      let record = try JSONDecoder().decode(Record.self, from: Data(line.utf8))
      return try House.readings(record.text.joined())
    }
    #expect(readings.count == 5_000 && Set(readings).count == 5_000)
    try house.expectBalance()
  }

  @Test("delivers columns once, isolates the reading that is refused, and sends its line again when it is requeued")
  func columns() throws {
    var options = House.Options()
    options.batch = ", encoding: columns, compression: zstd"
    let house = try House("columns", options)
    try house.startUpstream(fail: ["422:matching=\"seq\":17,", "413:over=3000", "503x2"])
    try house.startDaemon()
    try house.publish(devices: 3, count: 3_000, rate: 3_000)
    try house.wait("all but one reading of each device are delivered") {
      let pipeline = try house.status().pipelines[0]
      return pipeline.delivered == 2_997 && pipeline.deadLetters == 3 && pipeline.outboxReadings == 0
    }
    try house.expectProof()
    try house.setFaults([])
    try house.wait("the upstream refuses nothing any more") {
      TemporaryDirectory.read(house.directory.file("upstream.log")).contains("failing with nothing")
    }
    let requeue = try house.run("dead-letters", ["requeue", "--all", "--spool", house.spool])
    #expect(requeue.status == 0, "\(requeue.output)")
    try house.wait("they are delivered") { try house.delivered().count == 3_000 }
    try house.expectDelivered(count: 3_000)
    try house.expectProof()
  }

  @Test("writes files that are whole, once each reading, through kill -9")
  func fileUplink() throws {
    var options = House.Options()
    options.uplinkKind = "file: { directory: out, max_bytes: 64 KiB, max_age: 1 s }"
    let house = try House("file", options)
    try house.startDaemon()
    let devices = try house.simulate(["--devices", "20", "--count", "8000", "--total-rate", "2000"])
    for part in 1...4 {
      try house.wait("some is delivered") { try house.status().pipelines[0].delivered > part * 500 }
      house.killDaemon()
      try house.startDaemon()
    }
    #expect(devices.wait(seconds: 120) == 0)
    try house.settle(received: 8_000)
    let out = house.directory.file("out")
    func finished() throws -> [String] {
      try FileManager.default.contentsOfDirectory(atPath: out).filter { $0.hasSuffix(".ndjson.gz") }.sorted()
    }
    func readings() throws -> [House.Reading] {
      try finished().flatMap { name in
        try House.readings(try ChildProcess.run("gzip", ["-dc", out + "/" + name]).output)
      }
    }
    try house.wait("the last file is finished by its age") { try Set(readings()).count == 8_000 }
    let all = try readings()
    let received = try house.status().spool.received
    #expect(all.count == received, "each message that was taken in is in one file, once")
    try house.expectBalance()
  }
}
