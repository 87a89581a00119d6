import Compression
import Telemetry

@testable import forebay

/// A batch, or a part of one, as a sender would make it.
struct FixtureBatch {
  var identity: BatchIdentity
  var lines: [String]
  var previous: Digest
  var parent: Batch.Parent?
  var encoding = BatchEncoding.ndjson

  var body: [UInt8] { Array(lines.map { $0 + "\n" }.joined().utf8) }
  var digest: Digest {
    Batch.digest(identity: identity, previous: previous, count: lines.count, body: body)
  }

  func label(_ compression: BatchCompression = .none) -> BatchLabel {
    BatchLabel(
      identity: identity, digest: digest, previous: previous, count: lines.count,
      length: body.count, encoding: encoding, compression: compression, version: "v1",
      source: .init(log: LogID(rawValue: "00000000000000aa"), first: Offset(0), last: Offset(9)),
      parent: parent, possibleDuplicate: false)
  }

  func wire(_ compression: BatchCompression = .none) throws -> [UInt8] {
    let text = encoding == .columns ? Columns.encode(body) ?? [] : body
    return switch compression {
    case .none: text
    case .gzip: try Gzip.compress(text)
    case .zstd: try Zstd.compress(text)
    }
  }

  /// Part `index` of `total`; it has lines only if there are enough of them.
  func part(_ index: Int, of total: Int) throws -> FixtureBatch {
    guard let part = Part(index: index, total: total) else { throw NoSuchPart() }
    var identity = identity
    identity.part = part
    return FixtureBatch(
      identity: identity, lines: Array(lines[part.lines(of: lines.count)]), previous: digest,
      parent: Batch.Parent(
        digest: digest, previous: previous, count: lines.count, length: body.count),
      encoding: encoding)
  }

  func record(lines: [Range<Int>]? = nil, compression: BatchCompression = .none) throws -> BatchRecord {
    let label = label(compression)
    return BatchRecord(
      label: label, outcome: .taken(lines ?? [label.lines]), received: 1_700_000_000_000,
      body: try wire(compression))
  }

  func refusal(_ status: Int = 422) -> BatchRecord {
    BatchRecord(
      label: label(), outcome: .refused(status: status, reason: "no"), received: 1, body: [])
  }

  struct NoSuchPart: Error {}

  /// A chain of batches with so many lines each.
  static func chain(
    _ counts: [Int], pipeline: String = "climate", encoding: BatchEncoding = .ndjson
  ) throws -> [FixtureBatch] {
    var previous = Digest.zero
    var out: [FixtureBatch] = []
    for (i, count) in counts.enumerated() {
      let identity = BatchIdentity(
        gateway: "gw-1", pipeline: pipeline, epoch: Epoch(random: 7), sequence: Int64(i + 1))
      let lines = (0..<count).map { "{\"batch\":\(i + 1),\"line\":\($0)}" }
      let batch = FixtureBatch(identity: identity, lines: lines, previous: previous, encoding: encoding)
      out.append(batch)
      previous = batch.digest
    }
    return out
  }
}
