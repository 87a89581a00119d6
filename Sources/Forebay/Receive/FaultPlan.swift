/// One way in which a receiver is told to fail.
struct FaultRule: Sendable, Hashable {
  enum Effect: Sendable, Hashable {
    /// Answers with this status and takes nothing. 400, 413, 415 and 422 are recorded as refusals.
    case status(Int)
    /// Says that the identity exists with another body.
    case conflict
    /// Takes the batch and answers 409 with its digest.
    case hasIt
    /// Answers 302 with another place.
    case redirect
    /// Answers 200 with a page to log in, as captive portals do.
    case captive
    /// Never answers.
    case silent
    /// Takes the batch and closes the connection half-way through the answer.
    case half
    /// Answers with bytes that are not HTTP.
    case garbage
    /// Takes the batch and closes the connection without an answer.
    case dropAfterStore
  }

  enum Portion: Sendable, Hashable {
    case all
    /// The first ones to which the rule applies.
    case first(Int)
    /// Of those to which the rule applies, drawn at random.
    case percent(Double)
  }

  var effect: Effect
  var portion: Portion = .all
  /// Seconds, for the header field.
  var retryAfter: Int?
  /// Applies only to batches of more uncompressed bytes.
  var over: Int?
  /// Applies only to batches whose uncompressed body contains these bytes.
  var matching: [UInt8]?
  /// As it was written.
  var text: String
}

/// The rules after which a receiver fails, and how often each has been applied.
///
/// Pure: chance comes from a seed.
struct FaultPlan: Sendable, Hashable {
  private struct Entry: Sendable, Hashable {
    var rule: FaultRule
    var applied = 0
  }

  private var entries: [Entry]
  private var random: SplitMix64

  init(_ rules: [FaultRule] = [], seed: UInt64 = 0) {
    entries = rules.map { Entry(rule: $0) }
    random = SplitMix64(seed: seed)
  }

  /// The rules as they were written, or "nothing".
  var text: String {
    entries.isEmpty ? "nothing" : entries.map(\.rule.text).joined(separator: " ")
  }

  /// Whether ``next(length:body:)`` may look at the body.
  var readsBodies: Bool { entries.contains { $0.rule.matching != nil } }

  /// The first rule that applies to a request, which is thereby used up once.
  ///
  /// - Parameters:
  ///   - length: uncompressed bytes, as the request says.
  ///   - body: the uncompressed body; empty when it could not be read.
  mutating func next(length: Int, body: [UInt8]) -> FaultRule? {
    for i in entries.indices {
      let rule = entries[i].rule
      if let over = rule.over, length <= over { continue }
      if let matching = rule.matching, !FaultPlan.contains(body, matching) { continue }
      switch rule.portion {
      case .all: break
      case .first(let count): if entries[i].applied >= count { continue }
      case .percent(let percent):
        // 53 random bits: every value below 100 that a Double tells apart.
        let draw = Double(random.next() >> 11) / Double(1 << 53) * 100
        if draw >= percent { continue }
      }
      entries[i].applied += 1
      return rule
    }
    return nil
  }

  private static func contains(_ body: [UInt8], _ pattern: [UInt8]) -> Bool {
    guard let first = pattern.first, body.count >= pattern.count else { return pattern.isEmpty }
    for i in 0...(body.count - pattern.count)
    where body[i] == first && body[i..<i + pattern.count].elementsEqual(pattern) {
      return true
    }
    return false
  }
}

/// A small random generator with a seed (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014), so that a run can be repeated.
struct SplitMix64: RandomNumberGenerator, Sendable, Hashable {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
