import Pipeline
import Telemetry
import Testing

/// Remembers every digest with its stretch of time.
private struct NaiveDedupe {
  let width: Int64
  let within: Int64
  var seen: [DedupeDigest: [Int64]] = [:]
  var now = Int64.min

  func stretch(_ time: Int64) -> Int64 {
    now == .min ? time / width : min(max(time / width, (now - within) / width), (now + within) / width)
  }

  func contains(_ digest: DedupeDigest, _ time: Int64) -> Bool {
    (seen[digest] ?? []).contains { abs($0 - stretch(time)) <= 8 }
  }

  mutating func advance(_ time: Int64) {
    now = max(now, time)
    let first = (now - within) / width
    for digest in seen.keys { seen[digest]?.removeAll { $0 < first } }
  }

  var count: Int { seen.values.reduce(0) { $0 + $1.count } }
}

@Suite("Dedupe")
struct DedupeWindowTests {
  private func digest(_ number: Int) -> DedupeDigest {
    var generator = StreamGenerator(seed: UInt64(number))
    return DedupeDigest(high: generator.next(), low: generator.next())
  }

  @Test("Duplicates are found as if every digest were kept, across crashes and open batches", arguments: 1...8)
  func model(seed: UInt64) throws {
    var generator = StreamGenerator(seed: seed)
    let within = 80 * second
    var window = DedupeWindow(within: within, limit: 100_000)
    var naive = NaiveDedupe(width: 10 * second, within: within)
    var atBegin: NaiveDedupe?
    var store = RowStore()
    var present = day
    var duplicates = 0
    var crashes = 0
    for _ in 0..<4_000 {
      switch generator.below(40) {
      case 0...29:
        present += Int64(generator.below(1_500)) * 1_000_000
        var time = present - Int64(generator.below(100)) * second
        if generator.chance(1) { time = present + 1_000_000 * second }
        let digest = digest(generator.below(100))
        let isDuplicate = window.isDuplicate(digest, at: time)
        #expect(isDuplicate == naive.contains(digest, time))
        if isDuplicate { duplicates += 1 } else { naive.seen[digest, default: []].append(naive.stretch(time)) }
      case 30...33:
        window.advance(to: present)
        naive.advance(present)
      case 34:
        window.beginPending()
        if atBegin == nil { atBegin = naive }
      case 35, 36:
        window.pendingDecided()
        atBegin = nil
      case 37, 38:
        let changes = window.changes()
        for change in changes where change.value == nil { #expect(store.rows[change.key] != nil) }
        for change in changes where change.value != nil {
          #expect(change.key == [0] || store.rows[change.key] == nil, "rows of digests are never written again")
        }
        store.apply(changes)
        window.stored()
        #expect(window.changes().isEmpty)
      default:
        store.apply(window.changes())
        window = try DedupeWindow(restoring: store.all, within: within, limit: 100_000)
        naive = atBegin ?? naive
        atBegin = nil
        crashes += 1
      }
      #expect(window.count == naive.count)
    }
    #expect(duplicates > 500 && crashes > 40)
    #expect(window.forgottenEarly == 0)
  }

  @Test("Whatever the number of digests, memory and rows stay within the limit, and what goes early is counted")
  func bounded() throws {
    var window = DedupeWindow(within: 3_600 * second, limit: 1_000)
    var store = RowStore()
    for number in 0..<20_000 {
      let time = day + Int64(number) * second / 100
      window.advance(to: time)
      let isDuplicate = window.isDuplicate(digest(number), at: time)
      #expect(!isDuplicate)
      if number % 100 == 50 { window.beginPending() }
      if number % 100 == 80 { window.pendingDecided() }
      if number % 37 == 0 {
        store.apply(window.changes())
        window.stored()
      }
      #expect(window.count <= 1_000)
    }
    #expect(window.forgottenEarly + Int64(window.count) == 20_000)
    #expect(window.contains(digest(19_999), at: day + 200 * second))
    #expect(window.contains(digest(19_200), at: day + 200 * second))
    #expect(!window.contains(digest(10), at: day + 200 * second))
    #expect(store.rows.values.reduce(0) { $0 + $1.count } < 1_000 * 20 + 3_000)
    let smaller = try DedupeWindow(restoring: store.all, within: 3_600 * second, limit: 100)
    #expect(smaller.count <= 100 && smaller.forgottenEarly > 0)
  }

  @Test("Digests are remembered for the bound, and an event from the far future makes nothing be forgotten")
  func bound() {
    var window = DedupeWindow(within: 80 * second, limit: 1_000)
    window.advance(to: day)
    #expect(window.isDuplicate(digest(1), at: day) == false)
    #expect(window.isDuplicate(digest(2), at: .max) == false)
    #expect(window.isDuplicate(digest(3), at: .min) == false)
    window.advance(to: day + 80 * second)
    #expect(window.isDuplicate(digest(1), at: day + 80 * second) == true)
    window.advance(to: day + 100 * second)
    #expect(window.isDuplicate(digest(1), at: day + 100 * second) == false)
    #expect(window.isDuplicate(digest(3), at: day + 100 * second) == false)
  }

  @Test("Damaged rows are refused or read as something else, and never trap")
  func damage() throws {
    var generator = StreamGenerator(seed: 1)
    var window = DedupeWindow(within: 80 * second, limit: 1_000)
    for number in 0..<50 { _ = window.isDuplicate(digest(number), at: day + Int64(number) * 3 * second) }
    let rows = window.changes()
    var refused = 0
    for _ in 0..<1_000 {
      var damaged = rows
      let index = generator.below(rows.count)
      if generator.chance(50) {
        damaged[index].key = damaged[index].key.damaged(using: &generator)
      } else {
        damaged[index].value = damaged[index].value?.damaged(using: &generator)
      }
      do {
        var restored = try DedupeWindow(restoring: damaged, within: 80 * second, limit: 1_000)
        _ = restored.isDuplicate(digest(7), at: day)
        restored.advance(to: .max)
      } catch { refused += 1 }
    }
    #expect(refused > 300)
  }
}

@Suite("Sequence tracker")
struct SequenceTrackerTests {
  private func run(_ numbers: [Int64], modulus: Int64? = nil) -> ([SequenceTracker.Observation], SequenceState?) {
    var tracker = SequenceTracker(modulus: modulus, maximumGap: 1_000, limit: 10)
    let key = Array("a".utf8)
    let seen = numbers.map { number in key.withUnsafeBytes { tracker.observe(number, of: $0) } }
    return (seen, tracker.devices.first?.state)
  }

  @Test("Gaps are counted, filled ones taken back, and repeats told from them")
  func gaps() {
    let (seen, state) = run([5, 6, 9, 8, 8, 10, 7, 200])
    #expect(seen == [.first, .next, .gap(2), .filled, .repeated, .next, .filled, .gap(189)])
    #expect(state?.missing == 189 && state?.repeats == 1 && state?.reordered == 2 && state?.resets == 0)
    #expect(state?.received == 8 && state?.last == 200)
  }

  @Test("A small number after a large one, and one far ahead, begin a new run without gaps")
  func resets() {
    let (seen, state) = run([70_000, 70_001, 1, 2, 4, 900_000, .min, .max, .max, .min])
    #expect(
      seen == [.first, .next, .reset, .next, .gap(1), .reset, .reset, .reset, .repeated, .reset])
    #expect(state?.missing == 1 && state?.resets == 5)
    // After fewer numbers than the window holds, a restart shows at its second number.
    let (short, after) = run([1, 2, 3, 4, 5, 1, 2, 3])
    #expect(short == [.first, .next, .next, .next, .next, .repeated, .reset, .next])
    #expect(after?.resets == 1 && after?.repeats == 0 && after?.missing == 0)
  }

  @Test("With a modulus numbers go round, a restart does not, and others are out of range")
  func modulus() {
    let (seen, state) = run([65_534, 65_535, 0, 2, 1, 256, 65_536, -1, 40_000], modulus: 65_536)
    #expect(
      seen == [.first, .next, .next, .gap(1), .filled, .gap(253), .outOfRange, .outOfRange, .reset])
    #expect(state?.missing == 253 && state?.resets == 1)
    #expect(run([30_000, 3], modulus: 65_536).0 == [.first, .reset])
    #expect(run([1, 65_535], modulus: 65_536).0 == [.first, .repeated])
  }

  @Test("State comes back as of the checkpoint, and the device silent for longest goes first")
  func stored() throws {
    var tracker = SequenceTracker(limit: 3)
    func observe(_ number: Int64, _ key: String) -> SequenceTracker.Observation {
      Array(key.utf8).withUnsafeBytes { tracker.observe(number, of: $0) }
    }
    for key in ["a", "b", "c"] { _ = observe(1, key) }
    _ = observe(3, "a")
    tracker.beginPending()
    _ = observe(9, "a")
    var store = RowStore()
    store.apply(tracker.changes())
    tracker.stored()
    var restored = try SequenceTracker(restoring: store.all, limit: 3)
    #expect(restored.devices.map(\.state.last) == [3, 1, 1])
    #expect(restored.devices.map(\.state.missing) == [1, 0, 0])
    let first = Array("d".utf8).withUnsafeBytes { restored.observe(1, of: $0) }
    #expect(first == .first)
    #expect(restored.devices.map(\.key) == ["a", "c", "d"].map { Array($0.utf8) })
    #expect(restored.evicted == 1)
    var generator = StreamGenerator(seed: 2)
    var refused = 0
    for _ in 0..<1_000 {
      var rows = store.all
      let index = generator.below(rows.count)
      rows[index].value = rows[index].value?.damaged(using: &generator)
      do {
        var damaged = try SequenceTracker(restoring: rows, modulus: 256, limit: 3)
        for number in [Int64.max, 0, 255] {
          _ = Array("a".utf8).withUnsafeBytes { damaged.observe(number, of: $0) }
        }
      } catch { refused += 1 }
    }
    #expect(refused > 200)
  }
}
