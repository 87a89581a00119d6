import Pipeline
import Telemetry
import Testing

/// A stream as it comes from devices that repeat, reorder, skip and come late, and a pipeline with every stage that
/// remembers.
@Suite("Crashes and models of windowed pipelines")
struct WindowCrashTests {
  private static let second: Int64 = 1_000_000_000

  struct Event {
    var device: String
    var sequence: Int
    var time: Int64
    var value: Int
    /// When it was received, in milliseconds.
    var received: Int64
  }

  /// - Parameter tooLate: how many of a hundred come later than the lateness that is allowed.
  static func stream(seed: UInt64, count: Int, tooLate: Int) -> [Event] {
    var random = SeededGenerator(seed: seed)
    var events: [Event] = []
    var sequences: [String: Int] = [:]
    for index in 0..<count {
      let received = Int64(index) * 400 + (index > count / 2 ? 45_000 : 0)
      if let last = events.last, Int.random(in: 0..<100, using: &random) < 15 {
        var again = events[Int.random(in: max(0, events.count - 8)..<events.count, using: &random)]
        again.received = received
        events.append(
          Int.random(in: 0..<2, using: &random) == 0
            ? again
            : Event(
              device: last.device, sequence: last.sequence, time: last.time, value: last.value, received: received))
        continue
      }
      let device = "d\(Int.random(in: 0..<4, using: &random))"
      let sequence = (sequences[device] ?? 0) + (Int.random(in: 0..<10, using: &random) == 0 ? 3 : 1)
      sequences[device] = sequence
      let isLate = Int.random(in: 0..<100, using: &random) < tooLate
      let delay =
        isLate ? Int64.random(in: 8_000..<40_000, using: &random) : Int64.random(in: 0..<4_000, using: &random)
      events.append(
        Event(
          device: device, sequence: sequence, time: receiptWall / 1_000_000 + received - delay,
          value: Int.random(in: -50..<50, using: &random), received: received))
    }
    return events
  }

  static func settings(_ span: WindowSettings.Span, late: WindowingSettings.Late) throws -> PipelineSettings {
    try makeSettings(time: .field("t", .milliseconds)) {
      $0.dedupe = PipelineSettings.Dedupe(within: 3_600 * second)
      $0.dedupe?.by = ["seq"]
      $0.sequence = SequenceSettings(field: "seq")
      $0.drift = DriftSettings()
      $0.window = WindowingSettings(
        span: span,
        emit: [
          WindowingSettings.Emitted(name: "n", function: .count, argument: nil),
          WindowingSettings.Emitted(name: "sum", function: .sum, argument: "v"),
          WindowingSettings.Emitted(name: "p", function: .percentile(0.5), argument: "v + 0.5"),
          WindowingSettings.Emitted(name: "twa", function: .timeWeightedAverage, argument: "v"),
        ])
      $0.window?.watermark = Watermark.Settings(allowedLateness: 5 * second, idleAfter: 20 * second)
      $0.window?.late = late
      $0.batch.maximumCount = 5
      $0.batch.maximumAge = 3 * second
    }
  }

  static func message(_ event: Event) -> Message {
    Message(
      origin: Origin(source: "floor", topic: "sensors/\(event.device)/climate"),
      payload: Array(#"{"seq":\#(event.sequence),"t":\#(event.time),"v":\#(event.value)}"#.utf8), qos: .atLeastOnce,
      packetID: 1, received: moment(event.received))
  }

  /// What the commits of a pipeline leave on disk.
  struct Store {
    var state = startState()
    var rows: [StateRow: StageState.Stage] = [:]
    var kept: [StageState.Stage: [[UInt8]: [UInt8]]] = [:]
    var batches: [Batch] = []
    var rejections: [Rejection] = []
    var counters = LedgerCounters()

    mutating func commit(_ seal: Seal) {
      state = seal.state
      counters += seal.counters
      batches += seal.batches
      rejections += seal.rejections
      for stage in seal.stages { for row in stage.rows { kept[stage.stage, default: [:]][row.key] = row.value } }
    }

    var stages: [StageState] {
      kept.map { StageState(stage: $0.key, rows: $0.value.map { StateRow(key: $0.key, value: $0.value) }) }
    }
  }

  /// Where a run dies, counted in commits.
  enum Crash: Equatable {
    case never
    /// The commit is not made.
    case before(Int)
    /// The commit is made, and nobody hears of it.
    case after(Int)
  }

  /// Runs a stream to its end. What happens at a record, ticks included, depends on its offset alone.
  /// - Returns: what is stored, and how many commits it took.
  private func run(_ settings: PipelineSettings, _ events: [Event], crash: Crash = .never) throws -> (Store, Int) {
    var store = Store()
    var commits = 0
    var isOver = crash == .never
    func open() throws -> PipelineCore {
      try PipelineCore(settings: settings, version: "1", state: store.state, stages: store.stages)
    }
    func tick(_ core: inout PipelineCore, after offset: Int) {
      guard events.indices.contains(offset) else { return }
      core.tick(moment(events[offset].received + 6))
      if offset == events.count / 2 { core.tick(moment(events[offset].received + 40_000)) }
    }
    var core = try open()
    var offset = 0
    while offset <= events.count {
      if offset < events.count {
        let event = events[offset]
        core.process(block([Self.message(event)], first: Int64(offset)), now: moment(event.received + 5))
        tick(&core, after: offset)
      } else {
        core.drainWindows(moment((events.last?.received ?? 0) + 10))
      }
      offset += 1
      guard let seal = try core.nextSeal() else { continue }
      commits += 1
      if !isOver, crash == .before(commits) || crash == .after(commits) {
        isOver = true
        if crash == .after(commits) { store.commit(seal) }
        core = try open()
        // The last step, which is no record, is done again where nothing of it is stored, and so are the ticks.
        offset = Int(core.readPosition.rawValue)
        tick(&core, after: offset - 1)
        continue
      }
      store.commit(seal)
      core.sealed(seal)
    }
    return (store, commits)
  }

  static let pipelines: [(WindowSettings.Span, WindowingSettings.Late)] = [
    (.tumbling(10 * second), .drop), (.hopping(length: 12 * second, every: 4 * second), .deadLetter),
    (.session(gap: 6 * second), .correct(within: 30 * second)), (.tumbling(5 * second), .correct(within: 20 * second)),
  ]

  /// What goes upstream: the marks of windows beside it may lag, and after a start they do not.
  private func sent(_ store: Store) -> [Batch] {
    store.batches.map { batch in
      var batch = batch
      batch.windows = nil
      return batch
    }
  }

  @Test("a crash at every commit gives byte for byte the batches of a run without one", arguments: 0..<4)
  func crashes(pipeline: Int) throws {
    let (span, late) = Self.pipelines[pipeline]
    let settings = try Self.settings(span, late: late)
    let events = Self.stream(seed: UInt64(pipeline), count: 160, tooLate: 12)
    let (whole, commits) = try run(settings, events)
    #expect(commits > 30 && whole.batches.count > 5)
    #expect(whole.counters.duplicate > 5 && whole.counters.emitted > 10)
    let counters = whole.counters
    #expect(late == .drop ? counters.late > 0 : true)
    #expect(late == .deadLetter ? counters.refused > 0 : true)
    for number in 1...commits {
      for crash in [Crash.before(number), .after(number)] {
        let (store, _) = try run(settings, events, crash: crash)
        #expect(sent(store) == sent(whole), "\(crash)")
        #expect(store.rejections == whole.rejections && store.counters == whole.counters, "\(crash)")
        #expect(store.kept == whole.kept, "\(crash)")
      }
    }
  }

  /// A window as a model has it.
  struct Sum: Hashable {
    var device: String
    var start: Int64
    var count: Int
    var sum: Int
  }

  @Test(
    "windows hold each reading once, whatever is repeated, reordered within the lateness or left out", arguments: 0..<20
  )
  func model(seed: Int) throws {
    var settings = try Self.settings(.tumbling(10 * Self.second), late: .drop)
    settings.window?.watermark.idleAfter = nil
    let events = Self.stream(seed: UInt64(seed) + 100, count: 400, tooLate: 0)
    let (store, _) = try run(settings, events)
    var seen: Set<[String]> = []
    var expected: [[String]: Sum] = [:]
    for event in events where seen.insert([event.device, "\(event.sequence)"]).inserted {
      let start = event.time / 10_000 * 10_000
      let key = [event.device, "\(start)"]
      var sum = expected[key] ?? Sum(device: event.device, start: start, count: 0, sum: 0)
      sum.count += 1
      sum.sum += event.value
      expected[key] = sum
    }
    var found: Set<Sum> = []
    for line in try store.batches.flatMap({ try linesOf($0) }) {
      let sum = try Self.sum(line)
      #expect(found.insert(sum).inserted, "twice: \(line)")
    }
    #expect(found == Set(expected.values))
    #expect(store.counters.late == 0 && Int(store.counters.absorbed) == seen.count)
    #expect(store.counters.duplicate == Int64(events.count - seen.count))
  }

  static func sum(_ line: String) throws -> Sum {
    let bytes = Array(line.utf8)
    var tape = JSONTape()
    try bytes.withUnsafeBytes { try tape.read($0) }
    func text(_ path: FieldPath) throws -> String {
      try bytes.withUnsafeBytes { bytes in
        let index = try #require(tape.index(of: path, from: 0, in: bytes))
        return String(decoding: bytes[tape.values[index].content], as: UTF8.self)
      }
    }
    let start = try Array(try text("data.window.start").utf8).withUnsafeBytes { try RFC3339.nanoseconds($0) }
    return Sum(
      device: try text("key"), start: start / 1_000_000, count: try #require(Int(try text("data.n"))),
      sum: Int(try #require(Double(try text("data.sum")))))
  }
}
