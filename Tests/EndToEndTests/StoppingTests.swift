import Foundation
import TestSupport
import Testing

@Suite("Stopping")
struct StoppingTests {
  /// What the upstream does while the daemon stops.
  private static let upstreams: [[String]] = [
    [], ["drop-after-store%30"], ["silent"], ["503%50:retry-after=1"], ["half%40"],
    ["silent%20", "drop-after-store%20"],
  ]

  @Test("over and over under QoS 1 traffic, whatever the upstream does meanwhile: nothing is lost, nothing is repeated")
  func underTraffic() throws {
    let house = try House("restarts")
    let text = try String(contentsOfFile: house.configurationPath, encoding: .utf8)
    try text.replacingOccurrences(of: "grace: 20 s", with: "grace: 3 s")
      .write(toFile: house.configurationPath, atomically: true, encoding: .utf8)
    try house.startUpstream()
    try house.startDaemon()
    let count = 12_000
    let devices = try house.simulate(["--devices", "30", "--count", "\(count)", "--total-rate", "600"])
    for (round, rules) in Self.upstreams.enumerated() {
      try house.setFaults(rules)
      let before = try house.status().spool.received
      try house.wait("messages flow in round \(round)") { try house.status().spool.received >= before + 300 }
      let begun = monotonicSeconds()
      #expect(house.stopDaemon() == 0, "round \(round)")
      // Deliveries on their way are given the grace period, and no more of them than that.
      #expect(monotonicSeconds() - begun < 20, "round \(round)")
      let ledger = try AuditColumns(try house.run("audit", ["--spool", house.spool, "--json"]).output)
      try house.expectBalance()
      let held = try house.delivered()
      #expect(Set(held).count == held.count, "the upstream holds each once")
      // What is booked as delivered is there; without faults nothing else is.
      let delivered = try #require(ledger["delivered"])
      if rules.isEmpty {
        #expect(held.count == delivered, "round \(round)")
        #expect(ledger["outbox"] == 0 && ledger["waiting"] == 0)
      } else {
        #expect(held.count >= delivered, "round \(round)")
      }
      try house.startDaemon()
      // All that was staged was committed and acknowledged before the farewell: nothing comes once more.
      #expect(try house.status().sources[0].redelivered == 0, "round \(round)")
    }
    try house.setFaults([])
    #expect(devices.wait(seconds: 120) == 0, "everything was acknowledged to the devices")
    try house.settle(received: count)
    #expect(house.stopDaemon() == 0)
    try house.expectDelivered(count: count)
    try house.expectProof()
    let ledger = try AuditColumns(try house.run("audit", ["--spool", house.spool, "--json"]).output)
    #expect(ledger["received"] == count && ledger["delivered"] == count)
    #expect(ledger["duplicate"] == 0 && ledger["rejected"] == 0)
  }

  @Test("a daemon that stops while its upstream is away calls nobody because of that")
  func duringAnOutage() throws {
    let house = try House("stopping")
    // Nothing listens upstream.
    try house.startDaemon()
    try house.publish(devices: 1, count: 3)
    try house.wait("three readings wait in the outbox") { try house.status().pipelines.first?.outboxReadings == 3 }
    #expect(try house.status().alarms.isEmpty)
    let daemon = try #require(house.daemon)
    daemon.signal(SIGTERM)
    // Who asks makes it look.
    var looks = 0
    try house.wait("it has stopped", within: 40) {
      if let status = try? house.status() {
        #expect(status.alarms.isEmpty, "\(status.alarms)")
        looks += 1
      }
      return daemon.wait(seconds: 0.3) != nil
    }
    #expect(looks > 3)
    #expect(!TemporaryDirectory.read(house.directory.file("daemon.log")).contains("alarm raised"))
  }
}
