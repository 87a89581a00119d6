package import Glibc

/// The few calls on files that the spool needs beside SQLite.
package enum FileSystem {
  /// Bytes; 0 when there is no such file.
  static func size(_ path: String) -> Int64 {
    var info = stat()
    return stat(path, &info) == 0 ? Int64(info.st_size) : 0
  }

  static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  /// The file's inode number as text; nil when there is no such file. A copy has another one. The number
  /// of the device is no part of it: it follows the order in which the kernel finds the disks.
  static func identity(_ path: String) -> String? {
    var info = stat()
    return stat(path, &info) == 0 ? String(info.st_ino) : nil
  }

  /// Bytes that an unprivileged process may still write on the file system of `path`.
  static func free(_ path: String) throws(SpoolError) -> Int64 {
    var info = statvfs()
    guard statvfs(path, &info) == 0 else { throw failure("ask for the free space of", path) }
    return Int64(info.f_bavail) * Int64(info.f_frsize)
  }

  /// The error of the last call, with its place.
  static func failure(_ operation: String, _ path: String) -> SpoolError {
    let code = errno
    let kind: SpoolError.Kind =
      switch code {
      case ENOSPC, EDQUOT, EFBIG: .full
      case EIO: .io
      default: .unavailable
      }
    return SpoolError(
      kind: kind, operation: operation, path: path, cause: String(cString: strerror(code)),
      hint: kind.hint)
  }

  static func makeDirectory(_ path: String) throws(SpoolError) {
    if mkdir(path, 0o750) == 0 {
      // Or a power cut may take the new folder with all that was synced in it. A parent that may not be
      // read cannot be synced either; most file systems bring the entry along anyway.
      try? syncDirectory(of: path)
    } else if errno != EEXIST {
      throw failure("create", path)
    }
    var info = stat()
    guard stat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else {
      throw SpoolError(
        kind: .unavailable, operation: "create", path: path, cause: "it is there and no folder",
        hint: nil)
    }
  }

  /// The names in a folder; none where there is no such folder.
  static func names(in path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  static func read(_ path: String) throws(SpoolError) -> [UInt8] {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw failure("read", path) }
    defer { Glibc.close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = Glibc.read(file, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw failure("read", path) }
      if count == 0 { return bytes }
      bytes.append(contentsOf: chunk[..<count])
    }
  }

  /// The bytes of a file; nil where there is none.
  package static func contents(_ path: String) throws(SpoolError) -> [UInt8]? {
    exists(path) ? try read(path) : nil
  }

  /// Replaces a file so that after a power cut either the old or the new content stands whole. What stands
  /// there already is not written again.
  /// - Parameter mode: of the new file, less what the umask takes.
  package static func replace(
    _ path: String, with bytes: [UInt8], mode: mode_t = 0o640
  ) throws(SpoolError) {
    if size(path) == bytes.count, let present = try? read(path), present == bytes {
      return try syncDirectory(of: path)
    }
    let temporary = path + ".new"
    // Made anew, so that nobody's link is followed.
    unlink(temporary)
    let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
    guard file >= 0 else { throw failure("create", temporary) }
    do throws(SpoolError) {
      defer { Glibc.close(file) }
      var written = 0
      while written < bytes.count {
        let count = bytes.withUnsafeBytes { buffer in
          Glibc.write(file, buffer.baseAddress?.advanced(by: written), buffer.count - written)
        }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw failure("write", temporary) }
        written += count
      }
      guard fsync(file) == 0 else { throw failure("sync", temporary) }
      guard rename(temporary, path) == 0 else { throw failure("rename", temporary) }
    } catch {
      unlink(temporary)
      throw error
    }
    try syncDirectory(of: path)
  }

  /// Makes what any process has written to a file, and the file's name, safe from a power cut. A file that
  /// is not there is none to be synced.
  static func sync(_ path: String) throws(SpoolError) {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else {
      if errno == ENOENT { return }
      throw failure("open", path)
    }
    defer { Glibc.close(file) }
    guard fsync(file) == 0 else { throw failure("sync", path) }
  }

  /// The folder that a file lies in.
  static func folder(of path: String) -> String {
    let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    return folder.isEmpty ? "/" : folder
  }

  static func syncDirectory(of path: String) throws(SpoolError) {
    let directory = folder(of: path)
    let file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard file >= 0 else { throw failure("open", directory) }
    defer { Glibc.close(file) }
    guard fsync(file) == 0 else { throw failure("sync", directory) }
  }
}
