internal import Synchronization

/// Gives events to those who listen: each has a buffer of its own, and who does not keep up loses the oldest of them
/// and is told how many. Whoever publishes never waits.
package final class EventHub: Sendable {
  /// Listeners at once; each is a connection that stays.
  package static let maximumListeners = 16
  /// Events that wait for a listener, at most.
  package static let buffered = 32

  package struct Event: Sendable, Hashable {
    /// `status`, `alarm`, `replay`, `audit`; `lost` with a `count`
    package var name: String
    /// JSON, in one line.
    package var json: [UInt8]

    package init(name: String, json: [UInt8]) {
      self.name = name
      self.json = json
    }

    /// So many stood here that were dropped.
    static func lost(_ count: Int) -> Event { Event(name: "lost", json: Array("{\"count\":\(count)}".utf8)) }
  }

  /// What waits for one listener: the only place in which events are kept.
  fileprivate final class Mailbox: Sendable {
    private struct State: Sendable {
      var events: [Event] = []
      var lost = 0
    }

    private let state = Mutex(State())
    /// Something came, or a sign of life is due; one that is not taken yet stands for all.
    let wake: AsyncStream<Void>
    private let bell: AsyncStream<Void>.Continuation

    init() { (wake, bell) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1)) }

    func put(_ event: Event) {
      state.withLock { state in
        state.events.append(event)
        guard state.events.count > EventHub.buffered else { return }
        state.events.removeFirst()
        state.lost += 1
      }
      bell.yield()
    }

    /// Everything that waits; what was dropped comes first, for it was the oldest.
    func take() -> [Event] {
      state.withLock { state in
        defer { state = State() }
        return (state.lost > 0 ? [.lost(state.lost)] : []) + state.events
      }
    }

    func ring() { bell.yield() }
    func end() { bell.finish() }
  }

  /// One who listens, until it lets go of this.
  package final class Listener: Sendable {
    fileprivate let mailbox: Mailbox
    private let hub: EventHub
    private let id: Int

    fileprivate init(_ mailbox: Mailbox, _ hub: EventHub, _ id: Int) {
      self.mailbox = mailbox
      self.hub = hub
      self.id = id
    }

    deinit { hub.leave(id) }

    /// An element when something waits, or when somebody has called ``ring()``; it ends when the hub is closed, and
    /// after ``leave()``. For one task.
    package var wake: AsyncStream<Void> { mailbox.wake }

    /// What has come since the last call, the oldest first; where some were dropped, `lost` says how many. Empty where
    /// nothing has.
    package func take() -> [Event] { mailbox.take() }

    package func ring() { mailbox.ring() }

    /// Listens no longer.
    package func leave() {
      hub.leave(id)
      mailbox.end()
    }
  }

  private struct State: Sendable {
    var listeners: [Int: Mailbox] = [:]
    var next = 0
    var isClosed = false
  }

  private let state = Mutex(State())

  package init() {}

  package var isHeard: Bool { listenerCount > 0 }

  package var listenerCount: Int { state.withLock { $0.listeners.count } }

  /// Nobody can listen any more.
  package var isClosed: Bool { state.withLock { $0.isClosed } }

  /// - Returns: the events from now on; nil where too many listen, and when the hub is closed.
  package func listen() -> Listener? {
    state.withLock { state in
      guard !state.isClosed, state.listeners.count < EventHub.maximumListeners else { return nil }
      let mailbox = Mailbox()
      let id = state.next
      state.next += 1
      state.listeners[id] = mailbox
      return Listener(mailbox, self, id)
    }
  }

  package func publish(_ event: Event) {
    // A bell may resume a task: not under the lock.
    for mailbox in state.withLock({ Array($0.listeners.values) }) { mailbox.put(event) }
  }

  /// Ends every stream; nobody can listen any more.
  package func close() {
    let all = state.withLock { state in
      state.isClosed = true
      defer { state.listeners = [:] }
      return Array(state.listeners.values)
    }
    for mailbox in all { mailbox.end() }
  }

  private func leave(_ id: Int) { state.withLock { $0.listeners[id] = nil } }
}
