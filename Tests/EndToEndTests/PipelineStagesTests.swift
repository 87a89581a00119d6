import Foundation
import TestSupport
import Testing

@Suite("What pipelines do to readings")
struct PipelineStagesTests {
  private func send(_ house: House, _ topic: String, _ payload: String) throws {
    let sent = try ChildProcess.run(
      "mosquitto_pub", ["-h", "127.0.0.1", "-p", "\(house.broker.port)", "-q", "1", "-t", topic, "-m", payload])
    guard sent.status == 0 else { throw House.Trouble(description: sent.output) }
  }

  private func columns(_ house: House) throws -> [String: Int] {
    struct Audit: Decodable {
      struct Pipeline: Decodable { var columns: [String: Int] }
      var pipelines: [Pipeline]
    }
    let audit = try house.run("audit", ["--json", "--spool", house.spool])
    return try #require(
      try JSONDecoder().decode(Audit.self, from: Data(audit.output.utf8)).pipelines.first?.columns)
  }

  @Test("many readings in a message, duplicates, where and select: what is left is delivered once, and all is booked")
  func stages() throws {
    var options = House.Options()
    options.pipeline = """
      each: r
          dedupe: { by: [n], within: 1 h }
          sequence: n
          drift: true
          where: v > 0
          select: [n, "v * 2 AS double"]
      """
    let house = try House("stages", options)
    try house.startUpstream()
    try house.startDaemon()
    try send(house, "sensors/p1/x", #"{"ts":1000,"r":[{"n":1,"v":1.5},{"n":2,"v":-1},{"n":1,"v":7}]}"#)
    try house.wait("the first is read") { try house.status().pipelines[0].decoded == 1 }
    // What was met before a restart is known after it, also behind kill -9.
    house.killDaemon()
    try house.startDaemon()
    try send(house, "sensors/p1/x", #"{"ts":2000,"r":[{"n":2,"v":5},{"n":3,"v":2}]}"#)
    try send(house, "sensors/p2/x", #"{"ts":2000,"r":[{"n":1,"v":0.5},{"n":9,"v":"abs"}]}"#)
    try send(house, "sensors/p2/x", #"{"ts":2000,"r":7}"#)
    try house.wait("all is delivered") {
      let status = try house.status()
      return status.spool.received == 4 && status.pipelines[0].backlog == 0 && status.pipelines[0].openReadings == 0
        && status.pipelines[0].outboxReadings == 0
    }
    let seen = try house.run("status", ["--socket", house.spool + "/forebay.sock"]).output
    #expect(seen.contains("missing 7, repeats 0, resets 0, unnumbered 0, of 2 devices"), "\(seen)")
    #expect(seen.contains("changes 1; the last: /v of p2 was a number, is a string, at offset 2"), "\(seen)")
    let name = try house.status().pipelines[0].name
    let devices = try house.run("devices", ["--pipeline", name, "--worst", "--limit", "1", "--spool", house.spool])
    #expect(devices.status == 0 && devices.output.contains("2 devices, as of the last seal"), "\(devices.output)")
    #expect(devices.output.contains("/n number, /v string") && devices.output.contains("and 1 device more"))
    // The daemon that runs tells more.
    #expect(devices.output.contains("LAST SEEN") && devices.output.contains(" ago  "), "\(devices.output)")
    let values = try house.run("devices", ["--pipeline", name, "--values", "--spool", house.spool])
    #expect(values.output.contains(#"{"n":3,"double":4}"#) && values.output.contains(#"{"n":9,"double":0}"#))
    #expect(values.output.contains("2 seen by the running daemon"), "\(values.output)")
    try house.expectProof()
    let columns = try columns(house)
    #expect(columns["produced"] == 7 && columns["duplicate"] == 2 && columns["decoded"] == 3)
    #expect(columns["rejected"] == 1 && columns["deadLetters"] == 1)
    // A text is greater than every number in SQLite: 'abs' > 0.
    #expect(columns["filtered"] == 1 && columns["delivered"] == 4, "\(columns)")
    let lines = try house.run("receive", ["--store", house.store, "--export"]).output.split(separator: "\n")
    #expect(
      lines.sorted() == [
        #"{"key":"p1","time":"1970-01-01T00:00:01Z","captures":{"series":"x"},"data":{"n":1,"double":3.0}}"#,
        #"{"key":"p1","time":"1970-01-01T00:00:02Z","captures":{"series":"x"},"data":{"n":3,"double":4}}"#,
        #"{"key":"p2","time":"1970-01-01T00:00:02Z","captures":{"series":"x"},"data":{"n":1,"double":1.0}}"#,
        #"{"key":"p2","time":"1970-01-01T00:00:02Z","captures":{"series":"x"},"data":{"n":9,"double":0}}"#,
      ])
  }

  @Test(
    "a batch that was delivered leads back to its steps and messages, line by line, and a candidate is tried beside")
  func lineage() throws {
    var options = House.Options()
    options.pipeline = "where: v > 0"
    let house = try House("lineage", options)
    try house.startUpstream()
    try house.startDaemon()
    for value in [1, -1, 2, 3] { try send(house, "sensors/p1/x", #"{"ts":1000,"v":\#(value)}"#) }
    try house.wait("all is delivered") {
      let status = try house.status()
      return status.spool.received == 4 && status.pipelines[0].backlog == 0 && status.pipelines[0].openReadings == 0
        && status.pipelines[0].outboxReadings == 0
    }
    struct Trace: Decodable {
      var certainty: String
      var offsets: [Int64]
      var line: String
    }
    // However the four were batched, every line of every batch leads to its message.
    var offsets: [Int64] = []
    var values: [String] = []
    let name = try house.status().pipelines[0].name
    for sequence in 1...3 {
      for line in 1...3 {
        let found = try house.run(
          "lineage", ["\(name)/\(sequence)", "--line", "\(line)", "--json", "--spool", house.spool])
        guard found.status == 0 else { break }
        let trace = try JSONDecoder().decode(Trace.self, from: Data(found.output.utf8))
        #expect(trace.certainty == "proved")
        offsets += trace.offsets
        values.append(trace.line)
      }
    }
    let first = try #require(offsets.first)
    #expect(offsets == [first, first + 2, first + 3], "\(offsets)")
    #expect(values.map { $0.contains("\"v\":") } == [true, true, true])
    let text = try house.run("lineage", ["\(name)/1", "--messages", "--spool", house.spool])
    #expect(text.status == 0 && text.output.contains("where v > 0") && text.output.contains("delivered  20"))
    #expect(text.output.contains("sensors/p1/x"), "\(text.output)")

    let trial = try house.run("try", ["--config", house.configurationPath, "--fail-on", "any"])
    #expect(trial.status == 0 && trial.output.contains("No differences."), "\(trial.output)")
    try house.expectProof()
  }
}
