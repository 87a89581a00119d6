import CSQLite
import Telemetry
import Testing

@testable import Spool

@Suite("What broker sessions may send again")
struct InDoubtTests {
  let folder: SpoolFolder

  init() throws { folder = try SpoolFolder() }

  /// Messages of a source, numbered; the packet identifier is the number plus one.
  private func group(
    _ numbers: Range<Int>, of source: String, qos: QoS = .atLeastOnce, seconds: Int64 = 0, boot: BootID = Fixture.boot
  ) -> MessageGroup {
    var group = MessageGroup(boot: boot)
    for number in numbers {
      group.append(
        Message(
          origin: Origin(source: source, topic: "t/\(number % 3)"), payload: Array("p\(number)".utf8), qos: qos,
          retained: false, packetID: qos == .atMostOnce ? nil : UInt16(number + 1),
          received: Moment(boot: boot, monotonic: seconds * 1_000_000_000, wall: 0, quality: .synchronised)))
    }
    return group
  }

  private func expected(_ numbers: some Sequence<Int>) -> [InDoubtMessage] {
    numbers.map {
      InDoubtMessage(
        packetID: UInt16($0 + 1), topic: Array("t/\($0 % 3)".utf8), payload: Array("p\($0)".utf8))
    }
  }

  private func retainNothing(_ log: LogStore) throws {
    _ = try log.retain(
      passed: try log.end().next, now: .max / 2, keepAge: 0, keepBytes: 0, inDoubt: 0, inDoubtBytes: 0, limit: 10_000)
  }

  @Test("are the last committed QoS 1 messages of that source, oldest first")
  func last() throws {
    let log = try folder.open().log
    try log.append(group(0..<10, of: "floor"))
    try log.append(group(0..<5, of: "roof"))
    var mixed = group(10..<12, of: "floor")
    mixed.append(group(5..<6, of: "roof")[0])
    mixed.append(group(90..<91, of: "floor", qos: .atMostOnce)[0])
    try log.append(mixed)
    #expect(try log.inDoubt(source: "floor", window: 100) == expected(0..<12))
    #expect(try log.inDoubt(source: "roof", window: 100) == expected(0..<6))
    #expect(try log.inDoubt(source: "nobody", window: 100) == [])
  }

  @Test("are as many as the window, and beyond it those that came within a minute before the last")
  func window() throws {
    let log = try folder.open().log
    try log.append(group(0..<10, of: "floor", seconds: 0))
    try log.append(group(10..<20, of: "floor", seconds: 100))
    try log.append(group(20..<30, of: "floor", seconds: 150))
    #expect(try log.inDoubt(source: "floor", window: 4) == expected(10..<30))
    #expect(try log.inDoubt(source: "floor", window: 25) == expected(5..<30))
    // Of another boot nobody can say when they came.
    try log.append(group(30..<32, of: "floor", seconds: 160, boot: BootID(high: 9, low: 9)))
    #expect(try log.inDoubt(source: "floor", window: 25) == expected(7..<32))
  }

  @Test("reach back as far as a larger window of earlier, also after a restart")
  func lowered() throws {
    let spool = try folder.open()
    #expect(try spool.log.inDoubt(source: "floor", window: 8) == [])
    for number in 0..<10 { try spool.log.append(group(number..<number + 1, of: "floor", seconds: Int64(number) * 100)) }
    #expect(try spool.log.inDoubt(source: "floor", window: 2) == expected(2..<10))
    spool.log.close()
    try spool.log.reopen()
    #expect(try spool.log.inDoubt(source: "floor", window: 2) == expected(2..<10))
  }

  @Test("are at most half of the identifiers, however fast they came")
  func limit() throws {
    let log = try folder.open().log
    for start in stride(from: 0, to: 40_000, by: 1_000) { try log.append(group(start..<start + 1_000, of: "floor")) }
    #expect(try log.inDoubt(source: "floor", window: 1_000) == expected(40_000 - InDoubtTail.limit..<40_000))
  }

  @Test("outlive their blocks: a loud source may fill and pass the log while another is silent")
  func retention() throws {
    let spool = try folder.open()
    for source in ["quiet", "loud"] { _ = try spool.log.inDoubt(source: source, window: 20) }
    try spool.log.append(group(0..<30, of: "quiet"))
    for round in 0..<50 {
      try spool.log.append(group(round * 10..<round * 10 + 10, of: "loud", seconds: Int64(round) * 100))
      if round % 7 == 0 { try retainNothing(spool.log) }
    }
    try retainNothing(spool.log)
    #expect(try spool.reader().start() == Offset(530), "nothing is left of the blocks")
    #expect(try spool.log.inDoubt(source: "quiet", window: 20) == expected(0..<30))
    #expect(try spool.log.inDoubt(source: "loud", window: 20) == expected(480..<500))
    spool.log.close()
    try spool.log.reopen()
    #expect(try spool.log.inDoubt(source: "quiet", window: 20) == expected(0..<30))
    // What comes behind joins what was kept, and pushes it out in the end.
    try spool.log.append(group(30..<35, of: "quiet", seconds: 1_000))
    #expect(try spool.log.inDoubt(source: "quiet", window: 20) == expected(15..<35))
    try retainNothing(spool.log)
    #expect(try spool.log.inDoubt(source: "quiet", window: 20) == expected(15..<35))
    try spool.log.append(group(35..<60, of: "quiet", seconds: 2_000))
    try retainNothing(spool.log)
    #expect(try spool.log.inDoubt(source: "quiet", window: 20) == expected(35..<60))
  }

  @Test("are forgotten when the broker has lost the session, for good")
  func forgotten() throws {
    let spool = try folder.open()
    _ = try spool.log.inDoubt(source: "floor", window: 20)
    try spool.log.append(group(0..<10, of: "floor"))
    try retainNothing(spool.log)
    try spool.log.append(group(10..<20, of: "floor"))
    try spool.log.forgetInDoubt(source: "floor")
    #expect(try spool.log.inDoubt(source: "floor", window: 20) == [])
    try spool.log.append(group(0..<3, of: "floor"))
    #expect(try spool.log.inDoubt(source: "floor", window: 20) == expected(0..<3))
    spool.log.close()
    try spool.log.reopen()
    #expect(try spool.log.inDoubt(source: "floor", window: 20) == expected(0..<3))
  }

  @Test("are found without a second look at a long log, for a source that speaks seldom")
  func longScan() throws {
    let spool = try folder.open()
    try spool.log.append(group(0..<3, of: "seldom"))
    for number in 0..<InDoubtTail.longScan + 10 { try spool.log.append(group(number..<number + 1, of: "often")) }
    #expect(try spool.log.inDoubt(source: "seldom", window: 20) == expected(0..<3))
    let reader = try Connection(path: folder.logPath, access: .readOnly)
    let mark = try #require(try SessionMark(source: "seldom", in: reader))
    let tail = try InDoubtTail(source: "seldom", mark: mark, log: spool.log.id, in: reader)
    #expect(tail.messages == expected(0..<3))
    #expect(tail.scanned == 0)
  }

  @Test("are not asked of a block that is damaged; the others serve")
  func damaged() throws {
    let spool = try folder.open()
    for start in [0, 5, 10] { try spool.log.append(group(start..<start + 5, of: "floor")) }
    folder.tamper(folder.logPath, "UPDATE block SET body = zeroblob(50) WHERE first = 5")
    folder.tamper(folder.logPath, "UPDATE block SET origins = zeroblob(2) WHERE first = 10")
    #expect(try spool.log.inDoubt(source: "floor", window: 20) == expected(0..<5))
    try retainNothing(spool.log)
    #expect(try spool.log.inDoubt(source: "floor", window: 20) == expected(0..<5))
  }
}
