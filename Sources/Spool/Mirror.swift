internal import FoundationEssentials
package import Telemetry

/// The marks that survive the loss of state.db: a small file beside it, replaced by atomic rename.
///
/// It is always a little old, which is safe: a mark that lags marks more batches as possible
/// duplicates, never fewer.
package struct Mirror: Sendable, Hashable, Codable {
  package struct Marks: Sendable, Hashable, Codable {
    package var checkpoint: Int64
    /// The first offset that is not known to be delivered.
    package var delivered: Int64
  }

  package var machine: String
  package var log: String
  package var pipelines: [String: Marks]
  /// Client ids by source: a rebuilt state resumes its broker sessions.
  package var clients: [String: String]

  static func read(_ path: String) -> Mirror? {
    guard let bytes = try? FileSystem.read(path) else { return nil }
    return try? JSONDecoder().decode(Mirror.self, from: Data(bytes))
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

  package var delivered: [String: Offset] { pipelines.mapValues { Offset($0.delivered) } }
}
