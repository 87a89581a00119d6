internal import Spool
internal import Telemetry

/// What two runs over the same messages make of them, reading by reading.
struct TrialComparison {
  /// A reading that only one of them has, or that has other fields in the other.
  struct Difference {
    var offset: Offset?
    /// Of the candidate; nil where it has none.
    var candidate: [UInt8]?
    /// Of what it is compared with; nil where that has none.
    var against: [UInt8]?
    /// The fields that differ, where both have it.
    var fields: [String] = []
  }

  /// Results of windows that are kept until both sides have theirs. Beyond, they are not compared.
  private static let maximumResults = 100_000

  private(set) var same = 0
  private(set) var changed = 0
  private(set) var onlyCandidate = 0
  private(set) var onlyAgainst = 0
  /// How many readings differ in a field.
  private(set) var fields: [String: Int] = [:]
  /// The first ones.
  private(set) var differences: [Difference] = []
  /// Whether there were more results than are compared.
  private(set) var isCut = false

  private let limit: Int
  /// Results come out behind other messages on either side: they are paired by what they are about.
  private let byResult: Bool
  private var results = Results()

  private struct Results {
    var candidate: [String: [UInt8]] = [:]
    var against: [String: [UInt8]] = [:]
  }

  /// - Parameters:
  ///   - limit: differences that are kept.
  ///   - byResult: whether windows are involved.
  init(limit: Int, byResult: Bool) {
    self.limit = limit
    self.byResult = byResult
  }

  var count: Int { changed + onlyCandidate + onlyAgainst }

  /// Compares what came of the same messages.
  mutating func add(_ candidate: [PipelineTrial.Reading], _ against: [PipelineTrial.Reading]) {
    if byResult {
      for reading in candidate { keep(reading.line, \.candidate) }
      for reading in against { keep(reading.line, \.against) }
      return
    }
    // Both come in the order of the log.
    var a = candidate[...]
    var b = against[...]
    while let offset = [a.first, b.first].compactMap({ $0.map { $0.offset ?? Offset(.max) } }).min() {
      let left = TrialComparison.take(&a, offset)
      let right = TrialComparison.take(&b, offset)
      compare(left, right, at: offset == Offset(.max) ? nil : offset)
    }
  }

  private static func take(_ readings: inout ArraySlice<PipelineTrial.Reading>, _ offset: Offset) -> [[UInt8]] {
    let taken = readings.prefix { ($0.offset ?? Offset(.max)) <= offset }
    readings = readings.dropFirst(taken.count)
    return taken.map(\.line)
  }

  /// Of one message: equal ones are paired first, the others in their order.
  private mutating func compare(_ candidate: [[UInt8]], _ against: [[UInt8]], at offset: Offset?) {
    if candidate == against {
      same += candidate.count
      return
    }
    var open: [[UInt8]: Int] = [:]
    for line in against { open[line, default: 0] += 1 }
    var left: [[UInt8]] = []
    for line in candidate {
      if let count = open[line], count > 0 {
        open[line] = count - 1
        same += 1
      } else {
        left.append(line)
      }
    }
    var right: [[UInt8]] = []
    for line in against.reversed() {
      if let count = open[line], count > 0 {
        open[line] = count - 1
        right.append(line)
      }
    }
    right.reverse()
    for index in 0..<max(left.count, right.count) {
      note(index < left.count ? left[index] : nil, index < right.count ? right[index] : nil, at: offset)
    }
  }

  private mutating func note(_ candidate: [UInt8]?, _ against: [UInt8]?, at offset: Offset?) {
    var difference = Difference(offset: offset, candidate: candidate, against: against)
    switch (candidate, against) {
    case (let candidate?, let against?):
      changed += 1
      if let candidate = LineFields(candidate), let against = LineFields(against) {
        difference.fields = candidate.differences(from: against)
      }
      for field in difference.fields { fields[field, default: 0] += 1 }
    case (_?, nil): onlyCandidate += 1
    default: onlyAgainst += 1
    }
    if differences.count < limit { differences.append(difference) }
  }

  // MARK: Windows

  private mutating func keep(
    _ line: [UInt8], _ side: WritableKeyPath<Results, [String: [UInt8]]>
  ) {
    guard results[keyPath: side].count < TrialComparison.maximumResults else {
      isCut = true
      return
    }
    let fields = LineFields(line)
    let window = fields?.fields["data.window"].flatMap { LineFields($0) }
    let about = [fields?.text("key"), fields?.text("time"), window?.text("start"), window?.text("end")]
      .map { $0 ?? "" }.joined(separator: "\n")
    // A correction is about the same window as what it corrects.
    var number = 0
    while results[keyPath: side]["\(about)\n\(number)"] != nil { number += 1 }
    results[keyPath: side]["\(about)\n\(number)"] = line
  }

  /// Everything has been added.
  mutating func finish() {
    guard byResult else { return }
    for name in Set(results.candidate.keys).union(results.against.keys).sorted() {
      let (a, b) = (results.candidate[name], results.against[name])
      if a == b { same += 1 } else { note(a, b, at: nil) }
    }
    results = Results()
  }
}
