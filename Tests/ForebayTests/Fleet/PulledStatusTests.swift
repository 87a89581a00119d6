import FoundationEssentials
import Status
import Testing

@testable import forebay

@Suite("Fleet: what a gateway says") struct PulledStatusTests {
  private func reason(_ text: String) -> String {
    do {
      _ = try PulledStatus(body: Array(text.utf8))
      return ""
    } catch {
      return error.reason
    }
  }

  @Test("the figures of a whole document are taken")
  func whole() throws {
    let text = SimulatedStatus.text(of: 9, answers: 3)
    let summary = try PulledStatus(body: Array(text.utf8))
    #expect(summary.gateway == "gw-00009" && summary.site == "plant-0" && summary.state == .critical)
    #expect(summary.pages == 1 && summary.tickets == 0 && summary.alarms.first?.kind == "parked")
    #expect(summary.freshnessSeconds == 5_400 && summary.backlogMessages == 54_000 && summary.outboxReadings == 7)
    #expect(summary.deadLetters == 2 && summary.isParked && summary.objectives.isEmpty)
    #expect(summary.alarms.first?.runbook?.hasSuffix("#parked") == true)
  }

  @Test("what a gateway of this version writes is what is read, and what simulated ones write is no other")
  func sameDocument() throws {
    let text = Array(SimulatedStatus.text(of: 9, answers: 3).utf8)
    let status = try JSONDecoder().decode(GatewayStatus.self, from: Data(text))
    #expect(try PulledStatus(body: status.json) == PulledStatus(body: text))
    #expect(status.json.count < 8_000 && text.count < 8_000)
  }

  @Test("numbers of alarms that nobody could have are bounded, for they are added up")
  func manyAlarms() throws {
    let text = #"{"version":1,"gateway":"g","state":"critical","alarms":{"page":9223372036854775807,"ticket":1}}"#
    let summary = try PulledStatus(body: Array(text.utf8))
    #expect(summary.pages == PulledStatus.mostAlarms && summary.pages + summary.tickets > 0)
  }

  @Test("members that are missing or not known do no harm")
  func tolerant() throws {
    let summary = try PulledStatus(
      body: Array(#"{"version":1,"gateway":"g","state":"ok","novelty":{"a":[1]},"backlog":{"novelty":1}}"#.utf8))
    #expect(summary.state == .ok && summary.backlogMessages == nil && summary.pages == 0)
  }

  @Test(
    "what is no status is refused, and the place is named",
    arguments: [
      ("", "the answer cannot be read as JSON"),
      ("[]", "the status is no JSON object"),
      ("7", "the status is no JSON object"),
      (#"{"version":1}"#, "the status lacks 'gateway'"),
      (#"{"version":2,"gateway":"g","state":"ok"}"#, "the status has version 2, expected 1"),
      (#"{"version":1,"gateway":"../g","state":"ok"}"#, "'gateway' is no name"),
      (#"{"version":1,"gateway":"g","state":"fine"}"#, "the state 'fine' is not known"),
      (#"{"version":1,"gateway":"g","state":7}"#, "'state' of the status has the wrong type"),
      (#"{"version":1,"gateway":"g","state":"ok","backlog":{"messages":"x"}}"#, "'backlog.messages'"),
      (#"{"version":1,"gateway":"g","state":"ok","backlog":{"messages":1e99}}"#, "cannot be read"),
      (#"{"version":1,"gateway":"g","state":"ok","alarms":{"list":[7]}}"#, "'alarms.list.[0]'"),
      (#"{"version":1,"gateway":"g","state":"ok""#, "the answer cannot be read as JSON"),
    ])
  func invalid(_ text: String, _ wanted: String) {
    #expect(reason(text).contains(wanted), "\(reason(text))")
  }

  @Test("a document that is nested without end is refused, not followed")
  func nested() {
    #expect(!reason(String(repeating: "[", count: 60_000)).isEmpty)
    #expect(!reason(String(repeating: #"{"a":"#, count: 10_000)).isEmpty)
  }

  @Test("lists and texts are cut")
  func bounded() throws {
    let long = String(repeating: "x", count: 5_000)
    let alarm = #"{"kind":"\#(long)","text":"\#(long)"}"#
    let list = Array(repeating: alarm, count: 9).joined(separator: ",")
    let text = #"{"version":1,"gateway":"g","state":"ok","software":"\#(long)","alarms":{"list":[\#(list)]}}"#
    let summary = try PulledStatus(body: Array(text.utf8))
    #expect(summary.alarms.count == 3 && summary.alarms.allSatisfy { $0.text.count == 200 && $0.kind.count == 200 })
    #expect(summary.software?.count == 200)
  }
}
