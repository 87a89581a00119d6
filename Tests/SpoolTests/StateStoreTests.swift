import Compression
import Telemetry
import Testing

@testable import Spool

@Suite("The state")
struct StateStoreTests {
  let folder: SpoolFolder

  init() throws { folder = try SpoolFolder() }

  @Test("advances batches, ledger, sequence, digest and checkpoint in one transaction")
  func sealing() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    try spool.log.append(Fixture.group(0..<10))
    let first = Fixture.seal(&state, readings: 0..<4)
    try spool.state.seal(first, pipeline: "climate")
    try spool.state.seal(Fixture.seal(&state, readings: 4..<9), pipeline: "climate")
    #expect(try spool.state.state(of: "climate") == state)
    let items = try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 10)
    #expect(items.map(\.batch.identity.sequence) == [1, 2])
    #expect(items[0].batch == first.batches[0])
    #expect(items[1].batch.previous == items[0].batch.digest)
    let ledger = try #require(try spool.audit().entries.first).ledger
    #expect(ledger.received == 10 && ledger.decoded == 9 && ledger.waiting == 1)
    #expect(ledger.produced == 9 && ledger.inOutbox == 9 && ledger.balances)
  }

  @Test("refuses a batch under an identity that the outbox holds, and then keeps nothing of that seal")
  func identityTwice() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    let begin = state
    try spool.log.append(Fixture.group(0..<10))
    try spool.state.seal(Fixture.seal(&state, readings: 0..<4), pipeline: "climate")
    var again = begin
    #expect(throws: SpoolError.self) {
      try spool.state.seal(Fixture.seal(&again, readings: 0..<6), pipeline: "climate")
    }
    #expect(try spool.audit().entries.first?.ledger.decoded == 4)
  }

  @Test("sets a reading that was to be sent as columns aside as its line")
  func columnsAside() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    try spool.log.append(Fixture.group(0..<1))
    var seal = Fixture.seal(&state, readings: 0..<1)
    let line = seal.batches[0].body
    seal.batches[0].encoding = .columns
    seal.batches[0].compression = .zstd
    seal.batches[0].body = try Zstd.compress(try #require(Columns.encode(line)))
    try spool.state.seal(seal, pipeline: "climate")
    let item = try #require(try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 1).first)
    #expect(item.batch == seal.batches[0])
    try spool.state.setAside(item.id, rule: "upstream.422", reason: "422: no such device")
    #expect(try spool.state.deadLetters(DeadLetterFilter(), limit: 5).map(\.letter.rejection.payload) == [line])
    #expect(try spool.audit().balances)
  }

  @Test("books deliveries, refusals, requeues and discards so that the three equations hold throughout")
  func ledger() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    try spool.log.append(Fixture.group(0..<10))
    var seal = Fixture.seal(&state, readings: 0..<8)
    seal.rejections = [Fixture.rejection(state, offset: 8), Fixture.rejection(state, offset: 9)]
    seal.rejected = 2
    seal.state.checkpoint = Offset(10)
    try spool.state.seal(seal, pipeline: "climate")
    #expect(try spool.audit().balances)

    // The batch is split; one part is delivered, the other set aside after another split.
    let batch = seal.batches[0]
    let whole = try #require(try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 1).first)
    func part(_ index: Int, _ total: Int) -> Batch {
      var part = batch
      part.identity.part = Part(index: index, total: total)
      let lines = part.identity.part?.lines(of: 8) ?? 0..<0
      part.count = lines.count
      part.body = Array(lines.map { "{\"n\":\($0)}\n" }.joined().utf8)
      part.length = part.body.count
      part.parent = Batch.Parent(digest: batch.digest, previous: batch.previous, count: 8, length: batch.length)
      return part
    }
    var later = state
    later.checkpoint = Offset(10)
    let following = Fixture.batch(later, readings: 8..<9)
    later.nextSequence = 3
    try spool.state.seal(
      Seal(batches: [following], counters: .init { $0.requeued = 1 }, state: later), pipeline: "climate")
    try spool.state.split(whole.id, into: [part(1, 8), part(2, 8), part(2, 4), part(2, 2)])
    let items = try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 10)
    #expect(items.map { $0.batch.identity.part?.description } == ["1/8", "2/8", "2/4", "2/2", nil])
    #expect(items[1].batch == part(2, 8))
    #expect(try spool.audit().balances)
    let after = try spool.state.outbox(
      pipelines: ["climate"], after: (items[1].position, items[1].line), limit: 10)
    #expect(after.count == 3)

    try spool.state.setAside(items[0].id, rule: "upstream.422", reason: "422: no such device")
    #expect(throws: SpoolError.self) {
      try spool.state.setAside(items[3].id, rule: "upstream.422", reason: "more than one reading")
    }
    try spool.state.confirm([items[1].id, items[2].id, items[3].id])
    let audit = try spool.audit()
    let ledger = try #require(audit.entries.first).ledger
    #expect(ledger.delivered == 7 && ledger.deadLetteredUpstream == 1 && ledger.inOutbox == 1)
    #expect(ledger.deadLetters == 3 && audit.balances)
    let aside = try spool.state.deadLetters(DeadLetterFilter(stage: .upstream), limit: 5)
    #expect(aside.map(\.letter.rejection.payload) == [Array("{\"n\":0}\n".utf8)])
    #expect(aside.first?.letter.rejection.reason.contains(items[0].batch.identity.description) == true)

    let request = try spool.state.requeueDeadLetters(DeadLetterFilter(stage: .decode), interval: 1)
    #expect(request.letters == 2)
    #expect(try spool.state.discardDeadLetters(DeadLetterFilter()) == 1)
    let letters = try spool.state.requestedDeadLetters(
      pipeline: "climate", request: try #require(request.request), after: 0, limit: 10, bytes: 1 << 20)
    #expect(letters.map(\.rejection.payload) == Array(repeating: Array("{oops".utf8), count: 2))
    var refusal = letters[0].rejection
    refusal.reason = "still no JSON"
    let recovered = Fixture.batch(later, readings: 9..<10)
    later.nextSequence = 4
    try spool.state.seal(
      Seal(
        batches: [recovered], counters: .init { $0.requeued = 1 }, resolvedDeadLetters: [letters[1].id],
        refusedAgain: [DeadLetter(id: letters[0].id, rejection: refusal)], state: later),
      pipeline: "climate")
    let closing = try spool.audit()
    #expect(closing.balances)
    #expect(closing.entries.first?.ledger.recovered == 1)
    let left = try spool.state.deadLetters(DeadLetterFilter(), limit: 10)
    #expect(left.map(\.attempts) == [1] && left.map(\.requested) == [false])
    #expect(left.first?.letter.rejection.reason == "still no JSON")
  }

  @Test(
    "lets an audit fail when a counter is off by one",
    arguments: [
      ("log", "UPDATE log SET received = received + 1"),
      ("log", "UPDATE block SET count = count - 1 WHERE first = 4"),
      ("state", "UPDATE pipeline SET decoded = decoded + 1"),
      ("state", "UPDATE pipeline SET delivered = delivered + 1"),
      ("state", "DELETE FROM outbox"),
      ("state", "UPDATE pipeline SET rejected = rejected + 1, decoded = decoded - 1"),
    ])
  func tampered(file: String, sql: String) throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    try spool.log.append(Fixture.group(0..<4))
    try spool.log.append(Fixture.group(4..<6))
    try spool.state.seal(Fixture.seal(&state, readings: 0..<4), pipeline: "climate")
    #expect(try spool.audit().balances)
    spool.close()
    folder.tamper(file == "log" ? folder.logPath : folder.statePath, sql)
    #expect(try !spool.audit().balances)
  }

  @Test("gives a new pipeline the end of the log and keeps the book of one that was dropped")
  func droppedAndNew() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    try spool.log.append(Fixture.group(0..<6))
    try spool.state.seal(Fixture.seal(&state, readings: 0..<4), pipeline: "climate")
    let other = PipelineRegistration(name: "other", uplink: "central", version: "v1")
    let registered = try spool.register(folder, [other])
    #expect(registered.states["other"]?.checkpoint == Offset(6))
    #expect(registered.draining.map(\.name) == ["climate"])
    #expect(registered.draining.map(\.until) == [Offset(6)])
    try spool.log.append(Fixture.group(6..<9))
    // What comes after the end of the dropped one is not in its book.
    #expect(try spool.audit().balances)
    #expect(try spool.audit().entries.first { $0.pipeline == "climate" }?.ledger.waiting == 2)
    try spool.state.retire("climate", unread: 2, wall: 1)
    #expect(try spool.state.activePipelines().map(\.name) == ["other"])
    #expect(try spool.audit().balances)
    #expect(try spool.state.faults().map(\.kind) == ["abandoned"])
    let back = try spool.register(folder)
    #expect(back.checkpoint == Offset(9) && back.nextSequence == 2 && back.epoch == state.epoch)
    try spool.log.append(Fixture.group(9..<10))
    let audit = try spool.audit()
    #expect(audit.balances)
    #expect(audit.entries.first { $0.pipeline == "climate" }?.ledger.waiting == 1)
  }

  @Test("ends a dropped pipeline where the new one begins, also when the configuration changes again before it has")
  func renamed() throws {
    do {
      let spool = try folder.open()
      _ = try spool.register(folder, [Fixture.registration], configuration: "the old one")
      try spool.log.append(Fixture.group(0..<6))
      let second = PipelineRegistration(name: "second", uplink: "central", version: "v1")
      #expect(try spool.register(folder, [second]).states["second"]?.checkpoint == Offset(6))
      try spool.log.append(Fixture.group(6..<9))
      spool.close()
    }
    let spool = try folder.open()
    let third = PipelineRegistration(name: "third", uplink: "central", version: "v1")
    let registered = try spool.register(folder, [third])
    #expect(registered.states["third"]?.checkpoint == Offset(9))
    let climate = try #require(registered.draining.first { $0.name == "climate" })
    #expect(climate.until == Offset(6) && climate.configuration == Array("the old one".utf8))
    #expect(registered.draining.first { $0.name == "second" }?.until == Offset(9))
    #expect(try spool.audit().balances)
  }

  @Test("discards a requested dead letter only once its pipeline is gone")
  func discardOfTheDropped() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    try spool.log.append(Fixture.group(0..<1))
    state.checkpoint = Offset(1)
    try spool.state.seal(
      Seal(rejections: [Fixture.rejection(state, offset: 0)], counters: .init { $0.rejected = 1 }, state: state),
      pipeline: "climate")
    #expect(try spool.state.requeueDeadLetters(DeadLetterFilter(), interval: 1).letters == 1)
    #expect(try spool.state.discardDeadLetters(DeadLetterFilter()) == 0)
    _ = try spool.register(folder, [])
    try spool.state.retire("climate", unread: 0, wall: 1)
    #expect(try spool.state.discardDeadLetters(DeadLetterFilter()) == 1)
    #expect(try spool.audit().balances)
  }

  @Test("lets a pipeline that comes back while it drains go on from where it has read")
  func cameBack() throws {
    let spool = try folder.open()
    _ = try spool.register(folder)
    try spool.log.append(Fixture.group(0..<6))
    #expect(try spool.register(folder, []).draining.map(\.name) == ["climate"])
    try spool.log.append(Fixture.group(6..<9))
    #expect(try spool.register(folder).checkpoint == Offset(0))
    #expect(try spool.audit().entries.map(\.ledger.waiting) == [9])
    #expect(try spool.audit().balances)
  }

  @Test("keeps of the configurations only those that a pipeline still needs")
  func configurations() throws {
    let spool = try folder.open()
    _ = try spool.register(folder, [Fixture.registration], configuration: "first")
    for text in ["second", "third"] {
      _ = try spool.register(folder, [Fixture.registration], configuration: text)
    }
    let kept = try spool.state.read { connection throws(SpoolError) in
      try connection.text("SELECT group_concat(CAST(text AS TEXT)) FROM configuration")
    }
    #expect(kept == "third")
  }

  @Test("begins a chain of its own when the gateway gets another name")
  func renamedGateway() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    try spool.log.append(Fixture.group(0..<4))
    try spool.state.seal(Fixture.seal(&state, readings: 0..<4), pipeline: "climate")
    let states = try spool.register(folder, [Fixture.registration], gateway: "gw-2").states
    let renamed = try #require(states["climate"])
    #expect(renamed.gateway == "gw-2" && renamed.nextSequence == 1 && renamed.epoch != state.epoch)
    #expect(renamed.previousDigest == .zero && renamed.checkpoint == Offset(4))
    let kept = try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 5)
    #expect(kept.map(\.batch.identity.gateway) == ["gw"])
  }

  @Test("never gives an outbox position twice, also after the newest batch has gone")
  func positions() throws {
    let spool = try folder.open()
    var state = try spool.register(folder)
    try spool.log.append(Fixture.group(0..<8))
    var positions: [Int64] = []
    for start in stride(from: 0, to: 8, by: 2) {
      try spool.state.seal(Fixture.seal(&state, readings: start..<start + 2), pipeline: "climate")
      let item = try #require(try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 1).first)
      positions.append(item.position)
      try spool.state.confirm([item.id])
    }
    #expect(positions == positions.sorted() && Set(positions).count == 4)
    #expect(try spool.audit().balances)
  }
}
