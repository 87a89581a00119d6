import Telemetry

@testable import Status

/// A gateway's clocks, and looks at a book by them.
struct Gateway {
  var book: ObjectiveBook
  var boot: UInt64 = 1
  /// Seconds.
  var monotonic: Int64 = 100
  var wall: Int64 = 1_800_000_000
  var isSynchronised = true
  /// Since the last look.
  var events: [ObjectiveName: EventCount] = [:]
  var worst: [ObjectiveName: String] = [:]

  init(_ settings: [ObjectiveName: ObjectiveSettings] = ObjectiveSettings.usual) {
    book = ObjectiveBook(settings)
  }

  var now: Moment {
    Moment(
      boot: BootID(high: 0, low: boot), monotonic: monotonic * 1_000_000_000, wall: wall * 1_000_000_000,
      quality: isSynchronised ? .synchronised : .unsynchronised)
  }

  mutating func pass(_ seconds: Int64) {
    monotonic += seconds
    wall += seconds
  }

  /// One look, so many seconds after the last.
  mutating func look(after seconds: Int64 = 10, _ verdicts: [ObjectiveName: Bool] = [:]) {
    pass(seconds)
    var sample = ObjectiveSample()
    sample.events = events
    events = [:]
    sample.verdicts = verdicts
    sample.worst = worst
    book.look(sample, now: now)
  }

  /// It has run for so long, and nothing has come.
  mutating func run(hours: Int) {
    for _ in 0..<(hours * 12) { look(after: 300) }
  }

  mutating func count(_ name: ObjectiveName, good: Int64 = 0, bad: Int64 = 0) {
    events[name, default: EventCount()] += EventCount(good: good, bad: bad)
  }

  /// A restart in which the machine was off for so long; its monotonic clock begins anew.
  mutating func reboot(off seconds: Int64) throws {
    let bytes = KeptStatus(book: book, alarms: []).encoded(now: now)
    boot += 1
    monotonic = 5
    wall += seconds
    book = try KeptStatus(bytes, settings: book.settings).book
  }
}

/// Vigna's splitmix64: small, and the same everywhere.
struct SplitMix: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
