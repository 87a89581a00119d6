import Dispatch
import Glibc
import Synchronization

/// Signals as they arrive, in place of what they do by default.
struct SignalStream: Sendable, AsyncSequence {
  typealias Element = Int32
  private let stream: AsyncStream<Int32>
  private let continuation: AsyncStream<Int32>.Continuation
  private let arrived: Arrived

  private final class Arrived: Sendable {
    let numbers = Mutex<Set<Int32>>([])
  }

  /// From now on the signals arrive here and no longer end the process.
  init(_ signals: [Int32]) {
    let (stream, continuation) = AsyncStream<Int32>.makeStream()
    self.stream = stream
    self.continuation = continuation
    let arrived = Arrived()
    self.arrived = arrived
    // Unsafe only in name: dispatch sources may be cancelled from any thread, and nothing else is done
    // with them.
    nonisolated(unsafe) let sources = signals.map { number in
      // A dispatch source sees a signal also when it is ignored; the default would still apply.
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler {
        _ = arrived.numbers.withLock { $0.insert(number) }
        continuation.yield(number)
      }
      source.resume()
      return source
    }
    continuation.onTermination = { _ in
      for source in sources { source.cancel() }
    }
  }

  /// Whether one of these signals has ever arrived, also when nobody has taken it from the stream yet.
  func hasArrived(_ numbers: Int32...) -> Bool {
    arrived.numbers.withLock { !$0.isDisjoint(with: numbers) }
  }

  /// Puts a number into the stream as if it had arrived from outside.
  func send(_ number: Int32) { continuation.yield(number) }

  func makeAsyncIterator() -> AsyncStream<Int32>.Iterator { stream.makeAsyncIterator() }
}
