internal import Glibc
internal import Synchronization

/// The file of tokens as it is now: one that was added or taken away counts at the next request.
final class TokenWatch: Sendable {
  private struct State: Sendable {
    /// Inode, size and time of change of what was read; nil: nothing yet.
    var stamp: [Int64]?
    var file = AccessTokenFile()
    var fault: String?
  }

  private let path: String
  private let state = Mutex(State())

  init(path: String) { self.path = path }

  /// Whose token it is; nil: nobody's. While the file cannot be used there are no tokens.
  func holder(of text: String) -> AccessToken? {
    look().file.holder(of: text)
  }

  /// Why the file cannot be used; nil also where there is none yet.
  var fault: String? { look().fault }

  private func look() -> State {
    state.withLock { state in
      let stamp = stamp()
      guard stamp != state.stamp else { return state }
      state = State(stamp: stamp)
      guard !stamp.isEmpty else { return state }
      do throws(AccessTokenFile.Fault) {
        state.file = try AccessTokenFile(try read())
      } catch {
        state.fault = "the file of tokens \(path): \(error)"
      }
      return state
    }
  }

  /// Empty where there is no file.
  private func stamp() -> [Int64] {
    var info = stat()
    guard stat(path, &info) == 0 else { return [] }
    return [
      Int64(info.st_ino), Int64(info.st_size), Int64(info.st_mtim.tv_sec), Int64(info.st_mtim.tv_nsec),
      Int64(info.st_ctim.tv_sec), Int64(info.st_ctim.tv_nsec),
    ]
  }

  private func read() throws(AccessTokenFile.Fault) -> [UInt8] {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else { throw .init(line: nil, reason: String(cString: strerror(errno))) }
    defer { close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16_384)
    while bytes.count <= AccessTokenFile.maximumBytes {
      let count = Glibc.read(file, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw .init(line: nil, reason: String(cString: strerror(errno))) }
      if count == 0 { break }
      bytes.append(contentsOf: chunk[..<count])
    }
    return bytes
  }
}
