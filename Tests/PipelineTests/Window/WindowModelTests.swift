import Pipeline
import Telemetry
import Testing

/// A reading of a generated stream.
private struct Event {
  var time: Int64
  var key: String
  var input: WindowInput
  /// What the watermark says after it.
  var watermark: Int64
}

/// A stream with duplicates, disorder within the lateness and beyond it, gaps and clock jumps.
private func stream(_ count: Int, lateness: Int64, using generator: inout StreamGenerator) -> [Event] {
  var events: [Event] = []
  var present = day
  var watermark = Int64.min
  while events.count < count {
    if let last = events.last, generator.chance(5) {
      events.append(last)
      continue
    }
    present += Int64(generator.below(800)) * 1_000_000
    if generator.chance(1) { present += Int64(generator.below(40)) * second }
    var time = present - Int64(generator.below(Int(lateness)))
    switch generator.below(100) {
    case 0...3: time -= Int64(generator.below(30)) * second
    case 4: time -= 400 * 86_400 * second
    default: break
    }
    let value = Double(generator.below(2_000) - 400) / 8
    watermark = max(watermark, time - lateness)
    events.append(
      Event(
        time: time, key: "d\(generator.below(6))", input: generator.chance(4) ? .missing : .number(value),
        watermark: watermark))
  }
  return events
}

private let functions: [WindowSettings.Function] = [
  .count, .sum, .minimum, .maximum, .average, .first, .last, .standardDeviation, .percentile(0.9), .percentile(0),
  .rate, .timeWeightedAverage, .distinct,
]

/// The values of a window, from all its readings at once.
private func values(_ readings: [(time: Int64, value: Double)], end: Int64) -> [Double?] {
  let sum = readings.reduce(0) { $0 + $1.value }
  let count = Double(readings.count)
  let mean = sum / count
  let numbers = readings.map(\.value).sorted()
  let order = readings.enumerated().sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }
    .map(\.element)
  guard let first = order.first, let last = order.last else {
    return [0, 0, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, 0]
  }
  let squares = numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
  var growth = 0.0
  var area = last.value * Double(end - last.time)
  for (a, b) in zip(order, order.dropFirst()) {
    growth += b.value < a.value ? b.value : b.value - a.value
    area += a.value * Double(b.time - a.time)
  }
  let length = Double(last.time - first.time)
  let first90 = numbers[max(1, Int((0.9 * count).rounded(.up))) - 1]
  // Of several readings at the first time the one that came first.
  return [
    count, sum, numbers[0], numbers[numbers.count - 1], mean, first.value, last.value,
    count > 1 ? (squares / (count - 1)).squareRoot() : nil, first90, numbers[0],
    length > 0 ? growth / (length / 1e9) : nil,
    end > first.time ? area / Double(end - first.time) : last.value, Double(Set(numbers).count),
  ]
}

private func number(_ value: WindowResult.Value) -> Double? {
  switch value {
  case .missing: nil
  case .integer(let value): Double(value)
  case .number(let value): value
  case .estimate(let value, _): value
  }
}

private struct Bounds: Hashable, Comparable {
  var end: Int64
  var key: String
  var start: Int64
  static func < (a: Bounds, b: Bounds) -> Bool { (a.end, a.key, a.start) < (b.end, b.key, b.start) }
}

/// Windows by keeping every reading. Sessions are found by sorting the readings of those still open.
private struct Model {
  let span: WindowSettings.Span
  var open: [Bounds: [(time: Int64, value: Double?)]] = [:]
  var loose: [String: [(time: Int64, value: Double?)]] = [:]
  var closed = Int64.min
  var late = 0

  mutating func add(_ event: Event) {
    let value: Double? = if case .number(let value) = event.input { value } else { nil }
    var isTaken = false
    switch span {
    case .tumbling(let length):
      isTaken = put(event, value, start: event.time - event.time % length, length)
    case .hopping(let length, let every):
      var start = event.time - event.time % every
      while start + length > event.time {
        isTaken = put(event, value, start: start, length) || isTaken
        start -= every
      }
    case .session(let gap):
      // An open session takes a late reading at or behind its beginning.
      let session = sessions(event.key, gap).first { $0.first <= event.time && event.time < $0.last + gap }
      isTaken = event.time + gap > closed || session != nil
      if isTaken { loose[event.key, default: []].append((event.time, value)) }
    }
    if !isTaken { late += 1 }
  }

  private mutating func put(_ event: Event, _ value: Double?, start: Int64, _ length: Int64) -> Bool {
    guard start + length > closed else { return false }
    open[Bounds(end: start + length, key: event.key, start: start), default: []].append((event.time, value))
    return true
  }

  private func sessions(_ key: String, _ gap: Int64) -> [(first: Int64, last: Int64)] {
    var found: [(first: Int64, last: Int64)] = []
    for time in (loose[key] ?? []).map(\.time).sorted() {
      if let last = found.last, time < last.last + gap {
        found[found.count - 1].last = time
      } else {
        found.append((time, time))
      }
    }
    return found
  }

  mutating func advance(to watermark: Int64) -> [(Bounds, count: Int, [Double?])] {
    closed = max(closed, watermark)
    var due: [(Bounds, count: Int, [Double?])] = []
    for (bounds, readings) in open where bounds.end <= closed {
      due.append((bounds, readings.count, result(readings, bounds.end)))
      open[bounds] = nil
    }
    if case .session(let gap) = span {
      for key in loose.keys {
        for session in sessions(key, gap) where session.last + gap <= closed {
          let readings = (loose[key] ?? []).filter { session.first <= $0.time && $0.time <= session.last }
          loose[key]?.removeAll { session.first <= $0.time && $0.time <= session.last }
          due.append(
            (
              Bounds(end: session.last + gap, key: key, start: session.first), readings.count,
              result(readings, session.last)
            ))
        }
      }
    }
    return due.sorted { $0.0 < $1.0 }
  }

  private func result(_ readings: [(time: Int64, value: Double?)], _ end: Int64) -> [Double?] {
    values(readings.compactMap { reading in reading.value.map { (reading.time, $0) } }, end: end)
  }
}

private func close(_ a: Double?, _ b: Double?) -> Bool {
  guard let a, let b else { return a == nil && b == nil }
  return abs(a - b) <= 1e-9 * max(1, abs(a), abs(b))
}

private let spans: [WindowSettings.Span] = [
  .tumbling(10 * second), .hopping(length: 10 * second, every: 3 * second), .session(gap: 2 * second),
]

@Suite("Windows against a model")
struct WindowModelTests {
  @Test("Generated streams give what keeping every reading would give", arguments: 0..<3, 1...6)
  func model(span: Int, seed: UInt64) throws {
    var generator = StreamGenerator(seed: seed)
    let lateness = 4 * second
    var set = WindowSet(settings: try settings(spans[span], functions))
    var model = Model(span: spans[span])
    var late = 0
    var results = 0
    for event in stream(800, lateness: lateness, using: &generator) {
      let placement = set.add(event.time, event.key, [event.input])
      #expect(placement.refused == 0 && placement.corrected == 0)
      if placement.isLate { late += 1 }
      model.add(event)
      // Sometimes the watermark is told only later.
      guard generator.chance(70) else { continue }
      let expected = model.advance(to: event.watermark)
      let given = set.advance(to: event.watermark)
      #expect(given.count == expected.count)
      results += given.count
      for (result, (bounds, count, values)) in zip(given, expected) {
        #expect(result.start == bounds.start && result.end == bounds.end)
        #expect(result.key == Array(bounds.key.utf8))
        #expect(result.count == Int64(count) && result.completeness == .complete)
        for (index, (given, expected)) in zip(result.values, values).enumerated() {
          // Values too late for their order are missing from the two results that need one.
          if result.unordered > 0, functions[index] == .rate || functions[index] == .timeWeightedAverage { continue }
          #expect(close(number(given), expected), "\(functions[index]) \(given) \(expected as Any)")
        }
      }
    }
    #expect(late == model.late)
    #expect(late > 10)
    #expect(results > 100)
  }

  @Test("A crash at any commit gives the results and the stored bytes of a run without it", arguments: 0..<3, 1...4)
  func crash(span: Int, seed: UInt64) throws {
    var generator = StreamGenerator(seed: 100 + seed)
    let events = stream(200, lateness: 3 * second, using: &generator)
    let corrects = seed % 2 == 0
    let spans = spans.dropLast() + [.session(gap: 5 * second)]
    let settings = try settings(
      spans[span], functions, correctFor: corrects ? 20 * second : 0, limit: corrects ? 60 : span == 2 ? 4 : 8)
    // Every step is a message; a plan says at which steps a batch begins, closes and is stored.
    let plan = events.map { _ in generator.below(10) }

    struct Run {
      var set: WindowSet
      var store = RowStore()
      /// What is in batches that are closed, and in the open one.
      var closed: [WindowResult] = []
      var open: [WindowResult] = []
      var batchStart: Int?
    }
    /// What a crash leaves: the rows, the closed batches, and where reading begins again.
    struct Commit {
      var rows: RowStore
      var closed: [WindowResult]
      var checkpoint: Int
    }
    var commits = [Commit(rows: RowStore(), closed: [], checkpoint: 0)]

    func step(_ index: Int, _ run: inout Run) -> Commit? {
      let event = events[index]
      if run.batchStart == nil, run.set.mayGiveResults(adding: event.time, advancingTo: event.watermark) {
        run.set.beginPending()
        run.batchStart = index
      }
      run.set.add(event.time, event.key, [event.input])
      let results = run.set.advance(to: event.watermark)
      if run.batchStart == nil { #expect(results.isEmpty, "results that were not foreseen") }
      run.open += results
      if run.batchStart != nil, run.open.isEmpty || plan[index] < 3 {
        run.set.pendingDecided()
        run.batchStart = nil
        run.closed += run.open
        run.open = []
      }
      guard plan[index] % 2 == 0 else { return nil }
      run.store.apply(run.set.changes())
      run.set.stored()
      return Commit(rows: run.store, closed: run.closed, checkpoint: run.batchStart ?? index + 1)
    }

    var whole = Run(set: WindowSet(settings: settings))
    for index in events.indices {
      if let commit = step(index, &whole) { commits.append(commit) }
    }
    #expect(corrects || whole.set.closedEarly > 0)
    let total = whole.closed + whole.open
    #expect(total.count > 20)
    #expect(commits.count > 60)
    // Few late readings lie within a closed session.
    #expect(total.contains { $0.completeness == .corrected } == corrects || span == 2)

    for (number, commit) in commits.enumerated() {
      var again = Run(
        set: try WindowSet(restoring: commit.rows.all, settings: settings), store: commit.rows, closed: commit.closed)
      for index in commit.checkpoint..<events.count { _ = step(index, &again) }
      #expect(again.closed + again.open == total, "commit \(number)")
      #expect(again.store.rows == whole.store.rows, "commit \(number)")
    }
  }

  @Test("Damaged rows are refused or read as something else, and never trap", arguments: 0..<3)
  func damage(span: Int) throws {
    var generator = StreamGenerator(seed: 9)
    let settings = try settings(spans[span], functions, correctFor: 10 * second)
    var set = WindowSet(settings: settings)
    for event in stream(600, lateness: 20 * second, using: &generator) {
      set.add(event.time, event.key, [event.input])
      _ = set.advance(to: event.watermark)
    }
    for number in 0..<300 { set.add(day + 900 * second, "wide", Double(number) * 1.5) }
    let rows = set.changes()
    var refused = 0
    for _ in 0..<1_000 {
      var damaged = rows
      let index = generator.below(rows.count)
      damaged[index].value = damaged[index].value?.damaged(using: &generator)
      do {
        var restored = try WindowSet(restoring: damaged, settings: settings)
        for event in stream(5, lateness: second, using: &generator) {
          restored.add(event.time, event.key, [event.input])
          _ = restored.advance(to: event.watermark)
        }
        _ = restored.drain()
        #expect(restored.windows == 0)
      } catch { refused += 1 }
    }
    #expect(refused > 250)
    let others = try WindowSettings(span: .tumbling(second), aggregates: [.init(.count, input: nil)], inputs: 1)
    #expect(throws: StateDamage.self) { try WindowSet(restoring: rows, settings: others) }
  }
}
