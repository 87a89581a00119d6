internal import Compression
internal import Telemetry

// The body of a block, before compression (codec 1; all integers are LEB128 varints unless said
// otherwise, "signed" ones zigzag-coded):
//
//   entries      per message: flags (1 byte: bits 0-1 QoS, bit 2 retained, bit 3 clock synchronised,
//                bit 4 has properties), origin index, packet identifier (2 bytes, little endian, only
//                where QoS > 0), signed monotonic nanoseconds since the message before (the first:
//                since the block's), signed wall nanoseconds likewise, payload length
//   properties   for each message with bit 4: count, then per property one MQTT identifier byte
//                (MQTT 5.0, table 2-4) and its fields; strings and binary data with their length
//   payloads     one after the other, to the end
//
// Codec 1 is this under zstd level 1; codec 0 is this as it is (where compression gains nothing).
// The origins stand in a column of their own, so that a reader can skip a block without touching its
// body. Their list: count, then per origin source and topic, each with its length. The column: 0 and the
// list, or 1 and the list under zstd level 1 (two hundred topics take more room than what was said on
// them); at the end the CRC-32 (4 bytes, little endian) over the block's first offset and count (8 bytes
// each, little endian) and the list, for a block that is passed by is not checked otherwise.

/// The bytes of a block's body or of its origins break the format.
struct BlockFormatError: Error, CustomStringConvertible {
  var description: String
}

enum BlockCodec {
  /// Bytes of the longest list that is compressed, so that a damaged one cannot grow without bound.
  private static let maximumUnpacked = 64 << 20

  /// - Parameter compressor: nil: the list is stored as it is.
  static func encodeOrigins(
    _ origins: [Origin], first: Int64, count: Int64, compressor: Zstd.Compressor? = nil
  ) -> [UInt8] {
    var out = ByteWriter()
    out.varint(UInt64(origins.count))
    for origin in origins {
      out.string(origin.source)
      out.string(origin.topic)
    }
    let check = littleEndian(checksum(out.bytes, first: first, count: count))
    if out.bytes.count <= maximumUnpacked, let packed = try? compressor?.compress(out.bytes),
      packed.count < out.bytes.count
    {
      return [1] + packed + check
    }
    return [0] + out.bytes + check
  }

  private static func checksum(_ origins: [UInt8], first: Int64, count: Int64) -> UInt32 {
    crc32(littleEndian(first) + littleEndian(count) + origins)
  }

  private static func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }

  /// The list in a column of origins, unpacked; its checksum is not looked at.
  static func listOfOrigins(_ column: [UInt8]) throws(BlockFormatError) -> [UInt8] {
    guard column.count >= 5 else { throw BlockFormatError(description: "its head is cut off") }
    let list = Array(column[1..<column.count - 4])
    switch column[0] {
    case 0: return list
    case 1:
      do throws(CompressionError) {
        return try Zstd.decompress(list, maximumOutput: maximumUnpacked)
      } catch {
        throw BlockFormatError(description: "its head: \(error)")
      }
    default: throw BlockFormatError(description: "its head has the unknown codec \(column[0])")
    }
  }

  static func decodeOrigins(
    _ column: [UInt8], first: Int64, count: Int64, like known: [Origin] = []
  ) throws(BlockFormatError) -> [Origin] {
    let bytes = try listOfOrigins(column)
    guard Array(column.suffix(4)) == littleEndian(checksum(bytes, first: first, count: count))
    else { throw BlockFormatError(description: "the checksum of its head does not fit") }
    return try parseOrigins(bytes, like: known)
  }

  /// The origins without their checksum.
  /// - Parameter known: those of another block. Devices publish in much the same order again and again: where the
  ///   same stands at the same place it is taken from there, which is cheaper than another.
  static func parseOrigins(_ bytes: [UInt8], like known: [Origin] = []) throws(BlockFormatError) -> [Origin] {
    var reader = ByteReader(bytes)
    let count = try reader.count(atMost: bytes.count)
    var origins: [Origin] = []
    origins.reserveCapacity(count)
    for index in 0..<count {
      // Nearly always the one before.
      let source = try reader.string(like: origins.last?.source)
      let topic = try reader.string(like: index < known.count ? known[index].topic : nil)
      origins.append(Origin(source: source, topic: topic))
    }
    guard reader.isAtEnd else { throw BlockFormatError(description: "bytes after the last origin") }
    return origins
  }

  static func encodeBody(_ group: MessageGroup) -> [UInt8] {
    var out = ByteWriter()
    out.bytes.reserveCapacity(group.payloads.count + group.count * 12)
    guard let first = group.entries.first else { return [] }
    var monotonic = first.monotonic
    var wall = first.wall
    for (index, entry) in group.entries.enumerated() {
      var flags = entry.qos.rawValue
      if entry.retained { flags |= 4 }
      if entry.quality == .synchronised { flags |= 8 }
      if group.properties[index] != nil { flags |= 16 }
      out.bytes.append(flags)
      out.varint(UInt64(entry.origin))
      if entry.qos != .atMostOnce {
        out.bytes.append(UInt8(truncatingIfNeeded: entry.packetID))
        out.bytes.append(UInt8(truncatingIfNeeded: entry.packetID >> 8))
      }
      out.signed(entry.monotonic &- monotonic)
      out.signed(entry.wall &- wall)
      out.varint(UInt64(entry.payloadEnd - entry.payloadStart))
      monotonic = entry.monotonic
      wall = entry.wall
    }
    if !group.properties.isEmpty {
      for index in group.entries.indices {
        if let properties = group.properties[index] { out.properties(properties) }
      }
    }
    out.bytes.append(contentsOf: group.payloads)
    return out.bytes
  }

  static func decodeBody(
    _ bytes: [UInt8], count: Int, boot: BootID, monotonic: Int64, wall: Int64, origins: [Origin]
  ) throws(BlockFormatError) -> MessageGroup {
    var reader = ByteReader(bytes)
    guard count <= bytes.count else { throw BlockFormatError(description: "more messages than bytes") }
    var group = MessageGroup(boot: boot, origins: origins, capacity: count, payloadBytes: bytes.count)
    var withProperties: [Int] = []
    var length = 0
    var monotonic = monotonic
    var wall = wall
    for index in 0..<count {
      let flags = try reader.byte()
      guard flags & 0b1110_0000 == 0, flags & 3 != 3 else {
        throw BlockFormatError(description: "unknown flags \(flags) at byte \(reader.position - 1)")
      }
      let origin = try reader.count(atMost: Int.max)
      guard origins.indices.contains(origin) else {
        throw BlockFormatError(description: "origin \(origin) of \(origins.count)")
      }
      var packetID: UInt16 = 0
      if flags & 3 != 0 {
        packetID = UInt16(try reader.byte())
        packetID |= UInt16(try reader.byte()) << 8
      }
      monotonic &+= try reader.signed()
      wall &+= try reader.signed()
      let payload = try reader.count(atMost: bytes.count)
      length += payload
      if flags & 16 != 0 { withProperties.append(index) }
      group.append(
        origin: origin, length: payload, qos: QoS(rawValue: flags & 3) ?? .atMostOnce, retained: flags & 4 != 0,
        packetID: packetID, monotonic: monotonic, wall: wall,
        quality: flags & 8 != 0 ? .synchronised : .unsynchronised)
    }
    for index in withProperties { group.set(properties: try reader.properties(), of: index) }
    group.append(payloads: bytes[try reader.range(length)])
    guard reader.isAtEnd else { throw BlockFormatError(description: "bytes after the last payload") }
    return group
  }
}

struct ByteWriter {
  var bytes: [UInt8] = []

  mutating func varint(_ value: UInt64) {
    var value = value
    while value >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
      value >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: value))
  }

  mutating func signed(_ value: Int64) {
    varint(UInt64(bitPattern: (value << 1) ^ (value >> 63)))
  }

  mutating func blob(_ value: some Collection<UInt8>) {
    varint(UInt64(value.count))
    bytes.append(contentsOf: value)
  }

  mutating func string(_ value: String) { blob(value.utf8) }

  mutating func properties(_ properties: [MessageProperty]) {
    varint(UInt64(properties.count))
    for property in properties {
      switch property {
      case .payloadFormatIndicator(let value):
        bytes.append(0x01)
        bytes.append(value)
      case .messageExpiryInterval(let seconds):
        bytes.append(0x02)
        varint(UInt64(seconds))
      case .contentType(let value):
        bytes.append(0x03)
        string(value)
      case .responseTopic(let value):
        bytes.append(0x08)
        string(value)
      case .correlationData(let value):
        bytes.append(0x09)
        blob(value)
      case .user(let name, let value):
        bytes.append(0x26)
        string(name)
        string(value)
      }
    }
  }
}

/// Reads what ``ByteWriter`` writes and trusts none of it: every read is bounded, every failure an
/// error with its place.
struct ByteReader {
  private let bytes: [UInt8]
  private(set) var position = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var isAtEnd: Bool { position == bytes.count }

  private func cut() -> BlockFormatError {
    BlockFormatError(description: "ends at byte \(bytes.count), where more was expected")
  }

  mutating func byte() throws(BlockFormatError) -> UInt8 {
    guard position < bytes.count else { throw cut() }
    defer { position += 1 }
    return bytes[position]
  }

  @inline(__always)
  mutating func varint() throws(BlockFormatError) -> UInt64 {
    // Most are small.
    if position < bytes.count, bytes[position] < 0x80 {
      defer { position &+= 1 }
      return UInt64(bytes[position])
    }
    return try longVarint()
  }

  private mutating func longVarint() throws(BlockFormatError) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 70, by: 7) {
      let byte = try byte()
      if shift == 63, byte > 1 { break }
      value |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { return value }
    }
    throw BlockFormatError(description: "an integer of more than 64 bits before byte \(position)")
  }

  @inline(__always)
  mutating func signed() throws(BlockFormatError) -> Int64 {
    let value = try varint()
    return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
  }

  @inline(__always)
  mutating func count(atMost limit: Int) throws(BlockFormatError) -> Int {
    let value = try varint()
    guard value <= UInt64(limit) else {
      throw BlockFormatError(description: "a count of \(value) before byte \(position)")
    }
    return Int(value)
  }

  mutating func range(_ count: Int) throws(BlockFormatError) -> Range<Int> {
    guard count <= bytes.count - position else { throw cut() }
    defer { position += count }
    return position..<(position + count)
  }

  mutating func blob() throws(BlockFormatError) -> [UInt8] {
    let count = try count(atMost: bytes.count)
    return Array(bytes[try range(count)])
  }

  /// Passes over a text and says whether it is made of these bytes.
  mutating func text(equals text: [UInt8]) throws(BlockFormatError) -> Bool {
    let count = try count(atMost: bytes.count)
    return bytes[try range(count)].elementsEqual(text)
  }

  /// A text; `known` itself where it is the same, which is cheaper than another.
  mutating func string(like known: String?) throws(BlockFormatError) -> String {
    guard let known else { return try string() }
    let start = position
    let range = try range(try count(atMost: bytes.count))
    let isSame: Bool? = bytes.withUnsafeBytes { bytes in
      known.utf8.withContiguousStorageIfAvailable {
        haveSameBytes(UnsafeRawBufferPointer($0), UnsafeRawBufferPointer(rebasing: bytes[range]))
      }
    }
    if isSame == true { return known }
    position = start
    return try string()
  }

  mutating func string() throws(BlockFormatError) -> String {
    let count = try count(atMost: bytes.count)
    let range = try range(count)
    // Decoding repairs and is fast; what it had to repair is not what stands there.
    let string = bytes.withUnsafeBufferPointer { String(decoding: $0[range], as: UTF8.self) }
    let isWhole = bytes.withUnsafeBytes { bytes in
      string.utf8.withContiguousStorageIfAvailable {
        haveSameBytes(UnsafeRawBufferPointer($0), UnsafeRawBufferPointer(rebasing: bytes[range]))
      }
    }
    guard isWhole == true else {
      throw BlockFormatError(description: "a text before byte \(position) is not UTF-8")
    }
    return string
  }

  mutating func properties() throws(BlockFormatError) -> [MessageProperty] {
    let count = try count(atMost: bytes.count)
    var properties: [MessageProperty] = []
    for _ in 0..<count {
      switch try byte() {
      case 0x01: properties.append(.payloadFormatIndicator(try byte()))
      case 0x02:
        let seconds = try varint()
        guard let seconds = UInt32(exactly: seconds) else {
          throw BlockFormatError(description: "an expiry of \(seconds) seconds")
        }
        properties.append(.messageExpiryInterval(seconds))
      case 0x03: properties.append(.contentType(try string()))
      case 0x08: properties.append(.responseTopic(try string()))
      case 0x09: properties.append(.correlationData(try blob()))
      case 0x26: properties.append(.user(name: try string(), value: try string()))
      case let unknown:
        throw BlockFormatError(description: "unknown property \(unknown) before byte \(position)")
      }
    }
    return properties
  }
}
