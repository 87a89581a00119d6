import Foundation
import TestSupport

/// Carries out a plan on a house with a running flow.
final class KillRun {
  /// Seconds for a process to reach the place at which it is to die.
  private static let patience = 30.0

  let plan: KillPlan
  let house: House
  let flow: KillFlow
  private let label: String
  private let sabotage: [String: String]
  private var secondsPerRound = 0.6
  /// The run in one sentence.
  private(set) var figures = ""
  private var kills: [String: Int] = [:]
  private var brokerRestarts = 0
  /// Seconds from the start of a process until it answers.
  private var starts: [Victim: [Double]] = [:]

  /// - Parameter sabotage: the mechanism that is taken out of the daemon.
  init(_ label: String, _ plan: KillPlan, sabotage: String? = nil) throws {
    self.label = label
    self.plan = plan
    self.sabotage = sabotage.map { ["FOREBAY_SABOTAGE": $0] } ?? [:]
    house = try House("kill")
    flow = KillFlow(house, rounds: plan.rounds.count, seed: plan.seed)
  }

  /// Runs all rounds, lets everything arrive, and judges.
  func run() throws -> KillVerdict {
    say("seed \(plan.seed), \(plan.rounds.count) rounds, \(flow.total) messages of \(KillFlow.devices) devices")
    let begun = monotonicSeconds()
    try start(.receiver)
    try start(.daemon)
    for (index, round) in plan.rounds.enumerated() {
      let start = monotonicSeconds()
      let left = plan.rounds.count - index
      do {
        try tend(left)
        try perform(round, left)
      } catch {
        throw House.Trouble(description: "seed \(plan.seed), round \(index + 1), \(round.text): \(error)")
      }
      kills[round.name, default: 0] += 1
      // A moving average over the last rounds.
      secondsPerRound += (monotonicSeconds() - start - secondsPerRound) / Double(min(index + 1, 20))
      if (index + 1) % 10 == 0 || left == 1 {
        let received = try house.status().spool.received
        say("round \(index + 1) of \(plan.rounds.count), \(received) messages in the log, \(seconds(since: begun)) s")
      }
    }
    let duration = decimal(monotonicSeconds() - begun)
    try flow.finish()
    try settle()
    let verdict = try judge()
    say("rounds took \(duration) s, in all \(seconds(since: begun)) s")
    summarise(verdict)
    let points = plan.rounds.count { if case .point = $0.manner { true } else { false } }
    figures =
      "\(plan.rounds.count) rounds in \(duration) s (seed \(plan.seed)): \(plan.rounds.count - points) kills at random "
      + "moments, \(points) at failpoints, \(brokerRestarts) broker restarts; \(verdict.text)."
    return verdict
  }

  // MARK: Rounds

  private func perform(_ round: KillRound, _ left: Int) throws {
    if round.broker == .before {
      house.broker.stop()
      try house.broker.start()
      brokerRestarts += 1
    }
    switch round.manner {
    case .moment(let delay):
      try live(delay, left)
      try killWithBroker(round)
    case .start(let delay, let then):
      try live(delay, left)
      try killWithBroker(round)
      _ = try launch(round.victim, [:])
      try live(then, left)
      kill(round.victim)
    case .point(let point, let pass):
      kill(round.victim)
      let doomed = try launch(round.victim, ["FOREBAY_FAILPOINT": "\(point.name):\(pass)"])
      let ended = try eventually(within: KillRun.patience) {
        try tend(left)
        return doomed.poll() != nil
      }
      guard ended else { throw House.Trouble(description: "\(point.name) was not reached; \(tail(round.victim))") }
      // 128 + SIGKILL: anything else is an end of its own.
      guard doomed.poll() == 137 else {
        throw House.Trouble(
          description: "ended by itself with \(doomed.poll() ?? 0) before it reached \(point.name); "
            + tail(round.victim))
      }
    }
    try start(round.victim)
  }

  /// Lets everybody work for a while.
  private func live(_ seconds: Double, _ left: Int) throws {
    let end = monotonicSeconds() + seconds
    _ = try eventually(within: seconds + 1) {
      try tend(left)
      return monotonicSeconds() >= end
    }
  }

  private func killWithBroker(_ round: KillRound) throws {
    guard round.broker == .around else { return kill(round.victim) }
    house.broker.stop()
    kill(round.victim)
    try house.broker.start()
    brokerRestarts += 1
  }

  private func tend(_ roundsLeft: Int) throws {
    try flow.tend(roundsLeft: roundsLeft, secondsPerRound: secondsPerRound)
  }

  private func kill(_ victim: Victim) {
    switch victim {
    case .daemon: house.killDaemon()
    case .receiver: house.killUpstream()
    }
  }

  private func launch(_ victim: Victim, _ environment: [String: String]) throws -> ChildProcess {
    switch victim {
    case .daemon: try house.launchDaemon(environment: sabotage.merging(environment) { $1 })
    case .receiver: try house.launchUpstream(environment: environment)
    }
  }

  /// Starts a victim that is to live, and waits until it answers.
  private func start(_ victim: Victim) throws {
    let begun = monotonicSeconds()
    switch victim {
    case .daemon: try house.startDaemon(environment: sabotage)
    case .receiver: try house.startUpstream()
    }
    starts[victim, default: []].append(monotonicSeconds() - begun)
  }

  private func tail(_ victim: Victim) -> String {
    let name = victim == .daemon ? "daemon.log" : "upstream.log"
    return "\(name) ends: \(TemporaryDirectory.read(house.directory.file(name)).suffix(2_000))"
  }

  // MARK: The end

  /// Waits until everything that is still to come has come. What is lost never comes: so not until all is
  /// there, but until nothing moves any more.
  private func settle() throws {
    var received = -1
    var since = monotonicSeconds()
    try house.wait("nothing moves any more", within: 120) {
      guard let status = try? house.status(), let pipeline = status.pipelines.first else { return false }
      let isQuiet =
        status.sources.allSatisfy { $0.state == "connected" } && pipeline.backlog == 0
        && pipeline.openReadings == 0 && pipeline.outboxReadings == 0
      if !isQuiet || status.spool.received != received {
        received = status.spool.received
        since = monotonicSeconds()
      }
      // Short of what was published, the broker is given its time to send the rest.
      return monotonicSeconds() - since > (received >= flow.total ? 1 : 5)
    }
  }

  private func judge() throws -> KillVerdict {
    var verdict = KillVerdict(
      delivered: try house.delivered(), perDevice: flow.perDevice, published: flow.published,
      resent: flow.resent)
    let chain = try house.run("receive", ["--store", house.store, "--verify"])
    if chain.status != 0 { verdict.objections.append("receive --verify: \(chain.output)") }
    let audit = try house.run("audit", ["--spool", house.spool])
    if audit.status != 0 { verdict.objections.append("audit: \(audit.output)") }
    return verdict
  }

  // MARK: Telling

  private func summarise(_ verdict: KillVerdict) {
    for (name, count) in kills.sorted(by: { $0.key < $1.key }) {
      say("  \(name): \(count)")
    }
    if brokerRestarts > 0 { say("  broker restarted: \(brokerRestarts)") }
    for (victim, times) in starts.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      let sorted = times.sorted()
      say(
        "  \(victim.rawValue) ready after \(decimal(sorted[sorted.count / 2])) s (median of \(sorted.count)), "
          + "at most \(decimal(sorted[sorted.count - 1])) s")
    }
    say(verdict.text)
  }

  /// At once, for whoever watches.
  private func say(_ text: String) {
    FileHandle.standardError.write(Data("kill \(label): \(text)\n".utf8))
  }

  private func seconds(since start: Double) -> String { decimal(monotonicSeconds() - start) }

  private func decimal(_ value: Double) -> String { String(format: "%.2f", value) }
}
