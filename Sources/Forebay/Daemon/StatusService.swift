internal import Logging
internal import Status
internal import Synchronization

/// Keeps the HTTP API where the configuration says. One that cannot listen is an alarm and is tried again: the
/// gateway's work does not depend on being looked at.
final class StatusService: Sendable {
  /// Nanoseconds for answers that have begun, when it stops.
  private static let grace: Int64 = 1_000_000_000

  /// A server that listens, and what there is only while it does.
  private struct Running: Sendable {
    var server: StatusServer
    /// With the port that was drawn.
    var listen: String
    var telling: Task<Void, Never>

    func stop(grace: Int64) async {
      telling.cancel()
      await server.stop(grace: grace)
    }
  }

  private struct State: Sendable {
    var settings: StatusServer.Settings?
    var running: Running?
    var fault: String?
    var retrying: Task<Void, Never>?
    var sampling: Task<Void, Never>?
  }

  private let state = Mutex(State())
  private let logger: Logger
  /// Nanoseconds between two attempts to listen.
  private let retry: UInt64

  init(logger: Logger, retry: UInt64 = 10_000_000_000) {
    self.logger = logger
    self.retry = retry
  }

  /// Where it listens, with the port that was drawn; nil where it does not.
  var listen: String? { state.withLock { $0.running?.listen } }

  /// Why it does not listen although it should, or not as it should.
  var fault: String? { state.withLock { $0.fault ?? $0.running?.server.tokensFault } }

  /// Listens there from now on, and nowhere else; returns after the first attempt.
  /// - Parameter settings: nil: off.
  func apply(_ settings: StatusServer.Settings?, source: DaemonSource) async {
    let (same, server) = state.withLock { ($0.settings == settings, $0.running?.server) }
    guard !same else {
      server.map(renew)
      return
    }
    await stop()
    guard let settings else { return }
    let sampling = Task { await sample(source) }
    state.withLock {
      $0.settings = settings
      $0.sampling = sampling
    }
    if await attempt(settings, source) { return }
    let retrying = Task {
      while !Task.isCancelled {
        try? await Task.sleep(nanoseconds: retry)
        if Task.isCancelled { return }
        if await attempt(settings, source) { return }
      }
    }
    state.withLock { $0.retrying = retrying }
  }

  func stop() async {
    let old = state.withLock { state in
      defer { state = State() }
      return state
    }
    old.sampling?.cancel()
    old.retrying?.cancel()
    await old.retrying?.value
    await old.running?.stop(grace: StatusService.grace)
    // What was begun while it was cancelled.
    await state.withLock { $0.running.take() }?.stop(grace: 0)
  }

  /// Keeps the history while somebody can ask for it.
  private func sample(_ source: DaemonSource) async {
    while !Task.isCancelled {
      if let report = try? await source.daemon.report() { source.history.add(report, now: SystemClock.monotonic()) }
      try? await Task.sleep(nanoseconds: UInt64(StatusHistory.step) * 1_000_000_000)
    }
  }

  /// Tells those who listen to the events what has happened.
  private func tell(_ hub: EventHub, _ source: DaemonSource) async {
    var events = GatewayEvents()
    while !Task.isCancelled, !hub.isClosed {
      try? await Task.sleep(nanoseconds: GatewayEvents.interval)
      guard hub.isHeard else {
        events.forget()
        continue
      }
      guard let report = try? await source.daemon.report(), let summary = try? await source.answer(.summary) else {
        continue
      }
      let entries = (try? await source.auditTrail.entries(limit: GatewayEvents.audited)) ?? []
      for event in (try? events.look(report, summary: summary, entries)) ?? [] { hub.publish(event) }
    }
  }

  /// Takes over certificates that have changed.
  private func renew(_ server: StatusServer) {
    do {
      try server.reload()
      state.withLock { $0.fault = nil }
    } catch {
      logger.error("the status API goes on with its old certificate", metadata: ["error": "\(error)"])
      state.withLock { $0.fault = "the status API goes on with its old certificate: \(error)" }
    }
  }

  private func attempt(_ settings: StatusServer.Settings, _ source: DaemonSource) async -> Bool {
    let place = ListenAddress(host: settings.host, port: settings.port)
    let hub = EventHub()
    do {
      let server = try StatusServer(
        settings, source: source, assets: PageAssets.all, hub: hub, logger: logger, wall: SystemClock.wall,
        monotonic: SystemClock.monotonic)
      let port = try await server.start()
      let listen = ListenAddress(host: settings.host, port: port).description
      let telling = Task { await tell(hub, source) }
      state.withLock {
        $0.running = Running(server: server, listen: listen, telling: telling)
        $0.fault = nil
      }
      logger.notice("the status API listens", metadata: ["address": "\(listen)"])
      return true
    } catch {
      let cause = "\(place) \(place.obstacle(error, option: "status.listen"))"
      let fault = "the status API cannot listen: \(cause); it is tried again"
      let isNew = state.withLock { state in
        defer { state.fault = fault }
        return state.fault == nil
      }
      if isNew {
        logger.error("the status API cannot listen", metadata: ["error": "\(cause)"])
      }
      return false
    }
  }
}
