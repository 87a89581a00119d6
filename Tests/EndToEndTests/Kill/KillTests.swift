import Foundation
import Testing

/// FOREBAY_KILL_ROUNDS: how many rounds, half of them at random moments (`make test-kill`: 200); without
/// it a short form. FOREBAY_KILL_SEED: the seed of a run that is to be repeated.
private enum KillSettings {
  static let environment = ProcessInfo.processInfo.environment
  static let rounds = environment["FOREBAY_KILL_ROUNDS"].flatMap { Int($0) }

  static func seed() -> UInt64 {
    environment["FOREBAY_KILL_SEED"].flatMap { UInt64($0) } ?? UInt64(UInt32.random(in: 1 ... .max))
  }

  static func point(_ name: String) throws -> KillPoint {
    try #require(KillPoint.all.first { $0.name == name })
  }
}

@Suite(
  "Processes that are killed again and again",
  .enabled(if: !KillPoint.all.isEmpty, "built without --traits Failpoints"))
struct KillTests {
  @Test("a seed gives the same kills again, every failpoint in its turn")
  func plan() {
    let count = KillPoint.all.count
    let plan = KillPlan(seed: 9, random: 20, points: 2 * count, brokerEvery: 5)
    #expect(plan.rounds == KillPlan(seed: 9, random: 20, points: 2 * count, brokerEvery: 5).rounds)
    #expect(plan.rounds != KillPlan(seed: 10, random: 20, points: 2 * count, brokerEvery: 5).rounds)
    var turns: [KillPoint: Int] = [:]
    for round in plan.rounds {
      if case .point(let point, _) = round.manner { turns[point, default: 0] += 1 }
    }
    #expect(turns.count == count && turns.values.allSatisfy { $0 == 2 })
    #expect(plan.rounds.count { $0.broker != nil } == plan.rounds.count / 5)
  }

  @Test("the verdict counts what is lost, repeated and invented")
  func verdict() {
    var delivered = (1...KillFlow.devices).flatMap { device in
      let name = "pump-" + (device < 10 ? "00" : device < 100 ? "0" : "") + String(device)
      return (1...2).map { House.Reading(device: name, seq: $0) }
    }
    func judge(resent: Int = 0) -> KillVerdict {
      KillVerdict(delivered: delivered, perDevice: 2, published: 2 * KillFlow.devices, resent: resent)
    }
    #expect(judge().faults.isEmpty)
    delivered.append(delivered[7])
    #expect(judge().repeats == 1 && judge().faults.count == 1)
    #expect(judge(resent: 1).faults.isEmpty)
    let last = delivered.remove(at: 3)
    #expect(judge(resent: 1).lost == [last])
    delivered.append(House.Reading(device: "pump-001", seq: 3))
    #expect(judge(resent: 1).invented.count == 1 && judge(resent: 1).faults.count == 2)
  }

  @Test("every message arrives exactly once through kill -9 at random moments and at every failpoint")
  func exactlyOnce() throws {
    let plan =
      if let rounds = KillSettings.rounds {
        KillPlan(seed: KillSettings.seed(), random: rounds / 2, points: rounds - rounds / 2)
      } else {
        KillPlan(seed: KillSettings.seed(), random: 10, points: KillPoint.all.count)
      }
    let run = try KillRun("processes", plan)
    let verdict = try run.run()
    #expect(verdict.faults.isEmpty, "seed \(plan.seed)")
    // Nobody but the broker could have made the devices say something twice, and it was not touched.
    #expect(verdict.repeats == 0 && verdict.resent == 0, "seed \(plan.seed)")
    if verdict.faults.isEmpty { try Figures.record("kill processes", run.figures) }
  }

  @Test("with the broker restarted too, nothing is lost and only what devices sent again comes twice")
  func brokerRestarts() throws {
    let rounds = KillSettings.rounds ?? 9
    let plan = KillPlan(
      seed: KillSettings.seed(), random: rounds / 2, points: rounds - rounds / 2,
      brokerEvery: KillSettings.rounds == nil ? 3 : 5)
    let run = try KillRun("broker too", plan)
    let verdict = try run.run()
    #expect(verdict.faults.isEmpty, "seed \(plan.seed)")
    if verdict.faults.isEmpty { try Figures.record("kill broker too", run.figures) }
  }

  @Test("the verdict is loss when messages are acknowledged before they are committed")
  func acknowledgedTooEarly() throws {
    let plan = KillPlan(seed: 1, random: 0, points: 5, among: [try KillSettings.point("appended")])
    let verdict = try KillRun("early acknowledgement", plan, sabotage: "acknowledge-before-commit").run()
    #expect(!verdict.lost.isEmpty)
    #expect(verdict.faults.contains { $0.contains("messages lost") })
  }

  @Test("the verdict is repeats when redelivered messages are not recognised")
  func notRecognised() throws {
    let plan = KillPlan(seed: 1, random: 0, points: 5, among: [try KillSettings.point("committed")])
    let verdict = try KillRun("no in-doubt set", plan, sabotage: "no-in-doubt").run()
    #expect(verdict.lost.isEmpty)
    #expect(verdict.repeats > 0)
    #expect(verdict.faults.contains { $0.contains("repeats") })
  }
}
