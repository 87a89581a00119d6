@testable import Delivery
import Telemetry
import Testing

/// A generated sequence of events against a model of the outbox: whatever happens, in whatever order,
/// the promises hold.
@Suite("Delivery core against a model")
struct DeliveryCoreModelTests {
  private struct Model {
    var core: DeliveryCore
    let outbox: MemoryOutbox
    var random: SplitMix64
    var now: Int64 = 1_000
    var sent: [Int64: Batch] = [:]
    var settled: Set<Int64> = []
    /// Readings that the core decided to set aside since the last acceptance, per pipeline.
    var inRow: [String: Int] = [:]
    var sealed: [String: [Batch]] = [:]
    let limit: Int
    let window: Int

    init(seed: UInt64) {
      random = SplitMix64(state: seed)
      var settings = UplinkSettings(name: "up", kind: .http(.init(url: "http://127.0.0.1:1/")))
      settings.concurrency = Int.random(in: 1...6, using: &random)
      settings.refusalsBeforeHold = Int.random(in: 2...6, using: &random)
      settings.breaker.failures = Int.random(in: 1...5, using: &random)
      limit = settings.concurrency
      core = DeliveryCore(settings: settings, seed: seed)
      window = core.window
      outbox = MemoryOutbox()
    }

    mutating func seal() {
      let pipeline = ["a", "b", "c"].randomElement(using: &random) ?? "a"
      let chain = sealed[pipeline, default: []]
      let batch = Sample.batch(
        Int64(chain.count + 1), pipeline: pipeline, count: Int.random(in: 1...9, using: &random),
        previous: chain.last?.digest ?? .zero, compression: .none)
      sealed[pipeline, default: []].append(batch)
      outbox.append(batch)
      core.wake()
    }

    /// - Returns: whether there was anything to do.
    @discardableResult
    mutating func perform(storeFails: Bool) throws -> Bool {
      guard let action = core.next(now: now) else { return false }
      // One in 16 times the store is closed for its recovery.
      if storeFails, UInt8.random(in: 0..<16, using: &random) == 0 {
        core.outboxFailed(action, reason: "closed", now: now)
        return true
      }
      switch action {
      case .fetch(let after, let excluding, let limit):
        #expect(limit >= 1 && limit <= self.limit)
        core.didFetch(
          try outbox.entries(uplink: "up", after: after, excluding: excluding, limit: limit), limit: limit)
      case .send(let id, _, _):
        let batch = try #require(outbox.waiting.first { $0.id == id }).batch
        #expect(sent.updateValue(batch, forKey: id) == nil, "a batch is on its way twice")
        #expect(sent.count <= limit, "more at once than allowed")
        #expect(!settled.contains(id), "sent after it was settled")
      case .confirm(let ids):
        for id in ids { #expect(settled.insert(id).inserted) }
        try outbox.confirm(ids)
        core.didConfirm(ids)
      case .split(let id, let position):
        #expect(settled.insert(id).inserted)
        let batch = try #require(outbox.waiting.first { $0.id == id }).batch
        try outbox.split(id, into: try Splitting.halves(of: batch))
        // Now and then the store is closed just after it.
        let fails = storeFails && Bool.random(using: &random)
        core.didSplit(
          id,
          parts: fails
            ? [] : try outbox.entries(uplink: "up", after: position.predecessor, excluding: [], limit: 2))
      case .setAside(let id, let rule, let reason):
        #expect(settled.insert(id).inserted)
        try outbox.setAside(id, rule: rule, reason: reason)
        core.didSetAside(id)
      }
      #expect(core.known.count <= 3 * (window + limit), "memory grows with the backlog")
      return true
    }

    mutating func answer(healed: Bool) {
      guard let id = sent.keys.sorted().randomElement(using: &random), let batch = sent[id] else { return }
      sent[id] = nil
      let pipeline = batch.identity.pipeline
      let held = core.pipelines[pipeline]?.hold != nil
      let answer = healed ? .hasIt : anyAnswer()
      core.answered(id, answer, bytes: batch.body.count, now: now)
      if answer == .hasIt { inRow[pipeline] = 0 }
      if case .settingAside = core.known[id]?.phase {
        inRow[pipeline, default: 0] += 1
        #expect(inRow[pipeline, default: 0] < core.settings.refusalsBeforeHold, "too many in a row")
      }
      if held, let phase = core.known[id]?.phase {
        switch phase {
        case .splitting, .settingAside: Issue.record("split or set aside while held")
        default: break
        }
      }
    }

    private mutating func anyAnswer() -> Answer {
      switch Int.random(in: 0..<20, using: &random) {
      case 0..<5: .hasIt
      case 5: .stillTakingIn
      case 6: .notNow(status: 503, retryAfter: Int64.random(in: 0...100_000_000_000, using: &random))
      case 7: .notNow(status: 500, retryAfter: nil)
      case 8...9: .unreachable(Unreachable(.timedOut, ""))
      case 10: .credentials(status: 403)
      case 11: .unknownUpstream("302")
      case 12...13: .tooLarge(reason: "")
      case 14...17: .refused(status: 400, reason: "")
      case 18: .unreachable(Unreachable(.cancelled, ""))
      default: .identityConflict(held: nil)
      }
    }
  }

  @Test("holds for any sequence of events, and all is delivered once the upstream heals", arguments: 1...60)
  func anything(seed: UInt64) throws {
    var model = Model(seed: seed)
    for _ in 0..<3_000 {
      switch Int.random(in: 0..<100, using: &model.random) {
      case 0..<4: model.seal()
      case 4..<60: try model.perform(storeFails: true)
      case 60..<85: model.answer(healed: false)
      case 85..<98: model.now += Int64.random(in: 0...20_000_000_000, using: &model.random)
      case 98: model.core.apply(model.core.settings, now: model.now)
      default: model.core.wake()
      }
    }
    var steps = 0
    while !model.outbox.isEmpty || !model.sent.isEmpty {
      steps += 1
      try #require(steps < 100_000, "does not end")
      if try model.perform(storeFails: false) { continue }
      if !model.sent.isEmpty {
        model.answer(healed: true)
      } else {
        let deadline = try #require(model.core.deadline(now: model.now), "waits for nothing")
        #expect(deadline > model.now)
        model.now = max(deadline, model.now + 1)
      }
    }
    // Nothing lost, nothing twice: every line of every batch was confirmed or set aside, once.
    var lines: [String: Int] = [:]
    for batch in model.outbox.confirmed {
      let whole = batch.parent?.count ?? batch.count
      for line in batch.identity.part?.lines(of: whole) ?? 0..<whole {
        lines["\(batch.identity.pipeline) {\"n\":\(batch.identity.sequence),\"line\":\(line)}", default: 0] += 1
      }
    }
    let sealed = model.sealed.values.reduce(0) { $0 + $1.reduce(0) { $0 + $1.count } }
    #expect(lines.values.allSatisfy { $0 == 1 })
    #expect(lines.count + model.outbox.setAside.count == sealed)
    #expect(model.core.known.isEmpty)
  }
}
