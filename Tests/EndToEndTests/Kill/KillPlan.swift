#if Failpoints
  import Failpoints
#endif

/// Who is killed.
enum Victim: String, CaseIterable {
  case daemon
  case receiver
}

/// A place of the program at which a process can be told to die.
struct KillPoint: Hashable {
  var name: String
  var victim: Victim
  /// How often the place is passed, at most, before the process dies there.
  var passes = 3

  /// Every failpoint there is; none in a build without them.
  static let all: [KillPoint] = {
    #if Failpoints
      Failpoint.allCases.map { point in
        switch point {
        // Once a message, not once a group.
        case .staged: KillPoint(name: point.rawValue, victim: .daemon, passes: 100)
        case .appended, .committed, .acknowledged, .read, .sealing, .sealed, .sending, .receiptReceived, .confirmed:
          KillPoint(name: point.rawValue, victim: .daemon)
        case .batchReceived, .batchStored, .answered: KillPoint(name: point.rawValue, victim: .receiver)
        }
      }
    #else
      []
    #endif
  }()
}

/// One kill.
struct KillRound: Hashable {
  enum Manner: Hashable {
    /// After so many seconds of life.
    case moment(Double)
    /// The same, and once more so many seconds after it was started again, before it is ready.
    case start(Double, then: Double)
    /// When the place is passed for the n-th time.
    case point(KillPoint, pass: Int)
  }

  enum BrokerRestart: Hashable {
    /// Stopped and started while everybody else runs.
    case before
    /// Stopped, the victim killed, and both started again.
    case around
  }

  var victim: Victim
  var manner: Manner
  var broker: BrokerRestart?

  var name: String {
    switch manner {
    case .moment: "\(victim.rawValue) at random"
    case .start: "\(victim.rawValue) at random and while it starts"
    case .point(let point, _): "\(victim.rawValue) at \(point.name)"
    }
  }

  var text: String {
    let place =
      switch manner {
      case .moment(let seconds): "\(name) (\(Int(seconds * 1_000)) ms)"
      case .start(let seconds, let then): "\(name) (\(Int(seconds * 1_000)) ms, \(Int(then * 1_000)) ms)"
      case .point(_, let pass): "\(name) (pass \(pass))"
      }
    return place + (broker.map { ", broker restarted \($0)" } ?? "")
  }
}

/// The kills of one run, all drawn from the seed.
struct KillPlan {
  var seed: UInt64
  var rounds: [KillRound]

  /// - Parameters:
  ///   - random: how many kills at random moments.
  ///   - points: how many at failpoints; the failpoints take turns.
  ///   - among: the failpoints to be used.
  ///   - brokerEvery: every so many rounds the broker is restarted too; 0: never.
  init(
    seed: UInt64, random: Int, points: Int, among: [KillPoint] = KillPoint.all, brokerEvery: Int = 0
  ) {
    self.seed = seed
    var generator = SplitMix(seed: seed)
    var rounds: [KillRound] = (0..<random).map { _ in
      // The daemon has more that can go wrong.
      let victim = Int.random(in: 0..<5, using: &generator) < 3 ? Victim.daemon : .receiver
      let life = Double.random(in: 0.02...0.9, using: &generator)
      let youth = Double.random(in: 0...0.06, using: &generator)
      let again = Int.random(in: 0..<4, using: &generator) == 0
      return KillRound(victim: victim, manner: again ? .start(life, then: youth) : .moment(life))
    }
    var turn: [KillPoint] = []
    for _ in 0..<points {
      if turn.isEmpty { turn = among.shuffled(using: &generator) }
      let point = turn.removeLast()
      rounds.append(
        KillRound(
          victim: point.victim,
          manner: .point(point, pass: .random(in: 1...point.passes, using: &generator))))
    }
    rounds.shuffle(using: &generator)
    if brokerEvery > 0 {
      for index in stride(from: brokerEvery - 1, to: rounds.count, by: brokerEvery) {
        let isPoint = if case .point = rounds[index].manner { true } else { false }
        rounds[index].broker = !isPoint && Bool.random(using: &generator) ? .around : .before
      }
    }
    self.rounds = rounds
  }
}
