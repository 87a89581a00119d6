@testable import Delivery
import Telemetry
import Testing

@Suite("Delivery that an operator has paused")
struct PausedDeliveryTests {
  @Test("nothing more is sent, what is on its way is booked, and all of it follows when it goes on")
  func pause() throws {
    var rig = CoreRig(Sample.chain(20))
    try rig.settle()
    #expect(rig.sent.count == 4)
    rig.core.pause(true)
    // What was on its way ends, is booked, and nothing takes its place.
    for _ in 0..<4 { rig.answer { _ in .hasIt } }
    try rig.settle()
    #expect(rig.sent.isEmpty && rig.outbox.confirmed.count == 4)
    #expect(rig.core.deadline(now: rig.now) == nil && rig.core.next(now: rig.now + 3_600_000_000_000) == nil)
    #expect(rig.core.status(now: rig.now).state == .paused)
    rig.core.wake()
    #expect(rig.core.next(now: rig.now) == nil && rig.core.deadline(now: rig.now) == nil)
    rig.core.pause(false)
    try rig.run { _ in .hasIt }
    #expect(rig.outbox.confirmed.map(\.identity.sequence) == Array(1...20))
  }

  @Test("an outage that it cuts short is none while nothing is tried, and settings that change do not end it")
  func outage() throws {
    var rig = CoreRig(Sample.chain(5))
    try rig.run(until: rig.now + 10_000_000_000) { _ in .unreachable(Unreachable(.closed, "")) }
    #expect(rig.core.status(now: rig.now).outage != nil)
    rig.core.pause(true)
    #expect(rig.core.status(now: rig.now).outage == nil)
    rig.core.apply(UplinkSettings(name: "up", kind: .http(.init(url: "http://127.0.0.1:1/"))), now: rig.now)
    #expect(rig.core.next(now: rig.now) == nil)
    rig.core.pause(false)
    try rig.run { _ in .hasIt }
    #expect(rig.outbox.isEmpty)
  }
}
