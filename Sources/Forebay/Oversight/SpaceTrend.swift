/// For how long there is room, at the rate at which the spool has grown within the last hour.
struct SpaceTrend: Sendable {
  /// Nanoseconds between two readings that are kept, and how many are.
  static let step: Int64 = 300_000_000_000
  static let kept = 13
  /// Nanoseconds below which a rate says nothing.
  static let shortest: Int64 = 1_800_000_000_000

  private var readings: [(at: Int64, used: Int64)] = []

  /// - Parameters:
  ///   - room: bytes that may still be taken.
  ///   - waits: something waits for its delivery. Otherwise what grows is what is kept for replay, and that goes when
  ///     room is short. Nil: nobody knows this time, and it is as it was.
  ///   - now: monotonic nanoseconds.
  /// - Returns: hours; nil while it does not grow, or nobody knows yet.
  mutating func hours(used: Int64, room: Int64, waits: Bool?, now: Int64) -> Double? {
    guard waits ?? !readings.isEmpty else {
      readings = []
      return nil
    }
    if now - (readings.last?.at ?? .min / 2) >= SpaceTrend.step {
      readings.append((now, used))
      if readings.count > SpaceTrend.kept { readings.removeFirst() }
    }
    guard let first = readings.first, now - first.at >= SpaceTrend.shortest, used > first.used else { return nil }
    return Double(max(0, room)) / Double(used - first.used) * Double(now - first.at) / 3.6e12
  }
}
