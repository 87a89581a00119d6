package import Telemetry

/// What is known of each device at a glance: when its last reading came, where that stands in the log, and how often
/// it sends. What the reading says is read from the log when somebody asks.
///
/// In memory only, from the daemon's start on, and bounded: past ``limit`` the device that was silent for longest is
/// forgotten. It costs each reading one look into a hash table and moves no memory; a copy, which shares its storage
/// until one of the two changes, goes to other threads when they ask.
package struct DeviceView: Sendable {
  package static let limits = 1...100_000
  /// 80 bytes and the name for each: about 1 MB, unless names are very long.
  package static let usualLimit = 10_000
  /// Bytes of a key that are kept; longer ones are told apart by their hashes.
  static let longestKey = 128
  /// The rate is reckoned from the last so many messages at least, and from fewer than twice as many. A power of two.
  private static let rateMessages: UInt16 = 16

  private struct Entry: Sendable {
    var hash: UInt64
    /// Of its last reading.
    var offset: Int64
    /// When the message of that was received, wall nanoseconds.
    var received: Int64
    /// The receipt of the message from which the rate is reckoned, and of the one that takes its place.
    var since: Int64
    var mark: Int64
    var count: Int64
    /// Readings since those of the message at `since`, and how many of them came up to `mark`.
    var recent: UInt32
    var recentAtMark: UInt32
    var keyStart: UInt32
    /// Neighbours in the order of their last readings; -1 for none.
    var older: Int32
    var newer: Int32
    /// Of what is kept of it; the hash tells longer ones apart.
    var keyLength: UInt16
    /// After the one at `since`.
    var messages: UInt16
  }

  private var entries: ContiguousArray<Entry> = []
  /// Entry + 1; 0 where empty. A power of two, at most three quarters full.
  private var table: ContiguousArray<UInt32> = []
  /// The kept bytes of all keys, and of some that are gone.
  private var keys: ContiguousArray<UInt8> = []
  private var liveKeyBytes = 0
  private var oldest: Int32 = -1
  private var newest: Int32 = -1

  /// Devices at most.
  package private(set) var limit: Int
  /// Devices that went to make room.
  package private(set) var forgotten: Int64 = 0

  /// - Parameter limit: within ``limits``.
  package init(limit: Int) { self.limit = max(1, min(limit, DeviceView.limits.upperBound)) }

  package var count: Int { entries.count }

  /// The same devices under another limit.
  package mutating func change(limit: Int) {
    self.limit = max(1, min(limit, DeviceView.limits.upperBound))
    while entries.count > self.limit { forgetOldest() }
  }

  // MARK: Readings

  /// A reading went into a batch or a window.
  /// - Parameter received: when its message was received, wall nanoseconds.
  @inline(__always)
  mutating func note(
    _ reading: Reading, _ text: UnsafeRawBufferPointer, route: Route, offset: Offset, received: Int64
  ) {
    switch reading.key {
    case .topic:
      route.keyContent.withUnsafeBytes {
        note($0, hash: route.keyHash, offset: offset.rawValue, received: received)
      }
    case .field(let range):
      let key = UnsafeRawBufferPointer(rebasing: text[range])
      note(key, hash: DeviceView.hash(key), offset: offset.rawValue, received: received)
    case .none:
      note(
        UnsafeRawBufferPointer(start: nil, count: 0), hash: DeviceView.seed, offset: offset.rawValue,
        received: received)
    }
  }

  private mutating func note(_ key: UnsafeRawBufferPointer, hash: UInt64, offset: Int64, received: Int64) {
    guard let slot = find(key, hash: hash) else { return enter(key, hash: hash, offset: offset, received: received) }
    // What is run again, or read again after a failure, was counted when it came.
    let isKnown = entries.withUnsafeMutableBufferPointer { entries in
      let previous = entries[slot].offset
      guard offset >= previous else { return true }
      entries[slot].count &+= 1
      if offset > previous {
        if entries[slot].messages & (DeviceView.rateMessages - 1) == 0 { DeviceView.setMark(&entries[slot]) }
        entries[slot].messages &+= 1
        entries[slot].offset = offset
        entries[slot].received = received
        if received < entries[slot].since { DeviceView.beginRate(&entries[slot]) }
      }
      if entries[slot].messages > 0 { entries[slot].recent &+= 1 }
      return false
    }
    if !isKnown, newest != Int32(truncatingIfNeeded: slot) { makeNewest(slot) }
  }

  /// Another ``rateMessages`` have come, the last of them at `received`: what came before the mark no longer counts.
  private static func setMark(_ entry: inout Entry) {
    if entry.messages > rateMessages {
      entry.since = entry.mark
      entry.recent &-= entry.recentAtMark
      entry.messages = rateMessages
    }
    entry.mark = entry.received
    entry.recentAtMark = entry.recent
  }

  /// The clock was set back: nothing of before says how often it sends.
  private static func beginRate(_ entry: inout Entry) {
    entry.since = entry.received
    entry.messages = 0
    entry.recent = 0
  }

  // MARK: The table

  /// Differs from process to process: devices choose their keys, and cannot choose ones that collide.
  private static let seed: UInt64 = UInt64(bitPattern: Int64(Hasher().finalize()))

  /// Multiplies to twice the width and folds the halves, eight bytes at a time (the construction of wyhash): a tenth
  /// of what `Hasher` costs for a short key, which comes with every reading.
  static func hash(_ key: UnsafeRawBufferPointer) -> UInt64 {
    var hash = seed
    guard let base = key.baseAddress, !key.isEmpty else { return hash }
    hash ^= UInt64(truncatingIfNeeded: key.count) &* 0x9E37_79B9_7F4A_7C15
    var place = 0
    while key.count - place >= 8 {
      hash = fold(hash ^ base.loadUnaligned(fromByteOffset: place, as: UInt64.self), 0xA076_1D64_78BD_642F)
      place += 8
    }
    if place < key.count {
      var rest: UInt64 = 0
      if key.count >= 8 {
        rest = base.loadUnaligned(fromByteOffset: key.count - 8, as: UInt64.self)
      } else {
        for index in place..<key.count { rest = rest << 8 | UInt64(key[index]) }
      }
      hash = fold(hash ^ rest, 0xE703_7ED1_A0B4_28DB)
    }
    return fold(hash ^ 0x8EBC_6AF0_9C88_C6E3, seed | 1)
  }

  private static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
    let product = a.multipliedFullWidth(by: b)
    return product.high ^ product.low
  }

  private func find(_ key: UnsafeRawBufferPointer, hash: UInt64) -> Int? {
    guard !table.isEmpty else { return nil }
    return table.withUnsafeBufferPointer { table in
      entries.withUnsafeBufferPointer { entries in
        keys.withUnsafeBytes { keys in
          let mask = table.count - 1
          var place = Int(truncatingIfNeeded: hash) & mask
          while true {
            let number = Int(table[place])
            if number == 0 { return nil }
            let entry = entries[number - 1]
            if entry.hash == hash, Int(entry.keyLength) == min(key.count, DeviceView.longestKey),
              DeviceView.equal(keys, Int(entry.keyStart), key, Int(entry.keyLength))
            {
              return number - 1
            }
            place = (place + 1) & mask
          }
        }
      }
    }
  }

  /// Whether so many bytes of a key are those that are kept from `start` on.
  private static func equal(
    _ keys: UnsafeRawBufferPointer, _ start: Int, _ key: UnsafeRawBufferPointer, _ count: Int
  ) -> Bool {
    guard let kept = keys.baseAddress, let other = key.baseAddress else { return count == 0 }
    var place = 0
    while count - place >= 8 {
      if kept.loadUnaligned(fromByteOffset: start + place, as: UInt64.self)
        != other.loadUnaligned(fromByteOffset: place, as: UInt64.self)
      {
        return false
      }
      place += 8
    }
    while place < count {
      if keys[start + place] != key[place] { return false }
      place += 1
    }
    return true
  }

  @inline(never)
  private mutating func enter(_ key: UnsafeRawBufferPointer, hash: UInt64, offset: Int64, received: Int64) {
    if entries.count >= limit { forgetOldest() }
    if (entries.count + 1) * 4 > table.count * 3 { grow() }
    let slot = entries.count
    let start = keys.count
    keys.append(contentsOf: key.prefix(DeviceView.longestKey))
    liveKeyBytes += keys.count - start
    entries.append(
      Entry(
        hash: hash, offset: offset, received: received, since: received, mark: received, count: 1, recent: 0,
        recentAtMark: 0, keyStart: UInt32(truncatingIfNeeded: start), older: newest, newer: -1,
        keyLength: UInt16(truncatingIfNeeded: keys.count - start), messages: 0))
    if newest >= 0 { entries[Int(newest)].newer = Int32(truncatingIfNeeded: slot) }
    newest = Int32(truncatingIfNeeded: slot)
    if oldest < 0 { oldest = newest }
    place(slot)
  }

  private mutating func place(_ slot: Int) {
    let mask = table.count - 1
    var place = Int(truncatingIfNeeded: entries[slot].hash) & mask
    while table[place] != 0 { place = (place + 1) & mask }
    table[place] = UInt32(truncatingIfNeeded: slot + 1)
  }

  private mutating func grow() {
    table = ContiguousArray(repeating: 0, count: max(16, table.count * 2))
    for slot in entries.indices { place(slot) }
  }

  private func tablePlace(of slot: Int) -> Int {
    let mask = table.count - 1
    var place = Int(truncatingIfNeeded: entries[slot].hash) & mask
    while Int(table[place]) != slot + 1 { place = (place + 1) & mask }
    return place
  }

  private mutating func makeNewest(_ slot: Int) {
    let number = Int32(truncatingIfNeeded: slot)
    unlink(slot)
    entries[slot].older = newest
    entries[slot].newer = -1
    if newest >= 0 { entries[Int(newest)].newer = number }
    newest = number
    if oldest < 0 { oldest = number }
  }

  private mutating func unlink(_ slot: Int) {
    let (older, newer) = (entries[slot].older, entries[slot].newer)
    if older >= 0 { entries[Int(older)].newer = newer } else { oldest = newer }
    if newer >= 0 { entries[Int(newer)].older = older } else { newest = older }
  }

  private mutating func forgetOldest() {
    guard oldest >= 0 else { return }
    let slot = Int(oldest)
    unlink(slot)
    vacate(tablePlace(of: slot))
    liveKeyBytes -= keyRange(entries[slot]).count
    // The last entry takes the empty place, so that there are no holes.
    let last = entries.count - 1
    if slot != last {
      table[tablePlace(of: last)] = UInt32(truncatingIfNeeded: slot + 1)
      let moved = entries[last]
      entries[slot] = moved
      let number = Int32(truncatingIfNeeded: slot)
      if moved.older >= 0 { entries[Int(moved.older)].newer = number } else { oldest = number }
      if moved.newer >= 0 { entries[Int(moved.newer)].older = number } else { newest = number }
    }
    entries.removeLast()
    forgotten += 1
    if keys.count > 2 * liveKeyBytes + 65_536 { compactKeys() }
  }

  /// Empties a place of the table. Entries behind it that would no longer be found move up (Knuth, TAOCP 6.4,
  /// algorithm R).
  private mutating func vacate(_ place: Int) {
    let mask = table.count - 1
    var hole = place
    var next = (hole + 1) & mask
    while table[next] != 0 {
      let home = Int(truncatingIfNeeded: entries[Int(table[next]) - 1].hash) & mask
      if (next &- home) & mask >= (next &- hole) & mask {
        table[hole] = table[next]
        hole = next
      }
      next = (next + 1) & mask
    }
    table[hole] = 0
  }

  private mutating func compactKeys() {
    var compact: ContiguousArray<UInt8> = []
    compact.reserveCapacity(liveKeyBytes)
    for slot in entries.indices {
      let range = keyRange(entries[slot])
      entries[slot].keyStart = UInt32(truncatingIfNeeded: compact.count)
      compact += keys[range]
    }
    keys = compact
  }

  private func keyRange(_ entry: Entry) -> Range<Int> {
    let start = Int(entry.keyStart)
    return start..<start + Int(entry.keyLength)
  }
}

// MARK: Looking at it

extension DeviceView {
  /// One device as it was when the view was copied.
  package struct Device: Sendable, Hashable {
    /// As it stands in a JSON string; the first ``DeviceView/longestKey`` bytes of a longer one.
    package var key: [UInt8]
    /// Readings since the daemon started, or since it was last forgotten.
    package var readings: Int64
    /// Of the message that its last reading came with.
    package var offset: Offset
    /// When that was received, wall nanoseconds.
    package var received: Int64
    fileprivate var hash: UInt64
    fileprivate var since: Int64
    fileprivate var recent: UInt32
    fileprivate var messages: UInt16

    /// Readings a second over its last messages, at most 32 of them; nil where there was only one.
    /// A device that has been silent for longer than usual gets slower while it is.
    /// - Parameter now: wall nanoseconds.
    package func rate(now: Int64) -> Double? {
      guard messages > 0 else { return nil }
      let (span, overflow) = received.subtractingReportingOverflow(since)
      guard !overflow, span > 0 else { return nil }
      let usual = Double(span) / Double(messages)
      let silence = Double(now) - Double(received)
      return Double(recent) * 1e9 / (silence > 2 * usual ? Double(span) + silence : Double(span))
    }

    /// Whether a line with this key is of this device.
    package func isNamed(_ key: [UInt8]) -> Bool { key.withUnsafeBytes { DeviceView.hash($0) } == hash }
  }

  /// Devices in the order of their keys' bytes.
  /// - Parameters:
  ///   - after: those only whose keys come behind this one.
  ///   - limit: so many at most.
  package func devices(after: [UInt8]? = nil, limit: Int = .max) -> [Device] {
    let chosen = after.map { after in
      entries.indices.filter { after.lexicographicallyPrecedes(keys[keyRange(entries[$0])]) }
    }
    return (chosen ?? Array(entries.indices)).sorted {
      keys[keyRange(entries[$0])].lexicographicallyPrecedes(keys[keyRange(entries[$1])])
    }.prefix(limit).map(device)
  }

  private func device(_ slot: Int) -> Device {
    let entry = entries[slot]
    return Device(
      key: Array(keys[keyRange(entry)]), readings: entry.count, offset: Offset(entry.offset),
      received: entry.received, hash: entry.hash, since: entry.since, recent: entry.recent, messages: entry.messages)
  }
}
