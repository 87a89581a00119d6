internal import CLinux
internal import Glibc
internal import Synchronization

/// A thread for work that blocks: Swift's own executor has one thread per core and must not wait for a
/// disk.
enum WorkerThread {
  private final class Body {
    let name: String
    let run: @Sendable () -> Void
    init(name: String, run: @escaping @Sendable () -> Void) {
      self.name = name
      self.run = run
    }
  }

  /// - Parameter name: at most 15 bytes of it are shown by `top -H` and in core dumps.
  static func start(name: String, _ run: @escaping @Sendable () -> Void) {
    var handle = pthread_t()
    let body = Unmanaged.passRetained(Body(name: name, run: run))
    let code = pthread_create(
      &handle, nil,
      { context in
        guard let context else { return nil }
        let body = Unmanaged<Body>.fromOpaque(context).takeRetainedValue()
        pthread_setname_np(pthread_self(), String(body.name.prefix(15)))
        body.run()
        return nil
      }, body.toOpaque())
    // EAGAIN: the process may have no more threads. There are a handful, all made at the start.
    precondition(code == 0, "a thread cannot be made: \(String(cString: strerror(code)))")
    pthread_detach(handle)
  }

  /// Blocks this thread, which must be one of ours, until the work on Swift's executor is done.
  static func wait<R: Sendable>(for work: @escaping @Sendable () async -> R) -> R {
    let box = WaitBox<R>()
    Task { box.finish(await work()) }
    return box.take()
  }
}

private final class WaitBox<R: Sendable>: Sendable {
  private let result = Mutex<R?>(nil)
  private let doorbell = Doorbell()

  func finish(_ value: R) {
    result.withLock { $0 = value }
    doorbell.ring()
  }

  func take() -> R {
    while true {
      if let value = result.withLock({ $0 }) { return value }
      doorbell.wait(until: .max)
    }
  }
}

/// A flag that a thread waits for, with a deadline.
//
// @unchecked: `raised` is read and written only under `mutex`; the pthread objects are made for that.
final class Doorbell: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var raised = false

  init() {
    pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    // The wall clock may jump by years on a gateway; waiting goes by the monotonic one.
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_cond_init(condition, &attributes)
    pthread_condattr_destroy(&attributes)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  func ring() {
    pthread_mutex_lock(mutex)
    raised = true
    pthread_cond_signal(condition)
    pthread_mutex_unlock(mutex)
  }

  /// Returns once it has been rung since the last wait, or at `deadline` (monotonic nanoseconds).
  func wait(until deadline: Int64) {
    var time = timespec(
      tv_sec: Int(deadline / 1_000_000_000), tv_nsec: Int(deadline % 1_000_000_000))
    pthread_mutex_lock(mutex)
    while !raised {
      if pthread_cond_timedwait(condition, mutex, &time) == ETIMEDOUT { break }
    }
    raised = false
    pthread_mutex_unlock(mutex)
  }
}
