import Glibc

/// Waits until a condition holds, asking every few milliseconds.
/// - Parameter seconds: how long at most.
/// - Returns: whether it held in time.
package func eventually(within seconds: Double = 10, _ condition: () throws -> Bool) rethrows -> Bool {
  let deadline = monotonicSeconds() + seconds
  while true {
    if try condition() { return true }
    if monotonicSeconds() >= deadline { return false }
    usleep(3000)
  }
}

/// The same for conditions that await something.
package func eventually(
  within seconds: Double = 10, _ condition: () async throws -> Bool
) async throws -> Bool {
  let deadline = monotonicSeconds() + seconds
  while true {
    if try await condition() { return true }
    if monotonicSeconds() >= deadline { return false }
    try await Task.sleep(nanoseconds: 3_000_000)
  }
}

/// `CLOCK_MONOTONIC`, in seconds.
package func monotonicSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
