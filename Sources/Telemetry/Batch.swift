/// Drawn at random whenever a state database is born or moved, so that a reinstalled, rebuilt or
/// cloned box never reuses an identity.
package struct Epoch: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
  /// 16 lower-case hexadecimal digits.
  package let rawValue: String

  /// Nil unless `rawValue` is 16 lower-case hexadecimal digits.
  package init?(rawValue: String) {
    guard rawValue.utf8.count == 16, rawValue == rawValue.lowercased(),
      Hex.decode(rawValue) != nil
    else { return nil }
    self.rawValue = rawValue
  }

  package init(random value: UInt64) {
    rawValue = Hex.encode((0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * $0)) })
  }
  package var description: String { rawValue }
}

/// Part `index` of `total` of a batch that was split because the upstream refused it whole.
///
/// The batch's readings are lines `0..<count`; part i of n holds the lines
/// `(i-1)*count/n ..< i*count/n`, rounded down. So any two parts of one batch, also of different
/// splits, compare by their lines.
package struct Part: Sendable, Hashable, CustomStringConvertible {
  /// From 1.
  package let index: Int
  package let total: Int

  /// Nil unless `1 <= index <= total` and `total >= 2`.
  package init?(index: Int, total: Int) {
    guard total >= 2, (1...total).contains(index) else { return nil }
    self.index = index
    self.total = total
  }

  /// The lines of a batch of `count` readings that this part holds.
  package func lines(of count: Int) -> Range<Int> {
    bound(index - 1, of: count)..<bound(index, of: count)
  }

  /// Widths are multiplied in 128 bits: `index` is as the wire said it.
  private func bound(_ i: Int, of count: Int) -> Int {
    let (quotient, _) = total.dividingFullWidth(count.multipliedFullWidth(by: i))
    return quotient
  }

  package var description: String { "\(index)/\(total)" }
}

/// The permanent name of a batch: `gateway/pipeline/epoch/sequence`, or
/// `gateway/pipeline/epoch/sequence.i/n` for a part.
package struct BatchIdentity: Sendable, Hashable, CustomStringConvertible {
  package var gateway: String
  package var pipeline: String
  package var epoch: Epoch
  /// Dense from 1 per gateway, pipeline and epoch.
  package var sequence: Int64
  package var part: Part?

  package init(
    gateway: String, pipeline: String, epoch: Epoch, sequence: Int64, part: Part? = nil
  ) {
    self.gateway = gateway
    self.pipeline = pipeline
    self.epoch = epoch
    self.sequence = sequence
    self.part = part
  }

  /// Reads what ``description`` writes; nil for anything else.
  package init?(_ text: String) {
    let fields = text.split(separator: "/", omittingEmptySubsequences: false)
    guard fields.count == 4 || fields.count == 5, let epoch = Epoch(rawValue: String(fields[2])),
      BatchIdentity.isName(fields[0]), BatchIdentity.isName(fields[1])
    else { return nil }
    let last = fields[3].split(separator: ".", omittingEmptySubsequences: false)
    guard let sequence = BatchIdentity.number(last[0]), sequence >= 1 else { return nil }
    switch (last.count, fields.count) {
    case (1, 4): part = nil
    case (2, 5):
      guard let index = BatchIdentity.number(last[1]), let total = BatchIdentity.number(fields[4]),
        let part = Part(index: Int(index), total: Int(total))
      else { return nil }
      self.part = part
    default: return nil
    }
    gateway = String(fields[0])
    pipeline = String(fields[1])
    self.epoch = epoch
    self.sequence = sequence
  }

  /// Decimal digits only, without sign or leading zero, at most 2^53 so that every language reads it.
  private static func number(_ text: Substring) -> Int64? {
    guard let first = text.utf8.first, first != UInt8(ascii: "0"), text.utf8.count <= 16,
      text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
    else { return nil }
    return Int64(text)
  }

  /// Names of gateways and pipelines: 1 to 64 of `A-Z a-z 0-9 . _ -`, not beginning with a dot, so
  /// that they stand unescaped in identities, file names and headers.
  package static func isName(_ text: some StringProtocol) -> Bool {
    guard let first = text.utf8.first, first != UInt8(ascii: "."), text.utf8.count <= 64 else {
      return false
    }
    return text.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "-"):
        true
      default: false
      }
    }
  }

  /// The batch that a part belongs to; itself for a whole batch.
  package var whole: BatchIdentity {
    var copy = self
    copy.part = nil
    return copy
  }

  package var description: String {
    let whole = "\(gateway)/\(pipeline)/\(epoch)/\(sequence)"
    return part.map { "\(whole).\($0)" } ?? whole
  }
}

/// How the readings of a batch are written.
package enum BatchEncoding: String, Sendable, Hashable, CaseIterable {
  /// One JSON text per line, each ended by a line feed.
  case ndjson
  /// The same lines by field: one JSON text with an array for each (docs/delivery-protocol.md, section 12).
  case columns

  /// Of an uncompressed body, as in HTTP's `Content-Type`.
  package var mediaType: String {
    switch self {
    case .ndjson: "application/x-ndjson"
    case .columns: "application/vnd.forebay.columns+json"
    }
  }

  /// - Parameter mediaType: a value of `Content-Type`; its parameters are ignored. Nil for one that is none of these.
  package init?(mediaType: some StringProtocol) {
    let name = mediaType.prefix { $0 != ";" && $0 != " " }.lowercased()
    guard let encoding = BatchEncoding.allCases.first(where: { $0.mediaType == name }) else { return nil }
    self = encoding
  }
}

/// How the encoded body of a batch is compressed, named as in HTTP's `Content-Encoding`.
package enum BatchCompression: String, Sendable, Hashable, CaseIterable {
  case none = "identity"
  case gzip
  case zstd
}

/// A sealed batch: what is sent upstream, byte for byte, however often it takes.
package struct Batch: Sendable, Hashable {
  /// What a part says about the batch that it was split from.
  package struct Parent: Sendable, Hashable {
    package var digest: Digest
    package var previous: Digest
    package var count: Int
    /// Bytes of the lines.
    package var length: Int

    package init(digest: Digest, previous: Digest, count: Int, length: Int) {
      self.digest = digest
      self.previous = previous
      self.count = count
      self.length = length
    }
  }

  /// Nanoseconds from the receipt of its first and of its last message to its sealing.
  package struct Ages: Sendable, Hashable {
    package var first: Int64
    package var last: Int64

    package init(first: Int64, last: Int64) {
      self.first = first
      self.last = last
    }
  }

  package var identity: BatchIdentity
  /// The digest of the pipeline's configuration under which the batch was sealed.
  package var version: String
  /// The log that `firstOffset` and `lastOffset` belong to.
  package var log: LogID
  package var firstOffset: Offset
  package var lastOffset: Offset
  /// Readings.
  package var count: Int
  package var encoding: BatchEncoding
  package var compression: BatchCompression
  /// The body as it goes over the wire: encoded and compressed.
  package var body: [UInt8]
  /// Bytes of the lines, whatever they are encoded as.
  package var length: Int
  package var digest: Digest
  /// The digest of the batch before; for a part, that of its parent.
  package var previous: Digest
  package var parent: Parent?
  /// Sealed while it was uncertain whether its readings had been delivered under another identity
  /// (after the state database was rebuilt).
  package var possibleDuplicate: Bool
  /// The replay that it comes from; nil for what a pipeline makes of what it receives.
  package var replay: ReplayID?
  /// When the batch was sealed.
  package var sealed: Moment
  /// How old its messages were then; nil where it has none from the log, or no clock knew.
  package var ages: Ages?

  package init(
    identity: BatchIdentity, version: String, log: LogID, firstOffset: Offset, lastOffset: Offset,
    count: Int, encoding: BatchEncoding, compression: BatchCompression, body: [UInt8], length: Int,
    digest: Digest, previous: Digest, parent: Parent? = nil, possibleDuplicate: Bool = false,
    replay: ReplayID? = nil, sealed: Moment, ages: Ages? = nil
  ) {
    self.identity = identity
    self.version = version
    self.log = log
    self.firstOffset = firstOffset
    self.lastOffset = lastOffset
    self.count = count
    self.encoding = encoding
    self.compression = compression
    self.body = body
    self.length = length
    self.digest = digest
    self.previous = previous
    self.parent = parent
    self.possibleDuplicate = possibleDuplicate
    self.replay = replay
    self.sealed = sealed
    self.ages = ages
  }

  /// The digest of the chain (docs/delivery-protocol.md): SHA-256 over the identity, the digest of
  /// the batch before and the count, each ended by a line feed, and then the lines.
  /// - Parameter body: the lines, each with its line feed, whatever they are encoded as.
  package static func digest(
    identity: BatchIdentity, previous: Digest, count: Int, body: [UInt8]
  ) -> Digest {
    Digest(of: Array("\(identity)\n\(previous.hex)\n\(count)\n".utf8), body)
  }
}

/// What the upstream answered for a batch that it has, and when.
package struct Receipt: Sendable, Hashable {
  package var identity: BatchIdentity
  package var received: Moment

  package init(identity: BatchIdentity, received: Moment) {
    self.identity = identity
    self.received = received
  }
}
