/// How many different values came, in bounded memory: exact for up to 256, save for two values of one 64-bit hash.
///
/// Beyond that, HyperLogLog (Flajolet et al., 2007) with 2,048 registers, whose standard error is 2.3 %, and with
/// the estimator of Ertl ("New cardinality estimation algorithms for HyperLogLog sketches", 2017, algorithm 6),
/// which needs no tables of corrections and no logarithm. The result does not depend on the order of the values.
struct DistinctSketch: Sendable, Hashable {
  static let exactLimit = 256
  /// 1.04 / sqrt(2048).
  static let standardError = 0.023

  /// The upper bits of a hash that name its register.
  private static let indexBits = 11
  private static let registerCount = 1 << indexBits
  /// Of the other bits, one more than all can be leading zeros.
  private static let highest = 64 - indexBits + 1

  /// Ascending; empty once there are registers.
  private var hashes: [UInt64] = []
  private var registers: [UInt8] = []

  init() {}

  var isExact: Bool { registers.isEmpty }

  mutating func add(_ hash: UInt64) {
    guard isExact else {
      register(hash)
      return
    }
    var low = 0
    var high = hashes.count
    while low < high {
      let middle = (low + high) / 2
      if hashes[middle] < hash { low = middle + 1 } else { high = middle }
    }
    if low < hashes.count, hashes[low] == hash { return }
    if hashes.count < DistinctSketch.exactLimit {
      hashes.insert(hash, at: low)
      return
    }
    makeRegisters()
    register(hash)
  }

  mutating func merge(_ other: DistinctSketch) {
    if other.isExact {
      for hash in other.hashes { add(hash) }
      return
    }
    if isExact { makeRegisters() }
    for index in registers.indices { registers[index] = max(registers[index], other.registers[index]) }
  }

  /// The number of different values; rounded where it is an estimate.
  var count: Int64 {
    guard !isExact else { return Int64(hashes.count) }
    var histogram = [Int](repeating: 0, count: DistinctSketch.highest + 1)
    for register in registers { histogram[Int(register)] += 1 }
    let m = Double(DistinctSketch.registerCount)
    var z = m * DistinctSketch.tau((m - Double(histogram[DistinctSketch.highest])) / m)
    for value in stride(from: DistinctSketch.highest - 1, through: 1, by: -1) {
      z = (z + Double(histogram[value])) * 0.5
    }
    z += m * DistinctSketch.sigma(Double(histogram[0]) / m)
    // 1 / (2 ln 2)
    let estimate = 0.721_347_520_444_481_7 * m * m / z
    return estimate < 9e18 ? Int64(estimate.rounded()) : .max
  }

  private static func sigma(_ share: Double) -> Double {
    if share == 1 { return .infinity }
    var x = share
    var y = 1.0
    var z = share
    while true {
      x *= x
      let before = z
      z += x * y
      y += y
      if z == before { return z }
    }
  }

  private static func tau(_ share: Double) -> Double {
    if share == 0 || share == 1 { return 0 }
    var x = share
    var y = 1.0
    var z = 1 - share
    while true {
      x = x.squareRoot()
      let before = z
      y *= 0.5
      z -= (1 - x) * (1 - x) * y
      if z == before { return z / 3 }
    }
  }

  private mutating func makeRegisters() {
    registers = [UInt8](repeating: 0, count: DistinctSketch.registerCount)
    for hash in hashes { register(hash) }
    hashes = []
  }

  private mutating func register(_ hash: UInt64) {
    let index = Int(hash >> UInt64(64 - DistinctSketch.indexBits))
    // The bit put in below the hash ends the zeros.
    let rest = hash << UInt64(DistinctSketch.indexBits) | 1 << UInt64(DistinctSketch.indexBits - 1)
    registers[index] = max(registers[index], UInt8(rest.leadingZeroBitCount + 1))
  }

  // MARK: Stored form

  func encode(to encoder: inout StateEncoder) {
    encoder.put(isExact ? 0 : 1)
    if isExact {
      encoder.put(unsigned: UInt64(hashes.count))
      for hash in hashes { encoder.put(fixed: hash) }
    } else {
      encoder.put(registers)
    }
  }

  init?(from decoder: inout StateDecoder) {
    guard let hasRegisters = decoder.flag() else { return nil }
    if hasRegisters {
      guard let bytes = decoder.bytes(DistinctSketch.registerCount),
        bytes.allSatisfy({ $0 <= UInt8(DistinctSketch.highest) })
      else { return nil }
      registers = bytes
      return
    }
    guard let count = decoder.count(of: 8, atMost: DistinctSketch.exactLimit) else { return nil }
    for _ in 0..<count {
      guard let hash = decoder.fixed(), hashes.last.map({ $0 < hash }) ?? true else { return nil }
      hashes.append(hash)
    }
  }
}
