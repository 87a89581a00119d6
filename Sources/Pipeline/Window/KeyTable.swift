/// Gives every key a small number, its slot, and takes it back.
///
/// A hash table with open addressing and linear probing, because `Dictionary` would need an array made of every
/// key that is looked up. Keys are hashed by the standard library's `Hasher`, whose seed differs from process to
/// process: devices choose keys, and cannot choose ones that collide. The order of the table reaches nobody;
/// slots depend only on the order of insertions and removals.
struct KeyTable: Sendable {
  /// A slot's key; empty for a free one.
  private(set) var keys: [[UInt8]] = []
  private var hashes: [UInt32] = []
  private var isUsed: [Bool] = []
  /// Slot + 1; 0 where empty. A power of two, at most three quarters full.
  private var table: [Int32] = []
  private var free: [Int32] = []
  private(set) var count = 0

  /// Slots, free ones included: every slot is below.
  var slots: Int { keys.count }

  func contains(slot: Int) -> Bool { isUsed[slot] }

  func find(_ key: UnsafeRawBufferPointer) -> Int? {
    guard !table.isEmpty else { return nil }
    let hash = KeyTable.hash(key)
    let mask = table.count - 1
    var place = Int(hash) & mask
    while true {
      let entry = Int(table[place])
      if entry == 0 { return nil }
      if hashes[entry - 1] == hash, KeyTable.equal(keys[entry - 1], key) { return entry - 1 }
      place = (place + 1) & mask
    }
  }

  /// Enters a key that is not there.
  mutating func insert(_ key: UnsafeRawBufferPointer) -> Int {
    if (count + 1) * 4 > table.count * 3 { grow() }
    let hash = KeyTable.hash(key)
    let slot: Int
    if let reused = free.popLast() {
      slot = Int(reused)
      keys[slot] = Array(key)
      hashes[slot] = hash
      isUsed[slot] = true
    } else {
      slot = keys.count
      keys.append(Array(key))
      hashes.append(hash)
      isUsed.append(true)
    }
    count += 1
    place(slot)
    return slot
  }

  /// Frees a slot that is in use.
  mutating func remove(_ slot: Int) {
    let mask = table.count - 1
    var hole = Int(hashes[slot]) & mask
    while Int(table[hole]) != slot + 1 { hole = (hole + 1) & mask }
    // Entries behind the hole that would no longer be found move into it (Knuth, TAOCP 6.4, algorithm R).
    var next = (hole + 1) & mask
    while table[next] != 0 {
      let home = Int(hashes[Int(table[next]) - 1]) & mask
      if (next &- home) & mask >= (next &- hole) & mask {
        table[hole] = table[next]
        hole = next
      }
      next = (next + 1) & mask
    }
    table[hole] = 0
    keys[slot] = []
    isUsed[slot] = false
    free.append(Int32(truncatingIfNeeded: slot))
    count -= 1
  }

  private mutating func place(_ slot: Int) {
    let mask = table.count - 1
    var place = Int(hashes[slot]) & mask
    while table[place] != 0 { place = (place + 1) & mask }
    table[place] = Int32(truncatingIfNeeded: slot + 1)
  }

  private mutating func grow() {
    table = [Int32](repeating: 0, count: max(16, table.count * 2))
    for slot in keys.indices where isUsed[slot] { place(slot) }
  }

  private static func hash(_ key: UnsafeRawBufferPointer) -> UInt32 {
    var hasher = Hasher()
    hasher.combine(bytes: key)
    return UInt32(truncatingIfNeeded: hasher.finalize())
  }

  private static func equal(_ a: [UInt8], _ b: UnsafeRawBufferPointer) -> Bool {
    guard a.count == b.count else { return false }
    return a.withUnsafeBytes { a in
      for index in 0..<a.count where a[index] != b[index] { return false }
      return true
    }
  }
}
