internal import Glibc
internal import Ingest
internal import Synchronization

/// Tells systemd that the start goes on while it takes long: a database that is salvaged or rebuilt from the log can
/// take many minutes, and a service that is killed in it begins again, for ever.
///
/// It is told only while the process works: a start that hangs is ended after `TimeoutStartSec=` as ever.
final class StartSigns: Sendable {
  /// Whether a process works, by the processor time that it has taken.
  struct Progress: Sendable {
    /// Nanoseconds of processor time between two looks that only work takes: the looks themselves and threads that
    /// wait take microseconds, and reading or writing a database takes this in far less than a second.
    static let least: Int64 = 5_000_000
    private var seen: Int64

    init(processor: Int64) { seen = processor }

    /// Whether it has worked since the last look.
    mutating func hasWorked(processor: Int64) -> Bool {
      guard processor - seen >= Progress.least else { return false }
      seen = processor
      return true
    }
  }

  /// Milliseconds between two looks. Most starts are over before the first.
  static let interval: Int64 = 5_000
  /// Nanoseconds that are asked for each time.
  private static let request: Int64 = 90_000_000_000

  /// What is done, and how often it was said: whoever says what it does works.
  private let work = Mutex((text: "opening the spool", count: 0))
  private let isOver = Atomic(false)

  private init() {}

  /// Begins to look, on a thread of its own: opening the spool holds the one that it is called on, and on a small box
  /// that is the only one of Swift's.
  static func begin(_ manager: ServiceManager = ServiceManager(), interval: Int64 = interval) -> StartSigns {
    let signs = StartSigns()
    guard manager.isThere else { return signs }
    let thread = try? Worker.start("start") {
      var progress = Progress(processor: processorTime())
      var looked = SystemClock.monotonic()
      var heard = 0
      while !signs.isOver.load(ordering: .relaxed) {
        poll(nil, 0, Int32(min(interval, 100)))
        let now = SystemClock.monotonic()
        guard now - looked >= interval * 1_000_000 else { continue }
        looked = now
        let work = signs.work.withLock { $0 }
        let hasWorked = progress.hasWorked(processor: processorTime())
        guard hasWorked || work.count != heard, !signs.isOver.load(ordering: .relaxed) else { continue }
        heard = work.count
        manager.starting(work.text, longest: request)
      }
    }
    thread?.detach()
    return signs
  }

  /// Tells what is done, for the status that systemd shows: a copying that waits for a slow card takes next to no
  /// processor time.
  func note(_ text: String) {
    work.withLock { work in
      work.text = text
      work.count += 1
    }
  }

  func end() { isOver.store(true, ordering: .relaxed) }

  /// Nanoseconds that all threads of this process have taken.
  private static func processorTime() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }
}
