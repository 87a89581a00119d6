internal import Glibc
internal import Synchronization

/// Waits for POSIX signals on a thread of its own, so that nothing runs in a signal handler.
enum Signals {
  enum Event: Sendable {
    case terminate
    case reload
  }

  /// Blocks SIGTERM, SIGINT and SIGHUP for every thread that is started later, and ignores those that
  /// would end the process for a closed socket or a file-size limit (both come back as errors).
  /// Call it first thing, before another thread runs.
  static func prepare() {
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
    var set = watched
    pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  private static var watched: sigset_t {
    var set = sigset_t()
    sigemptyset(&set)
    for number in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&set, number) }
    return set
  }

  /// The signals as they come.
  static func events() -> AsyncStream<Event> {
    let (stream, continuation) = AsyncStream<Event>.makeStream()
    WorkerThread.start(name: "signals") {
      var set = watched
      while true {
        var number: Int32 = 0
        guard sigwait(&set, &number) == 0 else { continue }
        continuation.yield(number == SIGHUP ? .reload : .terminate)
      }
    }
    return stream
  }
}
