package import Telemetry

/// Remembers digests for a time, to tell what came twice: bounded in memory and on disk whatever comes.
///
/// Time is cut into stretches of an eighth of the bound, and the digests of a stretch are forgotten together, so
/// that forgetting costs nothing per digest. A digest is a duplicate of one whose time differs by ``within`` or
/// less; one that differs by up to a quarter more may be taken for a duplicate too, because times are known by
/// their stretches only. A duplicate does not lengthen the memory of the first.
///
/// Time goes on by ``advance(to:)`` only, with the watermark or the receipt time: a single event from the far
/// future makes it forget nothing.
///
/// Rows of the stored state are only ever added and deleted, never written again: key 0 for the clock, and for
/// digests the byte 1, the generation (8 bytes) and a number from 0 (4 bytes).
package struct DedupeWindow: Sendable {
  /// Stretches of time in the bound.
  private static let stretches: Int64 = 8
  /// Twice the bound, before and after the present, is 17 stretches; a generation may hold but a part of one.
  private static let maximumGenerations = 64
  /// 64 KiB a row.
  private static let digestsPerRow = 4_096
  /// Of the rows' encoding.
  private static let version: UInt8 = 1

  private struct Clock: Sendable, Equatable {
    var now: Int64 = .min
    var nextGeneration: UInt64 = 0
  }

  /// Nanoseconds.
  package let within: Int64
  /// Digests at most. Each takes 16 bytes on disk and up to 40 in memory.
  package let limit: Int
  private let width: Int64

  /// In the order of bucket and id.
  private var generations: [DedupeGeneration] = []
  /// Dropped since the open batch began, and not new since then.
  private var droppedPending: [DedupeGeneration] = []
  /// Generations dropped as of the checkpoint, and how many rows of them the store has.
  private var dropped: [(id: UInt64, rows: Int)] = []
  private var clock = Checkpointed(Clock())
  private var isPending = false

  /// Digests that it remembers.
  package private(set) var count = 0
  /// Digests that were forgotten before their time, to make room, since this value was made.
  package private(set) var forgottenEarly: Int64 = 0

  /// - Parameters:
  ///   - within: nanoseconds, from 1.
  ///   - limit: from 8.
  package init(within: Int64, limit: Int) {
    self.within = max(1, within)
    self.limit = max(8, limit)
    width = (self.within - 1) / DedupeWindow.stretches + 1
  }

  // MARK: Digests

  /// Whether the digest came before, within the bound of `time`; remembers it if not.
  /// - Parameter time: of the event or of its receipt, in nanoseconds; one older than the bound is remembered for
  ///   as long as the oldest.
  package mutating func isDuplicate(_ digest: DedupeDigest, at time: Int64) -> Bool {
    if contains(digest, at: time) { return true }
    insert(digest, at: time)
    return false
  }

  /// Whether the digest came before, within the bound of `time`. Changes nothing, so that a pipeline can find out
  /// where a reading goes before it books anything.
  package func contains(_ digest: DedupeDigest, at time: Int64) -> Bool {
    let bucket = self.bucket(of: time)
    let first = saturating(bucket, minus: DedupeWindow.stretches)
    let last = saturating(bucket, plus: DedupeWindow.stretches)
    for generation in generations.reversed() {
      guard generation.bucket >= first else { return false }
      if generation.bucket <= last, generation.contains(digest) { return true }
    }
    return false
  }

  /// Remembers a digest of which ``contains(_:at:)`` said no.
  package mutating func insert(_ digest: DedupeDigest, at time: Int64) {
    if count >= limit { dropOldestEarly() }
    let bucket = self.bucket(of: time)
    let end = generations.firstIndex { $0.bucket > bucket } ?? generations.count
    if end > 0, generations[end - 1].bucket == bucket,
      generations[end - 1].count < limit / Int(DedupeWindow.stretches)
    {
      generations[end - 1].insert(digest)
    } else {
      var generation = DedupeGeneration(id: clock.value.nextGeneration, bucket: bucket)
      clock.value.nextGeneration += 1
      generation.insert(digest)
      generations.insert(generation, at: end)
    }
    count += 1
    while generations.count > DedupeWindow.maximumGenerations { dropOldestEarly() }
  }

  /// Time has come to `now`; forgets what is older than the bound. Time that lies behind is ignored.
  package mutating func advance(to now: Int64) {
    guard now > clock.value.now else { return }
    clock.value.now = now
    let first = floorDivided(saturating(now, minus: within), by: width)
    while let oldest = generations.first, oldest.bucket < first { dropOldest() }
  }

  // MARK: As of the checkpoint

  /// An open batch begins; see ``KeyedState``. Ignored where one is open.
  package mutating func beginPending() {
    guard !isPending else { return }
    isPending = true
    clock.beginPending()
    for index in generations.indices { generations[index].countAtBegin = generations[index].count }
  }

  /// The open batch is closed.
  package mutating func pendingDecided() {
    isPending = false
    clock.pendingDecided()
    for generation in droppedPending where generation.storedRows > 0 {
      dropped.append((generation.id, generation.storedRows))
    }
    droppedPending = []
  }

  /// What differs from the store as of the checkpoint, in the order of the rows' keys. Changes nothing.
  package func changes() -> [StateRow] {
    var rows: [StateRow] = []
    if let clock = clock.change {
      var encoder = StateEncoder()
      encoder.put(DedupeWindow.version)
      encoder.put(signed: clock.now)
      encoder.put(unsigned: clock.nextGeneration)
      rows.append(StateRow(key: [0], value: encoder.bytes))
    }
    for (id, count) in dropped {
      for number in 0..<count { rows.append(StateRow(key: DedupeWindow.rowKey(id, number), value: nil)) }
    }
    for generation in droppedPending { append(generation, to: &rows) }
    for generation in generations { append(generation, to: &rows) }
    rows.sort(by: StateRow.precedes)
    return rows
  }

  /// What ``changes()`` gave, since when nothing changed, is stored.
  package mutating func stored() {
    clock.stored()
    dropped = []
    for index in droppedPending.indices { droppedPending[index].markStored(countToStore(droppedPending[index])) }
    for index in generations.indices { generations[index].markStored(countToStore(generations[index])) }
  }

  /// State as it was stored, in any order.
  package init(restoring rows: [StateRow], within: Int64, limit: Int) throws(StateDamage) {
    self.init(within: within, limit: limit)
    var hasClock = false
    let order = rows.indices.sorted { StateRow.precedes(rows[$0], rows[$1]) }
    for (place, index) in order.enumerated() {
      let row = rows[index]
      if place > 0, rows[order[place - 1]].key == row.key { throw StateDamage(.repeated, row: index) }
      guard let bytes = row.value else { throw StateDamage(.key, row: index) }
      var decoder = StateDecoder(bytes)
      guard let version = decoder.byte() else { throw StateDamage(.content, row: index) }
      guard version == DedupeWindow.version else { throw StateDamage(.version(version), row: index) }
      if row.key == [0] {
        guard let now = decoder.signed(), let next = decoder.counter(), decoder.isAtEnd else {
          throw StateDamage(.content, row: index)
        }
        clock = Checkpointed(Clock(now: now, nextGeneration: UInt64(next)), isStored: true)
        hasClock = true
        continue
      }
      try restore(row, &decoder, index)
    }
    guard hasClock || rows.isEmpty else { throw StateDamage(.missing, row: rows.count) }
    generations.sort { ($0.bucket, $0.id) < ($1.bucket, $1.id) }
    while count > self.limit || generations.count > DedupeWindow.maximumGenerations { dropOldestEarly() }
  }

  private mutating func restore(_ row: StateRow, _ decoder: inout StateDecoder, _ index: Int) throws(StateDamage) {
    var key = StateDecoder(row.key)
    guard row.key.count == 13, key.byte() == 1, let id = key.fixed() else { throw StateDamage(.key, row: index) }
    let number = row.key[9...].reduce(0) { $0 << 8 | Int($1) }
    guard id < clock.value.nextGeneration else { throw StateDamage(.content, row: index) }
    guard let start = decoder.signed(), decoder.remaining % 16 == 0, decoder.remaining > 0 else {
      throw StateDamage(.content, row: index)
    }
    let bucket = floorDivided(start, by: width)
    // Rows come in the order of generation and number.
    if generations.last?.id != id { generations.append(DedupeGeneration(id: id, bucket: bucket)) }
    let last = generations.count - 1
    guard generations[last].storedRows == number else { throw StateDamage(.missing, row: index) }
    guard generations[last].bucket == bucket else { throw StateDamage(.content, row: index) }
    while let high = decoder.fixed(), let low = decoder.fixed() {
      let digest = DedupeDigest(high: high, low: low)
      guard !generations[last].contains(digest) else { throw StateDamage(.content, row: index) }
      generations[last].insert(digest)
      count += 1
    }
    generations[last].storedRows += 1
    generations[last].storedCount = generations[last].count
  }

  // MARK: Inside

  /// The stretch of a time; what lies out of the bound before or after the present goes to the nearest within.
  private func bucket(of time: Int64) -> Int64 {
    guard clock.value.now > .min else { return floorDivided(time, by: width) }
    let first = floorDivided(saturating(clock.value.now, minus: within), by: width)
    let last = floorDivided(saturating(clock.value.now, plus: within), by: width)
    return min(max(floorDivided(time, by: width), first), last)
  }

  /// When a stretch begins; the first of all times where it begins before.
  private func start(of bucket: Int64) -> Int64 {
    let (start, overflow) = bucket.multipliedReportingOverflow(by: width)
    return overflow ? .min : start
  }

  private mutating func dropOldestEarly() {
    forgottenEarly += Int64(generations.first?.count ?? 0)
    dropOldest()
  }

  private mutating func dropOldest() {
    guard !generations.isEmpty else { return }
    var generation = generations.removeFirst()
    count -= generation.count
    if !isPending {
      if generation.storedRows > 0 { dropped.append((generation.id, generation.storedRows)) }
    } else if generation.countAtBegin > 0 {
      generation.trim()
      droppedPending.append(generation)
    }
  }

  /// How many digests of a generation the store has, once the next changes are stored.
  private func countToStore(_ generation: DedupeGeneration) -> Int {
    isPending ? generation.countAtBegin : generation.count
  }

  private func append(_ generation: DedupeGeneration, to rows: inout [StateRow]) {
    let end = countToStore(generation)
    var position = generation.storedCount
    var number = generation.storedRows
    while position < end {
      let next = min(end, position + DedupeWindow.digestsPerRow)
      var encoder = StateEncoder()
      encoder.put(DedupeWindow.version)
      encoder.put(signed: start(of: generation.bucket))
      for digest in generation.digests[position..<next] {
        encoder.put(fixed: digest.high)
        encoder.put(fixed: digest.low)
      }
      rows.append(StateRow(key: DedupeWindow.rowKey(generation.id, number), value: encoder.bytes))
      number += 1
      position = next
    }
  }

  private static func rowKey(_ generation: UInt64, _ number: Int) -> [UInt8] {
    var encoder = StateEncoder()
    encoder.put(1)
    encoder.put(fixed: generation)
    return encoder.bytes + (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) }
  }

  /// How many rows hold so many digests that are new to the store.
  static func rows(of digests: Int) -> Int { (digests + digestsPerRow - 1) / digestsPerRow }
}

extension DedupeGeneration {
  /// The store has its first `count` digests.
  fileprivate mutating func markStored(_ count: Int) {
    guard count > storedCount else { return }
    storedRows += DedupeWindow.rows(of: count - storedCount)
    storedCount = count
  }
}
