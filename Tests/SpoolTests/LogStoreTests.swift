import CSQLite
import Telemetry
import Testing

@testable import Spool

@Suite("The raw log")
struct LogStoreTests {
  let folder: SpoolFolder

  init() throws { folder = try SpoolFolder() }

  private func blocks(_ spool: Spool) throws -> [LogBlock] {
    let reader = try spool.reader()
    var offset = try reader.start()
    var blocks: [LogBlock] = []
    while let stretch = try reader.next(from: offset) {
      guard case .block(let block) = stretch else {
        Issue.record("unexpected \(stretch)")
        break
      }
      blocks.append(block)
      offset = block.end
    }
    return blocks
  }

  @Test("gives back what was appended, at dense offsets, also after it was closed and opened")
  func roundTrip() throws {
    var group = Fixture.group(0..<3)
    group.append(
      Message(
        origin: Origin(source: "yard", topic: "Ünï/👍"), payload: [], qos: .atMostOnce, retained: true,
        properties: [
          .contentType("application/json"), .user(name: "traceparent", value: "00-ab"),
          .correlationData([0, 255]), .messageExpiryInterval(4_000_000_000),
          .payloadFormatIndicator(1), .responseTopic("r"),
        ],
        received: Moment(
          boot: Fixture.boot, monotonic: Int64.min, wall: Int64.max, quality: .unsynchronised)))
    do {
      let spool = try folder.open()
      #expect(try spool.log.append(group).first == Offset(0))
      #expect(try spool.log.append(Fixture.group(10..<12)).first == Offset(4))
      spool.close()
    }
    let spool = try folder.open()
    let read = try blocks(spool)
    #expect(read.map(\.first) == [Offset(0), Offset(4)])
    #expect((0..<4).map { read[0].group[$0] } == (0..<4).map { group[$0] })
    #expect(read[0].record(at: 3).message.properties.count == 6)
    #expect(read[1].record(at: 1).offset == Offset(5))
    #expect(try spool.log.end() == LogStore.End(log: spool.log.id, next: Offset(6), received: 6))
  }

  @Test("is synced at every commit, whatever else is set on the connection")
  func durability() throws {
    let spool = try folder.open()
    try spool.log.append(Fixture.group(0..<1))
    let durable = try Connection(path: folder.logPath, access: .readWrite(.everyCommit))
    #expect(try durable.integer("PRAGMA synchronous") == 2)
    #expect(try durable.text("PRAGMA journal_mode") == "wal")
    let relaxed = try Connection(path: folder.statePath, access: .readWrite(.eventually))
    #expect(try relaxed.integer("PRAGMA synchronous") == 1)
  }

  @Test("passes by blocks whose topics nobody wants without reading their bodies")
  func skipping() throws {
    let spool = try folder.open()
    try spool.log.append(Fixture.group(0..<2, topic: "noise/1"))
    try spool.log.append(Fixture.group(2..<4, topic: "sensors/a/climate"))
    // A body that cannot be read shows that it was not needed.
    folder.tamper(folder.logPath, "UPDATE block SET body = x'00' WHERE first = 0")
    let reader = try spool.reader()
    let wanted = { (origin: Origin) in origin.topic.hasPrefix("sensors/") }
    guard case .uninteresting(let first, let end)? = try reader.next(from: Offset(1), interested: wanted)
    else { Issue.record("the block was read"); return }
    #expect(first == Offset(1) && end == Offset(2))
    guard case .block(let block)? = try reader.next(from: end, interested: wanted) else {
      Issue.record("the block was not read"); return
    }
    #expect(block.first == Offset(2))
  }

  @Test(
    "shows a block that fails its checksum as a stretch of known size, and reads on behind it",
    arguments: [
      "UPDATE block SET body = substr(body, 2) WHERE first = 2",
      "UPDATE block SET wall = wall + 1 WHERE first = 2",
      "UPDATE block SET origins = x'FFFF' WHERE first = 2",
      "UPDATE block SET codec = 7 WHERE first = 2",
      "UPDATE block SET count = 1 WHERE first = 2",
      "UPDATE block SET count = 1000000 WHERE first = 2",
      "UPDATE block SET count = -5 WHERE first = 2",
      "UPDATE block SET count = 9223372036854775807 WHERE first = 2",
      "DELETE FROM block WHERE first = 2",
    ])
  func damagedBlock(sql: String) throws {
    let spool = try folder.open()
    for start in [0, 2, 4] { try spool.log.append(Fixture.group(start..<start + 2)) }
    folder.tamper(folder.logPath, sql)
    let reader = try spool.reader()
    guard case .unreadable(let first, let end, let reason)? = try reader.next(from: Offset(2)) else {
      Issue.record("the damage was not seen"); return
    }
    #expect(first == Offset(2) && end == Offset(4) && !reason.isEmpty)
    guard case .block? = try reader.next(from: end) else { Issue.record("reading stopped"); return }
  }

  @Test("when the disk is full keeps nothing of the group, and goes on once it is reopened and there is room")
  func diskFull() throws {
    let spool = try folder.open()
    try spool.log.append(Fixture.group(0..<10))
    var big = MessageGroup(boot: Fixture.boot)
    var generator = SystemRandomNumberGenerator()
    for number in 0..<50 {
      var message = Fixture.message(number)
      message.payload = (0..<20_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
      big.append(message)
    }
    try spool.log.limitPages(toMoreThanNow: 8)
    let error = #expect(throws: SpoolError.self) { try spool.log.append(big) }
    #expect(error?.kind == .full)
    // The handle that failed is never used again.
    let closed = #expect(throws: SpoolError.self) { try spool.log.append(Fixture.group(10..<11)) }
    #expect(closed?.kind == .unavailable)
    try spool.log.reopen()
    #expect(try spool.log.end().next == Offset(10))
    #expect(try spool.log.append(Fixture.group(10..<11)).first == Offset(10))
    #expect(try blocks(spool).flatMap { $0.group.entries }.count == 11)
  }

  @Test("is deleted only behind every pipeline, by age or bytes, and never its last blocks")
  func retention() throws {
    let spool = try folder.open()
    for number in 0..<60 { try spool.log.append(Fixture.group(number..<number + 1)) }
    let farFuture = Int64.max / 2
    func retain(passed: Int64, now: Int64, keepBytes: Int64, inDoubtBytes: Int64 = .max) throws -> Int {
      try spool.log.retain(
        passed: Offset(passed), now: now, keepAge: 1, keepBytes: keepBytes, inDoubt: 20,
        inDoubtBytes: inDoubtBytes)
    }
    #expect(try retain(passed: 10, now: farFuture, keepBytes: .max) == 10)
    #expect(try spool.reader().start() == Offset(10))
    #expect(try retain(passed: 60, now: 0, keepBytes: .max) == 0)
    #expect(try retain(passed: 60, now: 0, keepBytes: 0) == 30)
    #expect(try retain(passed: 60, now: farFuture, keepBytes: 0) == 0)
    #expect(try blocks(spool).map(\.first).first == Offset(40))
    // A session's worth of huge messages must not hold the whole cap.
    #expect(try retain(passed: 60, now: farFuture, keepBytes: 0, inDoubtBytes: 1) == 20)
    #expect(try blocks(spool).isEmpty)
    #expect(try spool.log.end().next == Offset(60))
  }

  @Test("reads any bytes in place of a body without a crash")
  func hostileBody() throws {
    let group = Fixture.group(0..<5)
    let body = BlockCodec.encodeBody(group)
    var seed: UInt64 = 42
    func next() -> UInt64 {
      seed = seed &* 6_364_136_223_846_793_005 &+ 1
      return seed >> 33
    }
    var refused = 0
    for round in 0..<5_000 {
      var mutated = body
      for _ in 0...(round % 4) { mutated[Int(next()) % mutated.count] = UInt8(next() & 0xFF) }
      if round % 3 == 0 { mutated.removeLast(Int(next()) % mutated.count) }
      do {
        _ = try BlockCodec.decodeBody(
          mutated, count: Int(next() % 8), boot: Fixture.boot, monotonic: 0, wall: 0,
          origins: group.origins)
      } catch {
        refused += 1
      }
    }
    #expect(refused > 4_000)
  }
}

extension LogStore {
  /// Makes the store's own connection run out of pages, as a full disk would.
  func limitPages(toMoreThanNow more: Int64) throws {
    try withConnection { connection, _ throws(SpoolError) in
      let pages = try connection.integer("PRAGMA page_count") ?? 0
      _ = try connection.integer("PRAGMA max_page_count = \(pages + more)")
    }
  }
}
