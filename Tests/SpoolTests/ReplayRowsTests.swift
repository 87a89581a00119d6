import Telemetry
import Testing

@testable import Spool

@Suite("Replays in the state")
struct ReplayRowsTests {
  private let folder: SpoolFolder

  init() throws { folder = try SpoolFolder() }

  /// Eight messages in four blocks, half of them read by the pipeline.
  private func spool() throws -> (Spool, PipelineState) {
    let spool = try folder.open()
    var state = try spool.register(folder)
    for start in [0, 2, 4, 6] { try spool.log.append(Fixture.group(start..<start + 2)) }
    try spool.state.seal(Fixture.seal(&state, readings: 0..<4), pipeline: "climate")
    return (spool, state)
  }

  private func request(_ spool: Spool, _ range: Range<Int64> = 0..<4) -> Replay.Request {
    Replay.Request(
      pipeline: "climate", log: spool.log.id, offsets: Offset(range.lowerBound)..<Offset(range.upperBound))
  }

  private func create(_ spool: Spool, _ range: Range<Int64> = 0..<4) throws -> Replay {
    try spool.state.createReplay(request(spool, range), wall: 9, random: folder.random).get()
  }

  /// What a replay has sealed of its range, as one batch.
  private func seal(_ spool: Spool, _ replay: Replay, _ readings: Range<Int>) throws -> Bool {
    var state = try #require(try spool.state.state(of: replay.book))
    return try spool.state.seal(Fixture.seal(&state, readings: readings), pipeline: replay.book)
  }

  @Test("a replay has a chain, a version and a book of its own, which balances from its beginning to its end")
  func book() throws {
    let (spool, live) = try spool()
    let replay = try create(spool)
    #expect(replay.state == .waiting && replay.version == "v1" && replay.uplink == "central")
    let state = try #require(try spool.state.state(of: replay.book))
    #expect(state.epoch != live.epoch && state.nextSequence == 1 && state.previousDigest == .zero)
    #expect(state.replay == replay.id && live.replay == nil)
    var audit = try spool.audit()
    #expect(audit.balances && audit.entries.map(\.pipeline) == ["climate", replay.book])
    #expect(audit.entries[1].ledger.received == 4 && audit.entries[1].ledger.waiting == 4)

    #expect(try spool.state.runReplay(replay.id))
    #expect(try seal(spool, replay, 0..<4))
    try spool.state.finishReplay(replay.id, wall: 10)
    audit = try spool.audit()
    #expect(audit.balances && audit.entries[1].ledger.waiting == 0 && audit.entries[1].ledger.inOutbox == 4)
    let items = try spool.state.outbox(pipelines: [replay.book], after: nil, limit: 9)
    #expect(items.map(\.batch.replay) == [replay.id] && items.map(\.batch.identity.pipeline) == ["climate"])
    #expect(try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 9).map(\.batch.replay) == [nil])
    try spool.state.confirm(items.map(\.id))
    let ended = try #require(try spool.state.replay(replay.id))
    #expect(ended.state == .finished && ended.ended == 10 && ended.ledger.delivered == 4 && ended.batches == 1)
    #expect(ended.bytes == Int64(items[0].batch.body.count))
    #expect(try spool.audit().balances)
    // The pipeline's own book knows nothing of it.
    #expect(try spool.state.books()[0].ledger.delivered == 0)
  }

  @Test("a book that is off by one is found")
  func unbalanced() throws {
    let (spool, _) = try spool()
    let replay = try create(spool)
    folder.tamper(folder.statePath, "UPDATE pipeline SET decoded = 1 WHERE name = '\(replay.book)'")
    #expect(try !spool.audit().balances)
  }

  @Test("nothing of a paused or cancelled replay is committed any more, and a cancelled one's book is closed")
  func stopped() throws {
    let (spool, _) = try spool()
    let replay = try create(spool)
    #expect(try !seal(spool, replay, 0..<1), "it does not run yet")
    #expect(try spool.state.runReplay(replay.id))
    #expect(try seal(spool, replay, 0..<1))
    try spool.state.pauseReplay(replay.id, reason: "lunch").get()
    #expect(try !seal(spool, replay, 1..<2))
    #expect(try spool.state.replay(replay.id)?.reason == "lunch")
    #expect(try spool.state.nextReplay() == nil)
    try spool.state.resumeReplay(replay.id, rate: 5, budget: 7).get()
    let resumed = try #require(try spool.state.nextReplay())
    #expect(resumed.id == replay.id && resumed.request.rate == 5 && resumed.request.budget == 7)
    #expect(resumed.reason == nil && resumed.checkpoint == Offset(1))
    try spool.state.cancelReplay(replay.id, wall: 11).get()
    #expect(try !spool.state.runReplay(replay.id))
    #expect(try !seal(spool, replay, 1..<2))
    let audit = try spool.audit()
    #expect(audit.balances && audit.entries[1].ledger.received == 1 && audit.entries[1].ledger.inOutbox == 1)
    #expect(throws: ReplayRefusal.state(replay.id, .cancelled, "paused")) {
      try spool.state.pauseReplay(replay.id).get()
    }
    #expect(throws: ReplayRefusal.state(replay.id, .cancelled, "resumed")) {
      try spool.state.resumeReplay(replay.id).get()
    }
    #expect(throws: SpoolError.self) {
      let other = try create(spool)
      _ = try spool.state.runReplay(other.id)
      try spool.state.finishReplay(other.id, wall: 1)
    }
  }

  @Test("they run one after another, the one at work before those that wait")
  func order() throws {
    let (spool, _) = try spool()
    let first = try create(spool)
    let second = try create(spool)
    #expect(try spool.state.nextReplay()?.id == first.id)
    try spool.state.pauseReplay(first.id).get()
    #expect(try spool.state.runReplay(second.id))
    try spool.state.resumeReplay(first.id).get()
    #expect(try spool.state.nextReplay()?.id == second.id)
    try spool.state.failReplay(second.id, reason: "no", wall: 1)
    #expect(try spool.state.nextReplay()?.id == first.id)
    #expect(try spool.audit().balances)
  }

  @Test("what a replay needs is refused with a reason: a pipeline at work, its log, an end to all the others")
  func refused() throws {
    let (spool, _) = try spool()
    var other = request(spool)
    other.pipeline = "humidity"
    #expect(throws: ReplayRefusal.unknownPipeline("humidity", known: ["climate"])) {
      try spool.state.createReplay(other, wall: 1, random: folder.random).get()
    }
    other = request(spool)
    other.log = LogID(rawValue: "ffffffffffffffff")
    #expect(throws: ReplayRefusal.otherLog("climate")) {
      try spool.state.createReplay(other, wall: 1, random: folder.random).get()
    }
    for _ in 0..<ReplayRow.openLimit { _ = try create(spool) }
    #expect(throws: ReplayRefusal.tooMany(ReplayRow.openLimit)) { try create(spool) }
    #expect(try spool.audit().balances)
  }

  @Test("of replays that ended long ago nothing is kept, unless something of them waits")
  func pruned() throws {
    let (spool, _) = try spool()
    let kept = try create(spool)
    #expect(try spool.state.runReplay(kept.id))
    #expect(try seal(spool, kept, 0..<1))
    try spool.state.cancelReplay(kept.id, wall: 1).get()
    let gone = try create(spool)
    try spool.state.cancelReplay(gone.id, wall: 2).get()
    for wall in 0..<ReplayRow.endedLimit + 1 {
      try spool.state.cancelReplay(create(spool).id, wall: Int64(3 + wall)).get()
    }
    let left = try spool.state.replays().map(\.id)
    #expect(left.count == ReplayRow.endedLimit + 2 && left.contains(kept.id) && !left.contains(gone.id))
    #expect(try spool.state.books().count == 1 + left.count)
  }

  @Test("a configuration that changes leaves a replay alone, and the one that it began with is kept for it")
  func configuration() throws {
    let (spool, live) = try spool()
    let replay = try create(spool)
    _ = try spool.register(folder, [], configuration: "pipelines: { other }")
    try spool.state.retire("climate", unread: 4, wall: 1)
    #expect(try spool.state.activePipelines().isEmpty)
    #expect(try spool.state.configuration(of: replay) == Array("pipelines: {}".utf8))
    let registered = try spool.register(
      folder, [Fixture.registration], configuration: "pipelines: { again }")
    #expect(registered.draining.isEmpty && registered.states.keys.sorted() == ["climate"])
    #expect(registered.states["climate"]?.epoch == live.epoch)
    #expect(try spool.state.configuration(of: replay) == Array("pipelines: {}".utf8))
    try spool.state.cancelReplay(replay.id, wall: 2).get()
    _ = try spool.register(folder, [Fixture.registration], configuration: "pipelines: { again }")
    #expect(try spool.state.configuration(of: replay).isEmpty)
    #expect(try spool.audit().balances)
  }

  @Test("its stages begin with what is known of the clocks, and with nothing else")
  func stages() throws {
    let (spool, live) = try spool()
    func rows(_ stage: StageState.Stage) -> StageState {
      StageState(stage: stage, rows: [StateRow(key: [1], value: [2])])
    }
    try spool.state.seal(Seal(stages: [rows(.clock), rows(.dedupe)], state: live), pipeline: "climate")
    let replay = try create(spool)
    #expect(try spool.state.stages(of: replay.book) == [rows(.clock)])
    try spool.state.cancelReplay(replay.id, wall: 1).get()
    #expect(try spool.state.stages(of: replay.book).isEmpty)
    #expect(try spool.state.stages(of: "climate").count == 2)
  }

  @Test("retention leaves what a replay has yet to read, until space is short; then its book still balances")
  func retention() throws {
    var settings = folder.settings
    settings.keepAge = 0
    settings.keepBytes = 0
    let spool = try Spool.open(
      settings, machine: Machine(id: "machine-a"), now: Fixture.moment(wall: 1), random: folder.random)
    var state = try spool.register(folder)
    for number in 0..<300 { try spool.log.append(Fixture.group(number..<number + 1)) }
    try spool.state.seal(Fixture.seal(&state, readings: 0..<300), pipeline: "climate")
    let replay = try create(spool, 0..<10)
    let later = Fixture.moment(wall: 1 << 60)
    #expect(try spool.retain(now: later) == 0)
    #expect(try spool.reader().start() == Offset(0))
    try spool.space.update(used: settings.maximumBytes)
    #expect(try spool.retain(now: later) > 10)
    #expect(try spool.reader().start() > Offset(10))
    let audit = try spool.audit()
    #expect(audit.balances && audit.entries[1].ledger.waiting == 10)
    try spool.state.cancelReplay(replay.id, wall: 1).get()
    #expect(try spool.audit().balances)
  }

  @Test("the mirror knows nothing of replays, and a state that comes from another machine gives them new epochs")
  func identity() throws {
    let (spool, _) = try spool()
    let replay = try create(spool)
    #expect(try spool.state.marks(of: spool.log.names).keys.sorted() == ["climate"])
    let epoch = try spool.state.state(of: replay.book)?.epoch
    spool.close()
    // The lock is held as long as the object lives.
    withExtendedLifetime(spool) {}
    let other = try reopen(machine: "machine-b", after: spool)
    #expect(try other.state.state(of: replay.book)?.epoch != epoch)
    #expect(try other.audit().balances)
  }

  private func reopen(machine: String, after spool: Spool) throws -> Spool {
    let copy = try SpoolFolder(drawn: 1_000)
    try FileSystem.makeDirectory(copy.settings.directory)
    for file in ["state.db", "log.db"] {
      try folder.copy("\(folder.settings.directory)/\(file)", "\(copy.settings.directory)/\(file)")
    }
    other.append(copy)
    // Another box draws other numbers.
    for _ in 0..<50 { _ = copy.random() }
    return try copy.open(machine: machine)
  }
  private let other = Folders()

  private final class Folders {
    var all: [SpoolFolder] = []
    func append(_ folder: SpoolFolder) { all.append(folder) }
  }

  @Test("a state that was damaged keeps what a replay has sealed, and the replay fails with a reason")
  func salvaged() throws {
    let path = folder.statePath
    let replay: Replay
    do {
      let (spool, _) = try spool()
      replay = try create(spool)
      #expect(try spool.state.runReplay(replay.id))
      #expect(try seal(spool, replay, 0..<2))
      try spool.mirror()
      spool.close()
    }
    folder.tamper(path, "PRAGMA wal_checkpoint(TRUNCATE); DROP TABLE instance")
    let spool = try folder.open()
    let rest = try #require(try spool.state.replay(replay.id))
    #expect(rest.state == .failed && rest.reason?.contains("damaged") == true && rest.ended != nil)
    #expect(rest.ledger.inOutbox == 2 && rest.ledger.balances)
    #expect(
      try spool.state.outbox(pipelines: [replay.book], after: nil, limit: 9).map(\.batch.replay) == [replay.id])
    _ = try spool.register(folder)
    #expect(try spool.audit().balances)
    #expect(try spool.state.pipelines(uplink: "central").contains(replay.book))
  }
}

@Suite("Times in the log")
struct LogTimesTests {
  private func spool(_ folder: SpoolFolder, _ blocks: [[Int64]]) throws -> Spool {
    let spool = try folder.open()
    var number = 0
    for walls in blocks {
      var group = MessageGroup(boot: Fixture.boot)
      for wall in walls {
        var message = Fixture.message(number)
        message.received = Fixture.moment(wall: wall)
        group.append(message)
        number += 1
      }
      try spool.log.append(group)
    }
    return spool
  }

  private func offsets(_ spool: Spool, _ times: Range<Int64>) throws -> Range<Int64>? {
    try spool.reader().offsets(received: times).map { $0.lowerBound.rawValue..<$0.upperBound.rawValue }
  }

  @Test("a range of receipt is found to the message, its end excluded")
  func exact() throws {
    let folder = try SpoolFolder()
    let spool = try spool(folder, [[10, 20], [30, 40], [50, 60]])
    #expect(try offsets(spool, 20..<50) == 1..<4)
    #expect(try offsets(spool, 20..<51) == 1..<5)
    #expect(try offsets(spool, 0..<1000) == 0..<6)
    #expect(try offsets(spool, 30..<31) == 2..<3)
    #expect(try offsets(spool, 41..<50) == nil)
    #expect(try offsets(spool, 31..<40) == nil, "between two messages of one block")
    #expect(try offsets(spool, 61..<100) == nil)
    #expect(try offsets(spool, 15..<35) == 1..<3)
  }

  @Test("a clock that jumps makes the stretch longer, never shorter; a block that cannot be read counts whole")
  func jumps() throws {
    let folder = try SpoolFolder()
    let spool = try spool(folder, [[100, 110], [1, 2], [120, 130], [3, 4]])
    #expect(try offsets(spool, 110..<121) == 1..<5)
    #expect(try offsets(spool, 2..<4) == 3..<7)
    folder.tamper(folder.logPath, "UPDATE block SET body = x'00' WHERE first = 4")
    #expect(try offsets(spool, 110..<121) == 1..<6)
  }

  @Test("of offsets those are given that the log still holds")
  func held() throws {
    let folder = try SpoolFolder()
    let spool = try spool(folder, [[1, 2], [3, 4]])
    let reader = try spool.reader()
    #expect(try reader.held(Offset(1)..<Offset(99)) == Offset(1)..<Offset(4))
    #expect(try reader.held(Offset(4)..<Offset(99)) == nil)
    folder.tamper(folder.logPath, "DELETE FROM block WHERE first = 0")
    #expect(try reader.held(Offset(0)..<Offset(3)) == Offset(2)..<Offset(3))
  }
}
