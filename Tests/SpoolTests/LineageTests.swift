import Telemetry
import Testing

@testable import Spool

@Suite("Lineage of batches")
struct LineageTests {
  private let folder: SpoolFolder

  init() throws { folder = try SpoolFolder() }

  /// Seals so many batches of two readings each and confirms them; gives their identities.
  private func deliver(
    _ count: Int, to spool: Spool, _ state: inout PipelineState, wall: Int64 = 9_000
  ) throws -> [Batch] {
    var batches: [Batch] = []
    for _ in 0..<count {
      let start = Int(state.checkpoint.rawValue)
      try spool.log.append(Fixture.group(start..<start + 2))
      let seal = Fixture.seal(&state, readings: start..<start + 2)
      try spool.state.seal(seal, pipeline: "climate")
      let item = try #require(try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 1).first)
      try spool.state.confirm([item.id], at: wall + state.nextSequence)
      batches += seal.batches
    }
    return batches
  }

  private func expected(_ batch: Batch, left: Int64) -> BatchLineage {
    var lineage = BatchLineage(batch, uplink: "central")
    lineage.fate = .delivered
    lineage.left = left
    return lineage
  }

  @Test("is known of a batch while it waits and after it was delivered, also behind a restart")
  func delivered() throws {
    let batches: [Batch]
    do {
      let spool = try folder.open()
      var state = try spool.register(folder)
      batches = try deliver(100, to: spool, &state)
      try spool.log.append(Fixture.group(200..<202))
      let seal = Fixture.seal(&state, readings: 200..<202)
      try spool.state.seal(seal, pipeline: "climate")
      let waiting = seal.batches[0]
      #expect(try spool.state.lineage(of: waiting.identity) == [BatchLineage(waiting, uplink: "central")])
      #expect(try spool.state.waitingLines(of: waiting.identity) == waiting.body)
      spool.close()
    }
    let spool = try folder.open()
    for (index, batch) in batches.enumerated() {
      #expect(
        try spool.state.lineage(of: batch.identity) == [expected(batch, left: 9_000 + Int64(index) + 2)])
    }
    #expect(try spool.state.waitingLines(of: batches[99].identity) == nil)
    #expect(try spool.state.identity(pipeline: "climate", sequence: 5) == batches[4].identity)
    var unknown = batches[0].identity
    unknown.sequence = 102
    #expect(try spool.state.lineage(of: unknown).isEmpty)
    #expect(try spool.audit().balances)
  }

  @Test("of a batch that was split is that of its parts, each with what became of it")
  func parts() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    try spool.log.append(Fixture.group(0..<14))
    let whole = Fixture.seal(&state, readings: 0..<4)
    try spool.state.seal(whole, pipeline: "climate")
    // 1 and 10 begin alike.
    for start in 4..<14 {
      try spool.state.seal(Fixture.seal(&state, readings: start..<start + 1), pipeline: "climate")
    }
    let batch = whole.batches[0]
    let first = try #require(try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 1).first)
    func part(_ index: Int, _ total: Int) throws -> Batch {
      var part = batch
      let place = try #require(Part(index: index, total: total))
      part.identity.part = place
      part.count = place.lines(of: 4).count
      part.body = Array(place.lines(of: 4).map { "{\"n\":\($0)}\n" }.joined().utf8)
      part.length = part.body.count
      part.parent = Batch.Parent(digest: batch.digest, previous: batch.previous, count: 4, length: batch.length)
      return part
    }
    let parts = [try part(1, 2), try part(3, 4), try part(4, 4)]
    try spool.state.split(first.id, into: parts)
    let items = try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 3)
    try spool.state.setAside(items[1].id, rule: "upstream.422", reason: "no", now: Fixture.moment(wall: 70))
    try spool.state.confirm([items[2].id], at: 80)
    let found = try spool.state.lineage(of: batch.identity)
    #expect(found.map(\.identity) == parts.map(\.identity))
    #expect(found.map(\.fate) == [.waiting, .setAside, .delivered])
    #expect(found.map(\.left) == [nil, 70, 80])
    #expect(found.map(\.parent) == parts.map(\.parent) && found.map(\.count) == [2, 1, 1])
    #expect(try spool.state.lineage(of: parts[1].identity) == [found[1]])
    #expect(try spool.audit().balances)
  }

  @Test("outlives an epoch and another uplink")
  func heads() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    let old = try deliver(3, to: spool, &state)
    var moved = Fixture.registration
    moved.uplink = "other"
    var renamed = try #require(try spool.register(folder, [moved], gateway: "gw-2").states["climate"])
    let new = try deliver(2, to: spool, &renamed)
    #expect(try spool.state.lineage(of: old[1].identity).map(\.uplink) == ["central"])
    #expect(try spool.state.lineage(of: new[1].identity).map(\.uplink) == ["other"])
    #expect(new[1].identity.gateway == "gw-2" && new[1].identity.epoch != old[1].identity.epoch)
  }

  @Test("goes by age and by size, the oldest first, in steps that are worth their pages")
  func retention() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    let day: Int64 = 86_400_000_000_000
    let sensible: Int64 = 20_000 * day
    let old = try deliver(40, to: spool, &state, wall: sensible)
    let unset = try deliver(20, to: spool, &state, wall: 5)
    let new = try deliver(40, to: spool, &state, wall: sensible + 2 * day)
    func retain(now: Int64, bytes: Int64 = 1 << 30, step: Int) throws -> Int {
      try spool.state.retainLineage(now: now, age: day, bytes: bytes, step: step)
    }
    #expect(try retain(now: sensible + day / 2, step: 2) == 0)
    #expect(try retain(now: sensible + 5 * day / 2, step: 64) == 0)
    #expect(try retain(now: sensible + 5 * day / 2, step: 2) >= 2)
    #expect(try spool.state.lineage(of: old[0].identity).isEmpty)
    #expect(try spool.state.lineage(of: new[0].identity).count == 1)
    // What a clock that was never set has dated goes with what is old behind it.
    #expect(try spool.state.lineage(of: unset[19].identity).count == 1)
    #expect(try retain(now: sensible + 4 * day, step: 2) >= 2)
    #expect(try spool.state.lineage(of: unset[0].identity).isEmpty)

    let more = try deliver(150, to: spool, &state, wall: sensible + 9 * day)
    #expect(try retain(now: sensible + 9 * day, bytes: 4 << 10, step: 2) >= 2)
    #expect(try spool.state.lineage(of: more[0].identity).isEmpty)
    #expect(try spool.state.lineage(of: more[149].identity).count == 1)
  }

  @Test("survives the loss of a page of the state")
  func salvage() throws {
    let batches: [Batch]
    do {
      let spool = try folder.open()
      var registration = Fixture.registration
      registration.explanation = Array("it dedupes".utf8)
      var state = try #require(try spool.register(folder, [registration]).states["climate"])
      batches = try deliver(30, to: spool, &state)
      try spool.mirror()
      spool.close()
    }
    // An outbox row that makes no sense: the rebuilding is for everything.
    folder.tamper(
      folder.statePath,
      """
      INSERT INTO outbox VALUES(NULL, 99, 0, 'climate', 'x', 'v1', 'l', 0, 0, 1, '?', '?', 1, x'00', x'00', NULL, 0,
        x'00', 0, 0, 0, NULL, NULL, NULL, NULL, NULL, x'00')
      """)
    _ = try Damage(directory: folder.settings.directory).note(.state, reason: "told so", wall: 1)
    let spool = try folder.open()
    #expect(spool.findings.contains { $0.contains("state.db was damaged") }, "\(spool.findings)")
    #expect(try spool.state.lineage(of: batches[0].identity).map(\.digest) == [batches[0].digest])
    #expect(try spool.state.lineage(of: batches[29].identity).map(\.digest) == [batches[29].digest])
    #expect(try spool.state.version("v1", of: "climate")?.explanation == Array("it dedupes".utf8))
  }

  @Test("knows what a version did after the configuration has changed, of the newest ones")
  func versions() throws {
    let spool = try folder.open()
    func register(_ version: Int, wall: Int64) throws {
      _ = try spool.register(
        [
          PipelineRegistration(
            name: "climate", uplink: "central", version: "v\(version)", explanation: Array("does \(version)".utf8))
        ], configuration: Array("text \(version)".utf8), gateway: "gw", wall: wall, random: folder.random)
    }
    try register(1, wall: 10)
    try register(2, wall: 20)
    try register(1, wall: 30)
    let first = try #require(try spool.state.version("v1", of: "climate"))
    #expect(first.since == 10 && first.explanation == Array("does 1".utf8))
    #expect(first.configuration == Array("text 1".utf8))
    #expect(try spool.state.version("v2", of: "climate")?.configuration == Array("text 2".utf8))
    #expect(try spool.state.version("v2", of: "other") == nil)
    for version in 3...100 { try register(version, wall: 40) }
    #expect(try spool.state.version("v2", of: "climate") == nil)
    #expect(try spool.state.version("v100", of: "climate") != nil && spool.state.version("v50", of: "climate") != nil)
    try register(2, wall: 50)
    #expect(try spool.state.version("v2", of: "climate")?.since == 50)
    let texts = try spool.state.read { connection throws(SpoolError) in
      try connection.integer("SELECT count(*) FROM configuration")
    }
    #expect(texts == 64)
  }

  @Test("of a chunk whose bytes are damaged is not invented, and delivering goes on")
  func damagedChunk() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    let batches = try deliver(3, to: spool, &state)
    let bytes = LineageChunk(batches: batches.map { expected($0, left: 7) }).encoded()
    #expect(try LineageChunk(decoding: bytes).batches == batches.map { expected($0, left: 7) })
    for position in bytes.indices {
      var damaged = bytes
      damaged[position] ^= 0xFF
      _ = try? LineageChunk(decoding: damaged)
      #expect(
        (try? LineageChunk(decoding: Array(bytes.prefix(position))).batches.count) ?? 0 < 3)
    }
    folder.tamper(folder.statePath, "UPDATE pipeline SET recent = x'01ff'")
    #expect(try spool.state.lineage(of: batches[0].identity).isEmpty)
    let later = try deliver(1, to: spool, &state)
    #expect(try spool.state.lineage(of: later[0].identity).count == 1)
  }
}
