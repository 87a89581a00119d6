package import Glibc
import Synchronization

/// Accepts connections on a free port of 127.0.0.1 until it goes.
package final class LoopbackListener: Sendable {
  package let port: Int
  private let descriptor: Int32
  private let isOver = Mutex(false)

  package init() throws {
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard withLoopback(port: 0, { bind(fd, $0, $1) }) == 0, listen(fd, 16) == 0 else {
      throw POSIXFailure("listen", "127.0.0.1")
    }
    var address = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    _ = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(fd, $0, &length) }
    }
    descriptor = fd
    port = Int(UInt16(bigEndian: address.sin_port))
  }

  deinit {
    isOver.withLock { $0 = true }
    shutdown(descriptor, Int32(SHUT_RDWR))
    close(descriptor)
  }

  /// Calls `body` on a thread for one connection after the other; who is called closes it.
  package func accept(_ body: @escaping @Sendable (Int32) -> Void) {
    let fd = descriptor
    BlockingThread.start { [weak self] in
      while true {
        let connection = Glibc.accept(fd, nil, nil)
        guard connection >= 0 else { return }
        guard let self, !self.isOver.withLock({ $0 }) else {
          close(connection)
          return
        }
        body(connection)
      }
    }
  }
}

/// Threads for what blocks.
package enum BlockingThread {
  private final class Box: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  package static func start(_ run: @escaping @Sendable () -> Void) {
    var thread = pthread_t()
    let context = Unmanaged.passRetained(Box(run))
    pthread_create(
      &thread, nil,
      { context in
        if let context { Unmanaged<Box>.fromOpaque(context).takeRetainedValue().run() }
        return nil
      }, context.toOpaque())
    pthread_detach(thread)
  }
}

/// Calls a function with the socket address 127.0.0.1:port.
package func withLoopback<R>(
  port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) throws -> R
) rethrows -> R {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = in_port_t(UInt16(port)).bigEndian
  address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
  return try withUnsafePointer(to: &address) {
    try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      try body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
    }
  }
}
