internal import Glibc
internal import Telemetry

/// The archive that is being written: beside its name until it is whole, for nobody's eyes but the owner's.
final class ArchiveWriter {
  private let path: String
  private let part: String
  private let file: Int32
  private let wall: Int64
  private(set) var bytes: Int64 = 0
  private var unsynced = 0
  private var isFinished = false

  /// Bytes after which what was written is synced: all of it at once would hold up the intake's own commits, which
  /// share the disk.
  private static let syncInterval = 8 << 20
  static let chunk = 1 << 20

  /// - Parameter wall: nanoseconds, for the files' times.
  init(path: String, wall: Int64) throws(SpoolError) {
    self.path = path
    self.wall = wall
    part = path + ".part"
    file = try FileSystem.createAnew(part, mode: 0o600)
  }

  deinit {
    if !isFinished { unlink(part) }
    Glibc.close(file)
  }

  func add(_ name: String, _ content: [UInt8]) throws(SpoolError) -> BackupManifest.File {
    try write(header(name, Int64(content.count)))
    try write(content)
    try pad(Int64(content.count))
    return BackupManifest.File(name: name, size: Int64(content.count), sha256: Digest(of: content).hex)
  }

  /// Adds a file that does not change any more.
  /// - Parameter input: open; `source` is what it is called.
  func add(
    _ name: String, from input: Int32, called source: String, progress: (Int64) -> Void
  ) throws(SpoolError) -> BackupManifest.File {
    var info = stat()
    guard fstat(input, &info) == 0 else { throw FileSystem.failure("look at", source) }
    let size = Int64(info.st_size)
    try write(header(name, size))
    let digest = DigestStream()
    var left = size
    var chunk = [UInt8](repeating: 0, count: ArchiveWriter.chunk)
    while left > 0 {
      let count = Glibc.read(input, &chunk, min(chunk.count, Int(left)))
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw FileSystem.failure("read", source) }
      guard count > 0 else {
        throw SpoolError(
          kind: .unavailable, operation: "read", path: source, cause: "it became shorter meanwhile", hint: nil)
      }
      digest.add(chunk[..<count])
      try write(chunk, count)
      left -= Int64(count)
      progress(Int64(count))
    }
    try pad(size)
    return BackupManifest.File(name: name, size: size, sha256: digest.finish().hex)
  }

  /// Ends the archive and gives it its name; one that had the name before is replaced.
  func finish() throws(SpoolError) {
    try write([UInt8](repeating: 0, count: 2 * TarHeader.blockSize))
    guard fsync(file) == 0 else { throw FileSystem.failure("sync", part) }
    guard rename(part, path) == 0 else { throw FileSystem.failure("rename", part) }
    isFinished = true
    try FileSystem.syncDirectory(of: path)
  }

  private func header(_ name: String, _ size: Int64) -> [UInt8] {
    TarHeader(name: BackupNames.folder + name, size: size, time: wall / 1_000_000_000).bytes
  }

  private func pad(_ size: Int64) throws(SpoolError) {
    let padding = TarHeader(name: "", size: size, time: 0).padding
    if padding > 0 { try write([UInt8](repeating: 0, count: padding)) }
  }

  private func write(_ content: [UInt8], _ count: Int? = nil) throws(SpoolError) {
    let count = count ?? content.count
    try FileSystem.write(content, count, to: file, path: part)
    bytes += Int64(count)
    unsynced += count
    guard unsynced >= ArchiveWriter.syncInterval else { return }
    unsynced = 0
    guard fdatasync(file) == 0 else { throw FileSystem.failure("sync", part) }
  }
}

/// The file of a backup, open for reading as often as need be: also by a process that may not open it any more
/// (``SpoolOwner``).
package final class BackupFile: Sendable {
  let path: String
  let descriptor: Int32
  /// Bytes.
  let size: Int64

  package init(path: String) throws(SpoolError) {
    self.path = path
    do throws(SpoolError) {
      descriptor = try FileSystem.openRegular(path, operation: "open")
    } catch {
      // Hints about places to write to do not fit.
      throw SpoolError(kind: error.kind, operation: error.operation, path: path, cause: error.cause, hint: nil)
    }
    var info = stat()
    size = fstat(descriptor, &info) == 0 ? Int64(info.st_size) : 0
  }

  deinit { Glibc.close(descriptor) }
}

/// An archive that somebody brings: nothing in it is believed before it is looked at. Reads from its beginning to its
/// end, a file after the other.
final class ArchiveReader {
  private let file: BackupFile
  private var path: String { file.path }
  private var size: Int64 { file.size }
  private var position: Int64 = 0
  private var isAtEnd = false

  init(_ file: BackupFile) { self.file = file }

  func fault(_ cause: String) -> SpoolError {
    SpoolError(
      kind: .damaged, operation: "read the backup", path: path, cause: cause,
      hint: "nothing was taken from it; take another backup")
  }

  /// The header of the next file, whose content must be read before the one after; nil at the end.
  func next() throws(SpoolError) -> TarHeader? {
    guard !isAtEnd else { return nil }
    guard size > 0 else { throw fault("it is empty") }
    let block = try block()
    if block.allSatisfy({ $0 == 0 }) {
      isAtEnd = true
      return try end()
    }
    let header: TarHeader
    do throws(TarHeader.Fault) {
      header = try TarHeader(block)
    } catch {
      throw fault("at byte \(position - Int64(TarHeader.blockSize)): \(error)")
    }
    guard header.size <= size - position else {
      throw fault(
        "\(header.name) has \(header.size) bytes by its header, and \(size - position) are left: it was cut off")
    }
    return header
  }

  /// Behind the last file is nothing but zeros: at least another block, and what fills a record of tar's.
  private func end() throws(SpoolError) -> TarHeader? {
    guard size - position >= Int64(TarHeader.blockSize) else { throw fault("its end is missing: it was cut off") }
    guard size - position <= 20 * Int64(TarHeader.blockSize) else { throw fault("something stands behind its end") }
    while position < size {
      guard try block().allSatisfy({ $0 == 0 }) else { throw fault("something stands behind its end") }
    }
    return nil
  }

  private func block() throws(SpoolError) -> [UInt8] {
    guard size - position >= Int64(TarHeader.blockSize) else { throw fault("its end is missing: it was cut off") }
    var block: [UInt8] = []
    try read(Int64(TarHeader.blockSize)) { block += $0 }
    return block
  }

  /// Passes on the content of the file whose header came last.
  func content(_ header: TarHeader, _ take: (ArraySlice<UInt8>) throws(SpoolError) -> Void) throws(SpoolError) {
    try read(header.size, take)
    guard Int64(header.padding) <= size - position else { throw fault("its end is missing: it was cut off") }
    try read(Int64(header.padding)) { _ in }
  }

  private func read(_ count: Int64, _ take: (ArraySlice<UInt8>) throws(SpoolError) -> Void) throws(SpoolError) {
    var left = count
    var chunk = [UInt8](repeating: 0, count: Int(min(count, Int64(ArchiveWriter.chunk))))
    while left > 0 {
      let got = pread(file.descriptor, &chunk, min(chunk.count, Int(left)), off_t(position))
      if got < 0, errno == EINTR { continue }
      guard got >= 0 else { throw FileSystem.failure("read", path) }
      guard got > 0 else { throw fault("it became shorter meanwhile") }
      left -= Int64(got)
      position += Int64(got)
      try take(chunk[..<got])
    }
  }
}

extension FileSystem {
  /// Makes a file anew, so that nobody's link is followed; what has the name goes.
  static func createAnew(_ path: String, mode: mode_t) throws(SpoolError) -> Int32 {
    unlink(path)
    let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
    guard file >= 0 else { throw failure("create", path) }
    return file
  }

  /// Writes the first `count` of these bytes.
  static func write(_ bytes: some RandomAccessCollection<UInt8>, _ count: Int, to file: Int32, path: String)
    throws(SpoolError)
  {
    var written = 0
    while written < count {
      let result =
        bytes.withContiguousStorageIfAvailable { buffer in
          Glibc.write(file, buffer.baseAddress?.advanced(by: written), count - written)
        } ?? -1
      if result < 0, errno == EINTR { continue }
      guard result > 0 else { throw failure("write", path) }
      written += result
    }
  }
}
