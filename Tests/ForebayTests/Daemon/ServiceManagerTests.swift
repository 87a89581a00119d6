import Glibc
import Telemetry
import TestSupport
import Testing

@testable import forebay

@Suite("What systemd is told")
struct ServiceManagerTests {
  private final class Listener {
    private let directory: TemporaryDirectory
    private let socket: NotifySocket

    init() throws {
      directory = try TemporaryDirectory("notify")
      socket = try NotifySocket(directory.file("socket"))
    }

    var manager: ServiceManager { ServiceManager { [path = socket.path] in $0 == "NOTIFY_SOCKET" ? path : nil } }

    func next(within milliseconds: Int32) -> String? { socket.next(within: milliseconds) }
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

  @Test("a start that says what it does is given more time, also while it waits for a slow card")
  func toldStart() throws {
    let listener = try Listener()
    let signs = StartSigns.begin(listener.manager, interval: 10)
    defer { signs.end() }
    let end = SystemClock.monotonic() + 20_000_000_000
    var seen: [String] = []
    var step = 0
    while !seen.contains(where: { $0.contains("STATUS=keeping log.db.format-1") }), SystemClock.monotonic() < end {
      step += 1
      signs.note("keeping log.db.format-1: \(step) %")
      if let message = listener.next(within: 100) { seen.append(message) }
    }
    #expect(seen.last?.hasPrefix("EXTEND_TIMEOUT_USEC=90000000\nWATCHDOG=1\nSTATUS=keeping log.db.format-1: ") == true)
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
