import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// Asks a fleet, once or for as long as it runs, and keeps the board.
///
/// All decisions are ``FleetSchedule``'s and ``FleetBoard``'s; this carries them out.
final class FleetMonitor: Sendable {
  struct Settings: Sendable {
    /// Nanoseconds from one pull of a gateway to its next; nil: each is asked once.
    var interval: Int64?
    var concurrency = 512
    var limits = PullLimits()
    /// Connections that are kept between pulls: descriptors are not without end.
    var mostKept = 10_000
    /// Of the phases, so that tests repeat.
    var seed: UInt64?
  }

  /// Between two looks at the schedule: short against an interval, long against what a look costs.
  private static let tick = TimeAmount.milliseconds(25)
  /// Event loops. A TLS handshake is a millisecond of work, and a second core halves the first round.
  private static let threads = 2

  private struct State {
    var board: FleetBoard
    var schedule: FleetSchedule
    var clients: [GatewayClient]
    /// Which list of gateways the clients belong to.
    var generation = 0
    var ticking: RepeatedTask?
    var isOver = false
    var done: CheckedContinuation<Void, Never>?
  }

  private let settings: Settings
  private let group: MultiThreadedEventLoopGroup
  private let state: Mutex<State>
  private let handshakes: Handshakes

  init(_ settings: Settings) {
    self.settings = settings
    handshakes = Handshakes(
      HandshakeGate.Bounds(
        cores: System.coreCount, concurrency: settings.concurrency, total: settings.limits.total))
    group = MultiThreadedEventLoopGroup(numberOfThreads: min(FleetMonitor.threads, System.coreCount))
    state = Mutex(
      State(
        board: FleetBoard(targets: []),
        schedule: FleetSchedule(phases: [], interval: nil, concurrency: 1, now: 0), clients: []))
  }

  var board: FleetBoard { state.withLock { $0.board } }

  /// Takes a list of gateways and begins to ask them, all as soon as there is room.
  /// - Parameter forget: accept whatever id an entry without a name answers with now.
  func watch(_ fleet: ReadyFleet, forgettingIdentities forget: Bool = false) {
    var random = SplitMix64(seed: settings.seed ?? UInt64.random(in: 0 ... .max))
    let interval = settings.interval
    let spread = max(1, interval ?? 1_000_000_000)
    let phases = fleet.targets.map { _ in Int64(random.next() % UInt64(spread)) }
    let clients = fleet.targets.enumerated().map { index, target in
      GatewayClient(
        target: target, token: fleet.token(of: target), tls: fleet.context(of: target), limits: settings.limits,
        keepsConnection: interval != nil && index < settings.mostKept,
        handshakes: handshakes, loop: group.next())
    }
    let old = state.withLock { state in
      let old = state.clients
      state.board.replace(fleet.targets, forgettingIdentities: forget)
      state.schedule = FleetSchedule(
        phases: phases, interval: interval, concurrency: settings.concurrency, now: SystemClock.monotonic())
      state.clients = clients
      state.generation += 1
      if state.ticking == nil {
        state.ticking = group.next().scheduleRepeatedTask(initialDelay: .zero, delay: FleetMonitor.tick) {
          [weak self] _ in self?.look()
        }
      }
      return old
    }
    for client in old { client.close() }
  }

  /// Waits until each gateway has been asked, where each is asked once.
  func finish() async {
    await withCheckedContinuation { continuation in
      let isDone = state.withLock { state in
        if state.schedule.isDone || state.isOver { return true }
        state.done = continuation
        return false
      }
      if isDone { continuation.resume() }
    }
  }

  /// Ends every connection.
  func stop() async {
    let (ticking, clients, waiting) = state.withLock { state in
      state.isOver = true
      defer { state.done = nil }
      return (state.ticking, state.clients, state.done)
    }
    waiting?.resume()
    ticking?.cancel()
    handshakes.close()
    for client in clients { client.close() }
    try? await group.shutdownGracefully()
  }

  // MARK: Asking

  private func look() {
    handshakes.look()
    let (starts, generation) = state.withLock { state in
      guard !state.isOver else { return ([(Int, GatewayClient)](), 0) }
      state.schedule.advance(to: SystemClock.monotonic())
      return (state.schedule.starts().map { ($0, state.clients[$0]) }, state.generation)
    }
    for (index, client) in starts { ask(index, client, generation) }
  }

  private func ask(_ index: Int, _ client: GatewayClient, _ generation: Int) {
    client.pull().whenComplete { [self] result in
      let took = client.took
      let outcome = FleetMonitor.outcome(result)
      let waiting = state.withLock { state -> CheckedContinuation<Void, Never>? in
        // A pull that began before the list was replaced says nothing about the new one.
        guard generation == state.generation, !state.isOver else { return nil }
        let now = state.board.record(outcome, for: client.target.url, at: SystemClock.wall(), took: took)
        state.schedule.finish(index, failed: now.map { $0 >= .unreachable } ?? false)
        guard state.schedule.isDone else { return nil }
        defer { state.done = nil }
        return state.done
      }
      waiting?.resume()
      look()
    }
  }

  private static func outcome(_ result: Result<PullAnswer, any Error>) -> PullOutcome {
    switch result {
    case .failure(let error as PullFailure):
      return error.kind == .invalid ? .invalid(error.reason) : .unreachable(error.reason)
    case .failure(let error): return .unreachable(Output.plain("\(error)", limit: 120))
    case .success(let answer): return outcome(answer)
    }
  }

  static func outcome(_ answer: PullAnswer) -> PullOutcome {
    switch answer.status {
    case 200:
      do throws(InvalidStatus) {
        return .answered(try PulledStatus(body: answer.body))
      } catch {
        return .invalid(error.reason)
      }
    case 401: return .unreachable("401: it wants a token, or another one")
    case 403: return .unreachable("403: the token or the certificate may not see the status")
    case 429: return .unreachable("429: it is asked too often")
    case 300..<400:
      let place = answer.location.map { " to \(Output.plain($0))" } ?? ""
      return .invalid("\(answer.status): it sends us elsewhere\(place), and redirects are not followed")
    case 500...: return .unreachable("\(answer.status): it cannot tell its status now")
    default: return .invalid("\(answer.status): what answers is not a gateway, or is older than its status API")
    }
  }
}
