internal import Compression
internal import Telemetry

/// A row of the table `block` as it stands in log.db (LogStore.swift).
struct BlockRow {
  enum Codec: Int64 {
    case none = 0
    case zstd = 1
  }

  var first: Int64
  var count: Int64
  var bytes: Int64
  var boot: BootID
  var monotonic: Int64
  var wall: Int64
  var quality: ClockQuality
  var lastMonotonic: Int64
  var lastWall: Int64
  var lastQuality: ClockQuality
  var raw: Int64
  var codec: Int64
  var checksum: Int64
  var origins: [UInt8]
  var body: [UInt8]

  static let columns = """
    first, count, bytes, boot, monotonic, wall, quality, last_monotonic, last_wall, last_quality,
    raw, codec, checksum, origins, body
    """

  func insert(into connection: Connection) throws(SpoolError) {
    try connection.run(
      "INSERT INTO block(\(BlockRow.columns)) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
      .integer(first), .integer(count), .integer(bytes), .blob(boot.bytes), .integer(monotonic),
      .integer(wall), .integer(Int64(quality.rawValue)), .integer(lastMonotonic),
      .integer(lastWall), .integer(Int64(lastQuality.rawValue)), .integer(raw), .integer(codec),
      .integer(checksum), .blob(origins), .blob(body))
  }

  init(
    first: Int64, count: Int64, bytes: Int64, boot: BootID, monotonic: Int64, wall: Int64,
    quality: ClockQuality, lastMonotonic: Int64, lastWall: Int64, lastQuality: ClockQuality,
    raw: Int64, codec: Int64, checksum: Int64, origins: [UInt8], body: [UInt8]
  ) {
    self.first = first
    self.count = count
    self.bytes = bytes
    self.boot = boot
    self.monotonic = monotonic
    self.wall = wall
    self.quality = quality
    self.lastMonotonic = lastMonotonic
    self.lastWall = lastWall
    self.lastQuality = lastQuality
    self.raw = raw
    self.codec = codec
    self.checksum = checksum
    self.origins = origins
    self.body = body
  }

  /// The row that a statement over ``columns`` stands on.
  init(_ row: Statement) {
    self.init(
      first: row.integer(0), count: row.integer(1), bytes: row.integer(2),
      boot: BootID(bytes: row.blob(3)), monotonic: row.integer(4), wall: row.integer(5),
      quality: ClockQuality(column: row.integer(6)), lastMonotonic: row.integer(7),
      lastWall: row.integer(8), lastQuality: ClockQuality(column: row.integer(9)),
      raw: row.integer(10), codec: row.integer(11), checksum: row.integer(12),
      origins: row.blob(13), body: row.blob(14))
  }

  static func last(in connection: Connection) throws(SpoolError) -> BlockRow? {
    let row = try connection.statement(
      "SELECT \(columns) FROM block ORDER BY first DESC LIMIT 1")
    defer { row.reset() }
    return try row.step() ? BlockRow(row) : nil
  }

  static func waiting(from offset: Offset, in connection: Connection) throws(SpoolError) -> Int64 {
    let whole =
      try connection.integer(
        "SELECT coalesce(sum(count), 0) FROM block WHERE first >= ?", .integer(offset.rawValue)) ?? 0
    let cut =
      try connection.integer(
        """
        SELECT first + count - ?1 FROM
          (SELECT first, count FROM block WHERE first < ?1 ORDER BY first DESC LIMIT 1)
        """, .integer(offset.rawValue)) ?? 0
    return whole + max(0, cut)
  }

  var computedChecksum: Int64 {
    let numbers: [Int64] = [
      first, count, bytes, monotonic, wall, Int64(quality.rawValue), lastMonotonic, lastWall,
      Int64(lastQuality.rawValue), raw, codec,
    ]
    let header = Array(numbers.map(String.init).joined(separator: ",").utf8)
    return Int64(crc32(header + boot.bytes + origins + body))
  }

  func verify(path: String) throws(SpoolError) {
    guard checksum == computedChecksum else {
      throw SpoolError(
        kind: .damaged, operation: "verify block \(first) of", path: path,
        cause: "the checksum is \(computedChecksum), the block says \(checksum)",
        hint: SpoolError.Kind.damaged.hint)
    }
  }

  /// Upper bound of a block's body: the staging buffer is smaller by far.
  static let maximumRaw: Int64 = 512 << 20

  func decode(log: LogID, origins: [Origin]) throws(BlockFormatError) -> LogBlock {
    guard checksum == computedChecksum else {
      throw BlockFormatError(description: "the checksum does not fit")
    }
    guard raw >= 0, raw <= BlockRow.maximumRaw, let codec = Codec(rawValue: codec) else {
      throw BlockFormatError(description: "unknown codec \(codec) or size \(raw)")
    }
    let plain: [UInt8]
    switch codec {
    case .none: plain = body
    case .zstd:
      do {
        plain = try Zstd.decompress(body, maximumOutput: Int(raw))
      } catch {
        throw BlockFormatError(description: "\(error)")
      }
    }
    guard plain.count == raw, let count = Int(exactly: count) else {
      throw BlockFormatError(description: "\(plain.count) bytes, where \(raw) were announced")
    }
    let group = try BlockCodec.decodeBody(
      plain, count: count, boot: boot, monotonic: monotonic, wall: wall, origins: origins)
    return LogBlock(log: log, first: Offset(first), group: group)
  }
}

extension BootID {
  var bytes: [UInt8] {
    func split(_ value: UInt64) -> [UInt8] {
      (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * $0)) }
    }
    return split(high) + split(low)
  }

  /// Missing bytes count as zero.
  init(bytes: [UInt8]) {
    func join(_ slice: ArraySlice<UInt8>) -> UInt64 {
      slice.reduce(0) { $0 << 8 | UInt64($1) }
    }
    let padded = bytes + [UInt8](repeating: 0, count: max(0, 16 - bytes.count))
    self.init(high: join(padded[0..<8]), low: join(padded[8..<16]))
  }
}

extension ClockQuality {
  /// What is unknown is worth nothing.
  init(column: Int64) {
    self = column == 1 ? .synchronised : .unsynchronised
  }
}
