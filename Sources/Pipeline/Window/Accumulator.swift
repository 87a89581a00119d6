/// A sum that keeps what rounding takes away (Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation
/// endlicher Summen", 1974), and how many values are in it.
struct NeumaierSum: Sendable, Hashable {
  private var sum = 0.0
  private var compensation = 0.0
  private(set) var count: Int64 = 0

  init() {}

  var value: Double { sum + compensation }

  mutating func add(_ value: Double) {
    put(value)
    count += 1
  }

  mutating func merge(_ other: NeumaierSum) {
    put(other.sum)
    compensation += other.compensation
    count = saturating(count, plus: other.count)
  }

  private mutating func put(_ value: Double) {
    let next = sum + value
    if sum.magnitude >= value.magnitude {
      compensation += (sum - next) + value
    } else {
      compensation += (value - next) + sum
    }
    sum = next
  }

  func encode(to encoder: inout StateEncoder) {
    encoder.put(double: sum)
    encoder.put(double: compensation)
    encoder.put(unsigned: UInt64(count))
  }

  init?(from decoder: inout StateDecoder) {
    guard let sum = decoder.double(), let compensation = decoder.double(),
      let count = decoder.counter(), count <= NeumaierSum.maximumCount
    else { return nil }
    (self.sum, self.compensation, self.count) = (sum, compensation, count)
  }

  /// No stream is as long; a damaged count that is higher could overflow.
  static let maximumCount: Int64 = 1 << 62
}

/// Count, mean and the sum of squared differences from it (Welford, 1962); merged as in Chan, Golub and LeVeque, 1979.
struct Moments: Sendable, Hashable {
  private(set) var count: Int64 = 0
  private var mean = 0.0
  private var squares = 0.0

  init() {}

  mutating func add(_ value: Double) {
    count += 1
    let difference = value - mean
    mean += difference / Double(count)
    squares += difference * (value - mean)
  }

  mutating func merge(_ other: Moments) {
    guard other.count > 0 else { return }
    let total = saturating(count, plus: other.count)
    let difference = other.mean - mean
    let share = Double(other.count) / Double(total)
    squares += other.squares + difference * difference * Double(count) * share
    mean += difference * share
    count = total
  }

  /// Of a sample; nil below two values.
  var standardDeviation: Double? {
    count > 1 ? max(0, squares / Double(count - 1)).squareRoot() : nil
  }

  func encode(to encoder: inout StateEncoder) {
    encoder.put(unsigned: UInt64(count))
    encoder.put(double: mean)
    encoder.put(double: squares)
  }

  init?(from decoder: inout StateDecoder) {
    guard let count = decoder.counter(), count <= NeumaierSum.maximumCount, let mean = decoder.double(),
      let squares = decoder.double()
    else { return nil }
    (self.count, self.mean, self.squares) = (count, mean, squares)
  }
}

/// What a reading brings for one aggregate.
package enum WindowInput: Sendable, Hashable {
  case missing
  case number(Double)
  /// Stands for the bytes of a value whose different ones are counted: ``WindowInput/distinct(_:)``.
  case hash(UInt64)

  /// Any value as its bytes, for ``WindowSettings/Function/distinct``.
  package static func distinct(_ bytes: UnsafeRawBufferPointer) -> WindowInput { .hash(StableHash.hash(bytes)) }

  /// The value, where it is a finite number.
  var number: Double? {
    if case .number(let value) = self, value.isFinite { value } else { nil }
  }
}

/// The state of one computation over one window. Which one it is comes from the settings and never changes.
enum Accumulator: Sendable, Hashable {
  /// A value with its event time; nothing before the first.
  struct Timed: Sendable, Hashable {
    var time: Int64 = 0
    var value = 0.0
    var isSet = false
  }

  struct Extreme: Sendable, Hashable {
    var value = 0.0
    var isSet = false
  }

  case tally(Int64)
  case sum(NeumaierSum)
  case minimum(Extreme)
  case maximum(Extreme)
  case moments(Moments)
  case first(Timed)
  case last(Timed)
  case quantiles(QuantileSketch)
  case distinct(DistinctSketch)

  /// Takes in what a reading brings, where that is a value.
  mutating func add(_ input: WindowInput, at time: Int64) {
    if case .distinct(var sketch) = self {
      let hash: UInt64
      switch input {
      case .missing: return
      case .hash(let value): hash = value
      case .number(let value):
        guard value.isFinite else { return }
        // Negative zero equals zero.
        hash = withUnsafeBytes(of: (value == 0 ? 0 : value).bitPattern.littleEndian, StableHash.hash)
      }
      // Without another owner, the sketch changes in its place.
      self = .tally(0)
      sketch.add(hash)
      self = .distinct(sketch)
      return
    }
    if case .tally(let count) = self {
      if input != .missing { self = .tally(count + 1) }
      return
    }
    guard let value = input.number else { return }
    switch self {
    case .tally, .distinct: break
    case .sum(var sum):
      sum.add(value)
      self = .sum(sum)
    case .minimum(let least):
      if !least.isSet || value < least.value { self = .minimum(Extreme(value: value, isSet: true)) }
    case .maximum(let most):
      if !most.isSet || value > most.value { self = .maximum(Extreme(value: value, isSet: true)) }
    case .moments(var moments):
      moments.add(value)
      self = .moments(moments)
    case .first(let first):
      if !first.isSet || time < first.time { self = .first(Timed(time: time, value: value, isSet: true)) }
    case .last(let last):
      if !last.isSet || time >= last.time { self = .last(Timed(time: time, value: value, isSet: true)) }
    case .quantiles(var sketch):
      self = .tally(0)
      sketch.add(value)
      self = .quantiles(sketch)
    }
  }

  /// Takes in the state of a later session.
  mutating func merge(_ later: Accumulator) {
    switch (self, later) {
    case (.tally(let a), .tally(let b)): self = .tally(saturating(a, plus: b))
    case (.sum(var a), .sum(let b)):
      a.merge(b)
      self = .sum(a)
    case (.minimum(let a), .minimum(let b)): if b.isSet, !a.isSet || b.value < a.value { self = later }
    case (.maximum(let a), .maximum(let b)): if b.isSet, !a.isSet || b.value > a.value { self = later }
    case (.moments(var a), .moments(let b)):
      a.merge(b)
      self = .moments(a)
    case (.first(let a), .first(let b)): if b.isSet, !a.isSet || b.time < a.time { self = later }
    case (.last(let a), .last(let b)): if b.isSet, !a.isSet || b.time >= a.time { self = later }
    case (.quantiles(var a), .quantiles(let b)):
      a.merge(b)
      self = .quantiles(a)
    case (.distinct(var a), .distinct(let b)):
      a.merge(b)
      self = .distinct(a)
    default: break
    }
  }

  // MARK: Stored form

  func encode(to encoder: inout StateEncoder) {
    switch self {
    case .tally(let count): encoder.put(unsigned: UInt64(count))
    case .sum(let sum): sum.encode(to: &encoder)
    case .minimum(let extreme), .maximum(let extreme):
      encoder.put(extreme.isSet ? 1 : 0)
      if extreme.isSet { encoder.put(double: extreme.value) }
    case .moments(let moments): moments.encode(to: &encoder)
    case .first(let timed), .last(let timed):
      encoder.put(timed.isSet ? 1 : 0)
      if timed.isSet {
        encoder.put(signed: timed.time)
        encoder.put(double: timed.value)
      }
    case .quantiles(let sketch): sketch.encode(to: &encoder)
    case .distinct(let sketch): sketch.encode(to: &encoder)
    }
  }

  /// Reads the state of the computation that `self` is.
  func decoded(from decoder: inout StateDecoder) -> Accumulator? {
    switch self {
    case .tally:
      guard let count = decoder.counter(), count <= NeumaierSum.maximumCount else { return nil }
      return .tally(count)
    case .sum: return NeumaierSum(from: &decoder).map { .sum($0) }
    case .minimum: return Accumulator.extreme(&decoder).map { .minimum($0) }
    case .maximum: return Accumulator.extreme(&decoder).map { .maximum($0) }
    case .moments: return Moments(from: &decoder).map { .moments($0) }
    case .first: return Accumulator.timed(&decoder).map { .first($0) }
    case .last: return Accumulator.timed(&decoder).map { .last($0) }
    case .quantiles: return QuantileSketch(from: &decoder).map { .quantiles($0) }
    case .distinct: return DistinctSketch(from: &decoder).map { .distinct($0) }
    }
  }

  private static func extreme(_ decoder: inout StateDecoder) -> Extreme? {
    guard let isSet = decoder.flag() else { return nil }
    guard isSet else { return Extreme() }
    guard let value = decoder.double(), value.isFinite else { return nil }
    return Extreme(value: value, isSet: true)
  }

  private static func timed(_ decoder: inout StateDecoder) -> Timed? {
    guard let isSet = decoder.flag() else { return nil }
    guard isSet else { return Timed() }
    guard let time = decoder.signed(), let value = decoder.double(), value.isFinite else { return nil }
    return Timed(time: time, value: value, isSet: true)
  }
}
