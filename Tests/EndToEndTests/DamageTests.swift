import Foundation
import TestSupport
import Testing

@Suite("A spool that changes or breaks under the daemon")
struct DamageTests {
  @Test("A pipeline that gets another name in the middle of the flow loses nothing and repeats nothing")
  func renamed() throws {
    let house = try House("renamed")
    try house.startUpstream()
    try house.startDaemon()
    for (round, name) in ["second", "third", "machines"].enumerated() {
      let devices = try house.simulate([
        "--devices", "20", "--count", "3000", "--total-rate", "3000", "--first-seq", "\(round * 150 + 1)",
      ])
      try house.wait("more has come in") { try house.status().spool.received > round * 3_000 + 500 }
      var options = House.Options()
      options.pipelineName = name
      try house.configure(options)
      house.daemon?.signal(SIGHUP)
      try house.wait("\(name) runs") { try house.status().pipelines.contains { $0.name == name } }
      #expect(devices.wait(seconds: 60) == 0)
    }
    try house.wait("everything is delivered", within: 60) {
      let status = try house.status()
      return status.spool.received >= 9_000
        && status.pipelines.allSatisfy { $0.backlog == 0 && $0.openReadings == 0 && $0.outboxReadings == 0 }
    }
    try house.expectDelivered(count: 9_000)
    try house.expectProof()
    #expect(house.stopDaemon() == 0)
  }

  @Test("A database found damaged while it is used is rebuilt by the same process, and every message arrives")
  func damagedInUse() throws {
    let house = try House("damaged")
    try house.startDaemon()
    try house.publish(devices: 20, count: 4_000)
    try house.wait("everything is sealed") {
      try house.status().pipelines.first.map { $0.outboxReadings == 4_000 } ?? false
    }
    #expect(house.stopDaemon() == 0)
    // Pages in the middle: the file opens, and breaks where delivery reads on.
    let path = house.spool + "/state.db"
    let file = try #require(FileHandle(forUpdatingAtPath: path))
    let pages = try file.seekToEnd() / 4096
    for page in pages / 3..<pages / 3 * 2 {
      try file.seek(toOffset: page * 4096)
      try file.write(contentsOf: Data(repeating: 0xA5, count: 4096))
    }
    try file.close()
    try house.startDaemon()
    let process = try #require(house.daemon?.pid)
    try house.startUpstream()
    try house.wait("every message has arrived", within: 60) { try Set(house.delivered()).count == 4_000 }
    try house.settle(received: 4_000)
    #expect(house.daemon?.pid == process && house.daemon?.poll() == nil)
    let kept = try FileManager.default.contentsOfDirectory(atPath: house.spool + "/quarantine")
    #expect(kept.contains { $0.hasSuffix("-state.db") })
    try house.expectDelivered(count: 4_000, repeatsAllowed: true)
    try house.expectProof()
    #expect(house.stopDaemon() == 0)
  }

  @Test("Batches whose uplink is no longer configured raise an alarm, and go out once it is again")
  func stranded() throws {
    let house = try House("stranded")
    try house.startDaemon()
    try house.publish(devices: 10, count: 500)
    try house.wait("everything is sealed") { try house.status().pipelines.first?.outboxReadings == 500 }
    var options = House.Options()
    options.pipelineName = "other"
    options.uplinkName = "elsewhere"
    try house.configure(options)
    house.daemon?.signal(SIGHUP)
    try house.wait("the alarm is raised") {
      try house.status().alarms.contains {
        $0.text.contains("500 readings of pipeline machines wait for uplink central")
      }
    }
    try house.startUpstream()
    options.uplinkName = "central"
    try house.configure(options)
    house.daemon?.signal(SIGHUP)
    try house.wait("everything is delivered") { try house.delivered().count == 500 }
    try house.wait("the alarm is gone") { try house.status().alarms.isEmpty }
    try house.expectProof()
    #expect(house.stopDaemon() == 0)
  }

  @Test("A configuration that is refused at a reload raises an alarm until one is taken over")
  func refusedReload() throws {
    let house = try House("refused")
    try house.startDaemon()
    var options = House.Options()
    options.pipeline = "unknown_key: 1"
    try house.configure(options)
    house.daemon?.signal(SIGHUP)
    try house.wait("the alarm is raised") {
      try house.status().alarms.contains { $0.kind == "configuration" && $0.text.contains("unknown_key") }
    }
    try house.configure(House.Options())
    house.daemon?.signal(SIGHUP)
    try house.wait("the alarm is gone") { try !house.status().alarms.contains { $0.kind == "configuration" } }
    #expect(house.stopDaemon() == 0)
  }
}
