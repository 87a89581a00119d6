import FoundationEssentials
import Status
import Testing

@testable import forebay

@Suite("Events of the gateway")
struct GatewayEventsTests {
  private func report(_ alarms: [(subject: String, text: String)]) -> StatusReport {
    StatusReport(
      gateway: "gw", site: nil, software: "0", uptimeSeconds: 1, clockSynchronised: true, residentBytes: 1,
      sources: [],
      spool: StatusReport.Spool(
        directory: "/", usedBytes: 0, maximumBytes: 1, freeBytes: 1, minimumFreeBytes: 0, parked: nil, log: "l",
        nextOffset: 0, received: 0),
      pipelines: [], replays: nil, uplinks: [],
      alarms: alarms.map { StatusReport.Alarm(kind: "backlog", text: $0.text, subject: $0.subject) }, objectives: nil)
  }

  @Test("an alarm is raised and cleared once, however its text goes on")
  func alarms() throws {
    struct Change: Decodable, Equatable {
      var change: String
      var subject: String
    }
    var events = GatewayEvents()
    func look(_ alarms: [(subject: String, text: String)]) throws -> [Change] {
      try events.look(report(alarms), summary: [], []).filter { $0.name == "alarm" }.map {
        try JSONDecoder().decode(Change.self, from: Data($0.json))
      }
    }
    #expect(try look([("a", "waits for 1 s"), ("b", "waits for 9 s")]).map(\.subject) == ["a", "b"])
    #expect(try look([("a", "waits for 3 s"), ("b", "waits for 11 s")]).isEmpty)
    #expect(try look([("b", "waits for 13 s")]) == [Change(change: "cleared", subject: "a")])
  }
}
