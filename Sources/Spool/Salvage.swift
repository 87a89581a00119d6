internal import Glibc
internal import Telemetry

/// Sets damaged databases aside and saves from the log what can be read.
struct Salvage {
  var directory: String
  /// Wall nanoseconds, for the names of the files set aside.
  var wall: Int64

  struct Rescued {
    var blocks: Int64
    var messages: Int64
  }

  /// Moves a database with its write-ahead log into quarantine/ and says why beside it.
  /// - Returns: where it lies now.
  func setAside(_ path: String, reason: SpoolError) throws(SpoolError) -> String {
    let quarantine = directory + "/quarantine"
    try FileSystem.makeDirectory(quarantine)
    let name = path.split(separator: "/").last.map(String.init) ?? "database"
    let target = "\(quarantine)/\(wall / 1_000_000_000)-\(name)"
    for suffix in ["", "-wal"] where FileSystem.exists(path + suffix) {
      guard rename(path + suffix, target + suffix) == 0 else {
        throw FileSystem.failure("set aside", path + suffix)
      }
    }
    unlink(path + "-shm")
    try FileSystem.replace(target + ".reason.txt", with: Array("\(reason)\n".utf8))
    try FileSystem.syncDirectory(of: path)
    return target
  }

  /// Copies every block of a damaged log that can be read and verified into a new file of the same
  /// name, at the same offsets, so that checkpoints stay true and what is missing is a gap of known
  /// size.
  /// - Returns: nil when not even its name can be read.
  func copyLog(from damaged: String, to path: String) throws(SpoolError) -> Rescued? {
    guard let source = try? Connection(path: damaged, access: .readOnly),
      let id = try? source.text("SELECT id FROM log"),
      let end = try? LogStore.end(of: source, id: LogID(rawValue: id))
    else { return nil }
    defer { source.close() }
    let store = try LogStore(path: path, birth: (LogID(rawValue: id), end.next))
    store.close()
    let target = try Connection(path: path, access: .readWrite(.everyCommit))
    defer { target.close() }
    var rescued = Rescued(blocks: 0, messages: 0)
    var position = Int64.min
    while let block = nextReadable(after: &position, in: source, path: damaged) {
      try target.transaction(.immediate) { () throws(SpoolError) in
        try block.insert(into: target)
      }
      rescued.blocks += 1
      rescued.messages += block.count
    }
    try target.run("UPDATE log SET received = ?", .integer(end.received))
    return rescued
  }

  /// The next block that reads and verifies. A page that cannot be read costs the blocks on it: the
  /// search goes on behind them.
  private func nextReadable(
    after position: inout Int64, in source: Connection, path: String
  ) -> BlockRow? {
    var stride: Int64 = 1
    while true {
      do {
        let row = try source.statement(
          "SELECT \(BlockRow.columns) FROM block WHERE first > ? ORDER BY first LIMIT 1")
        defer { row.reset() }
        try row.bind([.integer(position)])
        guard try row.step() else { return nil }
        let block = BlockRow(row)
        position = block.first
        if (try? block.verify(path: path)) != nil { return block }
      } catch {
        // Unreadable: leap ahead in growing steps rather than try every offset of a lost page.
        if position == Int64.min { position = -1 }
        let (leap, overflow) = position.addingReportingOverflow(stride)
        guard !overflow, stride < 1 << 40 else { return nil }
        position = leap
        stride *= 2
      }
    }
  }
}
