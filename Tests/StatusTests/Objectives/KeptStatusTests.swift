import Telemetry
import TestSupport
import Testing

@testable import Status

@Suite("Objectives and alarms across a restart")
struct KeptStatusTests {
  @Test("everything comes back as it was, and goes on in the same place", arguments: 0..<10)
  func roundTrip(seed: Int) throws {
    var random = SplitMix(seed: UInt64(seed))
    var gateway = Gateway()
    gateway.look()
    for _ in 0..<(50 + Int(random.next() % 200)) {
      for name in ObjectiveName.allCases where !name.countsMinutes && random.next() % 3 == 0 {
        gateway.count(name, good: Int64(random.next() % 1_000), bad: Int64(random.next() % 5))
      }
      gateway.look(after: Int64(random.next() % 20_000), [.freshness: random.next() % 9 > 0])
    }
    // The verdict of the minute that is not over would be lost.
    gateway.look(after: 60)
    let alarms = [
      Alarm(kind: "uplink", subject: "central", severity: .page, text: "not now", since: 1_800_000_000_000_000_000),
      Alarm(kind: "table", subject: "", severity: .ticket, text: "ä", since: 0),
    ]
    let marks = [
      "climate": PipelineMark(
        delivery: EventCount(good: 1 << 40, bad: 0), errors: EventCount(good: 3, bad: 4), letters: 5,
        numbers: .init(missing: 6, produced: 7)),
      "": PipelineMark(delivery: EventCount(), errors: EventCount(), letters: 0),
    ]
    let bytes = KeptStatus(book: gateway.book, alarms: alarms, marks: marks).encoded(now: gateway.now)
    let kept = try KeptStatus(bytes, settings: gateway.book.settings)
    let isWhole = kept.book.histories == gateway.book.histories
    #expect(isWhole)
    #expect(kept.book.watched == gateway.book.watched && kept.book.beginnings == gateway.book.beginnings)
    #expect(kept.alarms == alarms && kept.marks == marks)
    // The same process again, in the same boot: as if nothing had been.
    var next = gateway
    next.book = kept.book
    next.look(after: 30)
    gateway.look(after: 30)
    let goesOn = next.book.histories == gateway.book.histories
    #expect(goesOn)
    #expect(next.book.time == gateway.book.time)
  }

  @Test("full histories of all objectives fit in 13 kB")
  func size() {
    var gateway = Gateway()
    gateway.look()
    for _ in 0..<(31 * 96) {
      for name in ObjectiveName.allCases where !name.countsMinutes { gateway.count(name, good: 90_000) }
      gateway.look(after: 900, [.freshness: true, .backlog: true, .deadLetters: true])
    }
    for _ in 0..<400 {
      for name in ObjectiveName.allCases where !name.countsMinutes { gateway.count(name, good: 6_000) }
      gateway.look(after: 60, [.freshness: true, .backlog: true, .deadLetters: true])
    }
    let size = KeptStatus(book: gateway.book, alarms: []).encoded(now: gateway.now).count
    #expect(size < 13_000 && size > 2_000, "\(size)")
  }

  @Test("a time off makes what lies back older, and counts as neither good nor bad")
  func off() throws {
    var gateway = Gateway()
    gateway.look()
    gateway.count(.errors, good: 100, bad: 100)
    gateway.look()
    try gateway.reboot(off: 2 * 3_600)
    gateway.look()
    #expect(gateway.book.burnRate(.errors, .hour) == nil)
    #expect(gateway.book.report(.errors)?.bad == 100)
    try gateway.reboot(off: 100 * 86_400)
    gateway.look()
    #expect(gateway.book.report(.errors)?.measured == nil)
  }

  @Test("without a clock the time off counts once the clock is synchronised, over two restarts too")
  func offWithoutAClock() throws {
    var gateway = Gateway()
    gateway.look()
    gateway.count(.errors, good: 100, bad: 100)
    gateway.look()
    let rightWall = gateway.wall
    try gateway.reboot(off: 0)
    gateway.isSynchronised = false
    gateway.wall = 40
    gateway.look()
    #expect(gateway.book.report(.errors)?.burnRate1h != nil)
    try gateway.reboot(off: 60)
    gateway.look()
    #expect(gateway.book.report(.errors)?.burnRate1h != nil)
    gateway.isSynchronised = true
    gateway.wall = rightWall + 5 * 3_600
    gateway.look()
    #expect(gateway.book.report(.errors)?.burnRate1h == nil)
    #expect(gateway.book.report(.errors)?.burnRate6h != nil)
  }

  @Test("a clock that is set back between two runs moves nothing")
  func setBack() throws {
    var gateway = Gateway()
    gateway.look()
    gateway.count(.errors, good: 100, bad: 100)
    gateway.look()
    try gateway.reboot(off: -900_000)
    gateway.look()
    #expect(gateway.book.report(.errors)?.burnRate5m != nil)
  }

  @Test("bytes that are cut, changed or of another format are damage, never a crash")
  func damage() throws {
    var gateway = Gateway()
    gateway.look()
    gateway.count(.errors, good: 100, bad: 100)
    gateway.look()
    let alarm = Alarm(kind: "uplink", subject: "a", severity: .page, text: "b", since: 0)
    let mark = PipelineMark(
      delivery: EventCount(good: 1, bad: 2), errors: EventCount(good: 3, bad: 4), letters: 5,
      numbers: .init(missing: 6, produced: 7))
    let bytes = KeptStatus(book: gateway.book, alarms: [alarm], marks: ["p": mark]).encoded(now: gateway.now)
    func isDamaged(_ bytes: [UInt8]) -> Bool {
      do throws(KeptStatus.Damage) {
        _ = try KeptStatus(bytes, settings: ObjectiveSettings.usual)
        return false
      } catch {
        return !error.description.isEmpty
      }
    }
    for length in 0..<bytes.count { #expect(isDamaged(Array(bytes[..<length])), "\(length) bytes") }
    for index in bytes.indices {
      var changed = bytes
      changed[index] ^= 0x40
      #expect(isDamaged(changed), "byte \(index)")
    }
    // With a checksum that fits, too: whoever writes such a file must not make the daemon crash.
    var random = SplitMix(seed: 7)
    for _ in 0..<3_000 {
      var changed = Array(bytes.dropLast(8))
      for _ in 0..<(1 + random.next() % 4) {
        changed[5 + Int(random.next() % UInt64(changed.count - 5))] = UInt8(truncatingIfNeeded: random.next())
      }
      changed += Digest(of: changed).bytes.prefix(8)
      guard var book = try? KeptStatus(changed, settings: ObjectiveSettings.usual).book else { continue }
      book.look(ObjectiveSample(), now: gateway.now)
      _ = book.reports
    }
  }

  @Test("a time at the end of 64 bits is damage", arguments: 0..<5)
  func ends(place: Int) throws {
    var gateway = Gateway()
    gateway.look()
    let bytes = KeptStatus(book: gateway.book, alarms: []).encoded(now: gateway.now)
    let end = bytes.count - 8
    // The book's time and its anchor's, the boot, monotonic and wall time, and the newest bucket of the first ring.
    var reader = PackedReader(bytes[5..<end])
    var times = [try reader.integer(), try reader.integer()]
    let boot = try reader.raw(16)
    for _ in 0..<3 { times.append(try reader.integer()) }
    func begin(_ times: [Int64]) -> [UInt8] {
      var writer = PackedWriter()
      writer.append(raw: Array("FBSK".utf8) + [1])
      for time in times[..<2] { writer.append(time) }
      writer.append(raw: boot)
      for time in times[2...] { writer.append(time) }
      return writer.bytes
    }
    let rest = bytes[begin(times).count..<end]
    func read(_ times: [Int64]) throws -> KeptStatus {
      let changed = begin(times) + rest
      return try KeptStatus(changed + Digest(of: changed).bytes.prefix(8), settings: ObjectiveSettings.usual)
    }
    _ = try read(times)
    times[place] = .max
    #expect(throws: KeptStatus.Damage.self) { try read(times) }
  }
}
