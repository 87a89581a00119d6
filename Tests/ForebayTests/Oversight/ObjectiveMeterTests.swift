import Telemetry
import Testing

@testable import Delivery
@testable import forebay
@testable import Spool
@testable import Status

@Suite("What the objectives measure")
struct ObjectiveMeterTests {
  private static let bounds = ObjectiveSettings.usual.mapValues(\.bound)

  /// Its messages were received from `first` to `last`, in seconds; nil: nobody knows when.
  private func delivered(
    _ name: String = "climate", readings: Int = 10, again: Bool = false, at seconds: Int64,
    received: (first: Int64, last: Int64)?
  ) -> DeliveryTally.Delivered {
    DeliveryTally.Delivered(
      pipeline: name, readings: readings, possibleDuplicate: again,
      took: received.map { (seconds - $0.first) * Seen.second }, newest: received.map { Seen.moment($0.last) })
  }

  private func sight(_ seconds: Int64, _ pipelines: [Sight.Pipeline]?) -> Sight {
    var sight = Sight(now: Seen.moment(seconds))
    sight.pipelines = pipelines
    return sight
  }

  @Test("the time of a batch runs from the receipt of its first message to its confirmation")
  func latency() {
    var meter = ObjectiveMeter()
    let sample = meter.sample(
      sight(100, []),
      delivered: [
        delivered(at: 95, received: (90, 94)),  // exactly 5 s
        delivered(at: 96, received: (90, 94)),
        delivered(again: true, at: 96, received: nil),  // no clock can tell
      ], bounds: Self.bounds)
    #expect(sample.events[.latency] == EventCount(good: 1, bad: 1))
    #expect(sample.events[.duplicates] == EventCount(good: 20, bad: 10))
  }

  @Test("where no clock can tell how long a batch took, it counts neither way")
  func unknownTimes() {
    var meter = ObjectiveMeter()
    var old = Seen.moment(1, quality: .unsynchronised)
    old.boot = BootID(high: 9, low: 9)
    var batch = delivered(at: 96, received: nil)
    batch.newest = old
    let sample = meter.sample(
      sight(100, [Seen.pipeline(waits: true)]), delivered: [batch], bounds: Self.bounds)
    #expect(sample.events[.latency] == EventCount())
    #expect(sample.verdicts[.freshness] == true)
  }

  @Test("the pipeline with most of the bad events of late is named, after a restart the one that ever had most")
  func worst() {
    var meter = ObjectiveMeter()
    func look(_ seconds: Int64, a: Int64, b: Int64) -> ObjectiveSample {
      meter.sample(
        sight(seconds, [Seen.pipeline("a") { $0.rejected = a }, Seen.pipeline("b", missing: b) { $0.rejected = b }]),
        delivered: [], bounds: Self.bounds)
    }
    #expect(look(0, a: 1_000_000, b: 0).worst.isEmpty)
    #expect(look(10, a: 1_100_000, b: 5).worst == [.errors: "a", .deadLetters: "a", .gaps: "b"])
    for hour in 1..<48 as Range<Int64> { _ = look(hour * 3_600, a: 1_100_000, b: 5) }
    #expect(look(48 * 3_600, a: 1_100_000, b: 6_000).worst[.errors] == "b")
    meter = ObjectiveMeter(marks: meter.marks)
    #expect(look(49 * 3_600, a: 1_100_000, b: 6_000).worst[.errors] == "a")
    #expect(look(49 * 3_600 + 10, a: 1_100_000, b: 6_010).worst[.errors] == "b")
  }

  @Test("ledger columns become events of delivery and errors")
  func ledger() {
    var meter = ObjectiveMeter()
    _ = meter.sample(sight(0, [Seen.pipeline("a"), Seen.pipeline("b")]), delivered: [], bounds: Self.bounds)
    let pipelines = [
      Seen.pipeline("a") {
        $0.delivered = 90
        $0.deadLetteredUpstream = 2
        $0.damaged = 3
        $0.produced = 100
        $0.refused = 4
        $0.rejected = 5
      },
      Seen.pipeline("b") {
        $0.delivered = 7
        $0.produced = 7
      },
    ]
    let sample = meter.sample(sight(1, pipelines), delivered: [], bounds: Self.bounds)
    #expect(sample.events[.delivery] == EventCount(good: 97, bad: 5))
    #expect(sample.events[.errors] == EventCount(good: 103, bad: 9))
    let same = meter.sample(sight(2, pipelines), delivered: [], bounds: Self.bounds)
    #expect(same.events[.delivery] == EventCount() && same.events[.errors] == EventCount())
  }

  /// A pipeline with a long life behind it.
  private func old(_ name: String, rejected: Int64 = 5_000, missing: Int64? = nil) -> Sight.Pipeline {
    Seen.pipeline(name, missing: missing) {
      $0.produced = 100_000
      $0.delivered = 100_000 - 3_000
      $0.deadLetteredUpstream = 3_000
      $0.rejected = rejected
    }
  }

  @Test("what a pipeline counted before it was first seen is not new: neither at the start nor when it comes later")
  func firstSight() {
    var meter = ObjectiveMeter()
    for (second, pipelines) in [[old("a")], [old("a"), old("late", missing: 900)]].enumerated() {
      let sample = meter.sample(sight(Int64(second), pipelines), delivered: [], bounds: Self.bounds)
      for name in [ObjectiveName.delivery, .errors, .gaps] { #expect(sample.events[name] == EventCount(), "\(name)") }
      #expect(sample.verdicts[.deadLetters] == true)
    }
  }

  @Test("one that goes and comes again is counted from where it went")
  func outOfSight() {
    var meter = ObjectiveMeter()
    func look(_ seconds: Int64, _ pipelines: [Sight.Pipeline]) -> ObjectiveSample {
      meter.sample(sight(seconds, pipelines), delivered: [], bounds: Self.bounds)
    }
    _ = look(0, [old("a"), old("b")])
    let away = look(10, [old("b")])
    #expect(away.events[.errors] == EventCount() && away.verdicts[.deadLetters] == true)
    let back = look(20, [old("a", rejected: 5_030), old("b")])
    #expect(back.events[.errors] == EventCount(bad: 30) && back.events[.delivery] == EventCount())
    #expect(back.verdicts[.deadLetters] == true)
  }

  @Test("a counter that goes back begins anew and counts nothing")
  func countersThatGoBack() {
    var meter = ObjectiveMeter()
    func errors(_ rejected: Int64) -> EventCount? {
      meter.sample(
        sight(1, [Seen.pipeline { $0.rejected = rejected }]), delivered: [], bounds: Self.bounds
      ).events[.errors]
    }
    #expect([5_000, 5_010, 7, 8].map(errors) == [0, 10, 0, 1].map { EventCount(bad: $0) })
  }

  @Test("what was counted between the last look of one run and the first of the next is counted, once")
  func restart() {
    var meter = ObjectiveMeter()
    _ = meter.sample(sight(0, [old("a", missing: 5)]), delivered: [], bounds: Self.bounds)
    var next = ObjectiveMeter(marks: meter.marks)
    let pipelines = [old("a", rejected: 5_120, missing: 9), old("new")]
    let sample = next.sample(sight(7, pipelines), delivered: [], bounds: Self.bounds)
    #expect(sample.events[.errors] == EventCount(bad: 120) && sample.events[.gaps] == EventCount(bad: 4))
    #expect(sample.verdicts[.deadLetters] == false)
    #expect(next.sample(sight(8, pipelines), delivered: [], bounds: Self.bounds).events[.errors] == EventCount())
  }

  @Test("pipelines that are gone are remembered as long as there are not too many")
  func manyPipelines() {
    var meter = ObjectiveMeter()
    for number in 0..<2 * ObjectiveMeter.markLimit {
      _ = meter.sample(sight(Int64(number), [old("p\(number)")]), delivered: [], bounds: Self.bounds)
    }
    #expect(meter.marks.count <= ObjectiveMeter.markLimit && meter.marks.count > 1)
  }

  @Test("numbers that are missing count from the first look on, and one that comes late is not counted back")
  func gaps() {
    var meter = ObjectiveMeter()
    func look(_ missing: Int64?, _ produced: Int64) -> EventCount? {
      meter.sample(
        sight(1, [Seen.pipeline(missing: missing) { $0.produced = produced }]), delivered: [], bounds: Self.bounds
      ).events[.gaps]
    }
    #expect(look(40, 1_000) == EventCount())
    #expect(look(43, 1_100) == EventCount(good: 100, bad: 3))
    #expect(look(nil, 1_105) == EventCount(), "it does not run yet")
    #expect(look(41, 1_110) == EventCount(good: 10))
    #expect(look(42, 1_110) == EventCount(bad: 1))
  }

  @Test("data is fresh while what waits is young, or what was delivered last is, and when nothing waits")
  func freshness() {
    var meter = ObjectiveMeter()
    func isFresh(_ seconds: Int64, _ pipeline: Sight.Pipeline) -> Bool? {
      meter.sample(sight(seconds, [pipeline]), delivered: [], bounds: Self.bounds).verdicts[.freshness]
    }
    #expect(isFresh(1_000, Seen.pipeline()) == true)
    #expect(isFresh(1_000, Seen.pipeline(waits: true, age: 60)) == true)
    #expect(isFresh(1_000, Seen.pipeline(waits: true, age: 61)) == false)
    // An old backlog drains, and live data goes beside it.
    _ = meter.sample(
      sight(1_000, []), delivered: [delivered(at: 999, received: (900, 998))],
      bounds: Self.bounds)
    #expect(isFresh(1_050, Seen.pipeline(waits: true, age: 5_000)) == true)
    #expect(isFresh(1_059, Seen.pipeline(waits: true, age: 5_000)) == false)
    #expect(isFresh(1_059, Seen.pipeline("other", waits: true, age: 5_000)) == false)
    // What is delivered of the backlog makes nothing older.
    _ = meter.sample(
      sight(1_050, []), delivered: [delivered(at: 1_049, received: (1, 2))], bounds: Self.bounds)
    #expect(isFresh(1_050, Seen.pipeline(waits: true, age: 5_000)) == true)
  }

  @Test("the time for which a batch may be filled comes on top of every bound")
  func filling() {
    for (age, isGood) in [(90, true), (91, false)] as [(Int64, Bool)] {
      var meter = ObjectiveMeter()
      var pipeline = Seen.pipeline(waits: true, age: age)
      pipeline.fills = 30 * Seen.second
      let sample = meter.sample(
        sight(200, [pipeline]),
        delivered: [delivered(at: 100 + age - 55, received: (100, 100))], bounds: Self.bounds)
      #expect(sample.events[.latency] == EventCount(good: isGood ? 1 : 0, bad: isGood ? 0 : 1))
      pipeline.name = "other"
      #expect(meter.sample(sight(200, [pipeline]), delivered: [], bounds: Self.bounds).verdicts[.freshness] == isGood)
      pipeline.oldestAge? += 540 * Seen.second
      #expect(meter.sample(sight(200, [pipeline]), delivered: [], bounds: Self.bounds).verdicts[.backlog] == isGood)
    }
  }

  @Test("the backlog is judged by the oldest of what waits")
  func backlog() {
    var meter = ObjectiveMeter()
    for (age, isGood) in [(nil, true), (600, true), (601, false)] as [(Int64?, Bool)] {
      let sample = meter.sample(
        sight(1, [Seen.pipeline(waits: true, age: age)]), delivered: [], bounds: Self.bounds)
      #expect(sample.verdicts[.backlog] == isGood)
    }
  }

  @Test("dead letters are counted over the last hour")
  func deadLetters() {
    var meter = ObjectiveMeter()
    func look(_ minute: Int64, _ count: Int64) -> Bool? {
      meter.sample(
        sight(minute * 60, [Seen.pipeline { $0.rejected = count }]), delivered: [], bounds: Self.bounds
      ).verdicts[.deadLetters]
    }
    #expect(look(0, 5_000) == true)
    #expect(look(1, 5_099) == true)
    #expect(look(2, 5_100) == false)
    #expect(look(60, 5_100) == false)
    #expect(look(61, 5_100) == true)
    #expect(look(62, 5_100) == true)
    // A state that was rebuilt begins with fewer.
    #expect(look(63, 10) == true)
    #expect(look(64, 200) == false)
  }

  @Test("without a look at the state only what was delivered counts")
  func noState() {
    var meter = ObjectiveMeter()
    let sample = meter.sample(sight(1, nil), delivered: [delivered(at: 1, received: nil)], bounds: Self.bounds)
    #expect(Set(sample.events.keys) == [.latency, .duplicates] && sample.verdicts.isEmpty)
  }

  @Test("the tally knows what was confirmed, without replays, once, and forgets what never is")
  func tally() {
    let tally = DeliveryTally()
    func entry(_ id: Int64, replay: ReplayID? = nil, ages: Batch.Ages? = nil) -> OutboxEntry {
      let identity = BatchIdentity(gateway: "g", pipeline: "p", epoch: Epoch(random: 1), sequence: id)
      return OutboxEntry(
        id: id, position: OutboxPosition(place: id, line: 0),
        batch: Batch(
          identity: identity, version: "v", log: LogID(rawValue: "l"), firstOffset: Offset(id),
          lastOffset: Offset(id), count: 3, encoding: .ndjson, compression: .none, body: [], length: 0,
          digest: .zero, previous: .zero, replay: replay, sealed: Seen.moment(3),
          ages: ages))
    }
    tally.note([
      entry(1, ages: .init(first: 2 * Seen.second, last: Seen.second)), entry(2), entry(3, replay: ReplayID(random: 1)),
    ])
    tally.note([entry(1)])
    tally.confirm([1, 3, 99], at: Seen.moment(5))
    let taken = tally.take()
    #expect(taken.count == 1 && taken.first?.readings == 3)
    #expect(taken.first?.took == 4 * Seen.second && taken.first?.newest == Seen.moment(2))
    tally.note([entry(4)])
    tally.confirm([4], at: Seen.moment(5))
    let ageless = tally.take()
    #expect(ageless.count == 1 && ageless.first?.took == nil && ageless.first?.newest == nil)
    #expect(tally.take().isEmpty)
    for id in 10..<(10 + Int64(DeliveryTally.limit) + 50) { tally.note([entry(id)]) }
    tally.confirm([2], at: Seen.moment(6))
    #expect(tally.take().isEmpty)
  }
}
