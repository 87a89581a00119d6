import Glibc

/// The socket that systemd would listen on (sd_notify(3)).
package final class NotifySocket {
  package struct Unbound: Error {
    package let path: String
    package let code: Int32
  }

  package let path: String
  private let descriptor: Int32
  private var messages: [String] = []

  package init(_ path: String) throws {
    self.path = path
    descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var name = sockaddr_un()
    name.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: bytes) }
    let bound = withUnsafePointer(to: &name) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard bound == 0 else { throw Unbound(path: path, code: errno) }
  }

  deinit { close(descriptor) }

  /// The next message; nil when none comes for so long.
  package func next(within milliseconds: Int32) -> String? {
    var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&waiting, 1, milliseconds) > 0 else { return nil }
    var buffer = [UInt8](repeating: 0, count: 4_096)
    let size = recv(descriptor, &buffer, buffer.count, 0)
    return String(decoding: buffer.prefix(max(0, size)), as: UTF8.self)
  }

  /// How many messages with this line, or with a variable of this name, have come so far.
  package func count(_ line: String) -> Int {
    while let message = next(within: 0) { messages.append(message) }
    return messages.count { $0.split(separator: "\n").contains { $0 == line || $0.hasPrefix(line + "=") } }
  }
}
