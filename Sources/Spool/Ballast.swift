internal import Glibc

/// A reserved file that is given up when the disk is full: SQLite needs room even to delete.
package struct Ballast: Sendable {
  private let path: String
  private let bytes: Int64

  package init(directory: String, bytes: Int64 = 8 << 20) {
    path = directory + "/ballast"
    self.bytes = bytes
  }

  /// Reserves the space when it is not reserved yet and the disk has plenty.
  package func take() {
    guard FileSystem.size(path) < bytes, let free = try? FileSystem.free(FileSystem.folder(of: path)),
      free > 4 * bytes
    else { return }
    let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o640)
    guard file >= 0 else { return }
    // Without the reservation the daemon still works, it only has less to give up.
    if posix_fallocate(file, 0, off_t(bytes)) != 0 { unlink(path) }
    Glibc.close(file)
  }

  /// Gives the space back.
  package func release() { unlink(path) }
}
