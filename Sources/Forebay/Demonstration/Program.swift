internal import Glibc

/// A program that the demonstration starts and ends by its process id.
final class Program {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  let name: String
  let pid: pid_t
  private var status: Int32?

  /// - Parameters:
  ///   - executable: a path, or a name to be found in `PATH`.
  ///   - output: takes what it prints; appended.
  init(name: String, _ executable: String, _ arguments: [String], output: String) throws {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // A process group of its own: Ctrl-C at the terminal reaches the demonstration alone, which then
    // ends the programs in the order in which nothing is lost.
    posix_spawnattr_setpgroup(&attributes, 0)
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETPGROUP) | Int16(POSIX_SPAWN_SETSIGMASK))
    var argv: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) }
    defer { argv.forEach { free($0) } }
    argv.append(nil)
    var pid: pid_t = 0
    let code = posix_spawnp(&pid, executable, &actions, &attributes, argv, environ)
    guard code == 0 else {
      throw Failure(description: "\(executable) cannot be started: \(String(cString: strerror(code)))")
    }
    self.name = name
    self.pid = pid
  }

  var isRunning: Bool {
    if status != nil { return false }
    var raw: Int32 = 0
    guard waitpid(pid, &raw, WNOHANG) == pid else { return true }
    status = raw
    return false
  }

  /// Asks it to end, and kills it when it has not after so many seconds.
  func stop(within seconds: Int) {
    guard isRunning else { return }
    kill(pid, SIGTERM)
    let deadline = SystemClock.monotonic() + Int64(seconds) * 1_000_000_000
    while isRunning, SystemClock.monotonic() < deadline { poll(nil, 0, 20) }
    if isRunning {
      kill(pid, SIGKILL)
      var raw: Int32 = 0
      waitpid(pid, &raw, 0)
      status = raw
    }
  }
}

/// Free ports of the loopback interface.
enum LoopbackPort {
  /// One that nobody listens on now. Somebody else may take it before it is used; that shows at once.
  static func free() throws -> Int {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw Program.Failure(description: "no socket can be made") }
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let code = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
      }
    }
    guard code == 0 else { throw Program.Failure(description: "no port of 127.0.0.1 is free") }
    return Int(UInt16(bigEndian: address.sin_port))
  }

  /// Whether somebody accepts connections there.
  static func isOpen(_ port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
  }
}
