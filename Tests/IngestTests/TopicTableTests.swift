import Telemetry
import Testing

@testable import Ingest

@Suite struct TopicTableTests {
  private func enter(_ topic: String, _ table: inout TopicTable, _ group: inout MessageGroup, _ number: UInt64) -> Int {
    Array(topic.utf8).withUnsafeBytes { table.index(of: $0, in: &group, number: number) }
  }

  @Test("long topics are remembered up to a number of bytes, and each message keeps its own topic all the same")
  func bytes() {
    var table = TopicTable(source: "floor")
    for number in 1...10 {
      var group = MessageGroup(boot: BootID(high: 1, low: 2))
      for index in 0..<200 {
        let topic = "t/\(number)/\(index)/" + String(repeating: "x", count: 60_000)
        let place = enter(topic, &table, &group, UInt64(number))
        #expect(place == index && group.origins[place] == Origin(source: "floor", topic: topic))
        #expect(table.count <= TopicTable.maximumBytes)
      }
      #expect(enter("t/\(number)/199/" + String(repeating: "x", count: 60_000), &table, &group, UInt64(number)) == 199)
    }
  }

  @Test("as many topics as are remembered may have 90 bytes each")
  func many() {
    var table = TopicTable(source: "floor")
    var group = MessageGroup(boot: BootID(high: 1, low: 2))
    for index in 0..<TopicTable.maximumTopics {
      let number = String(1_000_000 + index)
      _ = enter(number + String(repeating: "x", count: 90 - number.utf8.count), &table, &group, 1)
    }
    #expect(table.count == 90 * TopicTable.maximumTopics)
  }

  @Test("a topic that is longer than all that is remembered is taken by itself")
  func alone() {
    var table = TopicTable(source: "floor")
    var group = MessageGroup(boot: BootID(high: 1, low: 2))
    #expect(enter(String(repeating: "x", count: 65_535), &table, &group, 1) == 0)
    #expect(enter("t", &table, &group, 1) == 1)
    #expect(table.count <= 65_536)
  }
}
