import Pipeline
import Telemetry
import Testing

@Suite("Dedupe in a pipeline")
struct DedupeStageTests {
  private static let minute: Int64 = 60_000

  private static func settings(
    by: [FieldPath] = [], within seconds: Int64 = 60, _ change: (inout PipelineSettings) -> Void = { _ in }
  ) throws -> PipelineSettings {
    try makeSettings {
      $0.dedupe = PipelineSettings.Dedupe(within: seconds * 1_000_000_000)
      $0.dedupe?.by = by
      change(&$0)
    }
  }

  private static func message(_ payload: String, at milliseconds: Int64 = 0, device: String = "p") -> Message {
    Message(
      origin: Origin(source: "floor", topic: "sensors/\(device)/climate"), payload: Array(payload.utf8),
      qos: .atLeastOnce, packetID: 1, received: moment(milliseconds))
  }

  /// What the seals of a core leave on disk.
  private struct Store {
    var state = startState()
    var rows: [[UInt8]: [UInt8]] = [:]
    var lines: [String] = []
    var counters = LedgerCounters()

    mutating func take(_ core: inout PipelineCore) throws {
      guard let seal = try core.takeSeal() else { return }
      state = seal.state
      counters += seal.counters
      lines += try seal.batches.flatMap { try linesOf($0) }
      for row in seal.stages.flatMap(\.rows) { rows[row.key] = row.value }
    }

    var stages: [StageState] {
      [StageState(stage: .dedupe, rows: rows.map { StateRow(key: $0.key, value: $0.value) })]
    }
  }

  @Test("the second of two equal readings is counted, not delivered; another device's is no duplicate")
  func duplicates() throws {
    var core = try makeCore(try Self.settings())
    var store = Store()
    core.process(
      block([
        Self.message(#"{"n":1}"#), Self.message(#"{"n":1}"#), Self.message(#"{"n":2}"#),
        Self.message(#"{"n":1}"#, device: "q"),
      ]), now: moment(5))
    core.close(moment(6))
    try store.take(&core)
    #expect(store.lines.count == 3)
    #expect(store.counters.produced == 4 && store.counters.duplicate == 1)
  }

  @Test("by names the fields that count, together with the key; one that is not there is a value of its own")
  func fields() throws {
    var core = try makeCore(try Self.settings(by: ["seq", "a.b"]))
    var store = Store()
    core.process(
      block(
        [
          #"{"seq":1,"v":1}"#, #"{"seq":1,"v":2}"#, #"{"seq":1,"a":{"b":null}}"#, #"{"seq":1,"a":{"b":null},"v":3}"#,
          #"{"v":1}"#, #"{"seq":"1"}"#,
        ].map { Self.message($0) }), now: moment(5))
    core.close(moment(6))
    try store.take(&core)
    #expect(store.lines.count == 4 && store.counters.duplicate == 2)
  }

  @Test("siblings in one message are compared as well, and what a duplicate was before a restart it is after it")
  func restart() throws {
    let settings = try Self.settings { $0.each = "e" }
    var core = try makeCore(settings)
    var store = Store()
    core.process(block([Self.message(#"{"e":[{"n":1},{"n":1},{"n":2}]}"#)]), now: moment(5))
    core.close(moment(6))
    try store.take(&core)
    #expect(store.counters.duplicate == 1 && store.lines.count == 2)
    var next = try PipelineCore(
      settings: settings, version: "v", state: store.state, stages: store.stages)
    next.process(block([Self.message(#"{"e":[{"n":2},{"n":3}]}"#, at: 1_000)], first: 1), now: moment(1_005))
    next.close(moment(1_006))
    try store.take(&next)
    #expect(store.counters.duplicate == 2 && store.lines.count == 3)
  }

  @Test("thousands of readings in one message are told apart among themselves")
  func manySiblings() throws {
    var core = try makeCore(try Self.settings { $0.each = "e" })
    var store = Store()
    let all = (0..<5_000).map { #"{"n":\#($0)}"# } + (0..<5_000).map { #"{"n":\#($0)}"# }
    core.process(block([Self.message(#"{"e":[\#(all.joined(separator: ","))]}"#)]), now: moment(5))
    core.close(moment(6))
    try store.take(&core)
    #expect(store.counters.duplicate == 5_000 && store.lines.count == 5_000)
  }

  @Test("after the time a reading is a new one again")
  func within() throws {
    var core = try makeCore(try Self.settings(within: 60))
    var store = Store()
    core.process(
      block([Self.message(#"{"n":1}"#), Self.message(#"{"n":1}"#, at: 59_000), Self.message(#"{"n":1}"#, at: 200_000)]),
      now: moment(5))
    core.close(moment(6))
    try store.take(&core)
    #expect(store.counters.duplicate == 1 && store.lines.count == 2)
  }

  @Test("a dead letter of where or select that is put back is no duplicate of itself")
  func putBack() throws {
    var core = try makeCore(try Self.settings { $0.select = ["abs(v) AS v"] })
    core.process(block([Self.message(#"{"v":-9223372036854775808}"#)]), now: moment(5))
    let rejection = try #require(try core.takeSeal()?.rejections.first)
    core.requeue(DeadLetter(id: 1, rejection: rejection), now: moment(6))
    let seal = try #require(try core.takeSeal())
    #expect(seal.duplicate == 0 && seal.refused == 1)
  }

  @Test("a crash at any record gives the lines and books of an uninterrupted run", arguments: 0..<12)
  func crashes(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    let settings = try Self.settings(by: ["n"], within: 60) { $0.batch.maximumCount = 3 }
    let messages = (0..<200).map { index in
      Self.message(
        #"{"n":\#(Int.random(in: 0..<12, using: &random)),"i":\#(index)}"#, at: Int64(index) * 4_000,
        device: Bool.random(using: &random) ? "p" : "q")
    }
    /// Blocks of five messages each, and after some of them a seal and perhaps the end of the process.
    func run(crashing: Bool) throws -> Store {
      var random = SeededGenerator(seed: seed + 1_000)
      var store = Store()
      var core = try makeCore(settings)
      var next = 0
      while next < messages.count {
        let first = next / 5 * 5
        core.process(block(Array(messages[first..<first + 5]), first: Int64(first)), now: moment(Int64(next)))
        next = first + 5
        let seals = Int.random(in: 0..<3, using: &random) == 0
        let dies = Int.random(in: 0..<3, using: &random) == 0
        if seals { try store.take(&core) }
        if crashing, dies {
          core = try PipelineCore(settings: settings, version: "v", state: store.state, stages: store.stages)
          next = Int(store.state.checkpoint.rawValue)
        }
      }
      core.close(moment(1_000_000))
      try store.take(&core)
      return store
    }
    let (whole, broken) = (try run(crashing: false), try run(crashing: true))
    #expect(whole.counters.duplicate > 20 && whole.lines.count > 50)
    #expect(whole.lines == broken.lines)
    #expect(whole.counters == broken.counters)
  }

  @Test("a damaged memory is told with its stage")
  func damaged() throws {
    let settings = try Self.settings()
    #expect {
      _ = try PipelineCore(
        settings: settings, version: "v", state: startState(),
        stages: [StageState(stage: .dedupe, rows: [StateRow(key: [9], value: [9])])])
    } throws: { error in
      (error as? StageDamage)?.stage == .dedupe
    }
  }
}
