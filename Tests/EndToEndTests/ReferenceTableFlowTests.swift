import Foundation
import TestSupport
import Testing

@Suite("Reference tables while the daemon runs")
struct ReferenceTableFlowTests {
  private func send(_ house: House, _ number: Int) throws {
    let sent = try ChildProcess.run(
      "mosquitto_pub",
      [
        "-h", "127.0.0.1", "-p", "\(house.broker.port)", "-q", "1", "-t", "sensors/p1/x", "-m",
        #"{"ts":\#(number)000,"n":\#(number)}"#,
      ])
    guard sent.status == 0 else { throw House.Trouble(description: sent.output) }
    try house.wait("it is delivered") {
      let status = try house.status()
      return status.spool.received == number && status.pipelines[0].backlog == 0
        && status.pipelines[0].openReadings == 0 && status.pipelines[0].outboxReadings == 0
    }
  }

  /// As an operator should: a file that is finished, by renaming.
  private func replace(_ house: House, _ text: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: house.directory.file("devices.csv")), options: .atomic)
  }

  @Test("a changed table is taken over, a broken one is not, and the good one outlives a refused configuration")
  func reload() throws {
    var options = House.Options()
    options.pipeline = "enrich: { table: devices.csv, key: device }"
    let house = try House("tables", options)
    try replace(house, "device,site\np1,North\n")
    try house.startUpstream()
    try house.startDaemon()
    try send(house, 1)
    try replace(house, "device,site\np1,South\n")
    let log = house.directory.file("daemon.log")
    try house.wait("the table is taken over") { TemporaryDirectory.read(log).contains("reference tables reloaded") }
    try send(house, 2)
    try replace(house, "device,site\np1,East\np1,West\n")
    try house.wait("an alarm says what is wrong") {
      try house.status().alarms.contains { $0.kind == "table" && $0.text.contains("the same as on line 2") }
    }
    try send(house, 3)
    // The configuration is refused now, for its table: what ran last has its own.
    house.killDaemon()
    try house.startDaemon()
    #expect(try house.status().alarms.contains { $0.kind == "configuration" })
    try send(house, 4)
    try house.expectProof()
    let lines = try house.run("receive", ["--store", house.store, "--export"]).output.split(separator: "\n").sorted()
    #expect(
      lines
        == (1...4).map { number in
          #"{"key":"p1","time":"1970-01-01T00:00:0\#(number)Z","captures":{"series":"x"},"data":{"ts":\#(number)000,"#
            + #""n":\#(number),"site":"\#(number == 1 ? "North" : "South")"}}"#
        })
    // Mended, it is taken over without a restart.
    try replace(house, "device,site\np1,East\n")
    try house.wait("the table is taken over") {
      try house.status().alarms.contains { $0.kind == "table" } == false
        && TemporaryDirectory.read(log).components(separatedBy: "reference tables reloaded").count > 1
    }
  }
}
