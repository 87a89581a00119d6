import Telemetry
import Testing

@Suite("Ledger counters")
struct LedgerCountersTests {
  @Test("are added column by column, every one of them")
  func addition() {
    var sum = LedgerCounters()
    var next = LedgerCounters()
    for (index, column) in LedgerCounters.columns.enumerated() {
      sum[keyPath: column.path] = Int64(index)
      next[keyPath: column.path] = 100
    }
    sum += next
    for (index, column) in LedgerCounters.columns.enumerated() {
      #expect(sum[keyPath: column.path] == Int64(index) + 100, "\(column.name)")
    }
    #expect(Set(LedgerCounters.columns.map(\.name)).count == LedgerCounters.columns.count)
  }
}
