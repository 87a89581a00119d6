/// Where the durable queue lies and how much it may take.
package struct SpoolSettings: Sendable, Hashable {
  /// Absolute path.
  package var directory: String
  /// Bytes that both databases may use together, at least 64 MiB.
  package var maximumBytes: Int64 = 8 << 30
  /// Bytes that are left free on the file system.
  package var minimumFree: Int64 = 1 << 30
  /// Nanoseconds for which raw messages are kept after every pipeline has passed them.
  package var keepAge: Int64 = 24 * 3_600_000_000_000
  /// Bytes of the raw log above which messages that every pipeline has passed go before their age.
  package var keepBytes: Int64 = 1 << 30

  /// The last messages of the log, which stay whatever their age: as many as all broker sessions together
  /// may have on the way.
  package var inDoubt: Int64 = 1000

  package init(directory: String) { self.directory = directory }
}
