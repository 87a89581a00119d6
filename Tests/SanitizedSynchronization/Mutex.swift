import Glibc

/// `Synchronization.Mutex` for builds with the thread sanitizer, which sees pthread's locks but not those: the
/// library that holds them spins and waits on a futex without being instrumented, so that whatever a lock
/// protects looks like a race as soon as two threads meet at it.
//
// @unchecked: the value is touched under the lock only.
public struct Mutex<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
  private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let value = UnsafeMutablePointer<Value>.allocate(capacity: 1)

  public init(_ initialValue: consuming sending Value) {
    pthread_mutex_init(lock, nil)
    value.initialize(to: initialValue)
  }

  deinit {
    value.deinitialize(count: 1)
    value.deallocate()
    pthread_mutex_destroy(lock)
    lock.deallocate()
  }

  public borrowing func withLock<Result: ~Copyable, E: Error>(
    _ body: (inout sending Value) throws(E) -> sending Result
  ) throws(E) -> sending Result {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    return try body(&value.pointee)
  }
}

public enum AtomicOrdering { case relaxed, acquiring, releasing, acquiringAndReleasing, sequentiallyConsistent }

/// `Synchronization.Atomic` beside it: one module takes the place of the other.
public struct Atomic<Value: Sendable>: ~Copyable, Sendable {
  private let value: Mutex<Value>

  public init(_ initialValue: consuming sending Value) { value = Mutex(initialValue) }

  public borrowing func load(ordering: AtomicOrdering) -> Value { value.withLock { $0 } }
  public borrowing func store(_ desired: Value, ordering: AtomicOrdering) { value.withLock { $0 = desired } }
  public borrowing func exchange(_ desired: Value, ordering: AtomicOrdering) -> Value {
    value.withLock { value in
      defer { value = desired }
      return value
    }
  }
}

extension Atomic where Value: FixedWidthInteger {
  @discardableResult
  public borrowing func add(_ operand: Value, ordering: AtomicOrdering) -> (oldValue: Value, newValue: Value) {
    value.withLock { value in
      let old = value
      value += operand
      return (old, value)
    }
  }

  @discardableResult
  public borrowing func wrappingAdd(
    _ operand: Value, ordering: AtomicOrdering
  ) -> (oldValue: Value, newValue: Value) {
    value.withLock { value in
      let old = value
      value &+= operand
      return (old, value)
    }
  }
}
