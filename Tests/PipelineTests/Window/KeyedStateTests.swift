import Pipeline
import Telemetry
import Testing

private struct Counter: StateValue, Hashable {
  var number: Int64 = 0
  init() {}
  init(_ number: Int64) { self.number = number }
  func encode(to encoder: inout StateEncoder, layout: PlainLayout) { encoder.put(signed: number) }
  init?(from decoder: inout StateDecoder, layout: PlainLayout) {
    guard let number = decoder.signed() else { return nil }
    self.number = number
  }
}

/// The same ability by copying everything at every beginning.
private struct NaiveState {
  let limit: Int
  let evicts: Bool
  /// In the order of the last change.
  var entries: [(key: [UInt8], number: Int64)] = []
  var atBegin: [(key: [UInt8], number: Int64)]?

  var asOfCheckpoint: [(key: [UInt8], number: Int64)] { atBegin ?? entries }

  mutating func add(_ amount: Int64, to key: [UInt8]) -> Bool {
    if let index = entries.firstIndex(where: { $0.key == key }) {
      let old = entries.remove(at: index)
      entries.append((key, old.number + amount))
      return true
    }
    if entries.count >= limit {
      guard evicts else { return false }
      entries.removeFirst()
    }
    entries.append((key, amount))
    return true
  }
}

@Suite("Keyed state")
struct KeyedStateTests {
  private typealias State = KeyedState<Counter>

  private func names(_ entries: [(key: [UInt8], number: Int64)]) -> [String] {
    entries.map { "\(String(decoding: $0.key, as: UTF8.self))=\($0.number)" }
  }

  private func contents(_ state: State) -> [String] {
    state.sortedSlots.map { "\(String(decoding: state.key(of: $0), as: UTF8.self))=\(state.value(of: $0).number)" }
  }

  @Test(
    "Whatever is changed, begun, decided, stored and crashed, it is what a copy of everything would be",
    arguments: 1...20)
  func model(seed: UInt64) throws {
    var generator = StreamGenerator(seed: seed)
    let evicts = seed % 2 == 0
    let policy: State.Policy = evicts ? .evictOldest : .refuseNew
    let limit = 1 + generator.below(12)
    var state = State(limit: limit, policy: policy, layout: PlainLayout())
    var naive = NaiveState(limit: limit, evicts: evicts)
    var store = RowStore()
    var crashes = 0
    var refusals = 0
    for _ in 0..<2_000 {
      switch generator.below(20) {
      case 0...11:
        let key = [UInt8(97 + generator.below(18))]
        let amount = Int64(generator.below(100))
        let taken = key.withUnsafeBytes { key in state.update(key) { $0.number += amount } } != nil
        #expect(taken == naive.add(amount, to: key))
        if !taken { refusals += 1 }
      case 12:
        let key = [UInt8(97 + generator.below(18))]
        let slot = key.withUnsafeBytes { state.slot(of: $0) }
        #expect((slot != nil) == naive.entries.contains { $0.key == key })
        if let slot {
          state.remove(slot)
          naive.entries.removeAll { $0.key == key }
        }
      case 13, 14:
        state.beginPending()
        if naive.atBegin == nil { naive.atBegin = naive.entries }
      case 15, 16:
        state.pendingDecided()
        naive.atBegin = nil
      case 17, 18:
        let changes = state.changes()
        let ordered = changes.sorted(by: StateRow.precedes)
        #expect(changes == ordered)
        #expect(changes == state.changes())
        for change in changes where change.value == nil { #expect(store.rows[change.key] != nil) }
        for change in changes where change.value != nil {
          #expect(store.rows[change.key] != change.value || !evicts)
        }
        store.apply(changes)
        state.stored()
        #expect(state.changes().isEmpty)
        let restored = try State(restoring: store.all, limit: limit, policy: policy, layout: PlainLayout())
        #expect(contents(restored) == names(naive.asOfCheckpoint).sorted())
      default:
        // A crash: what was not stored is gone, and so is the open batch.
        store.apply(state.changes())
        state = try State(restoring: store.all, limit: limit, policy: policy, layout: PlainLayout())
        naive.entries = naive.asOfCheckpoint
        naive.atBegin = nil
        crashes += 1
      }
      #expect(contents(state) == names(naive.entries).sorted())
      #expect(state.count == naive.entries.count)
    }
    #expect(crashes > 50)
    #expect(evicts ? state.refused == 0 : refusals > 0 || limit >= 18)
  }

  @Test("A value changed before and after the open batch's beginning is given as at its beginning")
  func asOfCheckpoint() {
    var state = State(limit: 10, policy: .refuseNew, layout: PlainLayout())
    func put(_ number: Int64, _ key: String) {
      _ = Array(key.utf8).withUnsafeBytes { key in state.update(key) { $0.number = number } }
    }
    put(1, "a")
    put(1, "b")
    state.beginPending()
    put(2, "a")
    put(2, "c")
    #expect(state.changes().map(\.value) == [[1, 2], [1, 2]])
    #expect(state.changes().map(\.key) == [[1, 97], [1, 98]])
    state.stored()
    #expect(state.changes().isEmpty)
    state.pendingDecided()
    #expect(state.changes().map(\.key) == [[1, 97], [1, 99]])
    #expect(state.changes().map(\.value) == [[1, 4], [1, 4]])
  }

  @Test("Keys that come and go between two seals leave neither rows nor memory")
  func churn() {
    var state = State(limit: 4, policy: .evictOldest, layout: PlainLayout())
    for number in 0..<10_000 {
      if number == 5_000 { state.beginPending() }
      _ = Array("device \(number)".utf8).withUnsafeBytes { key in state.update(key) { $0.number = 1 } }
    }
    #expect(state.count == 4)
    #expect(state.evicted == 9_996)
    #expect(state.changes().count == 5, "the clock and four keys as of the beginning")
    state.pendingDecided()
    #expect(state.changes().count == 5)
  }

  @Test("Damaged rows are refused or read as something else, and never trap", arguments: [true, false])
  func damage(evicts: Bool) throws {
    let policy: State.Policy = evicts ? .evictOldest : .refuseNew
    var state = State(limit: 10, policy: policy, layout: PlainLayout())
    for number in 0..<8 {
      _ = Array("k\(number)".utf8).withUnsafeBytes { key in state.update(key) { $0.number = Int64(number) << 30 } }
    }
    let rows = state.changes()
    var generator = StreamGenerator(seed: 3)
    var refused = 0
    for _ in 0..<2_000 {
      var damaged = rows
      let index = generator.below(rows.count)
      if generator.chance(30) {
        damaged[index].key = damaged[index].key.damaged(using: &generator)
      } else {
        damaged[index].value = damaged[index].value?.damaged(using: &generator)
      }
      do {
        var restored = try State(restoring: damaged, limit: 10, policy: policy, layout: PlainLayout())
        _ = Array("new".utf8).withUnsafeBytes { key in restored.update(key) { $0.number = 1 } }
      } catch {
        refused += 1
        #expect(!error.description.isEmpty)
      }
    }
    #expect(refused > 500)
    let twice = rows + [rows[rows.count - 1]]
    #expect(throws: StateDamage(.repeated, row: rows.count)) {
      try State(restoring: twice, limit: 10, policy: policy, layout: PlainLayout())
    }
    var newer = rows
    newer[1].value?[0] = 9
    #expect(throws: StateDamage(.version(9), row: 1)) {
      try State(restoring: newer, limit: 10, policy: policy, layout: PlainLayout())
    }
  }
}
