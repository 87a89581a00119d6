import Testing

@testable import Status

@Suite("Alarms")
struct AlarmTests {
  @Test("a page is more urgent than a ticket")
  func severity() {
    #expect(AlarmSeverity.allCases.sorted(by: >) == [.page, .ticket])
  }
}
