import ArgumentParser
import Telemetry
import TestSupport
import Testing

@testable import Spool
@testable import forebay

@Suite("Commands: replay")
struct ReplayCommandTests {
  @Test(
    "wrong usage is found before anything is done",
    arguments: [
      ["--from", "0"], ["--pipeline", "p"], ["--pipeline", "p", "--from", "yesterday"],
      ["--pipeline", "p", "--from", "5", "--to", "3"], ["--pipeline", "p", "--from", "5", "--to", "2026-05-21"],
      ["--pipeline", "p", "--from", "2026-05-22", "--to", "2026-05-21"],
      ["--pipeline", "p", "--from", "0", "--rate", "0"], ["--pipeline", "p", "--from", "0", "--budget", "many"],
      ["--pipeline", "p", "--from", "0", "--budget", "0"], ["--pipeline", "p", "--from", "0", "--dry-run", "--wait"],
      ["resume", "814937dd", "--rate", "-1"], ["show"],
    ])
  func wrongUsage(_ arguments: [String]) throws {
    let error = #expect(throws: (any Error).self) { try Forebay.parseAsRoot(["replay"] + arguments) }
    #expect(Forebay.exitCode(for: try #require(error)) == .validationFailure)
  }

  @Test("a range begins and ends at an offset, a time, a date, or so long ago")
  func points() {
    let day: Int64 = 86_400_000_000_000
    let now = 20_000 * day
    func point(_ text: String) -> ReplayPoint? { ReplayPoint(text, now: now) }
    #expect(point("1200") == .offset(1_200))
    #expect(point("now") == .time(now))
    #expect(point("24 h") == .time(now - day) && point("24 h ago") == .time(now - day))
    #expect(point("1970-01-02") == .time(day) && point("1970-01-02T00:00:01Z") == .time(day + 1_000_000_000))
    #expect(point("1970-01-02T01:00:00+01:00") == .time(day))
    for text in ["", "-5", "99999999999999999999", "1970-13-01", "1970-01-02T00:00", "soon", "0 h", "9000000 h"] {
      #expect(point(text) == nil, "\(text)")
    }
  }

  @Test("a spool that is not there ends every subcommand with 2")
  func missingSpool() throws {
    let box = try TemporaryDirectory("noreplay")
    for arguments in [["list"], ["show", "814937dd"], ["pause", "814937dd"], ["--pipeline", "p", "--from", "0"]] {
      var command = try Forebay.parseAsRoot(["replay"] + arguments + ["--spool", box.path])
      #expect(throws: ExitCode(2), "\(arguments)") { try command.run() }
    }
  }

  @Test("a report says in words what is asked for, how far it is and why it rests")
  func report() {
    var request = Replay.Request(pipeline: "climate", log: LogID(rawValue: "aa"), offsets: Offset(100)..<Offset(300))
    request.times = 0..<1_000_000_000
    request.rate = 50
    request.budget = 1 << 20
    request.estimate = .init(readings: 190, batches: 2, bytes: 4_096)
    var counters = LedgerCounters()
    counters.produced = 90
    counters.delivered = 80
    var ledger = Ledger(counters)
    ledger.inOutbox = 10
    let replay = Replay(
      id: ReplayID(random: 0x8149_37dd_0000_0000), request: request, state: .paused, reason: "its budget is used up",
      bytes: 2_048, batches: 1, created: 0, ended: nil, version: "v1", uplink: "central", checkpoint: Offset(200),
      ledger: ledger)
    let report = ReplayReport(replay)
    #expect(
      report.text == """
        replay 814937dd of pipeline climate: paused, its budget is used up
          range      offsets 100 to 299, received from 1970-01-01T00:00:00Z to before 1970-01-01T00:00:01Z
          read       100 of 200 messages (50 %)
          readings   90 made, 10 in the outbox, 80 delivered, 0 dead letters
          upstream   2.0 KiB in 1 batch, to uplink central
          estimate   190 readings, 4.0 KiB in 2 batches
          limits     50 messages a second, a budget of 1.0 MiB
          version    v1
          made       1970-01-01T00:00:00Z
        """)
    #expect(!report.isSettled)
    #expect(ReplayReport.table([report]).contains("814937dd  climate   paused  50 %"))
    #expect(ReplayReport(replay, waitsFor: "room").progress.hasSuffix(": its budget is used up"))
  }
}
