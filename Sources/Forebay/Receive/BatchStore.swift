import Glibc

/// What went wrong with the receiver's store, for operators.
struct BatchStoreError: Error, Sendable, Hashable, CustomStringConvertible {
  /// What was attempted: `open`, `read`, `append`, `fsync`...
  var operation: String
  var path: String
  var cause: String
  var hint: String?

  var description: String {
    "cannot \(operation) \(path): \(cause)" + (hint.map { " (\($0))" } ?? "")
  }

  /// With the system's words for `errno`.
  static func system(_ operation: String, _ path: String, hint: String? = nil) -> BatchStoreError {
    BatchStoreError(
      operation: operation, path: path, cause: String(cString: strerror(errno)), hint: hint)
  }
}

/// The paths of a store's directory.
struct BatchStoreLayout: Sendable, Hashable {
  var directory: String
  /// The records.
  var records: String { "\(directory)/batches.log" }
  /// What the running receiver is told to fail with.
  var faults: String { "\(directory)/fail" }
}

/// Reads a store's file from its beginning, record by record, also while a receiver appends to it.
final class BatchStoreReader {
  enum Item: Sendable, Hashable {
    case record(BatchRecord, at: Int64)
    /// Bytes that are no record although there are records behind them.
    case damage(Range<Int64>, reason: String)
    /// Bytes behind the last record: a write that was torn or is just going on.
    case tail(Range<Int64>)
  }

  private let path: String
  private let descriptor: Int32
  private var size: Int64
  /// Where the next record begins.
  private(set) var position: Int64 = 0

  /// - Throws: when the file cannot be opened or is no store of ours.
  init(path: String) throws(BatchStoreError) {
    self.path = path
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    size = 0
    guard descriptor >= 0 else { throw .system("open", path) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .system("read the size of", path) }
    size = Int64(status.st_size)
    let header = try read(at: 0, count: min(BatchRecord.fileHeader.count, Int(size)))
    guard BatchRecord.fileHeader.starts(with: header) else {
      throw BatchStoreError(
        operation: "read", path: path, cause: "it does not begin like a store of batches",
        hint: "name the directory that `forebay receive --store` wrote")
    }
    // A file shorter than its header was torn at its birth and holds nothing.
    position = Int64(header.count)
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// The next item, or nil at the end of the file as it was when the reader opened it.
  func next() throws(BatchStoreError) -> Item? {
    guard position < size else { return nil }
    if position < Int64(BatchRecord.fileHeader.count) {
      defer { position = size }
      return .tail(0..<size)
    }
    let start = position
    let reason: String
    switch try attempt(at: start) {
    case .success(let record): return .record(record, at: start)
    case .failure(let error): reason = error.description
    }
    var candidate = try marker(after: start)
    while let place = candidate {
      // `attempt` moves the position behind the record; the next call finds it again.
      if case .success = try attempt(at: place) {
        position = place
        return .damage(start..<place, reason: reason)
      }
      candidate = try marker(after: place)
    }
    position = size
    return .tail(start..<size)
  }

  /// The record that ``next()`` found at `place`.
  func record(at place: Int64) throws(BatchStoreError) -> BatchRecord {
    switch try attempt(at: place) {
    case .success(let record): return record
    case .failure(let error):
      throw BatchStoreError(
        operation: "read", path: path, cause: "at offset \(place): \(error)", hint: nil)
    }
  }

  private func attempt(
    at place: Int64
  ) throws(BatchStoreError) -> Result<BatchRecord, BatchLabelError> {
    let prefix = try read(at: place, count: BatchRecord.prefixLength)
    guard let (headLength, bodyLength) = BatchRecord.lengths(prefix: prefix),
      place + Int64(BatchRecord.prefixLength + headLength + bodyLength) <= size
    else {
      return .failure(BatchLabelError(field: "record", reason: "does not begin or end here"))
    }
    let bodyStart = place + Int64(BatchRecord.prefixLength + headLength)
    let head = try read(at: place + Int64(BatchRecord.prefixLength), count: headLength)
    let body = try read(at: bodyStart, count: bodyLength)
    do {
      let record = try BatchRecord(prefix: prefix, head: head, body: body)
      position = bodyStart + Int64(bodyLength)
      return .success(record)
    } catch {
      return .failure(error)
    }
  }

  /// Where the next record could begin behind `place`.
  private func marker(after place: Int64) throws(BatchStoreError) -> Int64? {
    let marker = BatchRecord.marker
    var start = place + 1
    while start < size {
      let chunk = try read(at: start, count: 1 << 20)
      guard chunk.count >= marker.count else { return nil }
      for i in 0...(chunk.count - marker.count)
      where chunk[i] == marker[0] && chunk[i..<i + marker.count].elementsEqual(marker) {
        return start + Int64(i)
      }
      start += Int64(chunk.count - marker.count + 1)
    }
    return nil
  }

  /// Up to `count` bytes; fewer only at the end of the file.
  private func read(at place: Int64, count: Int) throws(BatchStoreError) -> [UInt8] {
    let wanted = min(count, Int(max(size - place, 0)))
    var failed = false
    let bytes = [UInt8](unsafeUninitializedCapacity: wanted) { buffer, filled in
      while filled < wanted {
        let n = pread(
          descriptor, buffer.baseAddress.map { $0 + filled }, wanted - filled,
          off_t(place) + filled)
        if n < 0, errno == EINTR { continue }
        guard n > 0 else {
          failed = n < 0
          return
        }
        filled += n
      }
    }
    if failed { throw .system("read", path) }
    return bytes
  }
}

/// The store's file as the one receiver holds it that appends to it.
final class BatchStoreFile {
  /// Writes at a place of a file and says how many bytes, as pwrite(2). Injected, so that a disk can
  /// be full in a test.
  typealias Write = @Sendable (Int32, UnsafeRawBufferPointer, off_t) -> Int
  static let systemWrite: Write = { pwrite($0, $1.baseAddress, $1.count, $2) }

  private let path: String
  private let write: Write
  private let descriptor: Int32
  /// Bytes that are known to be on the disk.
  private(set) var size: Int64

  /// Opens or begins the file, with the exclusive right to append to it.
  init(layout: BatchStoreLayout, write: @escaping Write = systemWrite) throws(BatchStoreError) {
    path = layout.records
    self.write = write
    size = 0
    if mkdir(layout.directory, 0o700) != 0, errno != EEXIST {
      throw .system("create", layout.directory)
    }
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .system("open", path) }
    var attempts = 0
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      // One that is just ending still holds it for a moment.
      attempts += 1
      guard errno == EWOULDBLOCK, attempts < 50 else {
        throw .system("lock", path, hint: "does another receiver use this store?")
      }
      usleep(20_000)
    }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .system("read the size of", path) }
    size = Int64(status.st_size)
    if size < Int64(BatchRecord.fileHeader.count) {
      try cut(to: 0)
      try append(BatchRecord.fileHeader)
      let directory = open(layout.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
      guard directory >= 0 else { throw .system("open", layout.directory) }
      defer { close(directory) }
      guard fsync(directory) == 0 else { throw .system("fsync", layout.directory) }
    }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Writes at the end and fsyncs. After an error the file must be opened and read anew: what of the
  /// bytes is on the disk is then unknown.
  func append(_ bytes: [UInt8]) throws(BatchStoreError) {
    var written = 0
    while written < bytes.count {
      let n = bytes.withUnsafeBytes { buffer in
        write(descriptor, UnsafeRawBufferPointer(rebasing: buffer[written...]), off_t(size) + written)
      }
      if n < 0, errno == EINTR { continue }
      guard n > 0 else { throw .system("append to", path) }
      written += n
    }
    guard fdatasync(descriptor) == 0 else { throw .system("fsync", path) }
    size += Int64(bytes.count)
  }

  /// Cuts off everything from `end` on.
  func cut(to end: Int64) throws(BatchStoreError) {
    guard ftruncate(descriptor, off_t(end)) == 0 else { throw .system("cut the tail of", path) }
    guard fsync(descriptor) == 0 else { throw .system("fsync", path) }
    size = end
  }
}
