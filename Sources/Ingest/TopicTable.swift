import Glibc
import Telemetry

/// From a topic's bytes to its origin in the group that is being staged, without making a `String` for
/// every message. One per source.
///
/// The origins stay from group to group; their indices belong to one group and are entered anew in the
/// next one, which its number tells.
struct TopicTable {
  private struct Slot {
    var hash: UInt64
    var start: Int
    var length: Int
    var origin: Origin
    /// The group that `index` belongs to.
    var group: UInt64
    var index: Int
  }

  /// Above so many topics the table is emptied: it serves devices that publish again and again.
  static let maximumTopics = 16_384
  /// The same for their bytes, of which the table and the origins have one copy each: a topic may have 65,535.
  static let maximumBytes = 4 << 20

  /// Bytes of the topics that are remembered.
  var count: Int { bytes.count }

  private let source: String
  private var bytes: [UInt8] = []
  private var slots: [Slot] = []
  /// Open addressing; -1 is free. A power of two, at most half full.
  private var buckets = [Int32](repeating: -1, count: 64)

  init(source: String) {
    self.source = source
  }

  /// The index of the topic's origin in `group`.
  /// - Parameter number: names the group; never 0.
  mutating func index(
    of topic: UnsafeRawBufferPointer, in group: inout MessageGroup, number: UInt64
  ) -> Int {
    let hash = TopicTable.hash(topic)
    let mask = buckets.count - 1
    var bucket = Int(truncatingIfNeeded: hash) & mask
    while buckets[bucket] >= 0 {
      let at = Int(buckets[bucket])
      if slots[at].hash == hash, matches(at, topic) {
        if slots[at].group == number { return slots[at].index }
        let index = group.index(of: slots[at].origin)
        slots[at].group = number
        slots[at].index = index
        return index
      }
      bucket = (bucket + 1) & mask
    }
    let origin = Origin(source: source, topic: String(decoding: topic, as: UTF8.self))
    let index = group.index(of: origin)
    insert(
      Slot(
        hash: hash, start: bytes.count, length: topic.count, origin: origin, group: number,
        index: index), topic)
    return index
  }

  private func matches(_ at: Int, _ topic: UnsafeRawBufferPointer) -> Bool {
    guard slots[at].length == topic.count, let base = topic.baseAddress else { return false }
    let start = slots[at].start
    return bytes.withUnsafeBytes { known in
      guard let knownBase = known.baseAddress else { return false }
      return memcmp(knownBase + start, base, topic.count) == 0
    }
  }

  private mutating func insert(_ slot: Slot, _ topic: UnsafeRawBufferPointer) {
    var slot = slot
    if slots.count >= TopicTable.maximumTopics || bytes.count + topic.count > TopicTable.maximumBytes {
      self = TopicTable(source: source)
      slot.start = 0
    }
    bytes.append(contentsOf: topic)
    slots.append(slot)
    if slots.count * 2 > buckets.count {
      buckets = [Int32](repeating: -1, count: buckets.count * 2)
      for at in slots.indices { enter(at) }
    } else {
      enter(slots.count - 1)
    }
  }

  private mutating func enter(_ at: Int) {
    let mask = buckets.count - 1
    var bucket = Int(truncatingIfNeeded: slots[at].hash) & mask
    while buckets[bucket] >= 0 { bucket = (bucket + 1) & mask }
    buckets[bucket] = Int32(at)
  }

  /// FNV-1a over the bytes, then mixed, because only the low bits choose the bucket.
  private static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return hash ^ (hash >> 32)
  }
}
