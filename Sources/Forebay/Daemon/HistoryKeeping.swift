internal import Pipeline
internal import Status
internal import Synchronization
internal import Telemetry

/// Looks at the daemon every ten seconds, so that the status page has the last hour. Nothing is kept, and nobody
/// looks, where the HTTP API is off.
final class HistoryKeeping: Sendable {
  private let history = Mutex(History())
  private let looking = Mutex<Task<Void, Never>?>(nil)

  /// - Parameter sample: what is counted now; nil where nobody can ask for it.
  func start(_ sample: @escaping @Sendable () async throws -> History.Sample?) {
    let task = Task { [self] in
      while !Task.isCancelled {
        // What cannot be said now is a gap.
        if let sample = try? await sample() {
          let now = SystemClock.source()
          history.withLock { $0.record(sample, monotonic: now.monotonic, wall: now.wall) }
        }
        try? await Task.sleep(nanoseconds: UInt64(History.step))
      }
    }
    looking.withLock { $0 = task }
  }

  /// Returns when nobody looks at the daemon any more.
  func stop() async {
    let task = looking.withLock { $0.take() }
    task?.cancel()
    await task?.value
  }

  var json: [UInt8] { history.withLock { $0.json(time: RFC3339.text) } }
}

extension Daemon {
  /// What is charted, now; nil where the HTTP API is off.
  func historySample() async throws -> History.Sample? {
    guard configuration.withLock({ $0.status.api }) != nil else { return nil }
    return History.Sample(GatewayStatus(try await report(), wall: SystemClock.wall(), perSecond: nil))
  }
}
