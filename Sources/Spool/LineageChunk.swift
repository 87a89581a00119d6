internal import Telemetry

/// Batches that have left the outbox, packed (StateSchema.swift tells where such a chunk stands).
///
/// Format 1; integers are LEB128 varints, "signed" ones zigzag-coded, texts have their length before them:
///
///     1                            the format, a byte
///     gateway, pipeline, uplink, epoch, version, log, encoding, compression       texts, those of every batch in it
///     per batch, to the end:
///       flags                      a byte: 1 part, 2 possible duplicate, 4 set aside, 8 the time of delivery is
///                                  known, 16 the clock was synchronised at the seal, 32 has a parent
///       sequence; part's index and total (flag 1); first offset; last less first; count; length
///       digest, previous           32 bytes each
///       sealed                     signed wall nanoseconds
///       delivered less sealed      signed nanoseconds (flag 8)
///       parent's digest and previous (32 bytes each), count, length       (flag 32)
struct LineageChunk: Equatable {
  /// What all batches of a chunk share.
  struct Head: Equatable {
    var gateway: String
    var pipeline: String
    var uplink: String
    var epoch: Epoch
    var version: String
    var log: LogID
    var encoding: BatchEncoding
    var compression: BatchCompression

    init(_ batch: BatchLineage) {
      gateway = batch.identity.gateway
      pipeline = batch.identity.pipeline
      uplink = batch.uplink
      epoch = batch.identity.epoch
      version = batch.version
      log = batch.log
      encoding = batch.encoding
      compression = batch.compression
    }
  }

  /// A chunk that has reached so many bytes takes no other batch: some 17 find room. While it fills it is written
  /// with the row of its pipeline, within whose page it must stay; when it is full, two of them share a page.
  static let fullBytes = 1_800
  /// What a chunk takes at most, with the longest names and a part at its end; for bounds.
  static let maximumBytes = 2_400

  var batches: [BatchLineage]

  /// Whether it takes one more batch, and this one.
  func takes(_ batch: BatchLineage, bytes: Int) -> Bool {
    guard let first = batches.first else { return true }
    return bytes < LineageChunk.fullBytes && Head(first) == Head(batch)
  }

  var sequences: ClosedRange<Int64> {
    let all = batches.map(\.identity.sequence)
    return (all.min() ?? 0)...(all.max() ?? 0)
  }

  /// When the last of them left, in wall nanoseconds, as far as that is known.
  var wall: Int64 { batches.map { $0.left ?? $0.sealed }.max() ?? 0 }

  func encoded() -> [UInt8] {
    guard let first = batches.first else { return [] }
    var out = ByteWriter()
    out.bytes.append(1)
    let head = Head(first)
    for text in [
      head.gateway, head.pipeline, head.uplink, head.epoch.rawValue, head.version, head.log.rawValue,
      head.encoding.rawValue, head.compression.rawValue,
    ] { out.string(text) }
    for batch in batches { out.lineage(batch) }
    return out.bytes
  }

  init(decoding bytes: [UInt8]) throws(BlockFormatError) {
    batches = []
    guard !bytes.isEmpty else { return }
    var reader = ByteReader(bytes)
    guard try reader.byte() == 1 else { throw BlockFormatError(description: "an unknown format") }
    let gateway = try reader.string()
    let pipeline = try reader.string()
    let uplink = try reader.string()
    guard let epoch = Epoch(rawValue: try reader.string()) else { throw BlockFormatError(description: "no epoch") }
    let version = try reader.string()
    let log = LogID(rawValue: try reader.string())
    guard let encoding = BatchEncoding(rawValue: try reader.string()),
      let compression = BatchCompression(rawValue: try reader.string())
    else { throw BlockFormatError(description: "an unknown encoding") }
    while !reader.isAtEnd {
      let identity = BatchIdentity(gateway: gateway, pipeline: pipeline, epoch: epoch, sequence: 1)
      batches.append(
        try reader.lineage(
          BatchLineage(
            identity: identity, uplink: uplink, version: version, log: log, encoding: encoding,
            compression: compression)))
    }
  }

  init(batches: [BatchLineage]) { self.batches = batches }
}

private enum Flag {
  static let part: UInt8 = 1
  static let possibleDuplicate: UInt8 = 2
  static let setAside: UInt8 = 4
  static let timed: UInt8 = 8
  static let synchronised: UInt8 = 16
  static let parent: UInt8 = 32
}

extension ByteWriter {
  fileprivate mutating func lineage(_ batch: BatchLineage) {
    var flags: UInt8 = 0
    if batch.identity.part != nil { flags |= Flag.part }
    if batch.possibleDuplicate { flags |= Flag.possibleDuplicate }
    if batch.fate == .setAside { flags |= Flag.setAside }
    if batch.left != nil { flags |= Flag.timed }
    if batch.quality == .synchronised { flags |= Flag.synchronised }
    if batch.parent != nil { flags |= Flag.parent }
    bytes.append(flags)
    varint(UInt64(bitPattern: batch.identity.sequence))
    if let part = batch.identity.part {
      varint(UInt64(part.index))
      varint(UInt64(part.total))
    }
    varint(UInt64(bitPattern: batch.firstOffset.rawValue))
    varint(UInt64(bitPattern: batch.lastOffset.rawValue &- batch.firstOffset.rawValue))
    varint(UInt64(batch.count))
    varint(UInt64(batch.length))
    bytes.append(contentsOf: batch.digest.bytes)
    bytes.append(contentsOf: batch.previous.bytes)
    signed(batch.sealed)
    if let left = batch.left { signed(left &- batch.sealed) }
    if let parent = batch.parent {
      bytes.append(contentsOf: parent.digest.bytes)
      bytes.append(contentsOf: parent.previous.bytes)
      varint(UInt64(parent.count))
      varint(UInt64(parent.length))
    }
  }
}

extension ByteReader {
  fileprivate mutating func digest() throws(BlockFormatError) -> Digest {
    var bytes: [UInt8] = []
    for _ in 0..<Digest.byteCount { bytes.append(try byte()) }
    return Digest(bytes: bytes) ?? .zero
  }

  fileprivate mutating func offset() throws(BlockFormatError) -> Int64 { Int64(try count(atMost: Int.max)) }

  /// - Parameter head: gives what all batches of the chunk share.
  fileprivate mutating func lineage(_ head: BatchLineage) throws(BlockFormatError) -> BatchLineage {
    var batch = head
    let flags = try byte()
    batch.identity.sequence = try offset()
    if flags & Flag.part != 0 {
      let index = try count(atMost: Int.max)
      guard let part = Part(index: index, total: try count(atMost: Int.max)) else {
        throw BlockFormatError(description: "no part of a batch before byte \(position)")
      }
      batch.identity.part = part
    }
    let first = try offset()
    let (last, overflow) = first.addingReportingOverflow(try offset())
    guard !overflow else { throw BlockFormatError(description: "no offset before byte \(position)") }
    batch.firstOffset = Offset(first)
    batch.lastOffset = Offset(last)
    batch.count = try count(atMost: Int.max)
    batch.length = try count(atMost: Int.max)
    batch.digest = try digest()
    batch.previous = try digest()
    batch.sealed = try signed()
    batch.quality = flags & Flag.synchronised != 0 ? .synchronised : .unsynchronised
    batch.possibleDuplicate = flags & Flag.possibleDuplicate != 0
    batch.fate = flags & Flag.setAside != 0 ? .setAside : .delivered
    if flags & Flag.timed != 0 { batch.left = batch.sealed &+ (try signed()) }
    if flags & Flag.parent != 0 {
      batch.parent = Batch.Parent(
        digest: try digest(), previous: try digest(), count: try count(atMost: Int.max),
        length: try count(atMost: Int.max))
    }
    return batch
  }
}
