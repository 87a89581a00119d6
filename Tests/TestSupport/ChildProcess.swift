package import Glibc
import Synchronization

/// A program that a test starts, signals by its process id and waits for.
///
/// It is killed when the last reference goes.
package final class ChildProcess: Sendable {
  package let pid: pid_t
  private let ended = Mutex<Int32?>(nil)

  /// Starts a program.
  /// - Parameters:
  ///   - executable: a path, or a name to be found in `PATH`.
  ///   - environment: added to this process's own.
  ///   - output: a file that takes standard output and standard error, appended; nil: nowhere.
  ///   - input: a file for standard input; nil: `/dev/null`.
  package init(
    _ executable: String, _ arguments: [String], environment: [String: String] = [:],
    output: String? = nil, input: String? = nil
  ) throws {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, input ?? "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(
      &actions, 1, output ?? "/dev/null", O_WRONLY | O_CREAT | O_APPEND, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // The child begins with no signal blocked or ignored, whatever the test process does.
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETSIGDEF))

    var variables: [String] = []
    var inherited = environ
    while let variable = inherited.pointee {
      let text = String(cString: variable)
      let name = text.prefix { $0 != "=" }
      if environment[String(name)] == nil { variables.append(text) }
      inherited += 1
    }
    variables += environment.map { "\($0.key)=\($0.value)" }
    var argv: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) }
    var envp: [UnsafeMutablePointer<CChar>?] = variables.map { strdup($0) }
    defer { (argv + envp).forEach { free($0) } }
    argv.append(nil)
    envp.append(nil)
    var pid: pid_t = 0
    let code = posix_spawnp(&pid, executable, &actions, &attributes, argv, envp)
    guard code == 0 else { throw POSIXFailure("start", executable, code: code) }
    self.pid = pid
  }

  deinit {
    if poll() == nil {
      kill(pid, SIGKILL)
      _ = wait()
    }
  }

  /// The exit status as a shell shows it (128 + signal for a killed one); nil while it runs.
  package func poll() -> Int32? { reap(WNOHANG) }

  /// Waits for the end, however long it takes.
  package func wait() -> Int32 { reap(0) ?? -1 }

  /// Waits at most so long for the end; nil when it still runs.
  package func wait(seconds: Double) -> Int32? {
    _ = eventually(within: seconds) { self.poll() != nil }
    return poll()
  }

  package func signal(_ number: Int32) {
    ended.withLock { status in
      if status == nil { kill(pid, number) }
    }
  }

  /// Runs a program to its end.
  /// - Returns: the exit status and what it wrote to standard output and standard error.
  package static func run(
    _ executable: String, _ arguments: [String], environment: [String: String] = [:],
    input: String? = nil
  ) throws -> (status: Int32, output: String) {
    let directory = try TemporaryDirectory("run")
    let child = try ChildProcess(
      executable, arguments, environment: environment, output: directory.file("output"),
      input: input)
    let status = child.wait()
    return (status, TemporaryDirectory.read(directory.file("output")))
  }

  private func reap(_ options: Int32) -> Int32? {
    ended.withLock { status in
      if let status { return status }
      var raw: Int32 = 0
      var result: pid_t
      repeat { result = waitpid(pid, &raw, options) } while result == -1 && errno == EINTR
      guard result == pid else { return nil }
      let signal = raw & 0x7f
      status = signal == 0 ? (raw >> 8) & 0xff : 128 + signal
      return status
    }
  }
}
