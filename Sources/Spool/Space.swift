internal import Glibc
internal import Synchronization

/// How much room there is, with the hysteresis between stopping and going on.
///
/// Two limits, each with a mark at which taking in stops and one at which it goes on: the byte cap of
/// the spool, and the free space of the disk. Sealing may go further than taking in, because a sealed
/// block can be deleted: without that headroom a full spool could never empty itself. What is sealed
/// was taken in before, so the headroom has to hold one seal more than the in-doubt blocks that stay.
package struct SpaceGauge: Sendable, Hashable {
  package var maximum: Int64
  package var minimumFree: Int64
  package private(set) var parked: String?

  package init(maximum: Int64, minimumFree: Int64) {
    self.maximum = maximum
    self.minimumFree = minimumFree
  }

  /// Bytes of use at which taking in stops, and below which it goes on.
  package var stop: Int64 { maximum / 100 * 85 }
  package var resume: Int64 { maximum / 100 * 75 }
  /// Bytes that must be free again before taking in goes on.
  package var resumeFree: Int64 { minimumFree + max(minimumFree / 10, 4 << 20) }

  /// Takes a reading. Afterwards ``parked`` tells why nothing may be taken in, or is nil.
  package mutating func update(used: Int64, free: Int64) {
    if parked == nil {
      if used >= stop {
        parked =
          "the spool holds \(mebibytes(used)) of \(mebibytes(maximum)): get the uplinks to deliver, or raise spool.max"
      } else if free < minimumFree {
        parked =
          "the disk has \(mebibytes(free)) free, \(mebibytes(minimumFree)) are to be kept: "
          + "make room on the disk, or lower spool.min_free"
      }
    } else if used < resume, free >= resumeFree {
      parked = nil
    }
  }

  private func mebibytes(_ bytes: Int64) -> String { "\(bytes >> 20) MiB" }

  /// Whether a seal fits.
  package func maySeal(used: Int64, free: Int64) -> Bool {
    used < maximum && free >= minimumFree / 2
  }

  /// Whether messages that every pipeline has passed should go before their time.
  package func isShort(used: Int64, free: Int64) -> Bool {
    used >= maximum / 100 * 70 || free < minimumFree + (minimumFree / 4)
  }
}

/// The gauge with its last readings, shared by intake, pipelines and retention.
package final class Space: Sendable {
  private struct Reading: Sendable {
    var gauge: SpaceGauge
    var used: Int64 = 0
    var free: Int64 = .max
  }

  private let reading: Mutex<Reading>
  private let directory: String

  init(_ settings: SpoolSettings) {
    directory = settings.directory
    reading = Mutex(
      Reading(
        gauge: SpaceGauge(maximum: settings.maximumBytes, minimumFree: settings.minimumFree)))
  }

  /// Takes a new reading; `used` is what both databases use.
  package func update(used: Int64) throws(SpoolError) {
    let free = try FileSystem.free(directory)
    reading.withLock { reading in
      reading.used = used
      reading.free = free
      reading.gauge.update(used: used, free: free)
    }
  }

  /// Counts bytes that were just written, until the next reading.
  package func add(_ bytes: Int) {
    // A burst fills a small disk within the second to the next reading; asking costs a microsecond.
    let free = try? FileSystem.free(directory)
    reading.withLock { reading in
      reading.used += Int64(bytes)
      if let free { reading.free = free }
      reading.gauge.update(used: reading.used, free: reading.free)
    }
  }

  /// Nil: there is room. Otherwise why not.
  package var parked: String? { reading.withLock { $0.gauge.parked } }
  package var maySeal: Bool {
    reading.withLock { $0.gauge.maySeal(used: $0.used, free: $0.free) }
  }
  package var isShort: Bool {
    reading.withLock { $0.gauge.isShort(used: $0.used, free: $0.free) }
  }
  package var figures: (used: Int64, free: Int64, maximum: Int64, minimumFree: Int64) {
    reading.withLock { ($0.used, $0.free, $0.gauge.maximum, $0.gauge.minimumFree) }
  }
}
