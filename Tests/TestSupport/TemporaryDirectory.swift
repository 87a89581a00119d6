import Glibc

/// A directory under `/tmp` that is removed, with all that is in it, when the last reference goes.
package final class TemporaryDirectory: Sendable {
  package let path: String

  /// - Parameter label: a few letters that tell whose directory it is.
  package init(_ label: String = "test") throws {
    var template = Array("/tmp/forebay-\(label)-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw POSIXFailure("mkdtemp", "/tmp") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { TemporaryDirectory.remove(path) }

  /// The path of `name` in the directory.
  package func file(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes a file and returns its path.
  @discardableResult
  package func write(_ text: String, to name: String) throws -> String {
    let path = file(name)
    let fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard fd >= 0 else { throw POSIXFailure("open", path) }
    defer { close(fd) }
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let n = bytes.withUnsafeBytes { Glibc.write(fd, $0.baseAddress, $0.count) }
      guard n > 0 else { throw POSIXFailure("write", path) }
      bytes = bytes.dropFirst(n)
    }
    return path
  }

  /// The text of a file; empty where there is none.
  package static func read(_ path: String) -> String {
    let fd = open(path, O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else { return "" }
    defer { close(fd) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
      let n = chunk.withUnsafeMutableBytes { Glibc.read(fd, $0.baseAddress, $0.count) }
      if n <= 0 { break }
      bytes += chunk[..<n]
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func remove(_ path: String) {
    if let directory = opendir(path) {
      while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
          String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name == "." || name == ".." { continue }
        let child = "\(path)/\(name)"
        if entry.pointee.d_type == UInt8(DT_DIR) { remove(child) } else { unlink(child) }
      }
      closedir(directory)
    }
    rmdir(path)
  }
}

/// A system call that failed, and on what.
package struct POSIXFailure: Error, CustomStringConvertible {
  package let description: String

  /// - Parameter code: taken from `errno` unless given.
  package init(_ operation: String, _ subject: String, code: Int32 = errno) {
    description = "\(operation) \(subject): \(String(cString: strerror(code)))"
  }
}
