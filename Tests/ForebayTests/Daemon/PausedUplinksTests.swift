import Delivery
import Logging
import Telemetry
import TestSupport
import Testing

@testable import forebay

@Suite("Uplinks that an operator has paused")
struct PausedUplinksTests {
  /// Nothing waits.
  private struct EmptyOutbox: Outbox {
    func entries(
      uplink: String, after: OutboxPosition?, excluding: Set<String>, limit: Int
    ) throws -> [OutboxEntry] { [] }
    func confirm(_ ids: [Int64]) throws {}
    func split(_ id: Int64, into parts: [Batch]) throws {}
    func setAside(_ id: Int64, rule: String, reason: String) throws {}
  }

  @Test("one that leaves the configuration stays paused, and can be resumed without coming back")
  func removed() async throws {
    let folder = try TemporaryDirectory("paused")
    let central = UplinkSettings(name: "central", kind: .file(.init(directory: folder.path + "/out")))
    func uplinks() -> Uplinks {
      Uplinks(outbox: EmptyOutbox(), spool: folder.path, logger: Logger(label: "test"), meters: StageMeters())
    }
    let first = uplinks()
    await first.apply([central])
    let pause = PausedUplinks.Pause(uplink: "central", since: "2026-11-21T16:00:00Z", by: "anna")
    #expect(try await first.pause("central", pause))
    await first.apply([])
    #expect(first.paused == [pause])
    #expect(try await !first.pause("nowhere", nil))
    await first.apply([central])
    #expect(await first.status().map(\.state) == [.paused])
    await first.stop(deadline: 0)

    // Gone over a restart, too.
    let second = uplinks()
    await second.apply([])
    #expect(second.paused == [pause])
    #expect(try await !second.pause("central", pause), "there is none to pause")
    #expect(try await second.pause("central", nil))
    #expect(second.paused.isEmpty)
    #expect(try await !second.pause("central", nil))
    await second.apply([central])
    #expect(await second.status().map(\.state) == [.idle])
    await second.stop(deadline: 0)
  }
}
