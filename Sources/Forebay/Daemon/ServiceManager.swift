internal import Glibc

/// Speaks to systemd where it has started us (sd_notify(3)): one datagram per message to the socket
/// that `NOTIFY_SOCKET` names. Without it every call does nothing.
struct ServiceManager: Sendable {
  private let address: String?
  /// Nanoseconds between two signs of life, half of what systemd allows; nil without a watchdog.
  let watchdogInterval: Int64?

  init(environment: (String) -> String? = { name in getenv(name).map { String(cString: $0) } }) {
    address = environment("NOTIFY_SOCKET")
    let microseconds = environment("WATCHDOG_USEC").flatMap { Int64($0) }
    let forUs = environment("WATCHDOG_PID").map { Int32($0) == getpid() } ?? true
    watchdogInterval = forUs ? microseconds.map { $0 * 1_000 / 2 } : nil
  }

  /// Whether somebody listens.
  var isThere: Bool { address?.isEmpty == false }

  func ready(_ status: String) { send("READY=1\nSTATUS=\(status)") }
  func status(_ text: String) { send("STATUS=\(text)") }

  /// - Parameter longest: nanoseconds that it may take; without them systemd kills after `TimeoutStopSec=`.
  func stopping(within longest: Int64) {
    send("STOPPING=1\nEXTEND_TIMEOUT_USEC=\((longest + ServiceManager.afterGrace) / 1_000)")
  }

  /// The start goes on and takes so many nanoseconds more at most, as far as is known now. A process that has begun
  /// anew in place is past its start for systemd, and owes signs of life.
  func starting(_ status: String, longest: Int64) {
    send("EXTEND_TIMEOUT_USEC=\(longest / 1_000)\nWATCHDOG=1\nSTATUS=\(status)")
  }

  /// Nanoseconds for what comes after the grace period: closing databases on a slow disk.
  private static let afterGrace: Int64 = 15_000_000_000

  func alive() { send("WATCHDOG=1") }

  func reloading() {
    // sd_notify(3): the manager matches the reload to this time.
    send("RELOADING=1\nMONOTONIC_USEC=\(SystemClock.monotonic() / 1_000)")
  }

  private func send(_ message: String) {
    guard let address, !address.isEmpty else { return }
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    var name = sockaddr_un()
    name.sun_family = sa_family_t(AF_UNIX)
    var path = Array(address.utf8)
    guard path.count < MemoryLayout.size(ofValue: name.sun_path) else { return }
    // A leading @ stands for the abstract namespace, whose names begin with a zero byte.
    if path.first == UInt8(ascii: "@") { path[0] = 0 }
    withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
    let bytes = Array(message.utf8)
    withUnsafePointer(to: &name) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { destination in
        // A manager that is gone cannot be helped; the service goes on.
        _ = sendto(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL), destination, length)
      }
    }
  }
}
