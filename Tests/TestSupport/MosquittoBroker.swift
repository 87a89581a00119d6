package import Glibc
import Synchronization

/// A real mosquitto for one test, on a free loopback port, in a directory of its own.
///
/// It is killed when the last reference goes. ``start()`` after ``stop()`` or ``kill9()`` starts it
/// again on the same port with the same files.
package final class MosquittoBroker: Sendable {
  package let port: Int
  package let directory: TemporaryDirectory
  private let process = Mutex<ChildProcess?>(nil)

  /// Where the broker writes what it does; with `log_type all`, every packet.
  package var logPath: String { directory.file("mosquitto.log") }
  /// What it wrote so far.
  package var log: String { TemporaryDirectory.read(logPath) }
  package var pid: pid_t? { process.withLock { $0?.pid } }
  package var isRunning: Bool { process.withLock { $0.map { $0.poll() == nil } ?? false } }

  /// Writes the configuration and starts the broker.
  /// - Parameters:
  ///   - configuration: lines of mosquitto.conf(5) that follow the listener; so they may set up its
  ///     TLS (`cafile`, `certfile`, …) as well as anything general (`max_inflight_messages 20`).
  ///     Anonymous clients are let in unless the text says `allow_anonymous` itself.
  ///   - persistence: whether sessions and queues survive ``stop()`` and ``start()``.
  ///   - listening: false to write the configuration and start it later.
  package init(
    _ configuration: String = "", persistence: Bool = false, listening: Bool = true
  ) throws {
    directory = try TemporaryDirectory("mosquitto")
    port = try freePort()
    var lines = [
      "listener \(port) 127.0.0.1",
      configuration,
      "log_dest file \(directory.path)/mosquitto.log",
      // Started by root the broker would become another user, who may not write here.
      "user root",
      "persistence \(persistence)",
    ]
    if persistence { lines.append("persistence_location \(directory.path)/") }
    if !configuration.contains("allow_anonymous") { lines.append("allow_anonymous true") }
    try directory.write(lines.joined(separator: "\n") + "\n", to: "mosquitto.conf")
    if listening { try start() }
  }

  /// Starts the broker and returns when it accepts connections.
  package func start() throws {
    let child = try ChildProcess(
      "/usr/sbin/mosquitto", ["-c", directory.file("mosquitto.conf")],
      output: directory.file("output"))
    let accepts = eventually(within: 10) {
      child.poll() != nil || MosquittoBroker.accepts(port: self.port)
    }
    guard accepts, child.poll() == nil else {
      throw DidNotStart(
        description: "mosquitto did not start: \(TemporaryDirectory.read(directory.file("output"))) \(log)")
    }
    process.withLock { $0 = child }
  }

  /// SIGTERM, and waits for the end: with persistence the broker writes its state.
  package func stop() { end(SIGTERM) }

  /// SIGKILL, and waits for the end: the broker forgets what it had not written.
  package func kill9() { end(SIGKILL) }

  private func end(_ signal: Int32) {
    let child = process.withLock { child in
      defer { child = nil }
      return child
    }
    child?.signal(signal)
    if child?.wait(seconds: 10) == nil { child?.signal(SIGKILL) }
  }

  /// Runs `mosquitto_pub` against the broker.
  /// - Parameters:
  ///   - lines: one message each (`-l`).
  ///   - options: more of its options, such as `["-r"]`.
  package func publish(
    _ topic: String, _ lines: [String], qos: Int = 1, options: [String] = []
  ) throws {
    let file = try TemporaryDirectory("pub")
    try file.write(lines.map { $0 + "\n" }.joined(), to: "lines")
    let (status, output) = try ChildProcess.run(
      "mosquitto_pub",
      ["-h", "127.0.0.1", "-p", "\(port)", "-t", topic, "-q", "\(qos)", "-l"] + options,
      input: file.file("lines"))
    guard status == 0 else { throw DidNotStart(description: "mosquitto_pub: \(output)") }
  }

  /// Whether somebody accepts connections on a port of 127.0.0.1.
  package static func accepts(port: Int) -> Bool {
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    defer { close(fd) }
    return withLoopback(port: port) { connect(fd, $0, $1) } == 0
  }

  private struct DidNotStart: Error, CustomStringConvertible {
    let description: String
  }
}

/// A TCP port of 127.0.0.1 that nothing listens on just now.
///
/// Below those that the kernel gives to outgoing connections (ip_local_port_range begins at 32768): while
/// the one who is to listen here is down, a connection attempt could otherwise get the port as its own, and
/// even connect to itself.
package func freePort() throws -> Int {
  for _ in 0..<100 {
    let port = Int.random(in: 12_000..<32_000)
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard fd >= 0 else { throw POSIXFailure("socket", "127.0.0.1") }
    defer { close(fd) }
    if withLoopback(port: port, { bind(fd, $0, $1) }) == 0 { return port }
  }
  throw POSIXFailure("bind", "127.0.0.1")
}
