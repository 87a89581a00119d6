import Compression
@testable import Delivery
import Telemetry
import TestSupport
import Testing

/// What an operator is told while nothing goes out.
@Suite("Delivery: outages and the words for what an uplink does")
struct OutageTests {
  private static let minute: Int64 = 60_000_000_000
  private static let refused = Answer.unreachable(Unreachable(.notConnected, "cannot deliver: refused"))

  @Test(
    "an upstream that is away is an alarm after a minute, with its beginning and the last error, until a success",
    arguments: [
      refused, .notNow(status: 503, retryAfter: nil), .stillTakingIn,
      .unreachable(Unreachable(.tls, "cannot deliver: expired")),
    ])
  func upstream(_ answer: Answer) throws {
    var rig = CoreRig(Sample.chain(3))
    let start = rig.now
    try rig.run(until: start + Self.minute) { _ in answer }
    let early = try #require(rig.core.status(now: start + Self.minute).outage)
    #expect(early.since == start && early.reason == answer.description && !early.isLocal)
    #expect(!early.isAlarming(now: start + Self.minute))
    #expect(early.isAlarming(now: start + Self.minute + 1))
    #expect(rig.core.status(now: rig.now).state == .retrying)
    try rig.run { _ in .hasIt }
    #expect(rig.core.status(now: rig.now).outage == nil && rig.core.status(now: rig.now).state == .idle)
  }

  @Test(
    "a disk or a secret of this machine is an alarm at once",
    arguments: [Unreachable.Kind.disk, .diskFull, .configuration])
  func local(_ kind: Unreachable.Kind) throws {
    var rig = CoreRig(Sample.chain(1))
    try rig.settle()
    rig.answer { _ in .unreachable(Unreachable(kind, "cannot write to /out: No space left on device")) }
    let outage = try #require(rig.core.status(now: rig.now).outage)
    #expect(outage.isLocal && outage.isAlarming(now: rig.now))
    #expect(outage.reason == "cannot write to /out: No space left on device")
  }

  @Test("one success among failures begins the count anew, and a hold replaces it by its own alarm")
  func anew() throws {
    var rig = CoreRig(Sample.chain(2))
    try rig.settle()
    rig.answer { _ in Self.refused }
    #expect(rig.core.status(now: rig.now).outage != nil)
    rig.answer { _ in .hasIt }
    #expect(rig.core.status(now: rig.now).outage == nil)
    rig.now += Self.minute
    let second = rig.now
    try rig.settle()
    rig.answer { _ in Self.refused }
    #expect(rig.core.status(now: rig.now).outage?.since == second)
    rig.now += Self.minute
    try rig.settle()
    rig.answer { _ in .credentials(status: 401) }
    let status = rig.core.status(now: rig.now)
    #expect(status.outage == nil && status.state == .held && status.holds.count == 1)
  }

  @Test("without anything left to deliver there is no outage")
  func nothingWaits() throws {
    var rig = CoreRig(Sample.chain(1))
    #expect(rig.core.status(now: rig.now).state == .idle)
    try rig.settle()
    #expect(rig.core.status(now: rig.now).state == .delivering)
    let id = try #require(rig.sent.keys.first)
    rig.answer { _ in Self.refused }
    #expect(rig.core.status(now: rig.now).state == .retrying)
    rig.core.vanished(id)
    #expect(rig.core.status(now: rig.now).state == .idle && rig.core.status(now: rig.now).outage == nil)
  }

  @Test("an uplink whose only batch waits for a person is held")
  func heldBatch() throws {
    var rig = CoreRig(Sample.chain(1))
    try rig.settle()
    rig.answer { _ in .identityConflict(held: nil) }
    #expect(rig.core.status(now: rig.now).state == .held)
  }
}

extension RealIO {
  @Suite("Bytes sent")
  struct BytesSentTests {
    @Test("nothing counts where no connection was made, everything where the body went out")
    func http() async throws {
      let batch = Sample.batch(1)
      let nobody = Sample.uplink("http://127.0.0.1:\(try freePort())/", timeout: 2_000_000_000)
      var written = Written()
      let answer = await nobody.send(batch, attempt: 1, wrote: written.add)
      #expect(answer.kind == .unreachable && written.total == 0)
      #expect(answer.description.hasSuffix("no connection (Connection refused)"), "\(answer)")
      await nobody.shutdown()

      let upstream = try await FaultyUpstream { _, number in number == 0 ? .answer(503) : .receipt }
      let uplink = Sample.uplink(upstream.url(), timeout: 10_000_000_000)
      written = Written()
      #expect(await uplink.send(batch, attempt: 1, wrote: written.add).kind == .notNow)
      #expect(written.total == batch.body.count)
      #expect(await uplink.send(batch, attempt: 2, wrote: written.add) == .hasIt)
      #expect(written.total == 2 * batch.body.count)
      await uplink.shutdown()
      await upstream.shutdown()
    }

    @Test("a large body arrives whole although it goes out in pieces")
    func pieces() async throws {
      let text = (0..<20_000).map { "{\"n\":\($0),\"line\":\(($0 &* 2_654_435_761) % 1_000_003)}\n" }.joined()
      let batch = Sample.batch(1, count: 20_000, compression: .none, text: text)
      let upstream = try await FaultyUpstream { _, _ in .receipt }
      let uplink = Sample.uplink(upstream.url(), timeout: 20_000_000_000)
      let written = Written()
      #expect(await uplink.send(batch, attempt: 1, wrote: written.add) == .hasIt)
      #expect(batch.body.count > 3 * CountedBody.piece && written.total == batch.body.count)
      #expect(upstream.requests.first?.body == batch.body)
      #expect(upstream.requests.first?["Content-Length"] == "\(batch.body.count)")
      await uplink.shutdown()
      await upstream.shutdown()
    }

    @Test("a file uplink counts what it has written, and nothing for a batch that it holds")
    func file() async throws {
      let directory = try TemporaryDirectory("bytes")
      let uplink = FileUplink(settings: .init(directory: directory.file("out")), wall: wall)
      let written = Written()
      let batch = Sample.batch(1)
      #expect(await uplink.send(batch, attempt: 1, wrote: written.add) == .hasIt)
      #expect(await uplink.send(batch, attempt: 2, wrote: written.add) == .hasIt)
      #expect(written.total == batch.body.count)
      await uplink.shutdown()
      let broken = FileUplink(
        settings: .init(directory: try directory.write("a file", to: "plain") + "/out"), wall: wall)
      let none = Written()
      #expect(await broken.send(batch, attempt: 1, wrote: none.add).kind == .unreachable && none.total == 0)
      await broken.shutdown()
    }
  }
}
