import Foundation
import TestSupport
import Testing

@Suite("Stopping")
struct StoppingTests {
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
