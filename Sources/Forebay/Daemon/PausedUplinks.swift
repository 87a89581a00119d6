internal import Dispatch
internal import FoundationEssentials
internal import Logging
internal import Spool
internal import Synchronization

/// Which uplinks an operator has stopped. A file in the spool's folder keeps it: a gateway that loses its power does
/// not begin by itself to send what somebody has held back.
final class PausedUplinks: Sendable {
  struct Pause: Sendable, Hashable, Codable {
    var uplink: String
    /// RFC 3339, by the gateway's clock.
    var since: String
    /// Who did it.
    var by: String
  }

  private let path: String
  /// Where the file is written: that blocks.
  private let queue = DispatchQueue(label: "paused-uplinks")
  private let pauses: Mutex<[Pause]>

  /// - Parameter spool: the folder.
  init(spool: String, logger: Logger) {
    path = spool + "/paused-uplinks.json"
    do {
      pauses = Mutex(try PausedUplinks.read(path))
    } catch {
      // Nothing of the data is lost either way; a link that stands still for no known reason would be worse.
      logger.error(
        "which uplinks are paused cannot be read; none is", metadata: ["path": "\(path)", "error": "\(error)"])
      pauses = Mutex([])
    }
  }

  var all: [Pause] { pauses.withLock { $0 } }

  func contains(_ uplink: String) -> Bool { all.contains { $0.uplink == uplink } }

  /// Kept before it takes effect.
  /// - Parameter pause: nil: it is no longer paused.
  func set(_ uplink: String, _ pause: Pause?) async throws {
    try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
      queue.async { [self] in done.resume(with: Result { try write(uplink, pause) }) }
    }
  }

  /// The file is written outside the lock, for the status waits for that; on the queue nobody else changes them.
  private func write(_ uplink: String, _ pause: Pause?) throws {
    var next = all.filter { $0.uplink != uplink }
    if let pause { next.append(pause) }
    next.sort { $0.uplink < $1.uplink }
    try FileSystem.replace(path, with: Array(try Output.json(next).utf8))
    pauses.withLock { [next] in $0 = next }
  }

  private static func read(_ path: String) throws -> [Pause] {
    guard let bytes = try FileSystem.contents(path) else { return [] }
    return try JSONDecoder().decode([Pause].self, from: Data(bytes))
  }
}
