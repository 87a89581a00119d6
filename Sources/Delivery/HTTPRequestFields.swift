import FoundationEssentials
import Telemetry

/// The header fields that describe a batch (docs/delivery-protocol.md, section 4).
enum HTTPRequestFields {
  static func of(_ batch: Batch, attempt: Int) -> [(String, String)] {
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
      ("traceparent", traceparent(batch.digest, attempt: attempt)),
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

  /// W3C Trace Context: one trace per batch, one span per attempt, neither of them all zeros.
  private static func traceparent(_ digest: Digest, attempt: Int) -> String {
    let first = digest.bytes[16..<24].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let span = first &+ UInt64(max(0, attempt - 1))
    let bytes = (0..<8).map { UInt8(truncatingIfNeeded: max(span, 1) >> (56 - 8 * $0)) }
    return "00-\(digest.hex.prefix(32))-\(Hex.encode(bytes))-01"
  }
}
