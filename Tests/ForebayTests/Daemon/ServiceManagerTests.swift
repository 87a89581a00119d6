import Glibc
import Telemetry
import TestSupport
import Testing

@testable import forebay

@Suite("What systemd is told")
struct ServiceManagerTests {
  /// The socket that systemd would listen on.
  private final class Listener {
    let directory: TemporaryDirectory
    let path: String
    private let descriptor: Int32

    init() throws {
      directory = try TemporaryDirectory("notify")
      path = directory.file("socket")
      descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
      var name = sockaddr_un()
      name.sun_family = sa_family_t(AF_UNIX)
      let bytes = Array(path.utf8)
      withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: bytes) }
      let bound = withUnsafePointer(to: &name) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
      try #require(bound == 0)
    }

    deinit { close(descriptor) }

    var manager: ServiceManager { ServiceManager { [path] in $0 == "NOTIFY_SOCKET" ? path : nil } }

    /// The next message; nil when none comes for so long.
    func next(within milliseconds: Int32) -> String? {
      var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&waiting, 1, milliseconds) > 0 else { return nil }
      var buffer = [UInt8](repeating: 0, count: 4_096)
      let size = recv(descriptor, &buffer, buffer.count, 0)
      return String(decoding: buffer.prefix(max(0, size)), as: UTF8.self)
    }
  }

  @Test("a start that works is given more time, and gives the signs of life that one begun in place owes")
  func longStart() throws {
    let listener = try Listener()
    let signs = StartSigns.begin(listener.manager, interval: 10)
    defer { signs.end() }
    let end = SystemClock.monotonic() + 20_000_000_000
    var message: String?
    var work: UInt64 = 1
    while message == nil, SystemClock.monotonic() < end {
      for _ in 0..<1_000_000 { work = work &* 6_364_136_223_846_793_005 &+ 1 }
      message = listener.next(within: 0)
    }
    #expect(message == "EXTEND_TIMEOUT_USEC=90000000\nWATCHDOG=1\nSTATUS=opening the spool", "\(work)")
  }

  @Test("a start that hangs is given no more time")
  func hangingStart() {
    var progress = StartSigns.Progress(processor: 1_000)
    let least = StartSigns.Progress.least
    let seen = [least - 1, least, least, 2 * least].map { progress.hasWorked(processor: 1_000 + $0) }
    #expect(seen == [false, true, false, true])
  }

  @Test("a stop is given the grace period that is configured, and some time to close the databases")
  func stop() throws {
    let listener = try Listener()
    listener.manager.stopping(within: 600_000_000_000)
    #expect(listener.next(within: 5_000) == "STOPPING=1\nEXTEND_TIMEOUT_USEC=615000000")
  }

  @Test("nobody is told where no service manager is")
  func alone() {
    #expect(!ServiceManager { _ in nil }.isThere)
    #expect(!ServiceManager { $0 == "NOTIFY_SOCKET" ? "" : nil }.isThere)
  }
}

@Suite("What the kernel says of the wall clock")
struct ClockQualityTests {
  @Test("a clock that may not be asked about is not taken for a synchronised one")
  func forbidden() {
    // Numbers of adjtimex(2): TIME_ERROR, STA_UNSYNC, STA_PLL.
    #expect(SystemClock.quality(answer: -1, status: 0) == .unsynchronised)
    #expect(SystemClock.quality(answer: 5, status: 0) == .unsynchronised)
    #expect(SystemClock.quality(answer: 0, status: 0x40) == .unsynchronised)
    #expect(SystemClock.quality(answer: 0, status: 0) == .synchronised)
    #expect(SystemClock.quality(answer: 0, status: 0x01) == .synchronised)
  }
}
