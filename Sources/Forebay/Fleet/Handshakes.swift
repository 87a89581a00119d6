import Synchronization

/// Lets connections begin as ``HandshakeGate`` decides. All clients of a fleet share one.
final class Handshakes: Sendable {
  private struct State: Sendable {
    var gate: HandshakeGate
    /// What those that wait do when they are let in.
    var begin: [Int: @Sendable () -> Void] = [:]
    var isClosed = false
  }

  private let state: Mutex<State>

  init(_ bounds: HandshakeGate.Bounds) { state = Mutex(State(gate: HandshakeGate(bounds))) }

  /// How many may be under way now.
  var limit: Int { state.withLock { $0.gate.limit } }

  /// Calls `begin` as soon as there is room, perhaps at once, on whatever thread makes it.
  /// - Returns: for ``connected(_:)`` and ``leave(_:)``.
  func enter(_ begin: @escaping @Sendable () -> Void) -> Int {
    let (ticket, isClosed) = state.withLock { state in
      let ticket = state.gate.enter()
      if !state.isClosed { state.begin[ticket] = begin }
      return (ticket, state.isClosed)
    }
    // Nobody would ever let it in: it finds out for itself that all is over.
    if isClosed { begin() } else { look() }
    return ticket
  }

  func connected(_ ticket: Int) { state.withLock { $0.gate.connected(ticket, at: SystemClock.monotonic()) } }

  /// It has its connection, or none is wanted any more.
  func leave(_ ticket: Int) {
    state.withLock { state in
      state.begin[ticket] = nil
      state.gate.leave(ticket, at: SystemClock.monotonic())
    }
    look()
  }

  /// Lets those in for whom there is room; also to be called now and then, for those that are late.
  func look() {
    let begins = state.withLock { state -> [@Sendable () -> Void] in
      guard !state.isClosed else { return [] }
      return state.gate.admissions(at: SystemClock.monotonic()).compactMap { state.begin.removeValue(forKey: $0) }
    }
    for begin in begins { begin() }
  }

  /// Lets nobody in any more.
  func close() {
    state.withLock { state in
      state.isClosed = true
      state.begin = [:]
    }
  }
}
