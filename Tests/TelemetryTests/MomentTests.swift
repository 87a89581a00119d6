import Testing

@testable import Telemetry

@Suite("Moments")
struct MomentTests {
  @Test("time between two moments is told by the clock that can")
  func elapsed() {
    let boot = BootID(high: 1, low: 1)
    let early = Moment(boot: boot, monotonic: 1_000, wall: 1_000, quality: .synchronised)
    var late = Moment(boot: boot, monotonic: 9_000, wall: 9_000, quality: .synchronised)
    late.wall = 5
    #expect(late.elapsed(since: early) == 8_000)
    late = Moment(boot: BootID(high: 7, low: 7), monotonic: 3, wall: 9_500, quality: .synchronised)
    #expect(late.elapsed(since: early) == 8_500)
    late.quality = .unsynchronised
    #expect(late.elapsed(since: early) == nil)
    #expect(early.elapsed(since: early) == 0)
  }
}
