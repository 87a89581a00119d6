import Telemetry
import Testing

@testable import Spool

@Suite("Where pipelines stand")
struct StandingTests {
  private let folder: SpoolFolder

  init() throws { folder = try SpoolFolder() }

  @Test("a look tells the ledger, the mark and the oldest batch that waits")
  func standing() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    for start in [0, 2, 4] { try spool.log.append(Fixture.group(start..<start + 2)) }
    #expect(try spool.state.standings().first?.oldest == nil)
    try spool.state.seal(Fixture.seal(&state, readings: 1..<3), pipeline: "climate")
    try spool.state.seal(Fixture.seal(&state, readings: 3..<5), pipeline: "climate")
    let standing = try #require(try spool.state.standings().first)
    #expect(standing.book == "climate" && standing.replay == nil && standing.active && standing.uplink == "central")
    #expect(standing.checkpoint == Offset(5) && standing.counters.produced == 4)
    #expect(standing.oldest == .init(log: spool.log.id, first: Offset(1), sealed: 5_000))
    #expect(try spool.state.waitingReadings(of: "climate") == 4)
    let first = try #require(try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 1).first)
    try spool.state.confirm([first.id])
    #expect(try spool.state.standings().first?.oldest?.first == Offset(3))
    #expect(try spool.state.waitingReadings(of: "other") == 0)
  }

  @Test("the log tells when the messages around an offset were received, while it has them")
  func received() throws {
    let spool = try folder.open()
    let gauge = LogGauge(directory: folder.settings.directory)
    defer { gauge.close() }
    #expect(try gauge.received(around: Offset(0)) == nil)
    for start in [0, 2, 4] { try spool.log.append(Fixture.group(start..<start + 2)) }
    for offset in 0..<6 as Range<Int64> {
      let received = try #require(try gauge.received(around: Offset(offset)))
      #expect(received.first == Fixture.moment(wall: offset / 2 * 2_000))
      #expect(received.last == Fixture.moment(wall: offset / 2 * 2_000 + 1_000))
    }
    #expect(try gauge.received(around: Offset(6)) == nil)
  }

  @Test("time between two moments is told by the clock that can")
  func elapsed() {
    let early = Fixture.moment(wall: 1_000)
    var late = Fixture.moment(wall: 9_000)
    late.wall = 5
    #expect(early.elapsed(until: late) == 8_000)
    late = Moment(boot: BootID(high: 7, low: 7), monotonic: 3, wall: 9_500, quality: .synchronised)
    #expect(early.elapsed(until: late) == 8_500)
    late.quality = .unsynchronised
    #expect(early.elapsed(until: late) == nil)
  }
}
