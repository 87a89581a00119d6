internal import Synchronization

/// Gives events to those who listen: each has a buffer of its own, and who does not keep up loses the oldest of them
/// and is told. Whoever publishes never waits.
package final class EventHub: Sendable {
  /// Listeners at once; each is a connection that stays.
  package static let maximumListeners = 16
  /// Events that wait for a listener, at most.
  package static let buffered = 32

  package struct Event: Sendable, Hashable {
    /// `status`, `alarm`, `replay`, `audit`
    package var name: String
    /// JSON, in one line.
    package var json: [UInt8]

    package init(name: String, json: [UInt8]) {
      self.name = name
      self.json = json
    }
  }

  private struct State: Sendable {
    var listeners: [Int: AsyncStream<Event>.Continuation] = [:]
    var next = 0
    var isClosed = false
  }

  private let state = Mutex(State())

  package init() {}

  package var isHeard: Bool { state.withLock { !$0.listeners.isEmpty } }

  /// - Returns: the events from now on; nil where too many listen. The stream ends when the hub is closed.
  package func listen() -> AsyncStream<Event>? {
    state.withLock { state in
      guard !state.isClosed, state.listeners.count < EventHub.maximumListeners else { return nil }
      let (stream, continuation) = AsyncStream<Event>.makeStream(bufferingPolicy: .bufferingNewest(EventHub.buffered))
      let id = state.next
      state.next += 1
      continuation.onTermination = { [weak self] _ in self?.leave(id) }
      state.listeners[id] = continuation
      return stream
    }
  }

  package func publish(_ event: Event) {
    // A yield may end a stream and call back: not under the lock.
    for listener in state.withLock({ Array($0.listeners.values) }) {
      if case .dropped = listener.yield(event) {
        // It takes the place of another one: a listener that is this far behind asks anew.
        listener.yield(Event(name: "lost", json: Array("{}".utf8)))
      }
    }
  }

  /// Ends every stream; nobody can listen any more.
  package func close() {
    let all = state.withLock { state in
      state.isClosed = true
      return Array(state.listeners.values)
    }
    for listener in all { listener.finish() }
  }

  private func leave(_ id: Int) { state.withLock { $0.listeners[id] = nil } }
}
