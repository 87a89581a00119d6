import Glibc
import Synchronization

/// A thread of our own, for work that blocks: Swift's executor has one thread per core and must not wait for
/// a disk or a broker. It has every signal blocked: signals belong to the main thread, and writing to a
/// connection that was closed is an error here, not SIGPIPE.
package final class Worker: Sendable {
  private let name: String
  private let body: @Sendable () -> Void
  private let ended = Pipe()
  private let thread = Mutex<pthread_t?>(nil)

  private init(_ name: String, _ body: @escaping @Sendable () -> Void) {
    self.name = name
    self.body = body
  }

  /// Starts a thread.
  /// - Parameter name: at most 15 bytes, shown by tools such as `top -H`.
  /// - Throws: `ThreadFailure` when the system has no thread for us.
  @discardableResult
  package static func start(_ name: String, _ body: @escaping @Sendable () -> Void) throws -> Worker {
    let worker = Worker(name, body)
    var all = sigset_t()
    var before = sigset_t()
    sigfillset(&all)
    // A thread begins with the mask of the one that makes it.
    pthread_sigmask(SIG_SETMASK, &all, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    var thread = pthread_t()
    let context = Unmanaged.passRetained(worker)
    let code = pthread_create(
      &thread, nil,
      { context in
        guard let context else { return nil }
        let worker = Unmanaged<Worker>.fromOpaque(context).takeRetainedValue()
        worker.setName()
        worker.body()
        worker.ended.signal()
        return nil
      }, context.toOpaque())
    guard code == 0 else {
      context.release()
      throw ThreadFailure(code: code)
    }
    worker.thread.withLock { $0 = thread }
    return worker
  }

  /// Waits for the end, at most so many nanoseconds. Whether it ended in time; if not, the thread is
  /// left to itself.
  func join(within nanoseconds: Int64) -> Bool {
    let thread = self.thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    guard let thread else { return false }
    if ended.wait(milliseconds: max(0, nanoseconds) / 1_000_000) {
      pthread_join(thread, nil)
      return true
    }
    pthread_detach(thread)
    return false
  }

  /// Lets the thread end by itself, unwatched.
  package func detach() {
    let thread = self.thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    if let thread { pthread_detach(thread) }
  }

  /// The calling thread's name; pthread_setname_np(3) is not in the Glibc module.
  private func setName() {
    let fd = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    guard fd >= 0 else { return }
    _ = name.withCString { write(fd, $0, strlen($0)) }
    close(fd)
  }

  struct ThreadFailure: Error, CustomStringConvertible {
    var code: Int32
    var description: String { "no thread could be started: \(String(cString: strerror(code)))" }
  }
}

/// A pipe that carries wake-ups: any number of signals are one until they are cleared.
final class Pipe: Sendable {
  /// -1 when the system had no descriptors to give.
  let reader: Int32
  private let writer: Int32

  init() {
    var ends: [Int32] = [-1, -1]
    if pipe(&ends) == 0 {
      for end in ends {
        _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        _ = fcntl(end, F_SETFL, O_NONBLOCK)
      }
    }
    (reader, writer) = (ends[0], ends[1])
  }

  deinit {
    if reader >= 0 { close(reader) }
    if writer >= 0 { close(writer) }
  }

  func signal() {
    var byte: UInt8 = 1
    _ = write(writer, &byte, 1)
  }

  func clear() {
    withUnsafeTemporaryAllocation(byteCount: 256, alignment: 1) { buffer in
      while read(reader, buffer.baseAddress, buffer.count) == buffer.count {}
    }
  }

  /// Whether a signal came within so many milliseconds.
  func wait(milliseconds: Int64) -> Bool {
    let deadline = monotonicNanoseconds() + milliseconds * 1_000_000
    while true {
      let remaining = max(0, (deadline - monotonicNanoseconds()) / 1_000_000)
      var entry = pollfd(fd: reader, events: Int16(POLLIN), revents: 0)
      let count = poll(&entry, 1, Int32(clamping: remaining))
      if count > 0 { return true }
      if count == 0, remaining == 0 { return false }
    }
  }
}

/// `CLOCK_MONOTONIC`, in nanoseconds.
func monotonicNanoseconds() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}
