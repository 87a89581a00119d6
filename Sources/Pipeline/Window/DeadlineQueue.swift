/// Slots in the order of their deadlines: a binary heap. An entry may be out of date; its owner knows.
struct DeadlineQueue: Sendable {
  struct Entry: Sendable {
    var deadline: Int64
    /// Decides between equal deadlines.
    var order: UInt64
    var slot: Int

    static func < (a: Entry, b: Entry) -> Bool {
      a.deadline != b.deadline ? a.deadline < b.deadline : a.order < b.order
    }
  }

  private var entries: [Entry] = []

  var count: Int { entries.count }
  /// The earliest. Entries of one deadline and one order come in no promised order.
  var first: Entry? { entries.first }

  mutating func push(_ entry: Entry) {
    entries.append(entry)
    var index = entries.count - 1
    while index > 0 {
      let parent = (index - 1) / 2
      guard entries[index] < entries[parent] else { return }
      entries.swapAt(index, parent)
      index = parent
    }
  }

  mutating func removeFirst() {
    guard let last = entries.popLast(), !entries.isEmpty else { return }
    entries[0] = last
    var index = 0
    while true {
      var least = index
      for child in [2 * index + 1, 2 * index + 2]
      where child < entries.count && entries[child] < entries[least] {
        least = child
      }
      guard least != index else { return }
      entries.swapAt(index, least)
      index = least
    }
  }

  mutating func removeAll() { entries.removeAll(keepingCapacity: true) }
}
