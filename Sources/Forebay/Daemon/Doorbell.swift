internal import Glibc
internal import Synchronization

/// Blocks this thread, which must be one of ours and not of Swift's executor, until the work there is done.
func blockingWait<R: Sendable>(for work: @escaping @Sendable () async -> R) -> R {
  let box = WaitBox<R>()
  Task { box.finish(await work()) }
  return box.take()
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
