package import Logging
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

extension UplinkSettings {
  /// The uplink that these settings describe.
  /// - Parameters:
  ///   - version: of this program.
  ///   - wall: nanoseconds since 1970.
  package func uplink(
    version: String, logger: Logger, wall: @escaping @Sendable () -> Int64
  ) -> any Uplink {
    switch kind {
    case .http(let settings):
      HTTPUplink(settings: settings, concurrency: batchesAtOnce, version: version, wall: wall)
    case .file(let settings):
      FileUplink(settings: settings, logger: logger, wall: wall)
    }
  }
}
