import Foundation
import Logging
import Telemetry
import TestSupport
import Testing

@testable import Ingest
@testable import forebay

@Suite("What brokers have dropped")
struct BrokerDropsTests {
  private static let hour: Int64 = 3_600_000_000_000

  private static func source(
    _ total: Int64?, since connect: Int64 = 0, address: String = "10.0.0.1:1883"
  ) -> SourceStatus {
    var source = Seen.source(.connected)
    source.address = address
    source.droppedByBroker = total.map { SourceStatus.Dropped(total: $0, sinceConnected: connect) }
    return source
  }

  private static func text(_ drops: BrokerDrops) -> String? { drops.marks["floor"]?.text }

  @Test("where counting begins nothing is claimed; what is dropped while we are connected is told as that")
  func connected() {
    var drops = BrokerDrops()
    drops.look([Self.source(nil)], elapsed: 0)
    drops.look([Self.source(900)], elapsed: 1)
    #expect(Self.text(drops) == nil)
    drops.look([Self.source(912, since: 12)], elapsed: 1)
    drops.look([Self.source(912, since: 12)], elapsed: 1)
    #expect(
      Self.text(drops)
        == "the broker dropped 12 messages while we were connected, for whichever of its clients: "
        + "ours may be among them")
  }

  @Test("what the count has grown by between two connections was dropped while we were away, and no reconnect ends it")
  func away() {
    var drops = BrokerDrops()
    drops.look([Self.source(900)], elapsed: 0)
    // Connected again: the last status stays until the broker tells.
    drops.look([Self.source(900)], elapsed: 1)
    drops.look([Self.source(1_200)], elapsed: 1)
    #expect(Self.text(drops)?.hasPrefix("the broker dropped 300 messages while we were away, for whichever") == true)
    drops.look([Self.source(1_201, since: 1)], elapsed: 1)
    drops.look([Self.source(1_201)], elapsed: 1)
    #expect(
      Self.text(drops)?.hasPrefix(
        "the broker dropped 300 messages while we were away and 1 message while we were connected") == true)
  }

  @Test("a broker that was started anew, and another one, begin a new count")
  func anew() {
    var drops = BrokerDrops()
    drops.look([Self.source(900)], elapsed: 0)
    drops.look([Self.source(7)], elapsed: 1)
    #expect(Self.text(drops) == nil)
    drops.look([Self.source(9, since: 2)], elapsed: 1)
    #expect(Self.text(drops)?.contains(" 2 messages while we were connected") == true)
    drops.look([Self.source(1_000, address: "10.0.0.2:1883")], elapsed: 1)
    #expect(Self.text(drops) == nil)
  }

  @Test("it is told for a day of running after the last of them; the count stays known")
  func ends() {
    var drops = BrokerDrops()
    drops.look([Self.source(0)], elapsed: 0)
    drops.look([Self.source(5)], elapsed: 0)
    drops.look([Self.source(nil)], elapsed: 20 * Self.hour)
    drops.look([Self.source(6, since: 1)], elapsed: Self.hour)
    drops.look([Self.source(6, since: 1)], elapsed: 23 * Self.hour)
    #expect(Self.text(drops) != nil)
    drops.look([Self.source(6, since: 1)], elapsed: Self.hour)
    #expect(Self.text(drops) == nil && drops.marks["floor"]?.total == 6)
    drops.look([], elapsed: 1)
    #expect(drops.marks.count == 1)
    var other = Self.source(nil)
    other.name = "roof"
    drops.look([other], elapsed: 1)
    #expect(drops.marks.isEmpty)
  }

  @Test("counts as large as numbers go are no trap")
  func hostile() {
    var drops = BrokerDrops()
    drops.look([Self.source(0)], elapsed: 0)
    for _ in 0..<3 {
      drops.look([Self.source(.max)], elapsed: .max)
      drops.look([Self.source(0)], elapsed: 1)
      drops.look([Self.source(.max, since: .max)], elapsed: 1)
    }
    #expect(drops.marks["floor"]?.isSane == true)
    let restored = BrokerDrops(restoring: ["floor": .init(address: "a", total: -1)])
    #expect(restored.marks.isEmpty)
  }

  @Test("it outlives the process: what was dropped while the daemon was stopped, and what was told before, is told")
  func kept() throws {
    let folder = try TemporaryDirectory("drops")
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    func memory() -> BrokerDropsMemory { BrokerDropsMemory(directory: folder.path, logger: logger) }
    let first = memory()
    #expect(first.look([Self.source(900)], now: 1)["floor"]?.text == nil)
    // Killed: what was seen first is in the file.
    let second = memory()
    #expect(second.look([Self.source(nil)], now: 2)["floor"]?.text == nil)
    #expect(second.look([Self.source(940)], now: 3)["floor"]?.away == 40)
    second.keep()
    #expect(memory().look([Self.source(nil)], now: 4)["floor"]?.away == 40)
    #expect(memory().look([Self.source(941)], now: 4)["floor"]?.away == 41)
    try folder.write("{", to: "broker-drops.json")
    #expect(memory().look([Self.source(950)], now: 5)["floor"]?.text == nil)
  }
}
