import Foundation
import TestSupport

/// What a disk may hold, event by event of a record.
///
/// The model, after POSIX and what SQLite's documentation asks of a file system
/// (https://www.sqlite.org/atomiccommit.html):
///
/// - A write or a change of size is durable once fsync or fdatasync of that file, begun after it had
///   returned, has returned 0. Until then any 512-byte sector of it may be there or not, whatever became
///   of the others, and whatever was written later.
/// - What an fsync that failed should have written stays uncertain, whatever later fsyncs say: the kernel
///   has marked those pages clean.
/// - A name (made, renamed, deleted) is durable once fsync of its folder, begun afterwards, has returned
///   0; a rename from one folder to another, once either is synced. Until then each such change may be
///   there or not. That is stricter than ext4, xfs or btrfs, which keep them in order, and where fsync of
///   a new file brings its name along.
/// - A rename is there whole or not at all. A sector is there whole or not at all.
/// - sync_file_range(2) promises nothing; the memory shared by SQLite's connections (`-shm`) is gone.
struct Disk {
  struct Fault: Error, CustomStringConvertible {
    var description: String
  }

  enum Cut: String, CaseIterable, Sendable {
    /// Everything that is not synced is gone.
    case unsyncedGone = "unsynced gone"
    /// Any of it is there: dropped, torn, reordered.
    case unsyncedTorn = "unsynced torn"
  }

  private struct Change {
    enum Effect {
      case write(at: Int, data: Range<Int>)
      case bytes(at: Int, [UInt8])
      case size(Int)
    }
    var call: UInt64
    var effect: Effect
    var isDone = false
    var isDurable = false
    /// A sync that should have covered it failed.
    var isForsaken = false
  }

  private struct Inode {
    /// What is durable and has nothing uncertain before it.
    var base: [UInt8] = []
    var changes: [Change] = []
    /// "device:inode" of the real file.
    var identity = ""
  }

  private enum Entry: Equatable {
    case file(Int)
    case folder
  }

  private struct Naming {
    var call: UInt64
    var sets: [(path: String, entry: Entry?)]
    var isDone = false
    var isDurable = false
  }

  private enum Handle {
    case file(Int)
    case folder(String)
  }

  private let record: Record
  private var inodes: [Inode] = []
  /// Names that are durable, and the changes since.
  private var durableNames: [String: Entry] = ["": .folder]
  private var namings: [Naming] = []
  private var names: [String: Entry] = ["": .folder]
  private var handles: [Int32: Handle] = [:]
  /// What a running sync covers: the changes that had returned when it began.
  private var syncs: [UInt64: Set<UInt64>] = [:]
  private var opening: [UInt64: String] = [:]
  private var madeSpool = false
  /// Events applied.
  private(set) var position = 0
  /// Whether the entry of the spool's own folder is durable.
  private(set) var spoolIsDurable = true

  init(_ record: Record) { self.record = record }

  static func isOfInterest(_ name: String) -> Bool {
    !name.hasSuffix("-shm") && !name.hasSuffix(".sock")
  }

  // MARK: Going on

  /// Applies events up to, and without, the one at `end`.
  mutating func advance(to end: Int) throws {
    while position < end {
      try apply(record.events[position])
      position += 1
    }
  }

  private mutating func apply(_ event: Record.Event) throws {
    switch event.kind {
    case .start:
      handles = [:]
      syncs = [:]
      opening = [:]
    case .open: open(event)
    case .close: handles[event.file] = nil
    case .dup: handles[Int32(event.a)] = handles[event.file]
    case .write:
      try change(event, .write(at: Int(event.a), data: event.data))
    case .truncate: try change(event, .size(Int(event.a)))
    case .allocate: try change(event, .size(max(Int(event.a), volatileSize(of: event.file))))
    case .sync: sync(event)
    case .rename, .unlink, .makeDirectory: name(event)
    case .map:
      guard case .file(let inode)? = handles[event.file] else { return }
      let mapped = names.filter { $0.value == .file(inode) }.map(\.key)
      guard mapped.allSatisfy({ $0.hasSuffix("-shm") }) else {
        throw Fault(description: "\(mapped) is mapped for writing: the recorder cannot see what changes there")
      }
    case .connect, .send, .receive: break
    }
  }

  private mutating func open(_ event: Record.Event) {
    let path = record.path(of: event)
    guard event.isEnd else {
      opening[event.call] = path
      return
    }
    opening[event.call] = nil
    guard event.result >= 0 else { return }
    if path == ".." || names[path] == .folder {
      handles[event.file] = .folder(path)
      return
    }
    let inode: Int
    if case .file(let known)? = names[path] {
      inode = known
    } else {
      inode = inodes.count
      inodes.append(Inode())
      names[path] = .file(inode)
      namings.append(Naming(call: event.call, sets: [(path, .file(inode))], isDone: true))
    }
    let identity = record.bytes[event.data].withUnsafeBytes { raw in
      (0..<2).map { "\(raw.loadUnaligned(fromByteOffset: 8 * $0, as: UInt64.self))" }.joined(separator: ":")
    }
    inodes[inode].identity = identity
    if Int32(truncatingIfNeeded: event.a) & O_TRUNC != 0 {
      inodes[inode].changes.append(Change(call: event.call, effect: .size(0), isDone: true))
    }
    handles[event.file] = .file(inode)
  }

  private mutating func change(_ event: Record.Event, _ effect: Change.Effect) throws {
    guard case .file(let inode)? = handles[event.file] else {
      throw Fault(description: "a change of descriptor \(event.file), which nothing has opened")
    }
    guard event.isEnd else {
      inodes[inode].changes.append(Change(call: event.call, effect: effect))
      return
    }
    guard let index = inodes[inode].changes.lastIndex(where: { $0.call == event.call }) else { return }
    if event.result < 0 {
      inodes[inode].changes.remove(at: index)
      return
    }
    if case .write(let offset, let data) = inodes[inode].changes[index].effect {
      inodes[inode].changes[index].effect = .write(at: offset, data: data.prefix(Int(event.result)))
    }
    inodes[inode].changes[index].isDone = true
  }

  private mutating func sync(_ event: Record.Event) {
    switch handles[event.file] {
    case nil: break
    case .file(let inode)?:
      if !event.isEnd {
        syncs[event.call] = Set(inodes[inode].changes.lazy.filter { $0.isDone && !$0.isDurable }.map(\.call))
      } else if let covered = syncs.removeValue(forKey: event.call) {
        for index in inodes[inode].changes.indices where covered.contains(inodes[inode].changes[index].call) {
          if event.result < 0 {
            inodes[inode].changes[index].isForsaken = true
          } else if !inodes[inode].changes[index].isForsaken {
            inodes[inode].changes[index].isDurable = true
          }
        }
        settleDurable(inode)
      }
    case .folder(let folder)?:
      if !event.isEnd {
        syncs[event.call] = Set(namings.lazy.filter { $0.isDone && !$0.isDurable }.map(\.call))
        if folder == "..", !spoolIsDurable { madeSpool = true }
      } else if let covered = syncs.removeValue(forKey: event.call), event.result == 0 {
        if folder == "..", madeSpool { spoolIsDurable = true }
        for index in namings.indices
        where covered.contains(namings[index].call)
          && namings[index].sets.contains(where: { Disk.folder(of: $0.path) == folder })
        {
          namings[index].isDurable = true
        }
        while let first = namings.first, first.isDurable {
          for (path, entry) in first.sets { durableNames[path] = entry }
          namings.removeFirst()
        }
      }
    }
  }

  /// Takes what is durable, and has nothing uncertain before it, into the base.
  private mutating func settleDurable(_ inode: Int) {
    let count = inodes[inode].changes.prefix { $0.isDurable }.count
    for change in inodes[inode].changes.prefix(count) { perform(change.effect, on: &inodes[inode].base) }
    inodes[inode].changes.removeFirst(count)
  }

  private mutating func name(_ event: Record.Event) {
    if event.isEnd {
      guard let index = namings.lastIndex(where: { $0.call == event.call }) else {
        // The spool itself: its entry stands in the folder above.
        if event.kind == .makeDirectory, event.result == 0, opening.removeValue(forKey: event.call) == "" {
          spoolIsDurable = false
        }
        return
      }
      if event.result < 0 {
        namings.remove(at: index)
      } else {
        namings[index].isDone = true
        for (path, entry) in namings[index].sets { names[path] = entry }
      }
      return
    }
    let path = record.path(of: event)
    switch event.kind {
    case .makeDirectory where path.isEmpty: opening[event.call] = path
    case .makeDirectory: namings.append(Naming(call: event.call, sets: [(path, .folder)]))
    case .unlink: namings.append(Naming(call: event.call, sets: [(path, nil)]))
    default:
      let halves = path.split(separator: "\0", omittingEmptySubsequences: false).map(String.init)
      var sets: [(path: String, entry: Entry?)] = []
      if !halves[0].isEmpty { sets.append((halves[0], nil)) }
      if halves.count > 1, !halves[1].isEmpty { sets.append((halves[1], names[halves[0]])) }
      namings.append(Naming(call: event.call, sets: sets))
    }
  }

  private static func folder(of path: String) -> String {
    path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
  }

  // MARK: What is there

  /// The spool as it stands for the running system: everything that was written.
  func volatile() -> [String: [UInt8]] {
    image(names: names) { inode in
      var content = inode.base
      for change in inode.changes where change.isDone || change.isDurable { perform(change.effect, on: &content) }
      return content
    }
  }

  /// The spool as a cut at this moment may leave it.
  func after(_ cut: Cut, random: inout SplitMix) -> [String: [UInt8]] {
    var generator = random
    defer { random = generator }
    var left = durableNames
    for naming in namings where naming.isDurable || (cut == .unsyncedTorn && generator.next() % 2 == 0) {
      for (path, entry) in naming.sets { left[path] = entry }
    }
    return image(names: left) { inode in
      var content = inode.base
      for change in inode.changes {
        if change.isDurable {
          perform(change.effect, on: &content)
        } else if cut == .unsyncedTorn {
          tear(change.effect, on: &content, &generator)
        }
      }
      return content
    }
  }

  /// "device:inode" of a file.
  func identity(of name: String) -> String? {
    if case .file(let inode)? = names[name] { inodes[inode].identity } else { nil }
  }

  private func image(
    names: [String: Entry], _ content: (Inode) -> [UInt8]
  ) -> [String: [UInt8]] {
    var image: [String: [UInt8]] = [:]
    for (path, entry) in names where Disk.isOfInterest(path) {
      guard case .file(let inode) = entry, names[Disk.folder(of: path)] == .folder else { continue }
      image[path] = content(inodes[inode])
    }
    return image
  }

  private func volatileSize(of file: Int32) -> Int {
    guard case .file(let inode)? = handles[file] else { return 0 }
    var size = inodes[inode].base.count
    for change in inodes[inode].changes {
      switch change.effect {
      case .size(let exact): size = exact
      case .write(let offset, let data): size = max(size, offset + data.count)
      case .bytes(let offset, let bytes): size = max(size, offset + bytes.count)
      }
    }
    return size
  }

  private func perform(_ effect: Change.Effect, on content: inout [UInt8]) {
    switch effect {
    case .size(let size): Disk.resize(&content, size)
    case .write(let offset, let data): Disk.put(record.bytes[data], at: offset, into: &content)
    case .bytes(let offset, let bytes): Disk.put(bytes[...], at: offset, into: &content)
    }
  }

  /// A third of the changes did not happen, a third did, and of the others each sector did or did not.
  private func tear(_ effect: Change.Effect, on content: inout [UInt8], _ random: inout SplitMix) {
    let fate = random.next() % 3
    if fate == 0 { return }
    guard fate == 2 else { return perform(effect, on: &content) }
    let (offset, bytes): (Int, ArraySlice<UInt8>)
    switch effect {
    case .size: return perform(effect, on: &content)
    case .write(let at, let data): (offset, bytes) = (at, record.bytes[data])
    case .bytes(let at, let data): (offset, bytes) = (at, data[...])
    }
    var done = 0
    while done < bytes.count {
      let sector = min(512 - (offset + done) % 512, bytes.count - done)
      if random.next() % 2 == 0 {
        let from = bytes.startIndex + done
        Disk.put(bytes[from..<from + sector], at: offset + done, into: &content)
      }
      done += sector
    }
  }

  private static func resize(_ content: inout [UInt8], _ size: Int) {
    if size < content.count {
      content.removeLast(content.count - size)
    } else {
      content.append(contentsOf: repeatElement(0, count: size - content.count))
    }
  }

  private static func put(_ bytes: ArraySlice<UInt8>, at offset: Int, into content: inout [UInt8]) {
    if content.count < offset + bytes.count { resize(&content, offset + bytes.count) }
    content.withUnsafeMutableBytes { target in
      bytes.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: target[offset...]).copyMemory(from: $0) }
    }
  }

  // MARK: A killed process

  /// Compares with the real folder. A process that was killed leaves calls of which nobody knows what
  /// they did; where there are such calls the difference is taken over, as unsynced. Any other difference
  /// is a call that the recorder has missed.
  mutating func settle(with folder: String) throws {
    let open =
      !opening.isEmpty || namings.contains { !$0.isDone } || inodes.contains { $0.changes.contains { !$0.isDone } }
    let model = volatile()
    let real = try Disk.read(folder)
    for path in Set(model.keys).union(real.keys).sorted() where model[path] != real[path] {
      guard open, let found = real[path] else {
        throw Fault(
          description: "\(path): \(real[path].map { "\($0.count) bytes" } ?? "not there"), by the record "
            + (model[path].map { "\($0.count) bytes" } ?? "not there") + ": the recorder has missed a call")
      }
      let inode: Int
      if case .file(let known)? = names[path] {
        inode = known
      } else {
        inode = inodes.count
        inodes.append(Inode())
        names[path] = .file(inode)
        namings.append(Naming(call: 0, sets: [(path, .file(inode))], isDone: true))
      }
      inodes[inode].changes.append(Change(call: 0, effect: .bytes(at: 0, found), isDone: true))
      inodes[inode].changes.append(Change(call: 0, effect: .size(found.count), isDone: true))
    }
    for inode in inodes.indices { inodes[inode].changes.removeAll { !$0.isDone } }
    namings.removeAll { !$0.isDone }
    opening = [:]
  }

  /// Every file of a folder by its path in it, but for what no disk keeps.
  static func read(_ folder: String) throws -> [String: [UInt8]] {
    var files: [String: [UInt8]] = [:]
    for path in try FileManager.default.subpathsOfDirectory(atPath: folder) where isOfInterest(path) {
      let attributes = try FileManager.default.attributesOfItem(atPath: folder + "/" + path)
      guard attributes[.type] as? FileAttributeType == .typeRegular else { continue }
      files[path] = [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "/" + path)))
    }
    return files
  }

  static func write(_ image: [String: [UInt8]], to folder: String) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for (path, content) in image {
      let target = folder + "/" + path
      try FileManager.default.createDirectory(
        atPath: (target as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
      try Data(content).write(to: URL(fileURLWithPath: target))
    }
  }
}
