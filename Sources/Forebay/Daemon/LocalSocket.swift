internal import Glibc
internal import Ingest

/// A Unix socket that gives one document to everybody who connects. Which one, a line may say that the client sends
/// first; who sends nothing gets the status.
/// Who may read it is up to the permissions of the socket (0660, owner and group of the daemon).
struct LocalSocket {
  struct Failure: Error, CustomStringConvertible {
    var description: String

    init(description: String) { self.description = description }

    /// - Parameter code: what `connect` or another call gave (connect(2), unix(7)).
    init(_ operation: String, _ path: String, code: Int32) {
      let hint =
        switch code {
        case ENOENT, ENOTDIR: "no daemon has made this socket: is it running, and is this its socket?"
        case ECONNREFUSED: "no daemon listens there: the socket is left from one that has ended, or is no socket"
        case EACCES, EPERM:
          "a daemon may well be running: the socket is for its user and its group; try with sudo"
        default: ""
        }
      description =
        "cannot \(operation) \(path): \(ConfigurationFiles.errorText(code))" + (hint.isEmpty ? "" : "; \(hint)")
    }
  }

  /// What may be asked for.
  enum Request: String, CaseIterable {
    case status
    /// The Prometheus page.
    case metrics
    case traces
  }

  /// Bytes of a request at most.
  private static let longestRequest = 64
  /// Milliseconds that a client has for its request: one that sends none and keeps its end open waits so long.
  private static let requestTimeout: Int32 = 200

  /// Listens at `path` and answers every connection with what `document` gives at that time.
  static func serve(_ path: String, document: @escaping @Sendable (Request) async -> [UInt8]) throws {
    let listener = try makeSocket(path)
    // One that an earlier run has left; anything else that stands there is not ours to delete.
    var status = stat()
    if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK { unlink(path) }
    let bound = try withAddress(path) { bind(listener, $0, $1) }
    guard bound == 0, chmod(path, 0o660) == 0, listen(listener, 16) == 0 else {
      defer { close(listener) }
      throw failure("listen at", path)
    }
    let server = try Worker.start("status") {
      while true {
        let client = accept(listener, nil, nil)
        guard client >= 0 else {
          if errno == EINTR || errno == ECONNABORTED { continue }
          // Out of descriptors or memory: the daemon's work matters more than this socket.
          poll(nil, 0, 100)
          continue
        }
        // Who connects and does not read must not hold up the next one for long.
        var limit = timeval(tv_sec: 2, tv_usec: 0)
        setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        if let request = receive(from: client) { send(blockingWait { await document(request) }, to: client) }
        close(client)
      }
    }
    server.detach()
  }

  /// The line that a client sent; nil where it is none of the known ones.
  private static func receive(from client: Int32) -> Request? {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: longestRequest)
    while bytes.count < longestRequest, !bytes.contains(UInt8(ascii: "\n")) {
      var ready = pollfd(fd: client, events: Int16(POLLIN), revents: 0)
      guard poll(&ready, 1, requestTimeout) > 0 else { break }
      let count = read(client, &chunk, longestRequest - bytes.count)
      guard count > 0 else { break }
      bytes.append(contentsOf: chunk[..<count])
    }
    let line = bytes.prefix { $0 != UInt8(ascii: "\n") }
    return line.isEmpty ? .status : Request(rawValue: String(decoding: line, as: UTF8.self))
  }

  /// A document of the daemon that listens at `path`.
  static func fetch(_ path: String, _ request: Request = .status) throws -> [UInt8] {
    let client = try makeSocket(path)
    defer { close(client) }
    var limit = timeval(tv_sec: 10, tv_usec: 0)
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    guard try withAddress(path, { connect(client, $0, $1) }) == 0 else {
      throw failure("connect to", path)
    }
    send(Array((request.rawValue + "\n").utf8), to: client)
    shutdown(client, Int32(SHUT_WR))
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = read(client, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw failure("read from", path) }
      if count == 0 {
        guard !bytes.isEmpty else {
          throw Failure(description: "\(path): the daemon ended the connection without an answer; is it stopping?")
        }
        return bytes
      }
      bytes.append(contentsOf: chunk[..<count])
    }
  }

  private static func send(_ bytes: [UInt8], to client: Int32) {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes { buffer in
        Glibc.send(
          client, buffer.baseAddress?.advanced(by: sent), buffer.count - sent,
          Int32(MSG_NOSIGNAL))
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return }
      sent += count
    }
  }

  private static func makeSocket(_ path: String) throws -> Int32 {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw failure("make a socket for", path) }
    return descriptor
  }

  private static func withAddress<R>(
    _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
  ) throws -> R {
    var name = sockaddr_un()
    name.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: name.sun_path) else {
      throw Failure(
        description: "\(path): a socket's path may have 107 bytes (unix(7)); set status.socket")
    }
    withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: bytes) }
    return withUnsafePointer(to: &name) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
  }

  private static func failure(_ operation: String, _ path: String) -> Failure {
    Failure(operation, path, code: errno)
  }
}
