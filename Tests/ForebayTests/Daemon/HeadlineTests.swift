import Testing

@testable import forebay

@Suite("What the status claims in one sentence")
struct HeadlineTests {
  private static func source(_ name: String, _ seconds: Double?, messages: Int64 = 0) -> StatusReport.Source {
    .init(
      name: name, state: "connected", messages: messages, bytes: 0, groups: 0, reconnects: 0,
      lastMessageSeconds: seconds)
  }

  private static func uplink(_ name: String, _ state: String, failing: Double? = nil) -> StatusReport.Uplink {
    .init(
      name: name, state: state, attempts: 0, answers: [:], batchesDelivered: 0, readingsDelivered: 0, bytesSent: 0,
      inFlight: 0, failingSeconds: failing, holds: [])
  }

  private static func headline(
    _ sources: [StatusReport.Source], _ uplinks: [StatusReport.Uplink] = [], backlog: Int64 = 0, open: Int = 0,
    outbox: Int64 = 0
  ) -> String {
    StatusReport(
      gateway: "gw", software: "1", uptimeSeconds: 190, clockSynchronised: true, residentBytes: 1, sources: sources,
      spool: .init(
        directory: "/s", usedBytes: 1, maximumBytes: 1, freeBytes: 1, minimumFreeBytes: 1, log: "l", nextOffset: 1,
        received: 1),
      pipelines: [
        .init(
          name: "p", version: "v", draining: false, backlog: backlog, openReadings: open, outboxBatches: 1,
          outboxReadings: outbox, decoded: 1, unmatched: 1, rejected: 1, damaged: 1, produced: 1, delivered: 1,
          deadLetters: 0)
      ], uplinks: uplinks, alarms: []
    ).headline
  }

  @Test("devices that say nothing are told by when the last message came")
  func silence() {
    #expect(Self.headline([Self.source("floor", 25)]) == "Last message 25 s ago; no reading waits for delivery")
    #expect(
      Self.headline([Self.source("floor", nil)])
        == "No message since the start 3 min 10 s ago; no reading waits for delivery")
    #expect(Self.headline([]).hasPrefix("No source is configured; "))
    // Of an earlier daemon.
    #expect(Self.headline([Self.source("floor", nil, messages: 1)]) == "No reading waits for delivery")
  }

  @Test("of several sources the newest and the one that has been silent for longest are told")
  func several() {
    let sources = [Self.source("roof", 7_200), Self.source("floor", 2)]
    #expect(Self.headline(sources).hasPrefix("Last message 2 s ago (floor), from roof 2 h ago; "))
    #expect(
      Self.headline(sources + [Self.source("yard", nil)]).hasPrefix(
        "Last message 2 s ago (floor), none from 1 of 3 sources since the start 3 min 10 s ago; "))
  }

  @Test("what waits and which uplinks fail is told from the first second, before any alarm")
  func outage() {
    let floor = [Self.source("floor", 1)]
    #expect(
      Self.headline(floor, [Self.uplink("central", "retrying", failing: 3)], open: 2, outbox: 40)
        == "Last message 1 s ago; waiting: 42 readings; uplink central has failed for 3 s")
    #expect(
      Self.headline(floor, [Self.uplink("central", "paused")], backlog: 1, outbox: 1)
        == "Last message 1 s ago; waiting: 1 message, 1 reading; uplink central is paused")
    let many = ["a", "b", "c"].map { Self.uplink($0, "retrying") } + [Self.uplink("d", "idle")]
    #expect(Self.headline(floor, many).hasSuffix("; 3 of 4 uplinks do not deliver"))
  }
}
