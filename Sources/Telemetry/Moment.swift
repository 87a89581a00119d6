/// What the wall clock was worth when a ``Moment`` was taken.
///
/// Gateways boot without a real-time clock, so a wall time is worth something only once the kernel
/// says that it is disciplined (`adjtimex(2)`, `STA_UNSYNC` clear).
package enum ClockQuality: UInt8, Sendable, Hashable, Codable {
  case unsynchronised = 0
  case synchronised = 1
}

/// One boot of one machine, as the kernel names it in `/proc/sys/kernel/random/boot_id`.
///
/// Monotonic times compare only within one boot.
package struct BootID: Sendable, Hashable {
  package let high: UInt64
  package let low: UInt64

  package init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }
}

/// A point in time as a gateway can know it: both clocks, the boot they belong to, and how far to
/// trust the wall clock (promise 6).
package struct Moment: Sendable, Hashable {
  package var boot: BootID
  /// `CLOCK_MONOTONIC`, in nanoseconds; comparable only within `boot`.
  package var monotonic: Int64
  /// `CLOCK_REALTIME`, in nanoseconds since 1970-01-01T00:00:00Z.
  package var wall: Int64
  package var quality: ClockQuality

  package init(boot: BootID, monotonic: Int64, wall: Int64, quality: ClockQuality) {
    self.boot = boot
    self.monotonic = monotonic
    self.wall = wall
    self.quality = quality
  }
}

/// Reads both clocks. Injected wherever time is needed, so that tests can script it; the one real
/// implementation stands in the executable.
package typealias MomentSource = @Sendable () -> Moment
