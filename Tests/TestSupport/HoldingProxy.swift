import Glibc
import Synchronization

/// A TCP proxy on loopback that can swallow what the client sends: to a broker behind it the client has
/// died between its commits and its acknowledgements.
package final class HoldingProxy: Sendable {
  package var port: Int { listener.port }
  private let target: Int
  private let listener: LoopbackListener
  private let holds = Mutex(false)
  private let passed = Mutex(0)
  private let swallowed = Mutex(0)
  private let open = Mutex<[Pair]>([])

  private struct Pair {
    var client: Int32
    var server: Int32
  }

  package init(to target: Int) throws {
    self.target = target
    listener = try LoopbackListener()
    listener.accept { [weak self] client in
      guard let self else {
        close(client)
        return
      }
      self.connect(client)
    }
  }

  deinit { cut() }

  /// From now on nothing that the client sends reaches the broker. What was swallowed is gone: end with
  /// ``cut()`` and ``release()``.
  package func hold() { holds.withLock { $0 = true } }
  package func release() { holds.withLock { $0 = false } }

  /// Bytes of the broker that lie in the client's socket or were read from it: the client reads them
  /// before it sees a later ``cut()``.
  package var bytesToClient: Int { passed.withLock { $0 } }

  /// Bytes of the client that never reached the broker.
  package var bytesSwallowed: Int { swallowed.withLock { $0 } }

  /// Ends every connection, as a broken link does.
  package func cut() {
    open.withLock { pairs in
      for pair in pairs {
        shutdown(pair.client, Int32(SHUT_RDWR))
        shutdown(pair.server, Int32(SHUT_RDWR))
      }
    }
  }

  private func connect(_ client: Int32) {
    let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard withLoopback(port: target, { Glibc.connect(server, $0, $1) }) == 0 else {
      close(client)
      close(server)
      return
    }
    for fd in [client, server] {
      var yes: Int32 = 1
      setsockopt(fd, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
    }
    open.withLock { $0.append(Pair(client: client, server: server)) }
    // The descriptors are closed when both directions have ended: a number must not be used again while
    // somebody may still shut it down.
    let running = Counted(2)
    let finish: @Sendable (Int32, Int32) -> Void = { [weak self] from, to in
      // The other direction goes on: what a client said before it closed must still arrive.
      shutdown(from, Int32(SHUT_RD))
      shutdown(to, Int32(SHUT_WR))
      guard running.end() else { return }
      self?.open.withLock { $0.removeAll { $0.client == client } }
      close(client)
      close(server)
    }
    BlockingThread.start { [weak self] in
      HoldingProxy.copy(
        from: client, to: server,
        admits: { count in
          guard let self, self.holds.withLock({ $0 }) else { return true }
          self.swallowed.withLock { $0 += count }
          return false
        })
      finish(client, server)
    }
    BlockingThread.start { [weak self] in
      HoldingProxy.copy(from: server, to: client, sent: { count in self?.passed.withLock { $0 += count } })
      finish(server, client)
    }
  }

  private static func copy(
    from: Int32, to: Int32, sent report: (Int) -> Void = { _ in }, admits: (Int) -> Bool = { _ in true }
  ) {
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = buffer.withUnsafeMutableBytes { recv(from, $0.baseAddress, $0.count, 0) }
      guard count > 0 else { return }
      guard admits(count) else { continue }
      var sent = 0
      while sent < count {
        let n = buffer.withUnsafeBytes {
          send(to, $0.baseAddress.map { $0 + sent }, count - sent, Int32(MSG_NOSIGNAL))
        }
        guard n > 0 else { return }
        sent += n
      }
      report(count)
    }
  }

  private final class Counted: Sendable {
    private let left: Mutex<Int>
    init(_ count: Int) { left = Mutex(count) }
    /// Whether this was the last.
    func end() -> Bool {
      left.withLock { left in
        left -= 1
        return left == 0
      }
    }
  }
}
