package import Telemetry

/// Brings one batch upstream and says what the upstream answered. Does not retry: the core decides.
package protocol Uplink: Sendable {
  /// Never throws: whatever goes wrong is an ``Answer``. May be called for several batches at once.
  /// - Parameters:
  ///   - attempt: from 1, since the daemon started.
  ///   - wrote: called with the bytes of the body that went out, piece by piece; also when what they
  ///     were sent to then fails.
  func send(_ batch: Batch, attempt: Int, wrote: @escaping @Sendable (Int) -> Void) async -> Answer
  /// What is on disk for it is refused, and an older secret still works: for people, nil while that is not so.
  var refusedCredential: String? { get }
  /// Reads secrets and certificates anew.
  func reload() async
  /// Ends what is open. Nothing is sent afterwards.
  func shutdown() async
}

extension Uplink {
  package var refusedCredential: String? { nil }
}
