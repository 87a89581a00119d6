internal import Metrics
internal import Synchronization

/// Names a series in its registry.
struct SeriesID: Sendable, Hashable {
  var name: String
  var labels: MetricLabels
}

protocol RegisteredSeries: AnyObject, Sendable {
  var id: SeriesID { get }
}

/// A number that many threads change without waiting for one another.
struct AtomicNumber: ~Copyable, Sendable {
  private let bits = Atomic<UInt64>(0)

  var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }

  func set(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }

  func add(_ amount: Double) {
    var old = bits.load(ordering: .relaxed)
    while true {
      let new = (Double(bitPattern: old) + amount).bitPattern
      let (exchanged, original) = bits.compareExchange(expected: old, desired: new, ordering: .relaxed)
      if exchanged { return }
      old = original
    }
  }
}

/// A counter; whole steps are exact up to 2^53.
final class CountingSeries: RegisteredSeries, CounterHandler, FloatingPointCounterHandler {
  let id: SeriesID
  private let number = AtomicNumber()

  init(_ id: SeriesID) { self.id = id }

  var value: Double { number.value }

  func increment(by amount: Int64) { increment(by: Double(amount)) }

  func increment(by amount: Double) {
    guard amount > 0, amount.isFinite else { return }
    number.add(amount)
  }

  func reset() { number.set(0) }
}

/// A gauge, also a recorder that keeps its last value only.
final class GaugeSeries: RegisteredSeries, MeterHandler, RecorderHandler {
  let id: SeriesID
  private let number = AtomicNumber()

  init(_ id: SeriesID) { self.id = id }

  var value: Double { number.value }

  func set(_ value: Int64) { number.set(Double(value)) }
  func set(_ value: Double) { number.set(value) }
  func increment(by amount: Double) { number.add(amount) }
  func decrement(by amount: Double) { number.add(-amount) }
  func record(_ value: Int64) { set(value) }
  func record(_ value: Double) { set(value) }
}

/// A recorder that adds up, or a timer.
final class HistogramSeries: RegisteredSeries, RecorderHandler, TimerHandler {
  let id: SeriesID
  let histogram: DurationHistogram

  init(_ id: SeriesID, _ histogram: DurationHistogram) {
    self.id = id
    self.histogram = histogram
  }

  func record(_ value: Int64) { histogram.record(Double(value)) }
  func record(_ value: Double) { histogram.record(value) }
  func recordNanoseconds(_ duration: Int64) { histogram.record(nanoseconds: duration) }
}

/// What a series is given that is not kept.
final class RefusedSeries: CounterHandler, FloatingPointCounterHandler, MeterHandler, RecorderHandler, TimerHandler {
  static let only = RefusedSeries()

  func increment(by amount: Int64) {}
  func increment(by amount: Double) {}
  func decrement(by amount: Double) {}
  func set(_ value: Int64) {}
  func set(_ value: Double) {}
  func record(_ value: Int64) {}
  func record(_ value: Double) {}
  func recordNanoseconds(_ duration: Int64) {}
  func reset() {}
}
