import Telemetry
import TestSupport
import Testing

@testable import Delivery

@Suite("Replays on the link")
struct ReplayLaneTests {
  private static let replay = ReplayID(random: 0x8149_37dd_0000_0000)

  private static func replayed(_ length: Int) -> [Batch] {
    let epoch = Epoch(random: 99)
    return (1...length).map { sequence in
      var batch = Sample.batch(Int64(sequence), epoch: epoch)
      batch.replay = replay
      return batch
    }
  }

  @Test("nothing of a replay is sent while anything else waits, however much older it is")
  func behind() throws {
    var rig = CoreRig(ReplayLaneTests.replayed(100) + Sample.chain(60)) { $0.concurrency = 4 }
    try rig.run { _ in .hasIt }
    #expect(rig.trace.count == 160)
    #expect(rig.trace.prefix(60).allSatisfy { $0.epoch == Sample.epoch })
    #expect(rig.trace.suffix(100).map(\.sequence) == Array(1...100))
  }

  @Test("a place on the link is kept free of replays: what comes meanwhile does not wait for their answers")
  func freePlace() throws {
    var rig = CoreRig(ReplayLaneTests.replayed(50)) { $0.concurrency = 4 }
    try rig.settle()
    #expect(rig.sent.count == 3)
    rig.outbox.append(Sample.batch(1))
    rig.core.wake()
    try rig.settle()
    #expect(rig.trace.last == Sample.batch(1).identity)
    // It is delivered: the place stays free, and the core does not ask for a timer that leads to nothing.
    #expect(rig.core.deadline(now: rig.now) == nil)
    try rig.run { _ in .hasIt }
    #expect(rig.outbox.waiting.isEmpty)
  }

  @Test("a replay whose readings the upstream refuses is held alone: its pipeline goes on")
  func held() throws {
    var rig = CoreRig(ReplayLaneTests.replayed(20) + Sample.chain(20)) { $0.concurrency = 4 }
    try rig.run(until: rig.now + 1_000_000_000) { $0.replay == nil ? .hasIt : .refused(status: 400, reason: "no") }
    #expect(rig.outbox.waiting.allSatisfy { $0.batch.replay != nil })
    let holds = rig.core.status(now: rig.now).holds
    #expect(holds.map(\.scope) == [.pipeline("climate#814937dd")])
    rig.outbox.append(Sample.batch(21))
    rig.core.wake()
    try rig.run(until: rig.now + 1_000_000_000) { $0.replay == nil ? .hasIt : .refused(status: 400, reason: "no") }
    #expect(rig.outbox.waiting.allSatisfy { $0.batch.replay != nil })
  }

  @Test("batches of a replay say so in their header, those of a pipeline say nothing")
  func header() {
    let fields = Dictionary(
      HTTPRequestFields.of(ReplayLaneTests.replayed(1)[0], attempt: 1, life: 0), uniquingKeysWith: { $1 })
    #expect(fields["Forebay-Replay"] == "814937dd")
    #expect(!HTTPRequestFields.of(Sample.batch(1), attempt: 1, life: 0).contains { $0.0 == "Forebay-Replay" })
  }

  @Test("in a directory a replay has files of its own, with its id in their names")
  func files() async throws {
    let box = try TemporaryDirectory("replayfiles")
    let uplink = FileUplink(settings: .init(directory: box.path), wall: { 1_700_000_000_000_000_000 })
    for (live, replayed) in zip(Sample.chain(3), ReplayLaneTests.replayed(3)) {
      #expect(await uplink.send(live, attempt: 1, wrote: { _ in }) == .hasIt)
      #expect(await uplink.send(replayed, attempt: 1, wrote: { _ in }) == .hasIt)
    }
    await uplink.shutdown()
    let names = try DiskCalls().names(in: box.path).filter { !$0.hasPrefix(".") }.sorted()
    #expect(
      names == [
        "20231114T221320.000Z~gw-1~climate~0000000000000063~1-3~replay-814937dd.ndjson.gz",
        "20231114T221320.000Z~gw-1~climate~0123456789abcdef~1-3.ndjson.gz",
      ])
  }
}
