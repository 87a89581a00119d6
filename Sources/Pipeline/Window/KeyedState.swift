package import Telemetry

/// What ``KeyedState`` keeps for a key, and how it is written.
package protocol StateValue: Sendable {
  /// What the encoding depends on and is not repeated in every row.
  associatedtype Layout: Sendable

  /// The value of a key that has none yet.
  init()
  func encode(to encoder: inout StateEncoder, layout: Layout)
  /// Nil for bytes that ``encode(to:layout:)`` cannot have written. Bytes behind the value are the caller's.
  init?(from decoder: inout StateDecoder, layout: Layout)
}

/// The layout of values that need none.
package struct PlainLayout: Sendable, Hashable {
  package init() {}
}

/// A bounded dictionary from key bytes to values that can be stored *as of the checkpoint* while in memory it
/// has gone on.
///
/// The checkpoint of every seal stops before the open batch's first record (``PipelineCore``), and a crash reads
/// the records from there again. So the owner says ``beginPending()`` before the first record of an open batch
/// changes anything, and ``pendingDecided()`` when the batch is closed; ``changes()`` gives values as they were at
/// the beginning of the open batch, and as they are where none is open. A value changed after the beginning is
/// remembered once as it was then; nothing else is copied.
///
/// A row's key is the byte 1 and the key; the row of the key 0 holds the clock of ``Policy/evictOldest``. A row's
/// value begins with the version of its encoding.
package struct KeyedState<Value: StateValue>: Sendable {
  /// What happens to a new key when there are ``limit`` already.
  package enum Policy: Sendable, Hashable {
    /// The key whose last ``modify(_:_:)`` lies farthest back goes. The order is stored with the rows.
    case evictOldest
    /// The new key is not taken.
    case refuseNew
  }

  /// Per slot.
  private struct Mark: Sendable {
    var isLive = false
    /// Whether the store has a row.
    var isStored = false
    /// In `changed`.
    var isChanged = false
    /// Index into `images`; -1 for none.
    var image: Int32 = -1
    /// Neighbours in the order of their last change; -1 for none.
    var older: Int32 = -1
    var newer: Int32 = -1
    /// The clock at the last change.
    var stamp: UInt64 = 0
  }

  /// A slot as it was when the open batch began.
  private struct Image: Sendable {
    var slot: Int
    /// As it is stored, which takes less room than a copy; nil where the key was not there.
    var row: [UInt8]?
  }

  /// The version of the rows' encoding.
  private static var version: UInt8 { 1 }

  package let limit: Int
  package let policy: Policy
  private let layout: Value.Layout
  private var table = KeyTable()
  private var values: [Value] = []
  private var marks: [Mark] = []
  /// Slots whose value as of the checkpoint may differ from the store's.
  private var changed: [Int] = []
  private var images: [Image] = []
  private var isPending = false
  private var oldest: Int32 = -1
  private var newest: Int32 = -1
  private var clock = Checkpointed<UInt64>(0)

  /// Keys that have a value.
  package private(set) var count = 0
  /// Keys that went to make room, since this value was made.
  package private(set) var evicted: Int64 = 0
  /// New keys that were not taken, since this value was made.
  package private(set) var refused: Int64 = 0

  /// - Parameter limit: keys at most, from 1; one more would only be evicted at once.
  package init(limit: Int, policy: Policy, layout: Value.Layout) {
    self.limit = max(1, limit)
    self.policy = policy
    self.layout = layout
  }

  // MARK: Keys and values

  /// The slot of a key that has a value. It stays the key's until the key is removed or evicted.
  package func slot(of key: UnsafeRawBufferPointer) -> Int? {
    guard let slot = table.find(key), marks[slot].isLive else { return nil }
    return slot
  }

  package func isLive(_ slot: Int) -> Bool { marks.indices.contains(slot) && marks[slot].isLive }
  /// The key of a slot that has a value.
  package func key(of slot: Int) -> [UInt8] { table.keys[slot] }
  /// The value of a slot that has one.
  package func value(of slot: Int) -> Value { values[slot] }
  /// Reads the value of a slot that has one, without a copy.
  package func read<Result>(_ slot: Int, _ body: (Value) -> Result) -> Result {
    body(values[slot])
  }

  /// The value of a key, where it has one.
  package func value(_ key: [UInt8]) -> Value? {
    key.withUnsafeBytes { slot(of: $0) }.map { values[$0] }
  }

  /// The slots that have a value, in no order that means anything.
  package var liveSlots: some Sequence<Int> { marks.indices.lazy.filter { marks[$0].isLive } }

  /// The slots that have a value, in the order of their keys' bytes.
  package var sortedSlots: [Int] {
    liveSlots
      .sorted { table.keys[$0].lexicographicallyPrecedes(table.keys[$1]) }
  }

  /// Gives a key that has no value an empty one.
  /// - Returns: its slot; nil where the policy is ``Policy/refuseNew`` and there is no room.
  package mutating func insert(_ key: UnsafeRawBufferPointer) -> Int? {
    if count >= limit {
      switch policy {
      case .refuseNew:
        refused += 1
        return nil
      case .evictOldest:
        evict()
      }
    }
    let slot = enter(key)
    willChange(slot)
    marks[slot].isLive = true
    count += 1
    if policy == .evictOldest { link(slot) }
    return slot
  }

  /// The slot whose last change lies farthest back; nil where there is none, and under ``Policy/refuseNew``.
  package var oldestSlot: Int? { oldest >= 0 ? Int(oldest) : nil }

  /// Makes room by hand: the key of ``oldestSlot`` goes.
  package mutating func evictOldest() { evict() }

  /// Changes the value of a slot that has one.
  package mutating func modify<Result>(_ slot: Int, _ body: (inout Value) -> Result) -> Result {
    willChange(slot)
    if policy == .evictOldest {
      unlink(slot)
      link(slot)
    }
    return body(&values[slot])
  }

  /// Changes of a slot's value only what is not stored.
  package mutating func modifyUnstored(_ slot: Int, _ body: (inout Value) -> Void) { body(&values[slot]) }

  /// Changes the value of a key, which is an empty one where it has none.
  /// - Returns: nil where the key was not taken.
  package mutating func update<Result>(_ key: UnsafeRawBufferPointer, _ body: (inout Value) -> Result) -> Result? {
    if let slot = slot(of: key) { return modify(slot, body) }
    guard let slot = insert(key) else { return nil }
    return body(&values[slot])
  }

  /// Takes the value away from a slot that has one.
  package mutating func remove(_ slot: Int) {
    willChange(slot)
    if policy == .evictOldest { unlink(slot) }
    marks[slot].isLive = false
    values[slot] = Value()
    count -= 1
    releaseIfForgotten(slot)
  }

  // MARK: As of the checkpoint

  /// An open batch begins. Ignored where one is open.
  package mutating func beginPending() {
    isPending = true
    clock.beginPending()
  }

  /// The open batch is closed: what was changed since its beginning is in the next ``changes()``.
  package mutating func pendingDecided() {
    isPending = false
    clock.pendingDecided()
    for image in images {
      let slot = image.slot
      marks[slot].image = -1
      if !marks[slot].isChanged {
        marks[slot].isChanged = true
        changed.append(slot)
      }
      releaseIfForgotten(slot)
    }
    images.removeAll(keepingCapacity: true)
  }

  /// What differs from the store as of the checkpoint, in the order of the rows' keys. Changes nothing.
  package func changes() -> [StateRow] {
    var rows: [StateRow] = []
    rows.reserveCapacity(changed.count + 1)
    for slot in changed {
      let mark = marks[slot]
      if mark.image >= 0 {
        if let row = images[Int(mark.image)].row {
          rows.append(StateRow(key: rowKey(slot), value: row))
          continue
        }
      } else if mark.isLive {
        rows.append(StateRow(key: rowKey(slot), value: encode(values[slot], stamp: mark.stamp)))
        continue
      }
      if mark.isStored { rows.append(StateRow(key: rowKey(slot), value: nil)) }
    }
    rows.sort(by: StateRow.precedes)
    if policy == .evictOldest, let clock = clock.change {
      var encoder = StateEncoder()
      encoder.put(Self.version)
      encoder.put(unsigned: clock)
      rows.insert(StateRow(key: [0], value: encoder.bytes), at: 0)
    }
    return rows
  }

  /// What ``changes()`` gave, since when nothing changed, is stored.
  package mutating func stored() {
    clock.stored()
    for slot in changed {
      let image = marks[slot].image
      marks[slot].isStored = image >= 0 ? images[Int(image)].row != nil : marks[slot].isLive
      marks[slot].isChanged = false
      releaseIfForgotten(slot)
    }
    changed.removeAll(keepingCapacity: true)
  }

  /// State as it was stored, in any order. More keys than the limit are evicted or kept, as the policy says.
  package init(restoring rows: [StateRow], limit: Int, policy: Policy, layout: Value.Layout) throws(StateDamage) {
    self.init(limit: limit, policy: policy, layout: layout)
    var last: UInt64 = 0
    var hasClock = false
    for (index, row) in rows.enumerated() {
      guard let bytes = row.value, let kind = row.key.first else { throw StateDamage(.key, row: index) }
      var decoder = StateDecoder(bytes)
      guard let version = decoder.byte() else { throw StateDamage(.content, row: index) }
      guard version == Self.version else { throw StateDamage(.version(version), row: index) }
      if kind == 0, row.key.count == 1, policy == .evictOldest {
        if hasClock { throw StateDamage(.repeated, row: index) }
        guard let time = decoder.counter(), decoder.isAtEnd else { throw StateDamage(.content, row: index) }
        clock = Checkpointed(UInt64(time), isStored: true)
        hasClock = true
        continue
      }
      guard kind == 1 else { throw StateDamage(.key, row: index) }
      var stamp: UInt64 = 0
      if policy == .evictOldest {
        guard let written = decoder.unsigned() else { throw StateDamage(.content, row: index) }
        stamp = written
      }
      guard let value = Value(from: &decoder, layout: layout), decoder.isAtEnd else {
        throw StateDamage(.content, row: index)
      }
      let known = row.key.dropFirst().withUnsafeBytes { table.find($0) }
      guard known == nil else { throw StateDamage(.repeated, row: index) }
      let slot = row.key.dropFirst().withUnsafeBytes { enter($0) }
      values[slot] = value
      marks[slot].isLive = true
      marks[slot].isStored = true
      marks[slot].stamp = stamp
      last = max(last, stamp)
      count += 1
    }
    guard policy == .evictOldest else { return }
    guard last <= clock.value else { throw StateDamage(hasClock ? .content : .missing, row: rows.count) }
    let order = sortedSlots.sorted { marks[$0].stamp < marks[$1].stamp }
    for slot in order { append(slot) }
    while count > self.limit { evict() }
  }

  // MARK: Inside

  private mutating func enter(_ key: UnsafeRawBufferPointer) -> Int {
    if let slot = table.find(key) { return slot }
    let slot = table.insert(key)
    if slot == values.count {
      values.append(Value())
      marks.append(Mark())
    }
    return slot
  }

  /// A slot without a value is free for another key once neither the store nor the open batch's beginning has
  /// one. It may stay in `changed` or keep an image of nothing: both are as true for the next key.
  private mutating func releaseIfForgotten(_ slot: Int) {
    let mark = marks[slot]
    guard !mark.isLive, !mark.isStored, table.contains(slot: slot) else { return }
    if mark.image >= 0, images[Int(mark.image)].row != nil { return }
    table.remove(slot)
  }

  @inline(__always)
  private mutating func willChange(_ slot: Int) {
    if isPending {
      if marks[slot].image < 0 {
        marks[slot].image = Int32(truncatingIfNeeded: images.count)
        let row = marks[slot].isLive ? encode(values[slot], stamp: marks[slot].stamp) : nil
        images.append(Image(slot: slot, row: row))
      }
    } else if !marks[slot].isChanged {
      marks[slot].isChanged = true
      changed.append(slot)
    }
  }

  private mutating func evict() {
    guard oldest >= 0 else { return }
    evicted += 1
    remove(Int(oldest))
  }

  private mutating func link(_ slot: Int) {
    clock.value += 1
    marks[slot].stamp = clock.value
    append(slot)
  }

  /// Makes a slot the newest.
  private mutating func append(_ slot: Int) {
    let index = Int32(truncatingIfNeeded: slot)
    marks[slot].older = newest
    marks[slot].newer = -1
    if newest >= 0 { marks[Int(newest)].newer = index } else { oldest = index }
    newest = index
  }

  private mutating func unlink(_ slot: Int) {
    let (older, newer) = (marks[slot].older, marks[slot].newer)
    if older >= 0 { marks[Int(older)].newer = newer } else { oldest = newer }
    if newer >= 0 { marks[Int(newer)].older = older } else { newest = older }
  }

  private func rowKey(_ slot: Int) -> [UInt8] {
    var key: [UInt8] = []
    key.reserveCapacity(table.keys[slot].count + 1)
    key.append(1)
    key.append(contentsOf: table.keys[slot])
    return key
  }

  private func encode(_ value: Value, stamp: UInt64) -> [UInt8] {
    var encoder = StateEncoder()
    encoder.put(Self.version)
    if policy == .evictOldest { encoder.put(unsigned: stamp) }
    value.encode(to: &encoder, layout: layout)
    return encoder.bytes
  }
}
