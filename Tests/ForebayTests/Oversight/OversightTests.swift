import Foundation
import Logging
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import forebay
@testable import Spool
@testable import Status

@Suite("Oversight")
struct OversightTests {
  private let folder: TemporaryDirectory

  init() throws { folder = try TemporaryDirectory("oversight") }

  private func oversight(at seconds: Int64) -> Oversight {
    Oversight(
      directory: folder.path, objectives: ObjectiveSettings.usual, alarms: AlarmSettings(), now: Seen.moment(seconds),
      logger: Logger(label: "test"))
  }

  private func look(
    _ oversight: Oversight, _ seconds: Int64, measures: Bool = true, _ change: (inout Sight) -> Void = { _ in }
  ) {
    var sight = Sight(now: Seen.moment(seconds))
    sight.space = (1, 100 << 30, 100 << 30, 1)
    change(&sight)
    oversight.look(sight, measures: measures)
  }

  @Test("objectives and the beginning of alarms come back after a restart")
  func restart() throws {
    let first = oversight(at: 0)
    for seconds in stride(from: Int64(0), to: 1_200, by: 10) {
      look(first, seconds) {
        $0.pipelines = [Seen.pipeline(waits: true, age: 700)]
        $0.configuration = "refused"
      }
    }
    first.keep(now: Seen.moment(1_200))
    let before = first.objectives
    #expect(before.first { $0.name == "backlog" }?.bad ?? 0 > 15)
    let second = oversight(at: 1_230)
    #expect(second.objectives.map(\.bad) == before.map(\.bad))
    #expect(second.board.alarms.isEmpty)
    look(second, 1_231, measures: false) { $0.configuration = "refused" }
    #expect(second.board.alarms.first { $0.kind == "configuration" }?.since == Seen.moment(0).wall)
  }

  @Test("a file that cannot be read begins anew, and is replaced")
  func damage() throws {
    try folder.write("FBSK\u{1}garbage", to: "oversight")
    let oversight = oversight(at: 0)
    #expect(oversight.objectives.allSatisfy { $0.measured == nil })
    look(oversight, 1)
    oversight.keep(now: Seen.moment(2))
    let bytes = try ConfigurationFiles.system.read(folder.path + "/oversight", 1 << 20).get().bytes
    #expect(throws: Never.self) { _ = try KeptStatus(bytes, settings: ObjectiveSettings.usual) }
  }

  /// A run from one second to another, killed at its end.
  private func run(_ from: Int64, _ to: Int64, _ change: (Int64, inout Sight) -> Void) -> Oversight {
    let run = oversight(at: from)
    for seconds in stride(from: from, to: to, by: 10) {
      look(run, seconds) { change(seconds, &$0) }
      run.keepIfDue(now: Seen.moment(seconds))
    }
    return run
  }

  @Test("a kill loses nothing of what was alarming ten seconds before, also on a young spool")
  func killedSoonAfter() {
    let first = run(0, 320) { seconds, sight in
      sight.pipelines = [Seen.pipeline(waits: true, age: 700)]
      if seconds >= 300 { sight.configuration = "refused" }
    }
    let bad = first.objectives.first { $0.name == "backlog" }?.bad ?? 0
    #expect(bad >= 4)
    let second = oversight(at: 330)
    #expect(second.board.kept.contains { $0.kind == "configuration" })
    #expect(second.objectives.first { $0.name == "backlog" }?.bad == bad)
  }

  @Test("what the ledger counts is known from the second look of a young spool on")
  func killedYoung() {
    _ = run(0, 20) { seconds, sight in sight.pipelines = [Seen.pipeline { $0.rejected = seconds }] }
    let second = oversight(at: 40)
    look(second, 41) { $0.pipelines = [Seen.pipeline { $0.rejected = 50 }] }
    #expect(second.objectives.first { $0.name == "errors" }?.bad == 50)
  }

  @Test("a daemon that is killed every four minutes uses up its budgets, and calls somebody, all the same")
  func killedAgainAndAgain() {
    var bad: Int64 = 0
    for number in 0..<20 as Range<Int64> {
      let last = run(number * 240, number * 240 + 230) { _, sight in
        sight.pipelines = [Seen.pipeline(waits: true, age: 700)]
      }
      let now = last.objectives.first { $0.name == "backlog" }?.bad ?? 0
      #expect(now > bad, "run \(number)")
      bad = now
      if number == 19 { #expect(last.board.alarms.contains { $0.kind == "objective" && $0.subject == "backlog" }) }
    }
    #expect(bad >= 20)
  }

  @Test("while the stages stop, alarms neither come nor go, and the next start judges anew")
  func stopping() {
    let oversight = oversight(at: 0)
    look(oversight, 0) {
      $0.pipelines = []
      $0.configuration = "refused"
    }
    oversight.freeze()
    for seconds in stride(from: Int64(10), to: 300, by: 10) {
      look(oversight, seconds) {
        $0.pipelines = []
        $0.stranded = [.init(book: "climate", uplink: "central", readings: 3)]
        $0.parked = "full"
      }
    }
    #expect(oversight.board.alarms.map(\.kind) == ["configuration"])
    #expect(oversight.board.kept.count == 1)
  }

  @Test("a look for the status raises alarms and measures nothing")
  func looksForTheStatus() {
    let oversight = oversight(at: 0)
    for seconds in 1..<400 as Range<Int64> {
      look(oversight, seconds, measures: false) { $0.pipelines = [Seen.pipeline(waits: true, age: 4_000)] }
    }
    #expect(oversight.board.alarms.map(\.kind) == ["backlog"])
    #expect(oversight.objectives.allSatisfy { $0.measured == nil })
  }

  @Test("alarms stay as they are while nobody can read what they are about")
  func unreadable() {
    let oversight = oversight(at: 0)
    func see(_ seconds: Int64, _ change: (inout Sight) -> Void) -> [String] {
      look(oversight, seconds, change)
      return oversight.board.alarms.map { "\($0.kind) \($0.subject)" }
    }
    let late = Seen.pipeline(waits: true, age: 4_000)
    let lasting = ["uplink gone", "backlog climate"]
    #expect(
      see(0) {
        $0.pipelines = [late]
        $0.stranded = [.init(book: "old", uplink: "gone", readings: 5)]
      } == lasting)
    for seconds in stride(from: Int64(10), to: 400, by: 10) { #expect(see(seconds) { _ in } == lasting) }
    // Its age alone cannot be told.
    for seconds in stride(from: Int64(400), to: 600, by: 10) {
      #expect(see(seconds) { $0.pipelines = [Seen.pipeline(waits: true)] } == lasting)
    }
    #expect(
      see(600) {
        $0.pipelines = [Seen.pipeline()]
        $0.stranded = []
      } == [])
    // It cannot be said that it has been over for the whole hold.
    for seconds in stride(from: Int64(610), to: 900, by: 10) { #expect(see(seconds) { _ in } == []) }
    #expect(oversight.board.kept.count == 2)
    let other = self.oversight(at: 0)
    look(other, 1)
    #expect(other.board.kept.isEmpty, "nor is one raised")
  }

  @Test("what a run did after it was kept last is counted by the next one")
  func countedAcrossARestart() {
    func pipelines(_ rejected: Int64) -> [Sight.Pipeline] { [Seen.pipeline { $0.rejected = rejected }] }
    let first = oversight(at: 0)
    look(first, 10) { $0.pipelines = pipelines(1_000) }
    look(first, 20) { $0.pipelines = pipelines(1_007) }
    first.keep(now: Seen.moment(20))
    look(first, 30) { $0.pipelines = pipelines(1_010) }
    // A power cut: what was seen at 30 is not kept, and more came until then.
    let second = oversight(at: 60)
    look(second, 61) { $0.pipelines = pipelines(1_012) }
    #expect(second.objectives.first { $0.name == "errors" }?.bad == 12)
  }

  @Test("what others report lasts until they clear it")
  func reported() {
    let oversight = oversight(at: 0)
    oversight.report(AlarmCondition(.api, severity: .ticket, text: "the port is taken"))
    look(oversight, 1)
    #expect(oversight.board.alarms.map(\.kind) == ["api"])
    oversight.clear(.api)
    look(oversight, 2)
    #expect(oversight.board.alarms.isEmpty)
  }

  @Test("a clock that is not synchronised for a quarter of an hour is an alarm")
  func clock() {
    let oversight = oversight(at: 0)
    for seconds in stride(from: Int64(0), through: 890, by: 10) {
      look(oversight, seconds) { $0.now = Seen.moment(seconds, quality: .unsynchronised) }
    }
    #expect(oversight.board.alarms.isEmpty)
    look(oversight, 900) { $0.now = Seen.moment(900, quality: .unsynchronised) }
    #expect(oversight.board.alarms.map(\.kind) == ["clock"])
    look(oversight, 910)
    #expect(oversight.board.alarms.isEmpty)
  }

  @Test("other settings hold from the reload on, and the history stays")
  func reload() {
    let oversight = oversight(at: 0)
    for seconds in stride(from: Int64(0), to: 300, by: 10) {
      look(oversight, seconds) { $0.pipelines = [Seen.pipeline(waits: true, age: 700)] }
    }
    var alarms = AlarmSettings()
    alarms.longestWait = 60 * Seen.second
    alarms.runbooks = "https://wiki.example/forebay"
    oversight.adopt(objectives: [.backlog: .usual(.backlog)], alarms: alarms)
    look(oversight, 300) { $0.pipelines = [Seen.pipeline(waits: true, age: 700)] }
    #expect(oversight.board.alarms.contains { $0.kind == "backlog" })
    #expect(oversight.settings.runbook("backlog") == "https://wiki.example/forebay#backlog")
    #expect(oversight.objectives.map(\.name) == ["backlog"])
    #expect(oversight.objectives[0].bad > 2)
  }
}
