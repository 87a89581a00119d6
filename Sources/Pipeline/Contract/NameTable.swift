/// Names and what they lead to, many tables in one, made once and looked into for every member of every
/// payload. Looking allocates nothing.
struct NameTable: Sendable {
  /// One of the tables.
  struct Table: Sendable {
    fileprivate var slot: Int32 = 0
    /// The number of slots, a power of two, less 1.
    fileprivate var mask: Int32 = -1
    var isEmpty: Bool { mask < 0 }
  }

  struct Entry: Sendable {
    fileprivate var key: Key
    fileprivate var start: Int32
    /// The node that values of this name must fit; -1 for none.
    var node: Int32
    /// The number among the names that must be there; -1 for none.
    var required: Int32
  }

  /// A name's length and its first and last eight bytes, which up to sixteen bytes are all of it.
  fileprivate struct Key: Sendable, Equatable {
    var length: Int
    var first: UInt64
    var last: UInt64

    @inline(__always)
    init(_ name: UnsafeRawBufferPointer) {
      let count = name.count
      length = count
      last = 0
      if count >= 8 {
        first = name.loadUnaligned(fromByteOffset: 0, as: UInt64.self)
        last = name.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self)
      } else if count >= 4 {
        first =
          UInt64(name.loadUnaligned(fromByteOffset: 0, as: UInt32.self)) << 32
          | UInt64(name.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self))
      } else if count > 0 {
        first = UInt64(name[0]) << 16 | UInt64(name[count / 2]) << 8 | UInt64(name[count - 1])
      } else {
        first = 0
      }
    }

    @inline(__always)
    var hash: Int32 {
      let sum = (first &* 0x9E37_79B9_7F4A_7C15) ^ (last &* 0xC2B2_AE3D_27D4_EB4F) ^ UInt64(length) << 40
      return Int32(truncatingIfNeeded: sum >> 40)
    }
  }

  private var slots: [Int32] = []
  private(set) var entries: [Entry] = []
  private var bytes: [UInt8] = []

  init() {}

  /// Adds a table. Names must differ.
  mutating func add(_ names: [(name: [UInt8], node: Int32, required: Int32)]) -> Table {
    guard !names.isEmpty else { return Table() }
    var size = 4
    while size < names.count * 2 { size *= 2 }
    let table = Table(slot: Int32(slots.count), mask: Int32(size - 1))
    slots += repeatElement(-1, count: size)
    for (name, node, required) in names {
      let key = name.withUnsafeBytes { Key($0) }
      var slot = key.hash & table.mask
      while slots[Int(table.slot + slot)] >= 0 { slot = (slot + 1) & table.mask }
      slots[Int(table.slot + slot)] = Int32(entries.count)
      entries.append(Entry(key: key, start: Int32(bytes.count), node: node, required: required))
      bytes += name
    }
    return table
  }

  /// The index among ``entries`` of a name in a table; -1 where it is not there.
  @inline(__always)
  func find(_ name: UnsafeRawBufferPointer, in table: Table) -> Int {
    if table.isEmpty { return -1 }
    let key = Key(name)
    var slot = key.hash & table.mask
    while true {
      let index = Int(slots[Int(table.slot + slot)])
      if index < 0 { return -1 }
      if entries[index].key == key, key.length <= 16 || isRest(name, index) { return index }
      slot = (slot + 1) & table.mask
    }
  }

  @inline(never)
  private func isRest(_ name: UnsafeRawBufferPointer, _ index: Int) -> Bool {
    let start = Int(entries[index].start)
    return bytes[start..<start + name.count].elementsEqual(name)
  }

  /// The indices of a table's entries, in the order in which they were added.
  func entries(of table: Table) -> [Int] {
    guard !table.isEmpty else { return [] }
    return slots[Int(table.slot)...Int(table.slot + table.mask)].filter { $0 >= 0 }.map { Int($0) }.sorted()
  }

  func name(_ index: Int) -> String {
    let entry = entries[index]
    return String(decoding: bytes[Int(entry.start)..<Int(entry.start) + entry.key.length], as: UTF8.self)
  }
}
