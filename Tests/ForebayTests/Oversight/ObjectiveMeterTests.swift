import Telemetry
import Testing

@testable import Delivery
@testable import forebay
@testable import Spool
@testable import Status

@Suite("What the objectives measure")
struct ObjectiveMeterTests {
  private static let bounds = ObjectiveSettings.usual.mapValues(\.bound)

  private func delivered(
    _ name: String = "climate", readings: Int = 10, again: Bool = false, at seconds: Int64
  ) -> DeliveryTally.Delivered {
    DeliveryTally.Delivered(
      pipeline: name, log: LogID(rawValue: "l"), first: Offset(0), last: Offset(9), readings: readings,
      possibleDuplicate: again, at: Seen.moment(seconds))
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
        (delivered(at: 95), (Seen.moment(90), Seen.moment(94))),  // exactly 5 s
        (delivered(at: 96), (Seen.moment(90), Seen.moment(94))),
        (delivered(again: true, at: 96), nil),  // the log has it no more
      ], bounds: Self.bounds)
    #expect(sample.totals[.latency] == EventCount(good: 1, bad: 1))
    #expect(sample.totals[.duplicates] == EventCount(good: 20, bad: 10))
  }

  @Test("where no clock can tell how long a batch took, it counts neither way")
  func unknownTimes() {
    var meter = ObjectiveMeter()
    var old = Seen.moment(1, quality: .unsynchronised)
    old.boot = BootID(high: 9, low: 9)
    let sample = meter.sample(
      sight(100, [Seen.pipeline(waits: true)]), delivered: [(delivered(at: 96), (old, old))], bounds: Self.bounds)
    #expect(sample.totals[.latency] == EventCount())
    #expect(sample.verdicts[.freshness] == true)
  }

  @Test("ledger columns become events of delivery and errors")
  func ledger() {
    var meter = ObjectiveMeter()
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
    #expect(sample.totals[.delivery] == EventCount(good: 97, bad: 5))
    #expect(sample.totals[.errors] == EventCount(good: 103, bad: 9))
  }

  @Test("numbers that are missing count from the first look on, and one that comes late is not counted back")
  func gaps() {
    var meter = ObjectiveMeter()
    func look(_ missing: Int64, _ produced: Int64) -> EventCount? {
      meter.sample(
        sight(1, [Seen.pipeline(missing: missing) { $0.produced = produced }]), delivered: [], bounds: Self.bounds
      ).totals[.gaps]
    }
    #expect(look(40, 1_000) == EventCount())
    #expect(look(43, 1_100) == EventCount(good: 100, bad: 3))
    #expect(look(41, 1_110) == EventCount(good: 110, bad: 3))
    #expect(look(42, 1_110) == EventCount(good: 110, bad: 4))
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
      sight(1_000, []), delivered: [(delivered(at: 999), (Seen.moment(900), Seen.moment(998)))],
      bounds: Self.bounds)
    #expect(isFresh(1_050, Seen.pipeline(waits: true, age: 5_000)) == true)
    #expect(isFresh(1_059, Seen.pipeline(waits: true, age: 5_000)) == false)
    #expect(isFresh(1_059, Seen.pipeline("other", waits: true, age: 5_000)) == false)
    // What is delivered of the backlog makes nothing older.
    _ = meter.sample(
      sight(1_050, []), delivered: [(delivered(at: 1_049), (Seen.moment(1), Seen.moment(2)))], bounds: Self.bounds)
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
        delivered: [(delivered(at: 100 + age - 55), (Seen.moment(100), Seen.moment(100)))], bounds: Self.bounds)
      #expect(sample.totals[.latency] == EventCount(good: isGood ? 1 : 0, bad: isGood ? 0 : 1))
      pipeline.standing.book = "other"
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
    let sample = meter.sample(sight(1, nil), delivered: [(delivered(at: 1), nil)], bounds: Self.bounds)
    #expect(Set(sample.totals.keys) == [.latency, .duplicates] && sample.verdicts.isEmpty)
  }

  @Test("the tally knows what was confirmed, without replays, once, and forgets what never is")
  func tally() {
    let tally = DeliveryTally()
    func entry(_ id: Int64, replay: ReplayID? = nil) -> OutboxEntry {
      let identity = BatchIdentity(gateway: "g", pipeline: "p", epoch: Epoch(random: 1), sequence: id)
      return OutboxEntry(
        id: id, position: OutboxPosition(place: id, line: 0),
        batch: Batch(
          identity: identity, version: "v", log: LogID(rawValue: "l"), firstOffset: Offset(id),
          lastOffset: Offset(id), count: 3, encoding: .ndjson, compression: .none, body: [], length: 0,
          digest: .zero, previous: .zero, replay: replay, sealed: Seen.moment(1)))
    }
    tally.note([entry(1), entry(2), entry(3, replay: ReplayID(random: 1))])
    tally.note([entry(1)])
    tally.confirm([1, 3, 99], at: Seen.moment(5))
    let taken = tally.take()
    #expect(taken.map(\.first) == [Offset(1)])
    #expect(taken.first?.at == Seen.moment(5))
    #expect(tally.take().isEmpty)
    for id in 10..<(10 + Int64(DeliveryTally.limit) + 50) { tally.note([entry(id)]) }
    tally.confirm([2], at: Seen.moment(6))
    #expect(tally.take().isEmpty)
  }
}
