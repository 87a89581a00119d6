internal import Dispatch
internal import Synchronization

/// The audit log for those who must not block: locks and syncs are waited for on a queue of its own, one after the
/// other.
package final class AuditTrail: Sendable {
  private struct Newest: Sendable {
    var stamp: [Int64]
    var limit: Int
    var entries: [AuditEntry]
  }

  private let log: AuditLog
  private let queue = DispatchQueue(label: "audit-log")
  private let newest = Mutex<Newest?>(nil)

  package init(_ log: AuditLog) { self.log = log }

  /// Writes down that it begins, does it, and writes down what came of it. What cannot be written down is not begun.
  /// - Parameters: as in ``AuditEntry``.
  ///   - time: RFC 3339, now.
  ///   - result: what came of it, in a few words.
  package func record<R: Sendable>(
    who: String, role: String, via: String, action: String, parameters: [String: String],
    time: @escaping @Sendable () -> String, result: @Sendable (R) -> String, _ body: () async throws -> R
  ) async throws -> R {
    let record = AuditRecord(
      in: log, who: who, role: role, via: via, action: action, parameters: parameters, time: time)
    let begun = try await blocking { try record.begin() }
    let outcome: R
    do {
      outcome = try await body()
    } catch {
      // The fault that the caller gets is the action's.
      _ = try? await blocking { try record.end(begun: begun, .failure(error)) }
      throw error
    }
    // It is done, whether that can be written down or not: who is told that it failed does it again. The log has that
    // it was begun.
    let text = result(outcome)
    _ = try? await blocking { try record.end(begun: begun, .success(text)) }
    return outcome
  }

  /// The newest entries, the newest first. The file is read only when it has changed.
  package func entries(limit: Int) async throws -> [AuditEntry] {
    try await blocking { [self] in
      let stamp = log.stamp
      if let known = newest.withLock({ $0 }), known.stamp == stamp, known.limit == limit { return known.entries }
      let entries = try log.entries(limit: limit)
      newest.withLock { $0 = Newest(stamp: stamp, limit: limit, entries: entries) }
      return entries
    }
  }

  private func blocking<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    try await withCheckedThrowingContinuation { continuation in
      queue.async { continuation.resume(with: Result { try body() }) }
    }
  }
}
