internal import Glibc

// Root takes backups and brings them back, and the folder of a spool belongs to the user of the service: whoever has
// taken over the service can put links, pipes and folders of his own there. So what root reads of it is what the owner
// could have read, and what is written there is written as the owner.

package enum SpoolOwner {
  /// Makes this process the owner's of a folder, for good: with no more rights than the owner has. Does nothing for a
  /// process that is not root's, and for a folder that is.
  package static func become(of directory: String) throws(SpoolError) {
    var info = stat()
    guard stat(directory, &info) == 0 else { throw FileSystem.failure("look at", directory) }
    guard geteuid() == 0, info.st_uid != 0 else { return }
    var group = info.st_gid
    // Of root's process these change the saved ids as well (setuid(2)): there is no way back.
    guard setgroups(1, &group) == 0, setgid(group) == 0, setuid(info.st_uid) == 0 else {
      throw FileSystem.failure("go on as the owner of", directory)
    }
  }

  /// Opens a regular file that the owner of a spool's folder may read.
  /// - Returns: nil where there is none, or none that the owner may read.
  static func open(_ path: String, in directory: String) throws(SpoolError) -> Int32? {
    let file: Int32
    do throws(SpoolError) {
      file = try FileSystem.openRegular(path, operation: "read", flags: O_NOFOLLOW)
    } catch {
      guard FileSystem.exists(path) else { return nil }
      throw error
    }
    var (info, folder) = (stat(), stat())
    guard fstat(file, &info) == 0, stat(directory, &folder) == 0, mayRead(info, folder) else {
      Glibc.close(file)
      return nil
    }
    return file
  }

  private static func mayRead(_ file: stat, _ owner: stat) -> Bool {
    if owner.st_uid == 0 { return true }
    if file.st_uid == owner.st_uid { return file.st_mode & S_IRUSR != 0 }
    return file.st_mode & (file.st_gid == owner.st_gid ? S_IRGRP : S_IROTH) != 0
  }

  /// - Parameter limit: bytes at most.
  /// - Returns: as ``open(_:in:)``.
  static func read(_ path: String, in directory: String, limit: Int) throws(SpoolError) -> [UInt8]? {
    guard let file = try open(path, in: directory) else { return nil }
    defer { Glibc.close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = Glibc.read(file, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw FileSystem.failure("read", path) }
      if count == 0 { return bytes }
      bytes.append(contentsOf: chunk[..<count])
      guard bytes.count <= limit else {
        throw SpoolError(
          kind: .unavailable, operation: "read", path: path, cause: "it has more than \(limit) bytes",
          hint: "this is no file of forebay's: look what it is")
      }
    }
  }
}

extension FileSystem {
  /// Opens a regular file for reading, and waits for no pipe.
  static func openRegular(_ path: String, operation: String, flags: Int32 = 0) throws(SpoolError) -> Int32 {
    let file = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags)
    guard file >= 0 else { throw failure(operation, path) }
    var info = stat()
    guard fstat(file, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
      Glibc.close(file)
      throw SpoolError(
        kind: .unavailable, operation: operation, path: path, cause: "it is no regular file", hint: nil)
    }
    return file
  }
}
