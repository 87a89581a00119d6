/// What must be known of a device's earlier readings, for each expectation of a contract.
package struct ExpectationMemory: StateValue {
  /// The part of one expectation.
  enum Part: Sendable, Hashable {
    case nothing
    /// The number before, as it was written.
    case number(text: [UInt8], time: Int64)
    /// A value that stays: its hash, how many readings have had it, and since when.
    case run(hash: UInt64, count: Int64, since: Int64, time: Int64)
    /// The number before, rounded.
    case rounded(Double, time: Int64)
    /// Which of the last readings lacked the field: `next` is the place of the next one, `count` how many there
    /// are.
    case lacking(bits: [UInt64], next: Int, count: Int)
  }

  var parts: [Part] = []

  package init() {}

  package func encode(to encoder: inout StateEncoder, layout: ExpectationLayout) {
    encoder.put(unsigned: layout.fingerprint)
    encoder.put(unsigned: UInt64(parts.count))
    for part in parts {
      switch part {
      case .nothing: encoder.put(0 as UInt8)
      case .number(let text, let time):
        encoder.put(1 as UInt8)
        encoder.put(signed: time)
        encoder.put(unsigned: UInt64(text.count))
        encoder.put(text)
      case .run(let hash, let count, let since, let time):
        encoder.put(2 as UInt8)
        encoder.put(fixed: hash)
        encoder.put(unsigned: UInt64(count))
        encoder.put(signed: since)
        encoder.put(signed: time)
      case .rounded(let number, let time):
        encoder.put(3 as UInt8)
        encoder.put(double: number)
        encoder.put(signed: time)
      case .lacking(let bits, let next, let count):
        encoder.put(4 as UInt8)
        encoder.put(unsigned: UInt64(bits.count))
        for word in bits { encoder.put(fixed: word) }
        encoder.put(unsigned: UInt64(next))
        encoder.put(unsigned: UInt64(count))
      }
    }
  }

  /// What was kept for other expectations than those of today is forgotten, because it answers other questions.
  package init?(from decoder: inout StateDecoder, layout: ExpectationLayout) {
    guard let fingerprint = decoder.unsigned(), let count = decoder.count(of: 1) else { return nil }
    var parts: [Part] = []
    parts.reserveCapacity(count)
    for _ in 0..<count {
      guard let part = ExpectationMemory.part(&decoder) else { return nil }
      parts.append(part)
    }
    guard fingerprint == layout.fingerprint else { return }
    guard parts.count == layout.expectations.count,
      zip(parts, layout.expectations).allSatisfy({ ExpectationMemory.fits($0, $1.rule) })
    else { return nil }
    self.parts = parts
  }

  private static func part(_ decoder: inout StateDecoder) -> Part? {
    switch decoder.byte() {
    case 0: return .nothing
    case 1:
      guard let time = decoder.signed(), let length = decoder.count(of: 1, atMost: ExpectationChecks.longestNumber),
        let text = decoder.bytes(length), ExactNumber(String(decoding: text, as: UTF8.self)) != nil
      else { return nil }
      return .number(text: text, time: time)
    case 2:
      guard let hash = decoder.fixed(), let count = decoder.counter(), let since = decoder.signed(),
        let time = decoder.signed()
      else { return nil }
      return .run(hash: hash, count: count, since: since, time: time)
    case 3:
      guard let number = decoder.double(), number.isFinite, let time = decoder.signed() else { return nil }
      return .rounded(number, time: time)
    case 4:
      guard let length = decoder.count(of: 8, atMost: Expectation.Rule.maximumWindow / 64) else { return nil }
      var bits: [UInt64] = []
      for _ in 0..<length {
        guard let word = decoder.fixed() else { return nil }
        bits.append(word)
      }
      guard let next = decoder.counter(), let count = decoder.counter(), next < length * 64,
        count <= length * 64
      else { return nil }
      return .lacking(bits: bits, next: Int(next), count: Int(count))
    default: return nil
    }
  }

  private static func fits(_ part: Part, _ rule: Expectation.Rule) -> Bool {
    switch (part, rule) {
    case (.nothing, _), (.number, .increasing), (.number, .decreasing), (.run, .changing), (.rounded, .step),
      (.rounded, .slope):
      true
    case (.lacking(let bits, let next, let count), .nullShare(_, let readings)):
      bits.count == ExpectationMemory.words(readings) && next < readings && count <= readings
    default: false
    }
  }

  /// Words that have a bit for each of so many readings.
  static func words(_ readings: Int) -> Int { (readings + 63) / 64 }
}

/// The expectations that memories are about.
package struct ExpectationLayout: Sendable {
  let expectations: [Expectation]
  /// Differs where the expectations do, the same in every process.
  let fingerprint: UInt64

  init(_ expectations: [Expectation]) {
    self.expectations = expectations
    // Only what decides which memory a rule has: a new bound is no reason to forget. FNV-1a, 64 bits.
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    func add(_ text: String) {
      for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
      hash = (hash ^ 0xFF) &* 0x0000_0100_0000_01B3
    }
    for expectation in expectations {
      add(expectation.path?.description ?? "")
      switch expectation.rule {
      case .range: add("range")
      case .increasing, .decreasing: add("monotonic")
      case .changing: add("stuck")
      case .step, .slope: add("jump")
      case .nullShare(_, let readings): add("null-share \(readings)")
      case .fresh: add("fresh")
      }
    }
    fingerprint = hash
  }
}
