internal import Glibc
internal import Logging

/// Begins this process anew in place: the same program, arguments and environment under the same process
/// id, so that a service manager sees no end of it.
enum ProcessRestart {
  /// Nanoseconds that a process lives at least: a card that breaks under every new file must neither keep
  /// the processor busy nor wear itself out.
  private static let shortestLife: Int64 = 10_000_000_000

  /// Does not return unless it fails, or the process has been told to stop meanwhile.
  /// - Parameter started: monotonic nanoseconds.
  static func now(after started: Int64, unless signals: SignalStream, _ logger: Logger) async {
    func isToStop() -> Bool { signals.hasArrived(SIGTERM, SIGINT) }
    while SystemClock.monotonic() - started < shortestLife, !isToStop() {
      try? await Task.sleep(nanoseconds: 100_000_000)
    }
    if isToStop() { return logger.notice("stopped; the next start rebuilds what is damaged") }
    // What is ignored stays so in the new program: until it listens, being told to stop must stop it.
    for number in [SIGTERM, SIGINT] { signal(number, SIG_DFL) }
    var arguments: [UnsafeMutablePointer<CChar>?] = CommandLine.arguments.map { strdup($0) }
    arguments.append(nil)
    defer { for argument in arguments { free(argument) } }
    execv("/proc/self/exe", arguments)
    logger.critical(
      "the process cannot begin anew", metadata: ["error": "\(String(cString: strerror(errno)))"])
    exit(1)
  }
}
