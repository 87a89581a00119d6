@testable import Delivery
import Telemetry
import Testing

/// Runs a core against an outbox and an upstream that is a function, without I/O, in scripted time.
struct CoreRig {
  var core: DeliveryCore
  let outbox: MemoryOutbox
  var now: Int64 = 1_000_000_000
  var requests = 0
  var sent: [Int64: Batch] = [:]
  var trace: [BatchIdentity] = []

  init(_ batches: [Batch], seed: UInt64 = 1, change: (inout UplinkSettings) -> Void = { _ in }) {
    var settings = UplinkSettings(name: "up", kind: .http(.init(url: "http://127.0.0.1:1/")))
    change(&settings)
    core = DeliveryCore(settings: settings, seed: seed)
    outbox = MemoryOutbox(batches)
  }

  /// Performs everything that the core wants now but answering.
  mutating func settle() throws {
    while let action = core.next(now: now) {
      switch action {
      case .fetch(let after, let excluding, let limit):
        core.didFetch(
          try outbox.entries(uplink: "up", after: after, excluding: excluding, limit: limit), limit: limit)
      case .send(let id, _, _):
        requests += 1
        let batch = try #require(outbox.waiting.first { $0.id == id }).batch
        trace.append(batch.identity)
        #expect(sent.updateValue(batch, forKey: id) == nil)
      case .confirm(let ids):
        try outbox.confirm(ids)
        core.didConfirm(ids)
      case .split(let id, let position):
        let batch = try #require(outbox.waiting.first { $0.id == id }).batch
        try outbox.split(id, into: try Splitting.halves(of: batch))
        core.didSplit(
          id,
          parts: try outbox.entries(uplink: "up", after: position.predecessor, excluding: [], limit: 2))
      case .setAside(let id, let rule, let reason):
        try outbox.setAside(id, rule: rule, reason: reason)
        core.didSetAside(id)
      }
    }
  }

  /// Answers the oldest that is on its way.
  mutating func answer(_ answer: (Batch) -> Answer) {
    guard let id = sent.keys.min(), let batch = sent.removeValue(forKey: id) else { return }
    core.answered(id, answer(batch), bytes: batch.body.count, now: now)
  }

  /// Until nothing is left to do before `until`, or at all.
  mutating func run(until: Int64 = .max, _ upstream: (Batch) -> Answer) throws {
    for _ in 0..<200_000 {
      try settle()
      if !sent.isEmpty {
        answer(upstream)
      } else if let next = core.deadline(now: now), next <= until {
        #expect(next > now, "the core has nothing to do now, and says that it has")
        now = max(next, now + 1)
      } else {
        return
      }
    }
    Issue.record("did not come to an end")
  }
}

@Suite("Delivery core")
struct DeliveryCoreTests {
  private static let hour: Int64 = 3_600_000_000_000

  private static func body(_ batch: Batch) -> String {
    String(decoding: (try? Splitting.body(of: batch)) ?? [], as: UTF8.self)
  }

  @Test("delivers everything, in the order of sealing, within its concurrency")
  func delivers() throws {
    var rig = CoreRig(Sample.chain(50))
    try rig.settle()
    #expect(rig.sent.count == 4)
    try rig.run { _ in .hasIt }
    #expect(rig.outbox.confirmed.map(\.identity.sequence) == Array(1...50))
    #expect(rig.core.isIdle && rig.core.known.isEmpty && rig.core.pipelines.isEmpty)
    #expect(rig.outbox.largestFetch <= 4)
  }

  @Test("retries a batch for ever, ever more slowly, and others go on meanwhile")
  func retries() throws {
    var rig = CoreRig(Sample.chain(10))
    try rig.run(until: rig.now + 24 * Self.hour) { batch in
      batch.identity.sequence == 1 ? .notNow(status: 500, retryAfter: nil) : .hasIt
    }
    #expect(rig.outbox.waiting.map(\.batch.identity.sequence) == [1])
    // Once in 150 s on the average after the first minutes.
    #expect((400...900).contains(rig.trace.count { $0.sequence == 1 }))
    try rig.run { _ in .hasIt }
    #expect(rig.outbox.isEmpty)
  }

  @Test("a batch that always fails does not keep the circuit open: probes take turns")
  func poisonousProbe() throws {
    var rig = CoreRig(Sample.chain(30))
    try rig.run(until: rig.now + 100_000_000_000) { _ in .unreachable(Unreachable(.closed, "")) }
    #expect(rig.core.circuit != .closed && rig.core.status(now: rig.now).state == .retrying)
    try rig.run(until: rig.now + 2 * Self.hour) { batch in
      batch.identity.sequence == 1 ? .unreachable(Unreachable(.closed, "")) : .hasIt
    }
    #expect(rig.outbox.waiting.map(\.batch.identity.sequence) == [1])
  }

  @Test("the circuit opens after failures in a row, sends single probes, and closes with a success")
  func circuit() throws {
    var rig = CoreRig(Sample.chain(30))
    for _ in 0..<8 {
      try rig.settle()
      rig.answer { _ in .unreachable(Unreachable(.notConnected, "")) }
      if rig.core.circuit != .closed { break }
      if rig.sent.isEmpty { rig.now = try #require(rig.core.deadline(now: rig.now)) }
    }
    while !rig.sent.isEmpty { rig.answer { _ in .unreachable(Unreachable(.notConnected, "")) } }
    #expect(rig.core.circuit != .closed && rig.core.status(now: rig.now).state == .retrying)
    for _ in 0..<20 {
      rig.now = max(rig.now, try #require(rig.core.deadline(now: rig.now)))
      try rig.settle()
      #expect(rig.sent.count == 1 && rig.core.circuit == .halfOpen)
      rig.answer { _ in .unreachable(Unreachable(.notConnected, "")) }
    }
    // An hour of outage does not mean an hour of waiting after it.
    rig.now = max(rig.now, try #require(rig.core.deadline(now: rig.now)))
    try rig.settle()
    rig.answer { _ in .hasIt }
    try rig.settle()
    #expect(rig.core.status(now: rig.now).state == .delivering && rig.sent.count == 4)
    let before = rig.now
    try rig.run { _ in .hasIt }
    #expect(rig.outbox.isEmpty && rig.now == before)
  }

  @Test("Retry-After pauses the whole uplink, and for an hour at most")
  func retryAfter() throws {
    var rig = CoreRig(Sample.chain(10))
    let start = rig.now
    try rig.settle()
    rig.answer { _ in .notNow(status: 429, retryAfter: 90_000_000_000) }
    while !rig.sent.isEmpty { rig.answer { _ in .hasIt } }
    try rig.settle()
    #expect(rig.sent.isEmpty)
    #expect(rig.core.deadline(now: rig.now) == start + 90_000_000_000)
    rig.now = start + 90_000_000_000
    try rig.settle()
    rig.answer { _ in .notNow(status: 503, retryAfter: .max) }
    while !rig.sent.isEmpty { rig.answer { _ in .hasIt } }
    try rig.settle()
    #expect(rig.core.deadline(now: rig.now) == rig.now + Self.hour)
    try rig.run { _ in .hasIt }
    #expect(rig.outbox.isEmpty)
  }

  @Test(
    "an upstream that refuses the credentials or is not ours is held, probed slowly, and forgiven",
    arguments: [Answer.credentials(status: 401), .unknownUpstream("404")])
  func uplinkHold(_ answer: Answer) throws {
    var rig = CoreRig(Sample.chain(20))
    let start = rig.now
    try rig.run(until: start + Self.hour) { _ in answer }
    // The first four, and then one in 30 to 60 s.
    #expect((60...130).contains(rig.requests))
    let status = rig.core.status(now: rig.now)
    #expect(status.state == .held && status.holds.map(\.scope) == [.uplink])
    #expect(status.holds.first?.since == start && status.holds.first?.reason == answer.description)
    #expect(rig.outbox.setAside.isEmpty && rig.outbox.waiting.count == 20)
    // New settings are tried at once.
    rig.core.apply(rig.core.settings, now: rig.now)
    let before = rig.now
    try rig.run { _ in .hasIt }
    #expect(rig.outbox.isEmpty && rig.now == before && rig.core.status(now: rig.now).holds.isEmpty)
  }

  @Test("one refused reading of many is found in about 2 log2(n) requests, and the rest is delivered")
  func isolates() throws {
    for bad in [0, 1, 499, 500, 998, 999] {
      var rig = CoreRig([Sample.batch(1, count: 1000)])
      let start = rig.now
      try rig.run { batch in
        Self.body(batch).contains("\"line\":\(bad)}")
          ? .refused(status: 422, reason: "field too hot") : .hasIt
      }
      #expect(rig.outbox.setAside.map(\.line) == ["{\"n\":1,\"line\":\(bad)}\n"])
      #expect(rig.outbox.setAside.map(\.rule) == ["upstream.422"])
      #expect(rig.outbox.setAside.map(\.reason) == ["422: field too hot"])
      #expect(rig.outbox.confirmed.reduce(0) { $0 + $1.count } == 999)
      #expect(rig.requests <= 22 && rig.now == start)
    }
  }

  @Test("a tenth of all readings refused, spread over every batch, goes to the dead letters, no more")
  func scattered() throws {
    var rig = CoreRig(Sample.chain(20, count: 200))
    try rig.run { batch in
      Self.body(batch).contains("7}\n") ? .refused(status: 400, reason: "") : .hasIt
    }
    #expect(rig.outbox.isEmpty)
    #expect(rig.outbox.setAside.count == 400 && rig.outbox.setAside.allSatisfy { $0.line.hasSuffix("7}\n") })
    #expect(rig.outbox.confirmed.reduce(0) { $0 + $1.count } == 3600)
  }

  @Test("a broken device's block of bad readings does not stop the pipeline for more than a hold")
  func contiguous() throws {
    var rig = CoreRig(Sample.chain(6, count: 100))
    let start = rig.now
    try rig.run { batch in
      batch.identity.sequence == 2 && Self.body(batch).contains("\"line\":1")
        ? .refused(status: 400, reason: "") : .hasIt
    }
    #expect(rig.outbox.isEmpty && rig.outbox.setAside.count == 11)
    #expect(rig.now - start <= 180_000_000_000)
  }

  @Test(
    "an upstream that refuses everything costs four readings of a pipeline, and then it is held",
    arguments: [1, 1000])
  func refusesEverything(_ count: Int) throws {
    let batches = Sample.chain(200, pipeline: "a", count: count) + Sample.chain(200, pipeline: "b", count: count)
    var rig = CoreRig(batches)
    try rig.run(until: rig.now + 1_000_000_000) { _ in .refused(status: 400, reason: "no such table") }
    #expect(rig.outbox.setAside.count == 8)
    #expect(rig.requests <= 2 * 5 * 11 + 8)
    let requests = rig.requests
    try rig.run(until: rig.now + Self.hour) { _ in .refused(status: 400, reason: "no such table") }
    #expect(rig.outbox.setAside.count == 8 && rig.requests - requests <= 2 * 130)
    let holds = rig.core.status(now: rig.now).holds
    #expect(Set(holds.map(\.scope)) == [.pipeline("a"), .pipeline("b")])
    #expect(holds.allSatisfy { $0.cause == .refusals && $0.reason == "400: no such table" })
    #expect(rig.core.known.count <= 2 * (rig.core.window + 4 + 5 * 10))
    // Once it is mended, everything goes, also what had been refused.
    try rig.run { _ in .hasIt }
    #expect(rig.outbox.isEmpty && rig.core.status(now: rig.now).holds.isEmpty)
    #expect(rig.outbox.confirmed.reduce(0) { $0 + $1.count } == 400 * count - 8)
  }

  @Test("one pipeline that is refused does not hold another")
  func refusesOnePipeline() throws {
    var rig = CoreRig(
      zip(Sample.chain(100, pipeline: "a"), Sample.chain(100, pipeline: "b")).flatMap { [$0, $1] })
    let start = rig.now
    try rig.run(until: start + 1_000_000_000) { batch in
      batch.identity.pipeline == "a" ? .refused(status: 415, reason: "") : .hasIt
    }
    #expect(rig.outbox.confirmed.count == 100 && rig.outbox.setAside.count == 4)
    #expect(rig.outbox.waiting.allSatisfy { $0.batch.identity.pipeline == "a" })
  }

  @Test("a batch that is too large is halved until it fits; a single reading is set aside")
  func tooLarge() throws {
    var rig = CoreRig([Sample.batch(1, count: 64)] + [Sample.batch(2, count: 1), Sample.batch(3, count: 1)])
    try rig.run { batch in
      batch.count > 10 || batch.identity.sequence == 2 ? .tooLarge(reason: "") : .hasIt
    }
    #expect(rig.outbox.isEmpty && rig.outbox.setAside.map(\.rule) == ["upstream.413"])
    #expect(rig.outbox.confirmed.count { $0.identity.sequence == 1 } == 8)
  }

  @Test("a batch in conflict is held alone and tried again; it is neither split nor set aside")
  func conflict() throws {
    var rig = CoreRig(Sample.chain(20))
    try rig.run(until: rig.now + Self.hour) { batch in
      batch.identity.sequence == 3 ? .identityConflict(held: Digest(of: [1])) : .hasIt
    }
    #expect(rig.outbox.confirmed.count == 19 && rig.outbox.setAside.isEmpty)
    let holds = rig.core.status(now: rig.now).holds
    #expect(holds.map(\.cause) == [.identityConflict])
    #expect(holds.map(\.scope) == [.batch(Sample.batch(3).identity)])
    try rig.run { _ in .hasIt }
    #expect(rig.outbox.isEmpty && rig.core.status(now: rig.now).holds.isEmpty)
  }

  @Test("a batch that the outbox no longer has, or that cannot be split, does not stop the others")
  func vanishedAndDamaged() throws {
    var rig = CoreRig(Sample.chain(8))
    try rig.settle()
    for id in rig.sent.keys.sorted().prefix(1) {
      rig.sent[id] = nil
      rig.core.vanished(id)
      try rig.outbox.confirm([id])
    }
    let id = try #require(rig.sent.keys.min())
    let batch = try #require(rig.sent[id])
    rig.sent[id] = nil
    rig.core.answered(id, .refused(status: 400, reason: ""), bytes: 1, now: rig.now)
    #expect(rig.core.next(now: rig.now).map { if case .split = $0 { true } else { false } } == true)
    rig.core.splitFailed(id, reason: "its body has another digest", now: rig.now)
    try rig.run(until: rig.now + 1_000_000) { _ in .hasIt }
    #expect(rig.outbox.waiting.map(\.batch) == [batch])
    #expect(rig.core.status(now: rig.now).holds.map(\.cause) == [.damagedBatch])
  }
}
