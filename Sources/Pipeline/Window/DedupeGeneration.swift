/// 16 bytes that stand for what must not come twice: half a SHA-256 of the payload or of the chosen fields.
package struct DedupeDigest: Sendable, Hashable {
  package var high: UInt64
  package var low: UInt64

  package init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }
}

/// Digests that are forgotten together: those of one stretch of time, or a part of them.
struct DedupeGeneration: Sendable {
  /// Never used twice in one pipeline's state.
  let id: UInt64
  /// The stretch of time: its beginning divided by the width of all stretches.
  let bucket: Int64
  /// In the order in which they came.
  private(set) var digests: [DedupeDigest] = []
  /// Index into `digests` + 1; 0 where empty. A power of two, at most three quarters full.
  private var table: [UInt32] = []

  /// How many of `digests`, from the first, the store has, and in how many rows.
  var storedCount = 0
  var storedRows = 0
  /// How many there were when the open batch began.
  var countAtBegin = 0

  init(id: UInt64, bucket: Int64) {
    self.id = id
    self.bucket = bucket
  }

  var count: Int { digests.count }

  func contains(_ digest: DedupeDigest) -> Bool {
    guard !table.isEmpty else { return false }
    let mask = table.count - 1
    var place = DedupeGeneration.hash(digest) & mask
    while true {
      let entry = Int(table[place])
      if entry == 0 { return false }
      if digests[entry - 1] == digest { return true }
      place = (place + 1) & mask
    }
  }

  /// Enters a digest that is not there.
  mutating func insert(_ digest: DedupeDigest) {
    if (digests.count + 1) * 4 > table.count * 3 { grow() }
    digests.append(digest)
    place(digests.count - 1)
  }

  /// Keeps only what the store still has to get, from the open batch's beginning on back: the generation was
  /// dropped by the open batch.
  mutating func trim() {
    digests = Array(digests[storedCount..<countAtBegin])
    table = []
    countAtBegin -= storedCount
    storedCount = 0
  }

  private mutating func place(_ index: Int) {
    let mask = table.count - 1
    var place = DedupeGeneration.hash(digests[index]) & mask
    while table[place] != 0 { place = (place + 1) & mask }
    table[place] = UInt32(truncatingIfNeeded: index + 1)
  }

  private mutating func grow() {
    table = [UInt32](repeating: 0, count: max(16, table.count * 2))
    for index in digests.indices { place(index) }
  }

  private static func hash(_ digest: DedupeDigest) -> Int {
    Int(truncatingIfNeeded: (digest.high ^ digest.low) >> 1)
  }
}
