/// Percentiles of a stream in bounded memory, exact for up to 64 values.
///
/// Beyond that, values are counted in buckets of equal relative width, as in DDSketch (Masson, Rim, Lee, "DDSketch",
/// VLDB 2019). A bucket is what the upper bits of the IEEE 754 form name: exponent and six bits of the fraction,
/// which needs no logarithm and gives the same buckets on every machine. A bucket's middle is off from any value
/// in it by 1/128 (0.79 %) at most. Where the values need more than 1,024 buckets, all buckets become twice as wide
/// ("UDDSketch", Epicoco et al., 2020), and the error doubles; ``relativeError`` says how large it is. It does not
/// hold for values nearer to zero than 1e-300. The result does not depend on the order of the values.
struct QuantileSketch: Sendable, Hashable {
  struct Bucket: Sendable, Hashable {
    /// Ascending with the values: 0 for zero, above for positive values, below for negative ones.
    var key: Int32
    var count: UInt32
  }

  static let exactLimit = 64
  /// 8 KiB.
  static let bucketLimit = 1_024
  /// Bits of the IEEE 754 form that a bucket does not look at: all but 6 of the fraction's 52.
  private static let initialShift: UInt8 = 46

  /// In the order of arrival; empty once there are buckets.
  private var exact: [Double] = []
  /// In the order of their keys.
  private var buckets: [Bucket] = []
  private var shift = QuantileSketch.initialShift

  init() {}

  var isExact: Bool { buckets.isEmpty }

  /// The most that a result can differ from the true value, relative to it; 0 while it is exact.
  var relativeError: Double {
    guard !isExact else { return 0 }
    let free = Int(shift) - 52
    // The highest value of a bucket is less than `span` times its lowest.
    let span = free <= 0 ? 1 + QuantileSketch.powerOfTwo(free) : QuantileSketch.powerOfTwo(1 << free)
    return (span - 1) / 2
  }

  mutating func add(_ value: Double) {
    if isExact {
      if exact.count < QuantileSketch.exactLimit {
        exact.append(value)
        return
      }
      makeBuckets()
    }
    count(QuantileSketch.key(value, shift), 1)
  }

  mutating func merge(_ other: QuantileSketch) {
    if isExact, other.isExact, exact.count + other.exact.count <= QuantileSketch.exactLimit {
      exact += other.exact
      return
    }
    if isExact { makeBuckets() }
    if other.isExact {
      for value in other.exact { count(QuantileSketch.key(value, shift), 1) }
      return
    }
    while shift < other.shift { widen() }
    for bucket in other.buckets {
      count(QuantileSketch.widened(bucket.key, by: max(shift, other.shift) - other.shift), bucket.count)
    }
  }

  /// The smallest value that at least this share of all values do not exceed (nearest rank); nil without values.
  /// - Parameter share: 0...1.
  func quantile(_ share: Double) -> Double? {
    if isExact {
      guard !exact.isEmpty else { return nil }
      return exact.sorted()[QuantileSketch.rank(share, of: UInt64(exact.count))]
    }
    let total = buckets.reduce(UInt64(0)) { $0 + UInt64($1.count) }
    var left = QuantileSketch.rank(share, of: total)
    for bucket in buckets {
      if left < Int(bucket.count) { return middle(bucket.key) }
      left -= Int(bucket.count)
    }
    return nil
  }

  /// From 0.
  private static func rank(_ share: Double, of count: UInt64) -> Int {
    let rank = (share * Double(count)).rounded(.up)
    return min(max(Int(rank), 1), Int(count)) - 1
  }

  // MARK: Buckets

  private static func key(_ value: Double, _ shift: UInt8) -> Int32 {
    if value == 0 { return 0 }
    let magnitude = Int32(truncatingIfNeeded: value.magnitude.bitPattern >> UInt64(shift)) + 1
    return value < 0 ? -magnitude : magnitude
  }

  /// Where the values of a bucket go when buckets become so many times twice as wide.
  private static func widened(_ key: Int32, by steps: UInt8) -> Int32 {
    if key == 0 || steps == 0 { return key }
    let magnitude = ((key.magnitude - 1) >> UInt32(steps)) + 1
    return key < 0 ? -Int32(magnitude) : Int32(magnitude)
  }

  private func middle(_ key: Int32) -> Double {
    if key == 0 { return 0 }
    let low = UInt64(key.magnitude - 1) << UInt64(shift)
    let high = low + (UInt64(1) << UInt64(shift)) - 1
    let most = Double.greatestFiniteMagnitude.bitPattern
    let middle = Double(bitPattern: min(low, most)) / 2 + Double(bitPattern: min(high, most)) / 2
    return key < 0 ? -middle : middle
  }

  private mutating func makeBuckets() {
    let values = exact
    exact = []
    for value in values { count(QuantileSketch.key(value, shift), 1) }
  }

  private mutating func count(_ key: Int32, _ amount: UInt32) {
    let place = self.place(of: key)
    if place < buckets.count, buckets[place].key == key {
      let (sum, overflow) = buckets[place].count.addingReportingOverflow(amount)
      buckets[place].count = overflow ? .max : sum
      return
    }
    buckets.insert(Bucket(key: key, count: amount), at: place)
    while buckets.count > QuantileSketch.bucketLimit { widen() }
  }

  private func place(of key: Int32) -> Int {
    var low = 0
    var high = buckets.count
    while low < high {
      let middle = (low + high) / 2
      if buckets[middle].key < key { low = middle + 1 } else { high = middle }
    }
    return low
  }

  private mutating func widen() {
    shift += 1
    var wider: [Bucket] = []
    for bucket in buckets {
      let key = QuantileSketch.widened(bucket.key, by: 1)
      if let last = wider.last, last.key == key {
        let (sum, overflow) = last.count.addingReportingOverflow(bucket.count)
        wider[wider.count - 1].count = overflow ? .max : sum
      } else {
        wider.append(Bucket(key: key, count: bucket.count))
      }
    }
    buckets = wider
  }

  private static func powerOfTwo(_ exponent: Int) -> Double {
    guard exponent < 1_024 else { return .infinity }
    return exponent < -1_022 ? 0 : Double(sign: .plus, exponent: exponent, significand: 1)
  }

  // MARK: Stored form

  func encode(to encoder: inout StateEncoder) {
    encoder.put(isExact ? 0 : shift)
    if isExact {
      encoder.put(unsigned: UInt64(exact.count))
      for value in exact { encoder.put(double: value) }
      return
    }
    encoder.put(unsigned: UInt64(buckets.count))
    var last: Int32 = 0
    for bucket in buckets {
      encoder.put(signed: Int64(bucket.key) - Int64(last))
      encoder.put(unsigned: UInt64(bucket.count))
      last = bucket.key
    }
  }

  init?(from decoder: inout StateDecoder) {
    guard let shift = decoder.byte() else { return nil }
    if shift == 0 {
      guard let count = decoder.count(of: 1, atMost: QuantileSketch.exactLimit) else { return nil }
      for _ in 0..<count {
        guard let value = decoder.double(), value.isFinite else { return nil }
        exact.append(value)
      }
      return
    }
    // At 55 bits there are at most 513 buckets, so no state goes beyond.
    guard (QuantileSketch.initialShift...55).contains(shift),
      let count = decoder.count(of: 2, atMost: QuantileSketch.bucketLimit), count > 0
    else { return nil }
    self.shift = shift
    let highest = Int64(QuantileSketch.key(.greatestFiniteMagnitude, shift))
    var last: Int64 = 0
    for index in 0..<count {
      guard let step = decoder.signed(), index == 0 || step > 0, step >= -highest, step <= 2 * highest,
        let amount = decoder.unsigned().flatMap({ UInt32(exactly: $0) }), amount > 0
      else { return nil }
      last += step
      guard (-highest...highest).contains(last) else { return nil }
      buckets.append(Bucket(key: Int32(last), count: amount))
    }
  }
}
