internal import FoundationEssentials
package import Telemetry

/// The marks that survive the loss of state.db or of the log's end: a small file beside them, replaced
/// by atomic rename.
///
/// It is always a little old, which is safe: a mark that lags marks more batches as possible
/// duplicates, never fewer.
struct Mirror: Sendable, Hashable, Codable {
  struct Marks: Sendable, Hashable, Codable {
    var checkpoint: Int64
    /// The first offset that is not known to be delivered.
    var delivered: Int64
    var epoch: String
    /// The sequence that the next batch gets.
    var sequence: Int64
    /// What is delivered of windows, and not to be worked out again from `delivered` on; nil for a pipeline without
    /// windows, and before any was closed.
    var windowsClosed: ClosedWindows?

    /// Where a state that is lost begins again.
    var resumption: Resumption { Resumption(offset: Offset(delivered), windowsClosed: windowsClosed) }
  }

  var machine: String
  var log: String
  /// The end of the log, and how many messages it had received.
  var next: Int64
  var received: Int64
  var pipelines: [String: Marks]
  /// Client ids by source: a rebuilt state resumes its broker sessions.
  var clients: [String: String]

  /// Nil where there is none, or none that makes sense.
  static func read(_ path: String) -> Mirror? {
    guard let bytes = try? FileSystem.read(path),
      let mirror = try? JSONDecoder().decode(Mirror.self, from: Data(bytes))
    else { return nil }
    let numbers =
      [mirror.next, mirror.received]
      + mirror.pipelines.values.flatMap { [$0.checkpoint, $0.delivered, $0.sequence] }
    return numbers.allSatisfy(LogStore.offsets.contains) ? mirror : nil
  }

  func write(_ path: String) throws(SpoolError) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    let data: Data
    do {
      data = try encoder.encode(self)
    } catch {
      throw SpoolError(
        kind: .misuse, operation: "encode", path: path, cause: "\(error)", hint: nil)
    }
    try FileSystem.replace(path, with: Array(data))
  }

  var resumptions: [String: Resumption] { pipelines.mapValues(\.resumption) }
}

/// Where a pipeline whose state is lost begins again.
package struct Resumption: Sendable, Hashable {
  package var offset: Offset
  /// See ``WindowMark/closed``.
  package var windowsClosed: ClosedWindows?

  package init(offset: Offset, windowsClosed: ClosedWindows? = nil) {
    self.offset = offset
    self.windowsClosed = windowsClosed
  }
}
