import Glibc
import Synchronization
import TestSupport

/// What a process has in memory, looked at five times a second while this value lives.
final class ResidentMemory: Sendable {
  private struct State {
    var samples: [Int] = []
    var isOver = false
  }

  private let state = Mutex(State())

  init(of pid: pid_t) {
    BlockingThread.start { [weak self] in
      while true {
        let bytes = ResidentMemory.bytes(of: pid)
        guard let self, !self.state.withLock({ $0.isOver }) else { return }
        if bytes > 0 { self.state.withLock { $0.samples.append(bytes) } }
        usleep(200_000)
      }
    }
  }

  /// Bytes; 0 for a process that is gone.
  static func bytes(of pid: pid_t) -> Int {
    let fields = TemporaryDirectory.read("/proc/\(pid)/statm").split(separator: " ")
    return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * Int(getpagesize())
  }

  /// Ends the looking.
  /// - Returns: bytes, of the middle sample and of the highest.
  func end() -> (median: Int, highest: Int) {
    let samples = state.withLock { state in
      state.isOver = true
      return state.samples.sorted()
    }
    return (samples.isEmpty ? 0 : samples[samples.count / 2], samples.last ?? 0)
  }
}
