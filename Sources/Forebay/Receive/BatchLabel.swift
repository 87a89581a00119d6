import Telemetry

/// What stands beside the body of a batch: in the header fields of a request, and again, under the
/// same names, in the head of a record of the receiver's store.
struct BatchLabel: Sendable, Hashable {
  /// Where the batch's readings come from in the gateway's raw log. The receiver keeps it and does
  /// not interpret it.
  struct Source: Sendable, Hashable {
    var log: LogID
    var first: Offset
    var last: Offset
  }

  var identity: BatchIdentity
  var digest: Digest
  var previous: Digest
  /// Readings in the body, at least 1.
  var count: Int
  /// Bytes of the lines, at least 1.
  var length: Int
  var encoding: BatchEncoding
  var compression: BatchCompression
  /// The version of the pipeline; empty when the sender did not say.
  var version: String
  var source: Source?
  /// Given exactly when ``identity`` names a part.
  var parent: Batch.Parent?
  var possibleDuplicate: Bool
  /// The replay that it comes from.
  var replay: ReplayID? = nil

  /// The whole batch that this is, or is a part of, as the sender describes it.
  var whole: Batch.Parent {
    parent ?? Batch.Parent(digest: digest, previous: previous, count: count, length: length)
  }

  /// The lines of the whole batch that the body holds.
  var lines: Range<Int> {
    identity.part?.lines(of: whole.count) ?? 0..<count
  }

  var chain: ChainKey { ChainKey(identity) }
}

/// One chain of batches: what a gateway sends of one pipeline within one epoch.
struct ChainKey: Sendable, Hashable, Comparable, CustomStringConvertible {
  var gateway: String
  var pipeline: String
  var epoch: Epoch

  init(_ identity: BatchIdentity) {
    gateway = identity.gateway
    pipeline = identity.pipeline
    epoch = identity.epoch
  }

  func identity(_ sequence: Int64) -> BatchIdentity {
    BatchIdentity(gateway: gateway, pipeline: pipeline, epoch: epoch, sequence: sequence)
  }

  static func < (a: ChainKey, b: ChainKey) -> Bool {
    (a.gateway, a.pipeline, a.epoch.rawValue) < (b.gateway, b.pipeline, b.epoch.rawValue)
  }
  var description: String { "\(gateway)/\(pipeline)/\(epoch)" }
}

/// A header field that is missing or says something impossible.
struct BatchLabelError: Error, Sendable, Hashable, CustomStringConvertible {
  var field: String
  var reason: String
  var description: String { "\(field): \(reason)" }
}

extension BatchLabel {
  /// Reads the label from header fields (docs/delivery-protocol.md). `field` gives the value of a
  /// header field by its name, in whatever case, or nil when the request has none.
  init(field: (String) -> String?) throws(BatchLabelError) {
    func required(_ name: String) throws(BatchLabelError) -> String {
      guard let value = field(name) else { throw BatchLabelError(field: name, reason: "is missing") }
      return value
    }
    func digest(_ name: String, _ text: String) throws(BatchLabelError) -> Digest {
      guard let value = Digest(hex: text) else {
        throw BatchLabelError(field: name, reason: "is not 64 hexadecimal digits")
      }
      return value
    }
    func number(_ name: String, _ text: String) throws(BatchLabelError) -> Int {
      guard let value = Int(text), value >= 1, text.utf8.first != UInt8(ascii: "+") else {
        throw BatchLabelError(field: name, reason: "is not a whole number above zero")
      }
      return value
    }

    let key = try required("Idempotency-Key")
    guard key.utf8.count > 2, key.hasPrefix("\""), key.hasSuffix("\""),
      let identity = BatchIdentity(String(key.dropFirst().dropLast()))
    else {
      throw BatchLabelError(
        field: "Idempotency-Key",
        reason: "is not a quoted identity (\"gateway/pipeline/epoch/sequence\")")
    }
    self.identity = identity
    self.digest = try digest("Forebay-Digest", required("Forebay-Digest"))
    previous = try digest("Forebay-Previous", required("Forebay-Previous"))
    count = try number("Forebay-Count", required("Forebay-Count"))
    length = try number("Forebay-Length", required("Forebay-Length"))
    // A record of a store names what is not lines only.
    guard let encoding = BatchEncoding(mediaType: field("Content-Type") ?? BatchEncoding.ndjson.mediaType) else {
      throw BatchLabelError(field: "Content-Type", reason: "is neither of lines nor of columns")
    }
    self.encoding = encoding
    let coding = field("Content-Encoding") ?? BatchCompression.none.rawValue
    guard let compression = BatchCompression(rawValue: coding.lowercased()) else {
      throw BatchLabelError(field: "Content-Encoding", reason: "is neither gzip, zstd nor identity")
    }
    self.compression = compression
    version = field("Forebay-Version") ?? ""
    source = try field("Forebay-Offsets").map { text throws(BatchLabelError) in
      guard let source = Source(text) else {
        throw BatchLabelError(field: "Forebay-Offsets", reason: "is not \"<log> <first>-<last>\"")
      }
      return source
    }
    possibleDuplicate = field("Forebay-Possible-Duplicate") == "true"
    replay = try field("Forebay-Replay").map { text throws(BatchLabelError) in
      guard let replay = ReplayID(rawValue: text) else {
        throw BatchLabelError(field: "Forebay-Replay", reason: "is not 8 lower-case hexadecimal digits")
      }
      return replay
    }

    switch (identity.part, field("Forebay-Parent")) {
    case (nil, nil): parent = nil
    case (nil, _?):
      throw BatchLabelError(field: "Forebay-Parent", reason: "stands beside the identity of a whole")
    case (_?, nil): throw BatchLabelError(field: "Forebay-Parent", reason: "is missing for a part")
    case (let part?, let text?):
      let fields = BatchLabel.parameters(text)
      func value(_ name: String) throws(BatchLabelError) -> String {
        guard let value = fields[name] else {
          throw BatchLabelError(field: "Forebay-Parent", reason: "has no \(name)")
        }
        return value
      }
      let parent = Batch.Parent(
        digest: try digest("Forebay-Parent: digest", value("digest")),
        previous: try digest("Forebay-Parent: previous", value("previous")),
        count: try number("Forebay-Parent: count", value("count")),
        length: try number("Forebay-Parent: length", value("length")))
      let lines = part.lines(of: parent.count)
      guard lines.count == count else {
        throw BatchLabelError(
          field: "Forebay-Count",
          reason: "part \(part) of \(parent.count) readings holds \(lines.count), not \(count)")
      }
      guard previous == parent.digest else {
        throw BatchLabelError(
          field: "Forebay-Previous", reason: "of a part is not the digest of its parent")
      }
      self.parent = parent
    }
  }

  /// Reads `name=value;name=value`.
  private static func parameters(_ text: String) -> [String: String] {
    var out: [String: String] = [:]
    for item in text.split(separator: ";") {
      let pair = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard pair.count == 2 else { continue }
      out[BatchLabel.trimmed(pair[0])] = BatchLabel.trimmed(pair[1])
    }
    return out
  }

  private static func trimmed(_ text: Substring) -> String {
    let start = text.drop { $0 == " " }
    guard let end = start.lastIndex(where: { $0 != " " }) else { return "" }
    return String(start[...end])
  }

  /// The header fields that say all of this, in the order in which a sender writes them.
  var fields: [(name: String, value: String)] {
    var out: [(name: String, value: String)] = [("Idempotency-Key", "\"\(identity)\"")]
    if encoding != .ndjson { out.append(("Content-Type", encoding.mediaType)) }
    if compression != .none { out.append(("Content-Encoding", compression.rawValue)) }
    out.append(("Forebay-Digest", digest.hex))
    out.append(("Forebay-Previous", previous.hex))
    out.append(("Forebay-Count", String(count)))
    out.append(("Forebay-Length", String(length)))
    if !version.isEmpty { out.append(("Forebay-Version", version)) }
    if let source { out.append(("Forebay-Offsets", source.description)) }
    if let parent {
      let value = "digest=\(parent.digest);previous=\(parent.previous);"
      out.append(("Forebay-Parent", value + "count=\(parent.count);length=\(parent.length)"))
    }
    if let replay { out.append(("Forebay-Replay", replay.rawValue)) }
    if possibleDuplicate { out.append(("Forebay-Possible-Duplicate", "true")) }
    return out
  }
}

extension BatchLabel.Source: CustomStringConvertible {
  /// Reads what ``description`` writes.
  init?(_ text: String) {
    let words = text.split(separator: " ")
    guard words.count == 2 else { return nil }
    let bounds = words[1].split(separator: "-", omittingEmptySubsequences: false)
    guard bounds.count == 2, let first = Int64(bounds[0]), let last = Int64(bounds[1]), first >= 0,
      first <= last
    else { return nil }
    self.init(log: LogID(rawValue: String(words[0])), first: Offset(first), last: Offset(last))
  }

  var description: String { "\(log) \(first)-\(last)" }
}
