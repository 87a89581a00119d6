internal import Glibc
internal import Telemetry

/// The audit log: an append-only file of JSON lines (``AuditEntry``), each tied to the one before by its digest.
///
/// `audit-log.jsonl` in the spool's folder; at ``segmentBytes`` it becomes `audit-log.1.jsonl`, and the one that had
/// that name goes. The daemon and the commands write it, each entry under a lock and synced before the call returns;
/// nothing that was written is ever changed. A power cut can tear off the line that was being written: the next entry
/// stands on a line of its own and says how many bytes of that one there are.
package struct AuditLog: Sendable {
  /// A file's size at which the next is begun: some ten thousand actions.
  package static let segmentBytes = 4 << 20
  /// Before a file's end, as far as an entry can reach.
  private static let tail = 4 * AuditEntry.maximumBytes

  package struct Fault: Error, Sendable, Hashable, CustomStringConvertible {
    package var description: String
  }

  package let path: String
  private let older: String
  private let lock: String
  private let segmentBytes: Int

  /// - Parameter directory: of the spool.
  package init(directory: String, segmentBytes: Int = AuditLog.segmentBytes) {
    path = directory + "/audit-log.jsonl"
    older = directory + "/audit-log.1.jsonl"
    lock = directory + "/audit-log.lock"
    self.segmentBytes = segmentBytes
  }

  /// Appends an entry; when this returns it is safe from a power cut.
  /// - Parameter entry: number and digest are set here.
  /// - Returns: its number.
  @discardableResult
  package func append(_ entry: AuditEntry) throws -> Int64 {
    try locked {
      var end = try end()
      if end.size >= segmentBytes {
        guard rename(path, older) == 0 else { throw failure("rename", path) }
        end.size = 0
        end.endsWithinLine = false
      }
      var entry = entry
      entry.number = (end.last?.entry.number ?? 0) + 1
      entry.previous = (end.last?.digest ?? .zero).hex
      var bytes: [UInt8] = []
      if end.endsWithinLine { bytes.append(UInt8(ascii: "\n")) }
      entry.torn = end.torn > 0 ? end.torn : nil
      bytes += try entry.line()
      bytes.append(UInt8(ascii: "\n"))
      try write(bytes, isNew: end.size == 0)
      return entry.number
    }
  }

  /// Walks over everything that is kept.
  package func verify() throws -> AuditVerification {
    try locked {
      var chain = AuditChain()
      for path in [older, path] {
        guard let bytes = try read(path, from: 0) else { continue }
        AuditLog.lines(bytes) { number, line, isWhole in
          chain.take(line, isWhole: isWhole, place: "\(path):\(number)")
        }
      }
      chain.finish()
      return chain.verification
    }
  }

  /// The newest entries, the newest first.
  /// - Parameter before: only those with smaller numbers.
  package func entries(before: Int64 = .max, limit: Int) throws -> [AuditEntry] {
    var found: [AuditEntry] = []
    for path in [path, older] where found.count < limit {
      // Of the newest ones the end of the file is enough; the line that is cut there is no entry.
      let reach = before == .max ? (limit - found.count + 1) * AuditEntry.maximumBytes : Int.max
      guard let bytes = try read(path, from: max(0, fileSize(path) - reach)) else { continue }
      var all: [AuditEntry] = []
      AuditLog.lines(bytes) { _, line, _ in
        if let entry = AuditEntry(line: line), entry.number < before { all.append(entry) }
      }
      found += all.reversed().prefix(limit - found.count)
    }
    return found
  }

  /// Changes with every entry.
  package var stamp: [Int64] {
    var info = Glibc.stat()
    guard stat(path, &info) == 0 else { return [] }
    return [
      Int64(info.st_ino), Int64(info.st_size), Int64(info.st_mtim.tv_sec), Int64(info.st_mtim.tv_nsec),
    ]
  }

  // MARK: Files

  private struct End {
    var last: (entry: AuditEntry, digest: Digest)?
    var size: Int
    /// Bytes of what stands behind it and is no entry.
    var torn = 0
    /// The last line feed is missing.
    var endsWithinLine = false
  }

  /// The newest entry: of the file, or, when it has just been begun, of the older one.
  private func end() throws -> End {
    var end = End(size: 0)
    for path in [path, older] {
      let size = fileSize(path)
      if path == self.path { end.size = size }
      guard let bytes = try read(path, from: max(0, size - AuditLog.tail)) else { continue }
      var torn = 0
      AuditLog.lines(bytes) { _, line, isWhole in
        if let entry = AuditEntry(line: line) {
          end.last = (entry, Digest(of: line))
          torn = 0
        } else {
          torn += line.count
        }
        if path == self.path { end.endsWithinLine = !isWhole }
      }
      // A file that begins with a torn entry has nothing else: that counts beside what the older one ends with.
      end.torn += torn
      if end.last != nil { return end }
    }
    return end
  }

  /// Each line with its number, and whether its line feed is there.
  private static func lines(_ bytes: [UInt8], _ body: (Int, [UInt8], Bool) -> Void) {
    var start = 0
    var number = 1
    while start < bytes.count {
      let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n"))
      body(number, Array(bytes[start..<(end ?? bytes.count)]), end != nil)
      start = (end ?? bytes.count) + 1
      number += 1
    }
  }

  private func fileSize(_ path: String) -> Int {
    var info = stat()
    return stat(path, &info) == 0 ? Int(info.st_size) : 0
  }

  /// Nil where there is no such file.
  private func read(_ path: String, from offset: Int) throws -> [UInt8]? {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard file >= 0 else {
      if errno == ENOENT { return nil }
      throw failure("read", path)
    }
    defer { close(file) }
    guard lseek(file, offset, SEEK_SET) >= 0 else { throw failure("read", path) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    // A file that something else has made huge is not read into memory.
    while bytes.count <= 2 * AuditLog.segmentBytes {
      let count = Glibc.read(file, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw failure("read", path) }
      if count == 0 { break }
      bytes.append(contentsOf: chunk[..<count])
    }
    return bytes
  }

  private func write(_ bytes: [UInt8], isNew: Bool) throws {
    let file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o640)
    guard file >= 0 else { throw failure("open", path) }
    defer { close(file) }
    giveToSpool(file)
    var written = 0
    while written < bytes.count {
      let count = bytes[written...].withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw failure("write", path) }
      written += count
    }
    guard fsync(file) == 0 else { throw failure("sync", path) }
    if isNew { try syncFolder() }
  }

  /// A command that root runs must not make files that the daemon cannot write to: they belong to whom the folder does.
  private func giveToSpool(_ file: Int32) {
    guard geteuid() == 0 else { return }
    var folder = stat()
    guard stat(path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ".", &folder) == 0 else { return }
    _ = fchown(file, folder.st_uid, folder.st_gid)
  }

  private func syncFolder() throws {
    let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    let file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard file >= 0 else { throw failure("open", folder) }
    defer { close(file) }
    guard fsync(file) == 0 else { throw failure("sync", folder) }
  }

  /// One at a time, of whatever process (flock(2)).
  private func locked<R>(_ body: () throws -> R) throws -> R {
    let file = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o640)
    guard file >= 0 else { throw failure("open", lock) }
    defer { close(file) }
    giveToSpool(file)
    while flock(file, LOCK_EX) != 0 {
      guard errno == EINTR else { throw failure("lock", lock) }
    }
    return try body()
  }

  private func failure(_ operation: String, _ path: String) -> Fault {
    Fault(description: "cannot \(operation) \(path): \(String(cString: strerror(errno)))")
  }
}
