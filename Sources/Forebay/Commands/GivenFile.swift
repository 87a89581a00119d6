internal import Glibc

/// A file that somebody names on the command line.
enum GivenFile {
  struct Fault: Error, CustomStringConvertible {
    var path: String
    var reason: String
    var description: String { "\(path == "-" ? "standard input" : path): \(reason)" }
  }

  /// All of it.
  /// - Parameters:
  ///   - path: `-` for standard input.
  ///   - limit: bytes that it may have.
  static func read(_ path: String, limit: Int) throws(Fault) -> [UInt8] {
    let descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw Fault(path: path, reason: ConfigurationFiles.errorText(errno)) }
    defer { if descriptor != STDIN_FILENO { close(descriptor) } }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = Glibc.read(descriptor, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw Fault(path: path, reason: ConfigurationFiles.errorText(errno)) }
      if count == 0 { return bytes }
      bytes += buffer[..<count]
      guard bytes.count <= limit else { throw Fault(path: path, reason: "it is larger than \(limit >> 20) MiB") }
    }
  }
}
