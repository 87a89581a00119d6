import Foundation
import TestSupport
import Testing

@Suite("What the broker sends again")
struct RedeliveredFlowTests {
  @Test("after kill -9 between commit and acknowledgement, twice in a row, everything arrives exactly once")
  func killedBeforeAcknowledging() throws {
    let house = try House("redelivered")
    let proxy = try HoldingProxy(to: house.broker.port)
    try house.configure(House.Options(url: "mqtt://127.0.0.1:\(proxy.port)"))
    try house.startUpstream()
    try house.startDaemon()
    try house.publish(devices: 10, count: 2_000)
    try house.settle(received: 2_000)
    // From here on the acknowledgements get lost: to the broker the daemon dies right after its commit.
    proxy.hold()
    try house.publish(devices: 10, count: 500, firstSeq: 201)
    try house.wait("all is committed") { try house.status().spool.received == 2_500 }
    crash(house, proxy)
    try house.startDaemon()
    try house.wait("what comes again is recognised") { try house.status().sources[0].redelivered > 0 }
    proxy.hold()
    crash(house, proxy)
    try house.startDaemon()
    try house.publish(devices: 10, count: 500, firstSeq: 251)
    try house.settle(received: 3_000)
    #expect(try house.status().spool.received == 3_000)
    try house.expectDelivered(count: 3_000)
    try house.expectProof()
    #expect(house.stopDaemon() == 0)
  }

  private func crash(_ house: House, _ proxy: HoldingProxy) {
    house.killDaemon()
    proxy.cut()
    proxy.release()
  }
}
