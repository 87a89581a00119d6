import Testing

@testable import forebay

@Suite("Fleet: the gate for handshakes") struct HandshakeGateTests {
  private static let millisecond: Int64 = 1_000_000
  private static let second: Int64 = 1_000_000_000

  private func bounds(concurrency: Int = 512) -> HandshakeGate.Bounds {
    .init(cores: 2, concurrency: concurrency, total: 5 * Self.second)
  }

  /// Gateways that are asked over a machine that does so much and no more: whoever shakes hands has an equal share.
  private struct Machine {
    enum Gateway { case well, lost, mute }
    struct Outcome {
      var done = 0
      var timedOut = 0
      /// Nanoseconds.
      var took: Int64 = 0
      var mostShaking = 0
    }
    private struct Pull {
      var gateway: Gateway
      var admitted: Int64
      var isConnected = false
      /// Nanoseconds of work that are left.
      var work: Double
    }

    /// Milliseconds of processor time that one handshake takes, and of one way to the gateway.
    var work: Double
    var way: Int64 = 1
    /// Of the processors, what is left for us.
    var share: Double = 2
    var concurrency = 512

    private static let step = 5 * millisecond

    /// Asks all, in small steps.
    /// - Parameter gate: nil: all that are asked begin at once.
    func ask(_ gateways: [Gateway], through gate: HandshakeGate?) -> Outcome {
      var gate = gate
      var outcome = Outcome()
      var next = 0
      var waiting: [Int: Int] = [:]
      var pulls: [Int: Pull] = [:]
      var now: Int64 = 0
      func isOver() -> Bool { outcome.done + outcome.timedOut == gateways.count }
      while !isOver(), now < 3_600 * second {
        while pulls.count + waiting.count < concurrency, next < gateways.count {
          let id = gate?.enter() ?? next
          waiting[id] = next
          next += 1
        }
        for id in gate?.admissions(at: now) ?? waiting.keys.sorted() {
          guard let index = waiting.removeValue(forKey: id) else { continue }
          pulls[id] = Pull(gateway: gateways[index], admitted: now, work: work * Double(millisecond))
        }
        let shaking = pulls.values.count { $0.isConnected && $0.gateway == .well }
        outcome.mostShaking = max(outcome.mostShaking, shaking)
        let piece = min(1, share / Double(max(1, shaking))) * Double(Machine.step)
        for id in pulls.keys.sorted() {
          guard var pull = pulls[id] else { continue }
          if !pull.isConnected, pull.gateway != .lost, now - pull.admitted >= 2 * way * millisecond {
            pull.isConnected = true
            gate?.connected(id, at: now)
          } else if pull.isConnected, pull.gateway == .well {
            pull.work -= piece
          }
          let isDone = pull.work <= 0 && now - pull.admitted >= 4 * way * millisecond
          let isLate = now - pull.admitted >= (pull.isConnected ? 5 : 2) * second
          if isDone { outcome.done += 1 } else if isLate { outcome.timedOut += 1 }
          pulls[id] = isDone || isLate ? nil : pull
          if isDone || isLate { gate?.leave(id, at: now) }
        }
        now += Machine.step
      }
      outcome.took = now
      return outcome
    }
  }

  @Test("on a machine that is busy with others handshakes starve one another, and behind the gate they do not")
  func starving() {
    // 22 others at two processors: a tenth of one is left, and a handshake takes 2 ms of it.
    let machine = Machine(work: 2, share: 0.1)
    let fleet = [Machine.Gateway](repeating: .well, count: 1_500)
    let free = machine.ask(fleet, through: nil)
    #expect(free.timedOut > 1_400, "all at once: \(free)")
    let gated = machine.ask(fleet, through: HandshakeGate(bounds()))
    #expect(gated.timedOut == 0 && gated.done == 1_500, "\(gated)")
    #expect(gated.took < 40 * Self.second, "thirty seconds of work: \(gated)")
  }

  @Test("far gateways are not asked more slowly than the concurrency allows: their handshakes cost time and no work")
  func far() {
    let machine = Machine(work: 0.5, way: 120, share: 2)
    let outcome = machine.ask([Machine.Gateway](repeating: .well, count: 6_000), through: HandshakeGate(bounds()))
    #expect(outcome.timedOut == 0)
    // 512 at a time, 480 ms each: 5.6 s.
    #expect(outcome.took < 12 * Self.second, "\(outcome)")
  }

  @Test("a third that is lost or says nothing holds nobody up, also on a busy machine", arguments: [2.0, 0.1])
  func faulty(share: Double) {
    let machine = Machine(work: 2, share: share)
    let fleet: [Machine.Gateway] = (0..<1_500).map { $0 % 3 > 0 ? .well : $0 % 2 == 0 ? .lost : .mute }
    let outcome = machine.ask(fleet, through: HandshakeGate(bounds()))
    #expect(outcome.done == 1_000 && outcome.timedOut == 500, "\(outcome)")
    #expect(outcome.took < (share < 1 ? 60 : 15) * Self.second, "\(outcome)")
  }

  @Test("a fleet of which nobody answers is given up as soon as without the gate")
  func dark() {
    let machine = Machine(work: 2)
    let outcome = machine.ask([Machine.Gateway](repeating: .lost, count: 2_000), through: HandshakeGate(bounds()))
    #expect(outcome.timedOut == 2_000 && outcome.took < 20 * Self.second, "\(outcome)")
  }

  @Test("so many are let in as there is room for, in the order in which they came")
  func order() {
    var gate = HandshakeGate(bounds())
    let tickets = (0..<100).map { _ in gate.enter() }
    #expect(gate.limit == 32)
    #expect(gate.admissions(at: 0) == Array(tickets[..<32]) && gate.held == 32)
    #expect(gate.admissions(at: 0).isEmpty)
    // One that waits no more is passed over, and one that was let in makes room once.
    gate.leave(tickets[32], at: 0)
    gate.leave(tickets[0], at: 0)
    gate.leave(tickets[0], at: 0)
    #expect(gate.admissions(at: 0) == [tickets[33]] && gate.held == 32)
    gate.connected(tickets[99], at: 0)
    gate.connected(12_345, at: 0)
    #expect(gate.held == 32)
  }

  @Test("who is late gives the place back and votes for fewer, once, and takes it again when it is connected after all")
  func late() {
    var gate = HandshakeGate(bounds(concurrency: 64))
    let tickets = (0..<64).map { _ in gate.enter() }
    #expect(gate.admissions(at: 0).count == 32)
    // Not there after a twentieth of the time.
    #expect(gate.admissions(at: 250 * Self.millisecond) == Array(tickets[32...]))
    #expect(gate.held == 32)
    for ticket in tickets[..<32] { gate.connected(ticket, at: 260 * Self.millisecond) }
    #expect(gate.held == 64)
    #expect(gate.admissions(at: 1_260 * Self.millisecond).isEmpty)
    #expect(gate.held == 0 && gate.limit == 16, "all of a round were late")
    for ticket in tickets { gate.leave(ticket, at: 1_300 * Self.millisecond) }
    #expect(gate.held == 0 && gate.limit == 16)
  }

  @Test("however late they are, and however brisk, there are bounds")
  func limits() {
    var gate = HandshakeGate(bounds(concurrency: 100))
    func round(_ now: Int64, after wait: Int64) {
      for _ in 0..<200 { _ = gate.enter() }
      for ticket in gate.admissions(at: now) {
        gate.connected(ticket, at: now)
        gate.leave(ticket, at: now + wait)
      }
    }
    for step in 0..<50 { round(Int64(step) * 10 * Self.second, after: 0) }
    #expect(gate.limit == 100)
    for step in 50..<150 { round(Int64(step) * 10 * Self.second, after: 2 * Self.second) }
    #expect(gate.limit == 8)
    #expect(HandshakeGate.Bounds(cores: 0, concurrency: 0, total: 0).least == 1)
  }

  @Test("as long as nobody waits more places are of no use, and there are no more")
  func idle() {
    var gate = HandshakeGate(bounds())
    for step in 0..<1_000 {
      let ticket = gate.enter()
      #expect(gate.admissions(at: Int64(step)) == [ticket])
      gate.connected(ticket, at: Int64(step))
      gate.leave(ticket, at: Int64(step))
    }
    #expect(gate.limit == 32)
  }
}
