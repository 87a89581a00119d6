internal import Synchronization

/// The traces of the last batches, in memory: for the status page, and for whoever exports them.
///
/// Bounded: the newest ``maximumTraces`` are kept, and as many that were delivered wait for the export where there
/// is one; what does not fit is counted. Nothing of this is stored: after a restart a trace begins with what the
/// batch in the outbox says.
package final class TraceLog: Sendable {
  /// The last minutes of a gateway with a batch a second, in some 50 kB.
  package static let maximumTraces = 64
  /// Delivered traces that wait for their export: a batch a second and an export a minute leave room for four misses.
  package static let maximumWaiting = 256

  private struct State: Sendable {
    /// The oldest first.
    var traces: [BatchTrace] = []
    var isExporting = false
    var waiting: [BatchTrace] = []
    var lost: Int64 = 0
  }

  private let state = Mutex(State())

  package init() {}

  /// Whether delivered traces are to wait for ``takeDelivered()``.
  package func setExporting(_ isExporting: Bool) {
    state.withLock { state in
      state.isExporting = isExporting
      if !isExporting { state.waiting = [] }
    }
  }

  /// A batch was sealed.
  package func begin(_ trace: BatchTrace) {
    state.withLock { state in TraceLog.append(trace, to: &state) }
  }

  /// An attempt to deliver a batch is over.
  /// - Parameter make: the trace as far as the batch itself tells it: of one that was sealed before a restart, or
  ///   long ago.
  package func add(_ attempt: BatchTrace.Attempt, to batch: String, make: () -> BatchTrace) {
    state.withLock { state in
      // The one that is delivered is nearly always among the last.
      if let index = state.traces.lastIndex(where: { $0.batch == batch }) {
        state.traces[index].add(attempt)
        if attempt.isDelivery { TraceLog.delivered(state.traces[index], &state) }
      } else {
        var trace = make()
        trace.add(attempt)
        TraceLog.append(trace, to: &state)
        if attempt.isDelivery { TraceLog.delivered(trace, &state) }
      }
    }
  }

  private static func append(_ trace: BatchTrace, to state: inout State) {
    if state.traces.count == maximumTraces { state.traces.removeFirst() }
    state.traces.append(trace)
  }

  private static func delivered(_ trace: BatchTrace, _ state: inout State) {
    guard state.isExporting else { return }
    if state.waiting.count == maximumWaiting {
      state.waiting.removeFirst()
      state.lost += 1
    }
    state.waiting.append(trace)
  }

  /// Those that are kept, the newest first.
  package var traces: [BatchTrace] { state.withLock { $0.traces.reversed() } }

  /// Those that were delivered since the last call, the oldest first. Each is given once.
  package func takeDelivered() -> [BatchTrace] {
    state.withLock { state in
      defer { state.waiting = [] }
      return state.waiting
    }
  }

  /// They could not be exported: they come again first, as far as there is room.
  package func giveBack(_ traces: [BatchTrace]) {
    state.withLock { state in
      guard state.isExporting else { return }
      let room = TraceLog.maximumWaiting - state.waiting.count
      state.lost += Int64(max(0, traces.count - room))
      state.waiting.insert(contentsOf: traces.suffix(room), at: 0)
    }
  }

  /// Traces that nobody exported in time.
  package var lost: Int64 { state.withLock { $0.lost } }
}
