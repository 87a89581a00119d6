internal import Glibc
internal import HummingbirdCore
internal import Logging
package import NIOCore
internal import NIOSSL
internal import Synchronization
internal import Telemetry

/// A connection: at most so many from one address, TLS where it is wanted, and then HTTP.
struct GuardedChannel: ServerChildChannel {
  typealias Value = HTTP1Channel.Value

  struct TooMany: Error {}

  let base: HTTP1Channel
  let guardian: ConnectionGuard

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
    let client = ClientAddress.text(channel.remoteAddress)
    guard guardian.enter(client) else { return channel.eventLoop.makeFailedFuture(TooMany()) }
    channel.closeFuture.whenComplete { _ in guardian.leave(client) }
    guard let context = guardian.context else { return http(channel, logger) }
    return channel.eventLoop.makeCompletedFuture {
      try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
    }.flatMap { http(channel, logger) }
  }

  private func http(_ channel: any Channel, _ logger: Logger) -> EventLoopFuture<Value> {
    base.setup(channel: channel, logger: logger).map { value in
      // A channel that closed meanwhile takes no handlers. It is not failed: what was set up has to come to its end.
      do { try OriginForm.install(in: channel) } catch { channel.close(promise: nil) }
      return value
    }
  }

  func handle(value: Value, logger: Logger) async { await base.handle(value: value, logger: logger) }
}

/// What all connections of a server share.
final class ConnectionGuard: Sendable {
  private struct State: Sendable {
    /// Nil: without TLS.
    var context: NIOSSLContext?
    var open: [String: Int] = [:]
  }

  private let state: Mutex<State>
  private let perClient: Int

  /// - Parameter perClient: connections of one address, at most.
  init(context: NIOSSLContext?, perClient: Int) {
    state = Mutex(State(context: context))
    self.perClient = perClient
  }

  /// Of connections that begin from now on.
  var context: NIOSSLContext? {
    get { state.withLock { $0.context } }
    set { state.withLock { $0.context = newValue } }
  }

  func enter(_ client: String) -> Bool {
    state.withLock { state in
      guard state.open[client, default: 0] < perClient else { return false }
      state.open[client, default: 0] += 1
      return true
    }
  }

  func leave(_ client: String) {
    state.withLock { state in
      let left = state.open[client, default: 0] - 1
      state.open[client] = left > 0 ? left : nil
    }
  }
}

/// Whom limits count as one.
package enum ClientAddress {
  /// The address; of IPv6 the network of 64 bits, of which one client may have all addresses.
  package static func text(_ address: SocketAddress?) -> String {
    guard let text = address?.ipAddress else { return "" }
    var bytes = [UInt8](repeating: 0, count: 16)
    // With a zone behind it, as link-local addresses have, it is none for inet_pton(3).
    let plain = String(text.prefix { $0 != "%" })
    guard plain.contains(":"), inet_pton(AF_INET6, plain, &bytes) == 1 else { return text }
    // ::ffff:a.b.c.d is an IPv4 client (RFC 4291, 2.5.5.2).
    return bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
      ? bytes[12...].map { String($0) }.joined(separator: ".") : Hex.encode(bytes[..<8])
  }
}
