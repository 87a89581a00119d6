import Pipeline
import Telemetry
import Testing

/// What one record of the generated log is, and what must become of it.
private enum Fate: Equatable {
  case line(String)
  case rejected(String)
  case unmatched
}

/// A generated log, and beside it what every record must become, written down without the pipeline.
private struct GeneratedLog {
  var messages: [Message] = []
  var fates: [Fate] = []

  init(count: Int, using generator: inout SeededGenerator) {
    for n in 0..<count {
      let device = "d\(Int.random(in: 0..<5, using: &generator))"
      let topic = "sensors/\(device)/climate"
      let start = #"{"key":"\#(device)","time":"2026-11-21T03:18:\#(10 + n % 50)Z","data":"#
      let time = #""ts":\#(1_795_231_080 + 10 + n % 50)"#
      switch Int.random(in: 0..<12, using: &generator) {
      case 0...6:
        let data = #"{"n":\#(n),\#(time)}"#
        add(topic, data, .line(start + data + "}"))
      case 7:
        add(topic, #" { "n" : \#(n) , \#(time) }"#, .line(start + #"{"n":\#(n),\#(time)}}"#))
      case 8:
        let pad = String(repeating: "p", count: Int.random(in: 0..<1_500, using: &generator))
        let data = #"{"n":\#(n),\#(time),"pad":"\#(pad)"}"#
        add(topic, data, .line(start + data + "}"))
      case 9: add(topic, #"{"n":\#(n)"#, .rejected("json.syntax"))
      case 10: add(topic, #"{"n":\#(n)}"#, .rejected("time.missing"))
      default: add("elsewhere/\(device)", "{}", .unmatched)
      }
    }
  }

  private mutating func add(_ topic: String, _ payload: String, _ fate: Fate) {
    messages.append(message(topic, payload))
    fates.append(fate)
  }
}

/// The stored side: what a spool would hold after each seal.
private struct Store {
  var state: PipelineState
  var ledger = Ledger()
  var lines: [String] = []
  var requeuedLines: [String] = []
  var batches: [Batch] = []
  var letters: [DeadLetter] = []
  var damaged: Set<Int> = []

  mutating func commit(_ seal: Seal) throws {
    ledger.unmatched += seal.unmatched
    ledger.decoded += seal.decoded
    ledger.rejected += seal.rejected
    ledger.damaged += seal.damaged
    ledger.produced += seal.produced
    ledger.requeued += seal.requeued
    ledger.recovered += Int64(seal.resolvedDeadLetters.count)
    for id in seal.resolvedDeadLetters {
      let index = try #require(letters.firstIndex { $0.id == id }, "a letter is resolved once")
      requeuedLines.append(requeuedLine(letters.remove(at: index)))
    }
    #expect(seal.rejected == Int64(seal.rejections.count))
    for rejection in seal.rejections {
      letters.append(DeadLetter(id: Int64(1_000 + rejection.offset.rawValue), rejection: rejection))
    }
    for batch in seal.batches {
      #expect(batch.previous == batches.last?.digest ?? .zero)
      #expect(batch.identity.sequence == Int64(batches.count + 1))
      batches.append(batch)
      let all = try linesOf(batch)
      #expect(all.count == batch.count)
      lines += all.filter { !$0.contains("requeued") }
    }
    state = seal.state
    ledger.inOutbox = Int64(batches.reduce(0) { $0 + $1.count })
    ledger.deadLetters = Int64(letters.count)
  }

  /// Letters are mended as somebody who puts them back would: the test hands in this payload.
  func requeuedLine(_ letter: DeadLetter) -> String { "requeued \(letter.rejection.offset)" }
}

@Suite("The pipeline against a model")
struct PipelineModelTests {
  private func modelSettings() throws -> PipelineSettings {
    try makeSettings(time: .field("ts", .seconds)) {
      $0.batch.maximumCount = 25
      $0.batch.maximumBytes = 2_048
      $0.batch.compression = .zstd
    }
  }

  @Test(
    "Whatever blocks, ticks, restarts, damage and requeues come, every seal balances and each reading is there once",
    arguments: 1...12)
  func model(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let log = GeneratedLog(count: 1_000, using: &generator)
    let settings = try modelSettings()
    var store = Store(state: startState())
    var core = try makeCore(settings, store.state)
    var now: Int64 = 0
    var restarts = 0

    while true {
      now += Int64.random(in: 0..<200, using: &generator)
      let position = Int(core.readPosition.rawValue)
      switch Int.random(in: 0..<20, using: &generator) {
      case 0...8:
        // A block that may begin before the read position and ends wherever the writer cut it.
        let first = max(0, position - Int.random(in: 0..<20, using: &generator))
        let end = min(log.messages.count, position + Int.random(in: 0..<60, using: &generator))
        guard first < end, !(first..<end).contains(where: store.damaged.contains) else { break }
        core.process(block(Array(log.messages[first..<end]), first: Int64(first)), now: moment(now))
      case 9:
        let end = min(log.messages.count, position + Int.random(in: 1..<6, using: &generator))
        guard end > position else { break }
        // Once damaged, always damaged: a restart meets the same hole.
        store.damaged.formUnion(position..<end)
        core.skip(to: Offset(Int64(end)), damaged: Int64(end - position))
      case 10...11: core.tick(moment(now))
      case 12: core.close(moment(now))
      case 13:
        core = try makeCore(settings, store.state)
        restarts += 1
      case 14:
        guard var letter = store.letters.randomElement(using: &generator) else { break }
        letter.rejection.stage = .upstream
        letter.rejection.payload = Array(store.requeuedLine(letter).utf8)
        core.requeue(letter, now: moment(now))
      case 15:
        guard let letter = store.letters.randomElement(using: &generator) else { break }
        core.requeue(letter, now: moment(now))
      default:
        if let seal = try core.takeSeal() {
          try store.commit(seal)
          try check(store, log, settings)
        }
      }
      // Records behind a hole that a restart must cross again.
      while store.damaged.contains(Int(core.readPosition.rawValue)) {
        core.skip(to: core.readPosition + 1, damaged: 1)
      }
      if core.readPosition.rawValue == Int64(log.messages.count) { break }
    }
    core.close(moment(now))
    if let seal = try core.takeSeal() { try store.commit(seal) }
    try check(store, log, settings)
    #expect(store.state.checkpoint == Offset(Int64(log.messages.count)))
    #expect(restarts > 0 && !store.damaged.isEmpty && !store.requeuedLines.isEmpty)
  }

  private func check(_ store: Store, _ log: GeneratedLog, _ settings: PipelineSettings) throws {
    let passed = Int(store.state.checkpoint.rawValue)
    let fates = log.fates[..<passed].enumerated().filter { !store.damaged.contains($0.offset) }
    var ledger = store.ledger
    ledger.received = Int64(log.messages.count)
    ledger.waiting = Int64(log.messages.count - passed)
    #expect(ledger.balances, "\(ledger.equations)")
    #expect(ledger.damaged == Int64(store.damaged.filter { $0 < passed }.count))
    #expect(ledger.unmatched == Int64(fates.filter { $0.element == .unmatched }.count))
    let expected = fates.compactMap { if case .line(let line) = $0.element { line } else { nil } }
    #expect(store.lines == expected)
    let rejected = fates.filter { if case .rejected = $0.element { true } else { false } }
    #expect(ledger.rejected == Int64(rejected.count))
    for letter in store.letters {
      #expect(log.fates[Int(letter.rejection.offset.rawValue)] == .rejected(letter.rejection.rule))
    }
    for batch in store.batches {
      #expect(batch.count <= settings.batch.maximumCount)
      #expect(batch.length <= settings.batch.maximumBytes || batch.count == 1)
    }
    let delivered: [String] = try store.batches.flatMap { try linesOf($0) }
    let requeued = delivered.filter { $0.contains("requeued") }
    #expect(requeued.sorted() == store.requeuedLines.sorted())
  }

  @Test("However the log is cut into blocks, the batches are the same, byte for byte", arguments: 1...6)
  func cuts(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let log = GeneratedLog(count: 1_000, using: &generator)
    let settings = try modelSettings()
    func run(cutsUpTo limit: Int, restarting: Bool) throws -> (batches: [Batch], rejections: [Rejection]) {
      var core = try makeCore(settings)
      var batches: [Batch] = []
      var rejections: [Rejection] = []
      while core.readPosition < Offset(Int64(log.messages.count)) {
        let first = Int(core.readPosition.rawValue)
        let end = min(log.messages.count, first + Int.random(in: 1...limit, using: &generator))
        core.process(block(Array(log.messages[first..<end]), first: Int64(first)), now: moment())
        if let seal = try core.takeSeal() {
          batches += seal.batches
          rejections += seal.rejections
          // Progress is sure only once a batch has closed: an open one is read again after a restart.
          if restarting, !seal.batches.isEmpty { core = try makeCore(settings, seal.state) }
        }
      }
      core.close(moment())
      if let seal = try core.takeSeal() {
        batches += seal.batches
        rejections += seal.rejections
      }
      return (batches, rejections)
    }
    let whole = try run(cutsUpTo: 1_000, restarting: false)
    #expect(whole.batches.count > 20)
    for limit in [1, 7, 100] {
      let cut = try run(cutsUpTo: limit, restarting: false)
      #expect(cut == whole)
      let restarted = try run(cutsUpTo: limit, restarting: true)
      #expect(restarted == whole)
    }
  }
}
