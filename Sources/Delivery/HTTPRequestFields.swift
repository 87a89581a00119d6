import FoundationEssentials
import Telemetry

/// The header fields that describe a batch (docs/delivery-protocol.md, section 4).
enum HTTPRequestFields {
  /// - Parameter life: see ``Batch/span(attempt:life:)``.
  static func of(_ batch: Batch, attempt: Int, life: UInt64) -> [(String, String)] {
    var fields = [
      ("Content-Type", batch.encoding.mediaType),
      ("Idempotency-Key", "\"\(batch.identity)\""),
      ("Content-Digest", "sha-256=:\(Data(Digest(of: batch.body).bytes).base64EncodedString()):"),
      ("Forebay-Digest", batch.digest.hex),
      ("Forebay-Previous", batch.previous.hex),
      ("Forebay-Count", "\(batch.count)"),
      ("Forebay-Length", "\(batch.length)"),
      ("Forebay-Version", batch.version),
      ("Forebay-Offsets", "\(batch.log) \(batch.firstOffset)-\(batch.lastOffset)"),
      (
        TraceContext.name,
        TraceContext(trace: batch.trace, span: batch.span(attempt: attempt, life: life)).description
      ),
    ]
    if batch.compression != .none { fields.append(("Content-Encoding", batch.compression.rawValue)) }
    if let parent = batch.parent {
      let value =
        "digest=\(parent.digest);previous=\(parent.previous);count=\(parent.count);length=\(parent.length)"
      fields.append(("Forebay-Parent", value))
    }
    if let replay = batch.replay { fields.append(("Forebay-Replay", replay.rawValue)) }
    if batch.possibleDuplicate { fields.append(("Forebay-Possible-Duplicate", "true")) }
    return fields
  }
}
