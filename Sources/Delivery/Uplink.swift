package import Telemetry

/// Brings one batch upstream and says what the upstream answered. Does not retry: the core decides.
package protocol Uplink: Sendable {
  /// Never throws: whatever goes wrong is an ``Answer``. May be called for several batches at once.
  /// - Parameter attempt: from 1, since the daemon started.
  func send(_ batch: Batch, attempt: Int) async -> Answer
  /// Reads secrets and certificates anew.
  func reload() async
  /// Ends what is open. Nothing is sent afterwards.
  func shutdown() async
}
