import Telemetry
import Testing

@testable import forebay

@Suite struct ReceiverMemoryTests {
  /// One thing that happens to a receiver.
  private enum Arrival {
    case sent(FixtureBatch)
    case refused(FixtureBatch)
  }

  /// Wholes, parts of all splits and refusals, many times over, in any order; at the end each whole.
  private func arrivals(
    _ chain: [FixtureBatch], using random: inout SplitMix64
  ) throws -> [Arrival] {
    var out: [Arrival] = []
    for batch in chain {
      for _ in 0..<Int.random(in: 0...2, using: &random) { out.append(.sent(batch)) }
      for total in [2, 4, 8] {
        for index in 1...total where Bool.random(using: &random) {
          let part = try batch.part(index, of: total)
          guard !part.lines.isEmpty else { continue }
          out.append(Int.random(in: 0..<4, using: &random) == 0 ? .refused(part) : .sent(part))
        }
      }
      if Bool.random(using: &random) { out.append(.refused(batch)) }
    }
    return out.shuffled(using: &random) + chain.shuffled(using: &random).map { .sent($0) }
  }

  @Test(
    "whatever the order of wholes, parts, repeats and refusals, each reading is taken exactly once",
    arguments: 0..<300)
  func model(seed: UInt64) throws {
    var random = SplitMix64(seed: seed)
    let counts = (0..<6).map { _ in Int.random(in: 1...9, using: &random) }
    let chain = try FixtureBatch.chain(counts)
    var memory = ReceiverMemory()
    var replayed = ReceiverMemory()
    var model: [Int64: Set<Int>] = [:]
    var taken = 0
    for arrival in try arrivals(chain, using: &random) {
      guard case .sent(let batch) = arrival else {
        if case .refused(let batch) = arrival {
          memory.refuse(batch.label())
          replayed.refuse(try reread(batch.refusal()).label)
        }
        continue
      }
      let label = batch.label()
      let held = model[label.identity.sequence] ?? []
      let lacking = Set(label.lines).subtracting(held)
      let lines: [Range<Int>]
      switch memory.decide(label) {
      case .new:
        #expect(held.isEmpty && label.parent == nil)
        lines = [0..<label.count]
      case .takeLines(let ranges): lines = ranges
      case .hasIt:
        #expect(lacking.isEmpty)
        continue
      case .conflict, .brokenLink:
        Issue.record("nothing contradicts anything here")
        continue
      }
      let now = lines.flatMap { Array($0) }
      #expect(!now.isEmpty && Set(now) == lacking && now.count == lacking.count)
      memory.take(label, lines: lines)
      let record = try reread(batch.record(lines: lines))
      guard case .taken(let recorded) = record.outcome else { throw WrongRecord() }
      replayed.take(record.label, lines: recorded)
      model[label.identity.sequence, default: []].formUnion(now)
      taken += now.count
    }
    #expect(taken == counts.reduce(0, +))
    #expect(replayed == memory)
    let held = try #require(memory.chains.values.first)
    #expect(held.runs.runs.count == 1 && held.runs.highWater == 6)
    #expect(held.partials.isEmpty)
  }

  private struct WrongRecord: Error {}

  /// Through the bytes of the store and back.
  private func reread(_ record: BatchRecord) throws -> BatchRecord {
    var bytes: [UInt8] = []
    record.write(to: &bytes)
    let prefix = Array(bytes[..<BatchRecord.prefixLength])
    let (head, body) = try #require(BatchRecord.lengths(prefix: prefix))
    let start = BatchRecord.prefixLength
    #expect(bytes.count == start + head + body)
    let read = try BatchRecord(
      prefix: prefix, head: Array(bytes[start..<start + head]), body: Array(bytes[(start + head)...]))
    #expect(read == record)
    return read
  }

  @Test("memory grows with the gaps, not with the batches")
  func bounded() throws {
    let chain = try FixtureBatch.chain([Int](repeating: 1, count: 2000))
    var memory = ReceiverMemory()
    var random = SplitMix64(seed: 5)
    // As several senders at once deliver: out of order, but never far.
    var most = 0
    for start in stride(from: 0, to: chain.count, by: 8) {
      for batch in chain[start..<start + 8].shuffled(using: &random) {
        #expect(memory.decide(batch.label()) == .new)
        memory.take(batch.label(), lines: [0..<1])
        most = max(most, memory.chains.values.map(\.runs.runs.count).reduce(0, +))
      }
    }
    #expect(most > 1 && most <= 5)
    #expect(memory.chains.values.first?.runs.highWater == 2000)
  }

  @Test("another body under an identity at an edge is a conflict; far below the edge it is held")
  func conflict() throws {
    let chain = try FixtureBatch.chain([1, 2, 3])
    var memory = ReceiverMemory()
    for batch in chain { memory.take(batch.label(), lines: [0..<batch.lines.count]) }
    for (index, batch) in chain.enumerated() {
      var other = batch
      other.lines[0] = "{\"other\":1}"
      #expect(
        memory.decide(other.label()) == (index == 1 ? .hasIt : .conflict(held: batch.digest)))
      #expect(memory.decide(batch.label()) == .hasIt)
    }
  }

  @Test("parts that disagree about their batch are a conflict")
  func partsOfAnother() throws {
    let batch = try FixtureBatch.chain([4])[0]
    var other = batch
    other.lines[3] = "{\"other\":1}"
    var memory = ReceiverMemory()
    memory.take(try batch.part(1, of: 2).label(), lines: [0..<2])
    #expect(memory.decide(try other.part(2, of: 2).label()) == .conflict(held: batch.digest))
    #expect(memory.decide(other.label()) == .conflict(held: batch.digest))
    #expect(memory.decide(try batch.part(2, of: 2).label()) == .takeLines([2..<4]))
  }

  @Test("what only a refusal said about a batch contradicts nothing")
  func refusalIsNoProof() throws {
    let batch = try FixtureBatch.chain([4])[0]
    var other = batch
    other.lines[3] = "{\"other\":1}"
    var memory = ReceiverMemory()
    memory.refuse(other.label())
    #expect(memory.decide(batch.label()) == .new)
    memory.take(batch.label(), lines: [0..<4])
    #expect(memory.decide(batch.label()) == .hasIt)
  }

  @Test("a batch that its neighbours contradict is not taken")
  func brokenLinks() throws {
    let chain = try FixtureBatch.chain([1, 1, 1, 1])
    var memory = ReceiverMemory()
    var second = chain[1]
    second.previous = Digest(of: [1])
    // Nothing is held yet that could contradict it, except that nothing stands before the first.
    #expect(memory.decide(second.label()) == .new)
    var first = chain[0]
    first.previous = Digest(of: [1])
    #expect(memory.decide(first.label()) == .brokenLink(held: .zero))
    memory.take(chain[0].label(), lines: [0..<1])
    memory.take(chain[2].label(), lines: [0..<1])
    #expect(memory.decide(second.label()) == .brokenLink(held: chain[0].digest))
    var changed = chain[1]
    changed.lines[0] = "{}"
    #expect(memory.decide(changed.label()) == .brokenLink(held: chain[1].digest))
    #expect(memory.decide(chain[1].label()) == .new)
  }
}
