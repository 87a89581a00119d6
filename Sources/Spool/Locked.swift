internal import Glibc

/// A value that is touched only under its lock.
///
/// `Synchronization.Mutex` asks of every closure a proof that nothing leaves the lock, which closures
/// that take a caller's closure cannot give; SQLite handles need no more than what a plain lock gives.
//
// @unchecked: `value` is read and written only between lock and unlock of `mutex`.
final class Locked<Value>: @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private var value: Value

  init(_ value: Value) {
    self.value = value
    mutex = .allocate(capacity: 1)
    pthread_mutex_init(mutex, nil)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  func withLock<R, E: Error>(_ body: (inout Value) throws(E) -> R) throws(E) -> R {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body(&value)
  }
}
