import Telemetry
import Testing

@testable import Delivery
@testable import forebay
@testable import Ingest
@testable import Pipeline
@testable import Spool
@testable import Status

/// Sights at chosen times, in one boot.
enum Seen {
  static let boot = BootID(high: 1, low: 1)
  static let second: Int64 = 1_000_000_000

  static func moment(_ seconds: Int64, quality: ClockQuality = .synchronised) -> Moment {
    Moment(
      boot: boot, monotonic: seconds * second, wall: (1_800_000_000 + seconds) * second, quality: quality)
  }

  static func pipeline(
    _ name: String = "climate", waits: Bool = false, age: Int64? = nil, missing: Int64? = nil,
    _ set: (inout LedgerCounters) -> Void = { _ in }
  ) -> Sight.Pipeline {
    Sight.Pipeline(
      name: name, counters: LedgerCounters(set), waits: waits, oldestAge: age.map { $0 * second },
      hasUnknownAge: waits && age == nil, missing: missing)
  }

  static func source(_ state: SourceState, fault: String? = nil) -> SourceStatus {
    var source = SourceStatus(name: "floor", address: "10.0.0.1:1883", state: state, since: moment(0))
    source.fault = fault
    return source
  }

  static func text(_ conditions: [AlarmCondition]) -> [String] {
    conditions.map { "\($0.severity) \($0.kind.rawValue) \($0.subject)" }
  }
}

@Suite("What is wrong at a look")
struct SightTests {
  private func conditions(_ change: (inout Sight) -> Void) -> [AlarmCondition] {
    var sight = Sight(now: Seen.moment(10_000))
    sight.space = (10 << 30, 100 << 30, 100 << 30, 1 << 30)
    change(&sight)
    return sight.conditions(longestWait: 3_600 * Seen.second)
  }

  @Test("nothing, when all is well")
  func well() {
    let none = conditions {
      $0.sources = [Seen.source(.connected), Seen.source(.parked), Seen.source(.waiting)]
      $0.uplinks = [UplinkStatus(name: "central")]
      $0.pipelines = [Seen.pipeline(waits: true, age: 3_600)]
    }
    #expect(none == [])
  }

  @Test("a source with a fault is a ticket, and a page when it lasts; its name stands in the text once")
  func sources() throws {
    for state in [SourceState.refused, .takenOver, .logFailed, .waiting, .connecting] {
      let all = conditions { $0.sources = [Seen.source(state, fault: "source floor, 10.0.0.1:1883: it says no")] }
      #expect(Seen.text(all) == ["ticket source floor"])
      #expect(all.first?.pageAfter == 300 * Seen.second)
      #expect(all.first?.text == "floor (10.0.0.1:1883): it says no")
    }
  }

  @Test("messages that were too large to be taken are a ticket for a day, unless the source has worse to tell")
  func oversized() {
    func told(_ state: SourceState, fault: String? = nil, ago seconds: Int64) -> [AlarmCondition] {
      conditions {
        var source = Seen.source(state, fault: fault)
        source.oversized = 3
        source.lastOversized = $0.now.monotonic - seconds * Seen.second
        $0.sources = [source]
      }
    }
    #expect(Seen.text(told(.connected, ago: 5)) == ["ticket source floor"])
    #expect(told(.connected, ago: 5).first?.text.contains("3 messages larger than max_packet") == true)
    #expect(told(.connected, ago: 5).first?.pageAfter == nil)
    #expect(told(.connected, ago: 86_400).isEmpty)
    #expect(told(.waiting, fault: "it says no", ago: 5).map(\.text) == ["floor (10.0.0.1:1883): it says no"])
  }

  @Test("a filter that is refused is a page; QoS 0, and messages that the broker drops for whomever, are tickets")
  func subscriptions() {
    let all = conditions {
      var source = Seen.source(.connected)
      source.refusedFilters = ["a/#": "not authorised"]
      source.weakFilters = ["b/#"]
      $0.drops = ["floor": .init(address: source.address, total: 900, away: 300)]
      $0.sources = [source]
    }
    #expect(
      Seen.text(all) == [
        "page subscription floor", "ticket subscription floor", "ticket dropped-by-broker floor",
      ])
    #expect(
      all.last?.text == "floor: the broker dropped 300 messages while we were away, for whichever of its clients: "
        + "ours may be among them")
  }

  @Test("what an operator has to mend on the gateway has its own kinds")
  func own() {
    let all = conditions {
      $0.configuration = "refused"
      $0.tables = ["t.csv: line 2", "u.csv: line 3"]
      $0.trouble = "the disk fails"
      $0.unsynchronisedFor = 900 * Seen.second
      $0.expired = ["climate": .init(rules: ["json.syntax": 3], last: 0)]
    }
    #expect(
      Seen.text(all) == [
        "ticket configuration ", "ticket table ", "ticket table ", "ticket pipelines ", "ticket clock ",
        "ticket dead-letters climate",
      ])
    #expect(conditions { $0.unsynchronisedFor = 899 * Seen.second } == [])
  }

  @Test("room that runs out is told before it has, once, and by the hours that are left")
  func space() {
    #expect(
      Seen.text(
        conditions {
          $0.parked = "full"; $0.space.free = 0
        }) == ["page parked "])
    #expect(Seen.text(conditions { $0.space.free = 5 << 28 }) == [])
    #expect(Seen.text(conditions { $0.space.free = (5 << 28) - 1 }) == ["ticket disk "])
    #expect(Seen.text(conditions { $0.hoursOfRoom = 25 }) == [])
    let soon = conditions { $0.hoursOfRoom = 23.5 }
    #expect(Seen.text(soon) == ["ticket disk "] && soon[0].text.contains("23 h 30 min"))
    #expect(Seen.text(conditions { $0.hoursOfRoom = 3.9 }) == ["page disk "])
    #expect(
      conditions {
        $0.space.minimumFree = 0; $0.space.free = 1
      } == [])
  }

  @Test("an uplink pages at once for what needs a person, and after a while for an outage")
  func uplinks() {
    let all = conditions {
      var held = UplinkStatus(name: "held")
      held.holds = [.init(scope: .uplink, cause: .credentials, reason: "401", since: 0, nextAttempt: 0)]
      var away = UplinkStatus(name: "away")
      away.outage = DeliveryOutage(since: 0, isLocal: false, reason: "refused")
      var short = UplinkStatus(name: "short")
      short.outage = DeliveryOutage(since: 9_990 * Seen.second, isLocal: false, reason: "refused")
      var local = UplinkStatus(name: "local")
      local.outage = DeliveryOutage(since: 9_990 * Seen.second, isLocal: true, reason: "read-only")
      $0.uplinks = [held, away, short, local]
      $0.stranded = [.init(book: "old", uplink: "gone", readings: 5)]
    }
    #expect(Seen.text(all) == ["page uplink gone", "page uplink held", "ticket uplink away", "page uplink local"])
    #expect(all[2].pageAfter == 600 * Seen.second)
    #expect(all[0].text.hasPrefix("5 readings of pipeline old wait for uplink gone"))
  }

  @Test("what waits for longer than is allowed is told by its pipeline")
  func backlog() {
    let all = conditions {
      $0.pipelines = [
        Seen.pipeline("a", waits: true, age: 3_601), Seen.pipeline("b", waits: true, age: 3_600),
        Seen.pipeline("c", waits: true),
      ]
    }
    #expect(Seen.text(all) == ["ticket backlog a"])
  }

  @Test("what cannot be read says neither that an alarm lasts nor that it is over")
  func unknown() {
    func unknown(_ change: (inout Sight) -> Void) -> [UnknownAlarms] {
      var sight = Sight(now: Seen.moment(10_000))
      sight.uplinks = [UplinkStatus(name: "central")]
      change(&sight)
      return sight.unknown
    }
    #expect(unknown { _ in } == [UnknownAlarms(.backlog), UnknownAlarms(.uplink, .besides(["central"]))])
    let ageless = unknown {
      $0.stranded = []
      $0.pipelines = [Seen.pipeline("a", waits: true), Seen.pipeline("b"), Seen.pipeline("c", waits: true, age: 1)]
    }
    #expect(ageless == [UnknownAlarms(.backlog, .only(["a"]))])
  }

  @Test("a paused uplink is named, and what to do where it is no longer configured")
  func paused() {
    let pause = PausedUplinks.Pause(uplink: "central", since: "2026-11-21T16:00:00Z", by: "anna")
    let there = conditions {
      $0.paused = [pause]
      $0.uplinks = [UplinkStatus(name: "central")]
    }
    #expect(Seen.text(there) == ["ticket paused central"] && there[0].text.hasSuffix("nothing is delivered; resume it"))
    let gone = conditions { $0.paused = [pause] }
    #expect(Seen.text(gone) == ["ticket paused central"])
    #expect(gone[0].text.contains("no longer configured") && gone[0].text.hasSuffix("POST /v1/uplinks/central/resume"))
  }

  @Test("a look sees what was gathered for the metrics and the status")
  func figures() throws {
    func waiting(_ readings: Int64) -> StateTotals.Waiting {
      StateTotals.Waiting(batches: 1, readings: readings, bytes: 9, oldestSealed: Seen.moment(1), oldestAge: nil)
    }
    let totals = StateTotals(
      books: [
        .init(name: "a", isActive: true, uplink: "central", counters: LedgerCounters(), waiting: waiting(3)),
        .init(name: "old", isActive: false, uplink: "gone", counters: LedgerCounters(), waiting: waiting(5)),
        .init(name: "idle", isActive: false, uplink: "gone", counters: LedgerCounters()),
        .init(name: "a#0000000a", isActive: false, uplink: "gone", counters: LedgerCounters(), waiting: waiting(7)),
      ], replays: [:])
    let stranded = DaemonFigures.stranded(totals, besides: ["central"])
    #expect(stranded.map { "\($0.book) \($0.uplink) \($0.readings)" } == ["old gone 5", "a#0000000a gone 7"])
    #expect(DaemonFigures.stranded(totals, besides: ["central", "gone"]).isEmpty, "configured, and not running")
    var observations = StageObservations()
    observations.sequences = .init(devices: 1, missing: 4, repeats: 0, resets: 0, unnumbered: 0)
    var figure = DaemonFigures.Pipeline(
      name: "a", uplink: "central", counters: LedgerCounters { $0.produced = 8 }, deadLetters: 0, deadLetterBytes: 0,
      running: PipelineWorker.Figures(
        readPosition: Offset(0), checkpoint: Offset(0), openReadings: 0, openBytes: 0, version: "v",
        observations: observations, expectations: []))
    (figure.waits, figure.oldestAge, figure.hasUnknownAge) = (true, 7, true)
    let figures = DaemonFigures(
      now: Seen.moment(2), uptime: 1, gateway: "gw", sources: [Seen.source(.connected)], used: 1, free: 1, maximum: 1,
      minimumFree: 1, end: LogStore.End(log: LogID(rawValue: "l"), next: Offset(9), received: 9), pipelines: [figure],
      stranded: stranded, replays: [:], uplinks: [UplinkStatus(name: "central")],
      process: .init(residentBytes: 1, cpuSeconds: 1))
    var sight = Sight(now: Seen.moment(2))
    sight.see(figures, fills: ["a": 30])
    let pipeline = try #require(sight.pipelines?.first)
    #expect(pipeline.name == "a" && pipeline.counters.produced == 8 && pipeline.fills == 30 && pipeline.missing == 4)
    #expect(pipeline.waits && pipeline.oldestAge == 7 && pipeline.hasUnknownAge)
    #expect(sight.stranded == stranded && sight.uplinks.count == 1 && sight.sources.count == 1)
    #expect(sight.unknown == [UnknownAlarms(.backlog, .only(["a"]))])
  }

  @Test("the age of what waits is that of its oldest part, and said to be unknown where a part of it is")
  func ages() {
    let now = Seen.moment(100)
    var elsewhere = Seen.moment(1, quality: .unsynchronised)
    elsewhere.boot = BootID(high: 9, low: 9)
    func look(
      waiting: Moment? = nil, unsealed: Moment? = nil, read: Int64 = 10, isActive: Bool = true, runs: Bool = true,
      log: Moment? = nil
    ) -> String {
      let book = StateTotals.Book(
        name: "a", isActive: isActive, uplink: "central", counters: LedgerCounters(),
        waiting: waiting.map {
          StateTotals.Waiting(batches: 1, readings: 1, bytes: 1, oldestSealed: $0, oldestAge: 5 * Seen.second)
        })
      var running = PipelineWorker.Figures(
        readPosition: Offset(read), checkpoint: Offset(0), openReadings: 0, openBytes: 0, version: "v",
        observations: StageObservations(), expectations: [])
      running.oldestUnsealed = unsealed
      let figure = DaemonFigures.Pipeline(book, runs ? running : nil, end: Offset(10), now: now) { offset in
        #expect(offset == Offset(read))
        return log.map { (7, $0) }
      }
      let age = figure.oldestAge.map { "\($0 / Seen.second) s" } ?? "no age"
      #expect(figure.freshness == figure.oldestAge ?? 0)
      return "\(figure.waits ? "waits" : "idle"), \(age)\(figure.hasUnknownAge ? ", or more" : "")"
    }
    #expect(look() == "idle, no age")
    #expect(look(waiting: Seen.moment(90)) == "waits, 15 s")
    #expect(look(waiting: Seen.moment(90), unsealed: Seen.moment(60)) == "waits, 40 s")
    #expect(look(unsealed: Seen.moment(60), read: 4, log: Seen.moment(20)) == "waits, 80 s")
    #expect(look(read: 4) == "waits, no age, or more", "the log cannot be read")
    #expect(look(waiting: elsewhere, unsealed: Seen.moment(60)) == "waits, 40 s, or more")
    #expect(look(waiting: elsewhere) == "waits, no age, or more")
    #expect(look(runs: false) == "idle, no age, or more", "nobody knows yet what it has read")
    #expect(look(waiting: Seen.moment(90), isActive: false, runs: false) == "waits, 15 s")
  }

  @Test("room is reckoned from the last hour, only while something waits and grows")
  func trend() {
    var trend = SpaceTrend()
    func look(_ minutes: Int64, _ used: Int64, waits: Bool? = true) -> Double? {
      trend.hours(used: used, room: 1_000, waits: waits, now: minutes * 60 * Seen.second)
    }
    for minute in 0..<30 { #expect(look(Int64(minute), Int64(minute)) == nil) }
    #expect(look(30, 30).map { ($0 - 1_000.0 / 60).magnitude < 0.01 } == true)
    for minute in 31..<200 { _ = look(Int64(minute), Int64(minute)) }
    // Twice as fast: within the hour the old rate is forgotten.
    for minute in 200..<270 { _ = look(Int64(minute), Int64(200 + 2 * (minute - 200))) }
    #expect(look(270, 340).map { ($0 - 1_000.0 / 120).magnitude < 0.3 } == true)
    #expect(look(271, 340, waits: nil) != nil, "what waits cannot be read")
    #expect(look(271, 340, waits: false) == nil)
    #expect(look(271, 340, waits: nil) == nil)
    #expect(look(272, 400) == nil)
    for minute in 273..<400 { #expect(look(Int64(minute), 400) == nil, "it does not grow") }
  }
}
