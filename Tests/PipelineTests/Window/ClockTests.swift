import Pipeline
import Telemetry
import Testing

@Suite("Watermark")
struct WatermarkTests {
  private let lateness = 30 * second
  private let hour = 3_600 * second

  private func at(_ seconds: Int64, wall: Int64? = nil, _ quality: ClockQuality = .synchronised) -> Moment {
    moment(wall: wall ?? day + seconds * second, monotonic: seconds * second, quality)
  }

  @Test("It is the newest event less the lateness, and never goes back for an older one")
  func monotonic() {
    var watermark = Watermark(settings: .init(allowedLateness: lateness))
    #expect(watermark.value == nil)
    #expect(watermark.value(observing: day) == day - lateness)
    #expect(watermark.observe(day, received: at(0)) == .moved)
    #expect(watermark.value == day - lateness)
    #expect(watermark.observe(day - 5 * second, received: at(1)) == .unmoved)
    #expect(watermark.observe(.min, received: at(1)) == .unmoved)
    #expect(watermark.value == day - lateness)
    #expect(watermark.tick(at(1_000)) == false)
  }

  @Test("An event from the far future does not move it while the clock is synchronised")
  func farFuture() {
    var watermark = Watermark(settings: .init(allowedLateness: lateness, maximumAhead: hour))
    #expect(watermark.observe(day + hour, received: at(0)) == .moved)
    #expect(watermark.observe(day + hour + 1, received: at(0)) == .tooFarAhead(by: hour + 1))
    #expect(watermark.observe(.max, received: at(0)) == .tooFarAhead(by: .max - day))
    #expect(watermark.value == day + hour - lateness)
    // The clock of this boot is known once it was synchronised.
    let present = day + 5 * second
    #expect(watermark.observe(.max, received: at(5, wall: 0, .unsynchronised)) == .tooFarAhead(by: .max - present))
    var unknowing = Watermark(settings: .init(allowedLateness: lateness, maximumAhead: hour))
    #expect(unknowing.observe(day + 10 * hour, received: at(0, wall: 0, .unsynchronised)) == .moved)
  }

  @Test("A wall clock that jumps by years for minutes changes nothing; one that stays is believed")
  func clockJumps() {
    let years = 5 * 366 * 86_400 * second
    for jump in [years, -years] {
      var watermark = Watermark(settings: .init(allowedLateness: lateness, maximumAhead: hour))
      _ = watermark.observe(day, received: at(0))
      for seconds in stride(from: Int64(1), to: 600, by: 60) {
        // Readings stamped by the receipt, and readings of devices that know the time.
        let received = at(seconds, wall: day + seconds * second + jump)
        let expected: Watermark.Observation =
          jump > 0 ? .tooFarAhead(by: jump) : .unmoved
        #expect(watermark.observe(received.wall, received: received) == expected)
        #expect(watermark.observe(day + seconds * second, received: received) == .moved)
      }
      #expect(watermark.observe(day + 601 * second, received: at(601)) == .moved)
      #expect(watermark.value == day + 601 * second - lateness)
      // Now it stays.
      for seconds in stride(from: Int64(1_000), to: 1_590, by: 60) {
        _ = watermark.observe(0, received: at(seconds, wall: day + seconds * second + jump))
      }
      let settled = at(1_700, wall: day + 1_700 * second + jump)
      #expect(watermark.observe(settled.wall, received: settled) == (jump > 0 ? .moved : .returned))
      #expect(watermark.value == settled.wall - lateness)
    }
  }

  @Test("Where the present is not known it goes on from the last event as time does, however often it is asked")
  func idleWithoutClock() throws {
    func blind(_ seconds: Int64) -> Moment { at(seconds, wall: 0, .unsynchronised) }
    let settings = Watermark.Settings(allowedLateness: lateness, idleAfter: 60 * second)
    var watermark = Watermark(settings: settings)
    _ = watermark.observe(day, received: blind(0))
    #expect(watermark.tick(blind(59)) == false)
    for seconds in stride(from: Int64(70), through: 100, by: 10) { #expect(watermark.tick(blind(seconds)) == true) }
    #expect(watermark.value == day + 40 * second - lateness)
    var restored = try Watermark(restoring: watermark.changes(), settings: settings)
    #expect(restored.tick(blind(110)) == true)
    #expect(restored.value == day + 50 * second - lateness)
    #expect(restored.observe(day + 200 * second, received: blind(111)) == .moved)
    #expect(restored.value == day + 200 * second - lateness)
  }

  @Test("Without events it follows the present, as far as that is known, and across restarts")
  func idle() throws {
    var watermark = Watermark(settings: .init(allowedLateness: lateness, idleAfter: 60 * second))
    #expect(watermark.tick(at(0)) == false, "nothing to follow before the first event")
    _ = watermark.observe(day, received: at(0))
    #expect(watermark.tick(at(59)) == false)
    #expect(watermark.tick(at(60)) == false, "as far as the event had moved it")
    #expect(watermark.tick(at(100)) == true)
    #expect(watermark.value == day + 100 * second - 60 * second - lateness)
    let restored = try Watermark(restoring: watermark.changes(), settings: watermark.settings)
    var other = restored
    let reboot = moment(wall: day + 1_000 * second, monotonic: 5 * second, boot: 2)
    #expect(other.tick(reboot) == false)
    var later = reboot
    later.monotonic += 60 * second
    later.wall += 60 * second
    #expect(other.tick(later) == true)
    #expect(other.value == day + 1_000 * second - lateness)
    later.boot = BootID(high: 0, low: 3)
    later.quality = .unsynchronised
    #expect(other.tick(later) == false)
  }

  @Test("It is stored as of the checkpoint, once, and damaged bytes are refused or read as something else")
  func stored() throws {
    let settings = Watermark.Settings(allowedLateness: lateness, maximumAhead: hour, idleAfter: second)
    var watermark = Watermark(settings: settings)
    _ = watermark.observe(day, received: at(0))
    _ = watermark.observe(day, received: at(1, wall: day + 100 * hour))
    watermark.beginPending()
    _ = watermark.observe(day + 9 * second, received: at(2))
    let rows = watermark.changes()
    #expect(rows.count == 1)
    watermark.stored()
    #expect(watermark.changes().isEmpty)
    let restored = try Watermark(restoring: rows, settings: settings)
    #expect(restored.value == day - lateness)
    #expect(restored.changes().isEmpty)
    watermark.pendingDecided()
    #expect(try Watermark(restoring: watermark.changes(), settings: settings).value == day - lateness + 9 * second)
    var generator = StreamGenerator(seed: 4)
    var refused = 0
    for _ in 0..<1_000 {
      do {
        let damaged = rows.map { StateRow(key: $0.key, value: $0.value?.damaged(using: &generator)) }
        var restored = try Watermark(restoring: damaged, settings: settings)
        _ = restored.observe(day, received: at(3))
        _ = restored.tick(at(3_000))
      } catch { refused += 1 }
    }
    #expect(refused > 200)
  }
}

@Suite("Clock correction")
struct ClockCorrectionTests {
  @Test("Receipt times of a boot are held until its clock is known, and then put right")
  func correction() throws {
    var clock = ClockCorrection(maximumHold: 600 * second)
    let early = moment(wall: 5 * second, monotonic: 5 * second, .unsynchronised)
    let now = moment(wall: 8 * second, monotonic: 8 * second, .unsynchronised)
    #expect(clock.verdict(for: early, now: now) == .hold)
    #expect(clock.learn(now) == false)
    let sync = moment(wall: day, monotonic: 65 * second)
    clock.beginPending()
    #expect(clock.learn(sync) == true)
    #expect(clock.learn(moment(wall: day * 2 / 3, monotonic: 70 * second)) == false)
    #expect(clock.verdict(for: early, now: now) == .corrected(day - 60 * second))
    #expect(clock.verdict(for: sync, now: sync) == .asIs)
    #expect(clock.changes().map(\.value) == [[1, 0]], "as of the checkpoint no boot is known")
    clock.pendingDecided()
    let restored = try ClockCorrection(restoring: clock.changes(), maximumHold: 600 * second)
    #expect(restored.verdict(for: early, now: now) == .corrected(day - 60 * second))
  }

  @Test("The wait ends with the time that is allowed for it, and with the boot")
  func waiting() {
    let clock = ClockCorrection(maximumHold: 600 * second)
    let early = moment(wall: 5 * second, monotonic: 5 * second, .unsynchronised)
    func verdict(_ seconds: Int64, boot: UInt64 = 1) -> ClockCorrection.Verdict {
      clock.verdict(for: early, now: moment(wall: 0, monotonic: seconds * second, .unsynchronised, boot: boot))
    }
    #expect(verdict(604) == .hold)
    #expect(verdict(605) == .asIs)
    #expect(verdict(6, boot: 2) == .asIs)
    let wild = moment(wall: 0, monotonic: .min, .unsynchronised)
    #expect(clock.verdict(for: wild, now: moment(wall: 0, monotonic: .max)) == .asIs)
  }

  @Test("A bounded number of boots is remembered, and damaged bytes are refused or read as something else")
  func bounded() throws {
    var clock = ClockCorrection(maximumHold: second)
    for boot in 0..<100 { #expect(clock.learn(moment(wall: day, monotonic: 0, boot: UInt64(boot))) == true) }
    let early = moment(wall: 0, monotonic: -second, .unsynchronised, boot: 99)
    #expect(clock.verdict(for: early, now: early) == .corrected(day - second))
    let oldest = moment(wall: 0, monotonic: -second, .unsynchronised, boot: 83)
    #expect(clock.verdict(for: oldest, now: early) == .asIs)
    let rows = clock.changes()
    var generator = StreamGenerator(seed: 4)
    var refused = 0
    for _ in 0..<500 {
      do {
        let damaged = rows.map { StateRow(key: $0.key, value: $0.value?.damaged(using: &generator)) }
        _ = try ClockCorrection(restoring: damaged, maximumHold: second).verdict(for: early, now: early)
      } catch { refused += 1 }
    }
    #expect(refused > 100)
  }
}
