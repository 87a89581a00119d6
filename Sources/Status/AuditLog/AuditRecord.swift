/// What somebody does, as it is written down: once before it is begun, and once when it is over.
package struct AuditRecord: Sendable {
  private let log: AuditLog
  private let entry: AuditEntry
  private let time: @Sendable () -> String

  /// - Parameters: as in ``AuditEntry``.
  ///   - time: RFC 3339, now.
  package init(
    in log: AuditLog, who: String, role: String, via: String, action: String, parameters: [String: String],
    time: @escaping @Sendable () -> String
  ) {
    self.log = log
    self.time = time
    entry = AuditEntry(
      who: who, role: role, via: via, action: action, parameters: parameters, result: "begun", time: "")
  }

  /// Writes down that it begins; safe from a power cut when this returns. Blocks, as ``end(begun:_:)`` does.
  /// - Returns: the number that the second entry refers to.
  package func begin() throws -> Int64 {
    var entry = entry
    entry.time = time()
    return try log.append(entry)
  }

  /// Writes down what came of it: a few words, or why it failed.
  /// - Parameter begun: nil where that could not be written down.
  package func end(begun: Int64?, _ outcome: Result<String, any Error>) throws {
    let text =
      switch outcome {
      case .success(let text): text
      case .failure(let error): "failed: \(error)"
      }
    try log.append(entry.ended(text, begun: begun, time: time()))
  }
}
