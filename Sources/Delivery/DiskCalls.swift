import Glibc

/// An error of the file system: what was tried, where, and why it failed.
struct DiskError: Error, Sendable, Hashable, CustomStringConvertible {
  var operation: String
  var path: String
  /// Nil when the disk did as it was told, and what it holds is wrong.
  var code: CInt?
  var cause: String

  init(_ operation: String, _ path: String, code: CInt) {
    self.operation = operation
    self.path = path
    self.code = code
    cause = String(cString: strerror(code))
  }

  init(_ operation: String, _ path: String, cause: String) {
    self.operation = operation
    self.path = path
    self.cause = cause
  }

  var isFull: Bool { code == ENOSPC || code == EDQUOT }
  var description: String { "cannot \(operation) \(path): \(cause)" }
}

/// The calls that change the disk, in one place, so that tests can make any of them fail at any byte.
struct DiskCalls: Sendable {
  enum Call: Sendable, Hashable {
    case create, write, sync, truncate, rename, unlink, makeDirectory
  }

  /// What a call is to do instead of succeeding: write so many bytes, and fail.
  struct Fault: Sendable {
    var code: CInt
    var bytes = 0
  }

  /// Asked before every call, with the number of bytes it is to write. Always nil outside of tests.
  var fault: @Sendable (Call, Int) -> Fault? = { _, _ in nil }

  private func check(_ call: Call, _ operation: String, _ path: String) throws(DiskError) {
    if let fault = fault(call, 0) { throw DiskError(operation, path, code: fault.code) }
  }

  /// Opens for reading and writing.
  func open(_ path: String, create: Bool) throws(DiskError) -> CInt {
    if create { try check(.create, "create", path) }
    let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0o640)
    guard descriptor >= 0 else { throw DiskError(create ? "create" : "open", path, code: errno) }
    return descriptor
  }

  func write(_ bytes: [UInt8], to descriptor: CInt, at offset: Int, _ path: String) throws(DiskError) {
    let fault = fault(.write, bytes.count)
    let wanted = fault.map { min($0.bytes, bytes.count) } ?? bytes.count
    var written = 0
    while written < wanted {
      let count = bytes.withUnsafeBytes { buffer in
        pwrite(descriptor, buffer.baseAddress.map { $0 + written }, wanted - written, off_t(offset + written))
      }
      if count < 0 {
        if errno == EINTR { continue }
        throw DiskError("write to", path, code: errno)
      }
      written += count
    }
    if let fault { throw DiskError("write to", path, code: fault.code) }
  }

  func sync(_ descriptor: CInt, _ path: String) throws(DiskError) {
    try check(.sync, "sync", path)
    guard fdatasync(descriptor) == 0 else { throw DiskError("sync", path, code: errno) }
  }

  /// Makes what was created, renamed or removed in a directory survive a power cut.
  func syncDirectory(_ path: String) throws(DiskError) {
    try check(.sync, "sync", path)
    let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw DiskError("open", path, code: errno) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw DiskError("sync", path, code: errno) }
  }

  func truncate(_ descriptor: CInt, to length: Int, _ path: String) throws(DiskError) {
    try check(.truncate, "truncate", path)
    guard ftruncate(descriptor, off_t(length)) == 0 else {
      throw DiskError("truncate", path, code: errno)
    }
  }

  func rename(_ from: String, to: String) throws(DiskError) {
    try check(.rename, "rename", from)
    guard Glibc.rename(from, to) == 0 else {
      throw DiskError("rename", "\(from) to \(to)", code: errno)
    }
  }

  /// Removes a file if there is one.
  func unlink(_ path: String) throws(DiskError) {
    try check(.unlink, "remove", path)
    guard Glibc.unlink(path) == 0 || errno == ENOENT else {
      throw DiskError("remove", path, code: errno)
    }
  }

  /// Makes a directory if there is none; its parent must exist.
  func makeDirectory(_ path: String) throws(DiskError) {
    guard !exists(path) else { return }
    try check(.makeDirectory, "make", path)
    guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw DiskError("make", path, code: errno) }
    if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
      try syncDirectory(String(path[..<slash]))
    }
  }

  func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  func length(_ descriptor: CInt, _ path: String) throws(DiskError) -> Int {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw DiskError("look at", path, code: errno) }
    return Int(status.st_size)
  }

  /// The whole of a file; nil when there is none.
  func contents(_ path: String) throws(DiskError) -> [UInt8]? {
    let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      if errno == ENOENT { return nil }
      throw DiskError("open", path, code: errno)
    }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: try length(descriptor, path))
    var count = 0
    while count < bytes.count {
      let got = bytes.withUnsafeMutableBytes { buffer in
        read(descriptor, buffer.baseAddress.map { $0 + count }, buffer.count - count)
      }
      if got < 0 {
        if errno == EINTR { continue }
        throw DiskError("read", path, code: errno)
      }
      if got == 0 { break }
      count += got
    }
    bytes.removeSubrange(count...)
    return bytes
  }

  /// The names in a directory, in order; empty when there is none.
  func names(in path: String) throws(DiskError) -> [String] {
    guard let directory = opendir(path) else {
      if errno == ENOENT { return [] }
      throw DiskError("read", path, code: errno)
    }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      // d_name is a C array as long as the longest name there can be, imported as a tuple.
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }
}
