package import Telemetry

/// Checks readings against a contract's expectations, and keeps for each device what that takes.
///
/// Readings come in the order of their receipt. One whose own time lies before the last one's says nothing about
/// how values follow each other: it is neither compared nor remembered. A device whose clock ran ahead is not
/// believed for ever: a remembered time that lies after the receipt of the reading at hand is forgotten.
///
/// Bounded by a number of devices; past it the one that was seen least recently is forgotten, and counted. The
/// state is stored as of the checkpoint, as ``KeyedState`` does it.
package struct ExpectationChecks: Sendable {
  /// Longer numbers are not remembered: no counter has as many digits, and each takes its bytes per device.
  static let longestNumber = 64

  private let expectations: [Expectation]
  private let needsMemory: Bool
  /// Whether each is about the same field as the one before, which need not be looked for again.
  private let repeatsPath: [Bool]
  private var devices: KeyedState<ExpectationMemory>

  /// Devices that are remembered.
  package var count: Int { devices.count }
  /// Devices that were forgotten to make room, since this value was made.
  package var evicted: Int64 { devices.evicted }

  /// - Parameter limit: devices that are remembered at most, from 1.
  package init(_ expectations: [Expectation], limit: Int) {
    self.expectations = expectations
    needsMemory = expectations.contains { $0.rule.needsMemory }
    repeatsPath = expectations.indices.map { $0 > 0 && expectations[$0].path == expectations[$0 - 1].path }
    devices = KeyedState(limit: limit, policy: .evictOldest, layout: ExpectationLayout(expectations))
  }

  /// Goes on from what ``changes()`` gave. What was kept for other expectations is forgotten.
  package init(
    _ expectations: [Expectation], limit: Int, restoring rows: [StateRow]
  ) throws(StateDamage) {
    self.expectations = expectations
    needsMemory = expectations.contains { $0.rule.needsMemory }
    repeatsPath = expectations.indices.map { $0 > 0 && expectations[$0].path == expectations[$0 - 1].path }
    devices = try KeyedState(
      restoring: rows, limit: limit, policy: .evictOldest, layout: ExpectationLayout(expectations))
  }

  // MARK: State

  /// An open batch begins; see ``KeyedState/beginPending()``.
  package mutating func beginPending() { devices.beginPending() }
  /// The open batch is closed.
  package mutating func pendingDecided() { devices.pendingDecided() }
  /// The rows that differ from the store as of the checkpoint.
  package func changes() -> [StateRow] { devices.changes() }
  /// What ``changes()`` gave is stored.
  package mutating func stored() { devices.stored() }

  // MARK: Checking

  /// The expectations that a reading does not meet, in their order.
  /// - Parameters:
  ///   - key: the device's.
  ///   - time: the reading's own, in nanoseconds since 1970.
  ///   - received: when its message was received, the same way.
  ///   - index: the reading's, on the tape.
  ///   - bytes: those that were read.
  package mutating func check(
    key: UnsafeRawBufferPointer, time: Int64, received: Int64, tape: JSONTape, at index: Int = 0,
    in bytes: UnsafeRawBufferPointer
  ) -> [Finding] {
    if expectations.isEmpty { return [] }
    return tape.values.withUnsafeBufferPointer { values in
      let place = JSONPlace(values: values, bytes: bytes)
      var findings: [Finding] = []
      func look(_ memory: inout ExpectationMemory) {
        if memory.parts.count != expectations.count {
          memory.parts = Array(repeating: .nothing, count: expectations.count)
        }
        var field: Int? = index
        for (number, expectation) in expectations.enumerated() {
          if !repeatsPath[number] {
            field = expectation.path.map { tape.index(of: $0, from: index, in: bytes) } ?? index
          }
          let reading = CheckedReading(field: field, place: place, time: time, received: received)
          if let complaint = reading.check(expectation.rule, &memory.parts[number]) {
            findings.append(
              Finding(
                kind: expectation.rule.kind, expectation: number, action: expectation.action,
                description: expectation.path.map { "\($0.description): \(complaint)" } ?? complaint))
          }
        }
      }
      if needsMemory {
        _ = devices.update(key) { look(&$0) }
      } else {
        var nothing = ExpectationMemory()
        look(&nothing)
      }
      return findings
    }
  }
}

/// One field of one reading.
private struct CheckedReading {
  /// Nil where the reading lacks the field.
  let field: Int?
  let place: JSONPlace
  let time: Int64
  let received: Int64

  /// What is wrong, in words; nil where the rule is met.
  func check(_ rule: Expectation.Rule, _ memory: inout ExpectationMemory.Part) -> String? {
    switch rule {
    case .range(let minimum, let maximum):
      guard let number else { return nil }
      if let minimum, minimum.compared(to: number) < 0 { return "it is less than \(minimum)" }
      if let maximum, maximum.compared(to: number) > 0 { return "it is more than \(maximum)" }
      return nil
    case .increasing(let strictly): return monotonic(1, strictly, &memory)
    case .decreasing(let strictly): return monotonic(-1, strictly, &memory)
    case .changing(let readings, let nanoseconds): return stuck(readings, nanoseconds, &memory)
    case .step(let maximum): return jump(maximum, perSecond: false, &memory)
    case .slope(let maximum): return jump(maximum, perSecond: true, &memory)
    case .nullShare(let maximum, let readings): return lacking(maximum, readings, &memory)
    case .fresh(let nanoseconds):
      let (age, overflow) = received.subtractingReportingOverflow(time)
      let isOld = overflow ? received > time : age > nanoseconds
      return isOld ? "the reading is older than \(CheckedReading.words(nanoseconds)) when it is received" : nil
    }
  }

  private var text: UnsafeRawBufferPointer? {
    guard let field, place.values[field].kind == .number else { return nil }
    return place.raw(place.values[field].range)
  }

  private var number: DecimalText? { text.map { DecimalText($0) } }

  /// Whether the value is to be compared with one of `earlier`; nil where it is out of order.
  private func follows(_ earlier: Int64) -> Bool? {
    if earlier > received { return false }
    return time >= earlier ? true : nil
  }

  private func monotonic(_ sign: Int, _ strictly: Bool, _ memory: inout ExpectationMemory.Part) -> String? {
    guard let text, let number, text.count <= ExpectationChecks.longestNumber else { return nil }
    var complaint: String?
    if case .number(let earlier, let earlierTime) = memory {
      guard let follows = follows(earlierTime) else { return nil }
      let order = earlier.withUnsafeBytes { number.compare(DecimalText($0)) } * sign
      if follows, order < 0 || (strictly && order == 0) {
        complaint =
          order == 0 ? "it stays the same" : sign > 0 ? "it is less than before" : "it is more than before"
      }
    }
    memory = .number(text: Array(text), time: time)
    return complaint
  }

  private func stuck(
    _ readings: Int?, _ nanoseconds: Int64?, _ memory: inout ExpectationMemory.Part
  ) -> String? {
    guard let field, place.values[field].kind != .null else { return nil }
    let hash = JSONEquality.hash(field, place)
    guard case .run(let earlier, let count, let since, let earlierTime) = memory else {
      memory = .run(hash: hash, count: 1, since: time, time: time)
      return nil
    }
    guard let follows = follows(earlierTime) else { return nil }
    guard follows, earlier == hash else {
      memory = .run(hash: hash, count: 1, since: time, time: time)
      return nil
    }
    memory = .run(hash: hash, count: count + 1, since: since, time: time)
    if let readings, count + 1 >= Int64(readings) { return "it has been the same \(readings) times or more" }
    let (age, overflow) = time.subtractingReportingOverflow(since)
    if let nanoseconds, overflow || age >= nanoseconds {
      return "it has been the same for \(CheckedReading.words(nanoseconds)) or more"
    }
    return nil
  }

  private func jump(
    _ maximum: Double, perSecond: Bool, _ memory: inout ExpectationMemory.Part
  ) -> String? {
    guard let text, let number = Double(String(decoding: text, as: UTF8.self)), number.isFinite else { return nil }
    guard case .rounded(let earlier, let earlierTime) = memory else {
      memory = .rounded(number, time: time)
      return nil
    }
    guard let follows = follows(earlierTime) else { return nil }
    memory = .rounded(number, time: time)
    guard follows else { return nil }
    let change = abs(number - earlier)
    guard perSecond else { return change > maximum ? "it jumps by more than \(maximum)" : nil }
    guard time > earlierTime else { return nil }
    let seconds = (Double(time) - Double(earlierTime)) / 1e9
    return change > maximum * seconds ? "it moves by more than \(maximum) a second" : nil
  }

  private func lacking(
    _ maximum: Double, _ readings: Int, _ memory: inout ExpectationMemory.Part
  ) -> String? {
    let window = min(max(1, readings), Expectation.Rule.maximumWindow)
    let isLacking = field.map { place.values[$0].kind == .null } ?? true
    var bits: [UInt64]
    var next = 0
    var count = 0
    if case .lacking(let known, let place, let number) = memory {
      (bits, next, count) = (known, place, number)
      // So that there is one owner, and nothing is copied.
      memory = .nothing
    } else {
      bits = Array(repeating: 0, count: ExpectationMemory.words(window))
    }
    let bit: UInt64 = 1 << UInt64(next & 63)
    if isLacking { bits[next >> 6] |= bit } else { bits[next >> 6] &= ~bit }
    next = next + 1 == window ? 0 : next + 1
    count = min(count + 1, window)
    memory = .lacking(bits: bits, next: next, count: count)
    guard isLacking, count == window else { return nil }
    let lacking = bits.reduce(0) { $0 + $1.nonzeroBitCount }
    guard Double(lacking) > maximum * Double(window) else { return nil }
    return "it is null or missing in too many of the last \(window) readings"
  }

  /// A time span in words.
  private static func words(_ nanoseconds: Int64) -> String {
    nanoseconds % 1_000_000_000 == 0 ? "\(nanoseconds / 1_000_000_000) s" : "\(Double(nanoseconds) / 1e9) s"
  }
}

extension Expectation.Rule {
  var needsMemory: Bool {
    switch self {
    case .range, .fresh: false
    case .increasing, .decreasing, .changing, .step, .slope, .nullShare: true
    }
  }
}
