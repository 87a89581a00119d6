internal import HummingbirdCore
package import Logging
internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// The HTTP server of the gateway's status: API, metrics and page.
package final class StatusServer: Sendable {
  package typealias Settings = StatusServerSettings

  /// Of a request's head: tokens and names of pipelines are short.
  static let maximumHead = 16_384

  /// Of one address beyond loopback: the others find room.
  static let maximumConnectionsOfClient = 16

  private typealias Listener = Server<GuardedChannel>
  private struct Running: Sendable {
    var listener: Listener
    var task: Task<Void, any Error>
  }

  private let settings: Settings
  private let hub: EventHub
  private let responder: StatusResponder
  private let guardian: ConnectionGuard
  private let gate: RequestGate
  private let logger: Logger
  private let running = Mutex<Running?>(nil)

  /// - Parameters:
  ///   - resources: what it answers for.
  ///   - assets: by path, such as `/` and `/page.css`.
  ///   - hub: what `/v1/events` gives; closed when the server stops.
  ///   - wall: nanoseconds since 1970.
  ///   - monotonic: nanoseconds of a clock that nobody sets.
  /// - Throws: which certificate cannot be used.
  package init(
    _ settings: Settings, _ resources: Resources = .gateway, source: any StatusSource,
    assets: [String: PageAsset] = [:], hub: EventHub = EventHub(), logger: Logger,
    wall: @escaping @Sendable () -> Int64, monotonic: @escaping @Sendable () -> Int64
  ) throws(TLSFault) {
    self.settings = settings
    self.hub = hub
    // What Hummingbird tells of its comings and goings is for its developers.
    var logger = logger
    logger.logLevel = max(logger.logLevel, .error)
    self.logger = logger
    guardian = ConnectionGuard(
      context: try settings.tls?.context(),
      perClient: settings.isLoopback
        ? settings.maximumConnections
        : min(StatusServer.maximumConnectionsOfClient, max(1, settings.maximumConnections / 2)))
    gate = RequestGate(settings, monotonic: monotonic)
    responder = StatusResponder(
      source: source, routes: resources.routes, assets: assets, gate: gate, hub: hub, wall: wall)
  }

  /// Begins to listen. Once.
  /// - Returns: the port.
  /// - Throws: why it cannot: the port is taken, the address is not ours.
  package func start() async throws -> Int {
    let started = AsyncStream<Int>.makeStream()
    let limits = settings.limits
    let http = HTTP1Channel(
      responder: responder.respond,
      configuration: .init(
        additionalChannelHandlers: [ConnectionDeadline(limits)],
        httpDecoderConfiguration: .init(
          maxHeaderFieldSize: StatusServer.maximumHead, maxHeaderListSize: StatusServer.maximumHead,
          maxHeaderFieldCount: 64)))
    let listener = Server(
      childChannelSetup: GuardedChannel(base: http, guardian: guardian),
      configuration: ServerConfiguration(
        address: .hostname(settings.host, port: settings.port), backlog: 64,
        availableConnectionsDelegate: .maximum(settings.maximumConnections, logger: logger)),
      onServerRunning: { channel in
        started.continuation.yield(channel.localAddress?.port ?? 0)
        started.continuation.finish()
      },
      eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: logger)
    let task = Task {
      defer { started.continuation.finish() }
      try await listener.run()
    }
    running.withLock { $0 = Running(listener: listener, task: task) }
    // A task of its own: where ours is cancelled it would be told that nothing comes, while the listener runs.
    let port = Task {
      for await port in started.stream { return Int?.some(port) }
      return nil
    }
    if let port = await port.value { return port }
    running.withLock { $0 = nil }
    try await task.value
    throw CancellationError()
  }

  /// Reads certificates and keys anew, for connections that begin from now on; the old ones go on where they cannot
  /// be used.
  package func reload() throws(TLSFault) {
    if let tls = settings.tls { guardian.context = try tls.context() }
  }

  /// Why the file of tokens cannot be used, so that there are no tokens; nil when it can, or when there is none.
  package var tokensFault: String? { gate.tokens?.fault }

  /// Takes no more connections, ends those that are open, and returns when all have ended.
  /// - Parameter grace: nanoseconds for answers that have begun.
  package func stop(grace: Int64) async {
    guard
      let running = running.withLock({ running in
        defer { running = nil }
        return running
      })
    else { return }
    hub.close()
    let cutting = Task {
      try await Task.sleep(nanoseconds: UInt64(max(0, grace)))
      running.task.cancel()
    }
    try? await running.listener.shutdownGracefully()
    _ = await running.task.result
    cutting.cancel()
  }
}
