/// Messages side by side in a few flat buffers: what Ingest stages, what one block of the log holds,
/// and what a pipeline reads.
///
/// A gateway handles thousands of small messages a second, and one array and one string per message
/// would cost more than everything else that is done to them. So a group keeps every payload in one
/// buffer and every distinct origin once. ``subscript(_:)`` gives a ``Message`` by value where
/// convenience matters more than speed.
package struct MessageGroup: Sendable, Hashable {
  /// One message, without its bytes.
  package struct Entry: Sendable, Hashable {
    /// Index into ``MessageGroup/origins``.
    package var origin: Int
    /// The payload is `payloads[payloadStart..<payloadEnd]`.
    package var payloadStart: Int
    package var payloadEnd: Int
    package var qos: QoS
    package var retained: Bool
    /// 0 where there is none (QoS 0).
    package var packetID: UInt16
    package var monotonic: Int64
    package var wall: Int64
    package var quality: ClockQuality

    package var payloadRange: Range<Int> { payloadStart..<payloadEnd }
  }

  /// The boot during which every message of the group was received.
  package private(set) var boot: BootID
  /// The distinct origins, in order of first appearance.
  package private(set) var origins: [Origin] = []
  package private(set) var entries: [Entry] = []
  /// Every payload, one after the other.
  package private(set) var payloads: [UInt8] = []
  /// Properties by message index; most messages have none.
  package private(set) var properties: [Int: [MessageProperty]] = [:]

  /// Where each origin stands; nothing that makes groups differ. Made when it is first asked for: groups that are
  /// read need none.
  private struct OriginIndex: Sendable, Hashable {
    var places: [Origin: Int] = [:]
    static func == (a: OriginIndex, b: OriginIndex) -> Bool { true }
    func hash(into hasher: inout Hasher) {}
  }

  private var originIndex = OriginIndex()
  private var topicBytes = 0
  private var propertyBytes = 0

  package init(boot: BootID) {
    self.boot = boot
  }

  /// An empty group whose origins are known, each of them once.
  package init(boot: BootID, origins: [Origin], capacity: Int, payloadBytes: Int) {
    self.boot = boot
    self.origins = origins
    topicBytes = origins.reduce(0) { $0 + MessageGroup.footprint(of: $1) }
    entries.reserveCapacity(capacity)
    payloads.reserveCapacity(payloadBytes)
  }

  private static func footprint(of origin: Origin) -> Int { origin.topic.utf8.count + 64 }
  private static func footprint(of properties: [MessageProperty]) -> Int {
    properties.reduce(64) { $0 + MemoryLayout<MessageProperty>.stride + $1.byteCount }
  }

  package var count: Int { entries.count }
  package var isEmpty: Bool { entries.isEmpty }
  /// Payload bytes and topic bytes of every message, as the device sent them.
  package var byteCount: Int { payloads.count }
  /// An estimate of what the group holds in memory, in bytes.
  package var footprint: Int {
    payloads.count + entries.count * MemoryLayout<Entry>.stride + sideBytes
  }
  /// The part of ``footprint`` that is neither payloads nor grows with the number of messages alone: topics and
  /// properties, of which a device can send more than of payload.
  package var sideBytes: Int { topicBytes + propertyBytes }

  /// The index of an origin, entered on its first appearance. Callers that see the same topics again
  /// and again keep the index for the life of the group.
  package mutating func index(of origin: Origin) -> Int {
    if originIndex.places.count != origins.count {
      originIndex.places = Dictionary(
        origins.enumerated().map { ($0.element, $0.offset) }, uniquingKeysWith: { first, _ in first })
    }
    if let known = originIndex.places[origin] { return known }
    let index = origins.count
    origins.append(origin)
    originIndex.places[origin] = index
    topicBytes += MessageGroup.footprint(of: origin)
    return index
  }

  /// Adds one message.
  /// - Parameters:
  ///   - origin: an index that ``index(of:)`` gave for this group.
  ///   - packetID: 0 where there is none.
  package mutating func append(
    origin: Int, payload: UnsafeRawBufferPointer, qos: QoS, retained: Bool, packetID: UInt16,
    properties: [MessageProperty] = [], monotonic: Int64, wall: Int64, quality: ClockQuality
  ) {
    precondition(origins.indices.contains(origin), "an origin index belongs to one group")
    let start = payloads.count
    payloads.append(contentsOf: payload)
    set(properties: properties, of: entries.count)
    entries.append(
      Entry(
        origin: origin, payloadStart: start, payloadEnd: payloads.count, qos: qos,
        retained: retained, packetID: packetID, monotonic: monotonic, wall: wall, quality: quality))
  }

  /// Adds one message whose payload, the next so many bytes, comes later with those of the others
  /// (``append(payloads:)``).
  package mutating func append(
    origin: Int, length: Int, qos: QoS, retained: Bool, packetID: UInt16, monotonic: Int64, wall: Int64,
    quality: ClockQuality
  ) {
    let start = entries.last?.payloadEnd ?? 0
    entries.append(
      Entry(
        origin: origin, payloadStart: start, payloadEnd: start + length, qos: qos, retained: retained,
        packetID: packetID, monotonic: monotonic, wall: wall, quality: quality))
  }

  /// Gives a message properties that it was added without.
  package mutating func set(properties: [MessageProperty], of index: Int) {
    guard !properties.isEmpty else { return }
    self.properties[index] = properties
    propertyBytes += MessageGroup.footprint(of: properties)
  }

  /// The payloads of all messages that were added by their lengths alone.
  package mutating func append(payloads bytes: ArraySlice<UInt8>) {
    payloads.append(contentsOf: bytes)
    precondition(entries.last?.payloadEnd ?? 0 == payloads.count, "every payload has its bytes")
  }

  /// Adds one message by value. Its boot must be the group's.
  package mutating func append(_ message: Message) {
    precondition(message.received.boot == boot, "a group belongs to one boot")
    let origin = index(of: message.origin)
    message.payload.withUnsafeBytes { payload in
      append(
        origin: origin, payload: payload, qos: message.qos, retained: message.retained,
        packetID: message.packetID ?? 0, properties: message.properties,
        monotonic: message.received.monotonic, wall: message.received.wall,
        quality: message.received.quality)
    }
  }

  /// Bytes of payloads whose storage ``removeAll()`` keeps; what one very large message needed goes again.
  private static let keptBytes = 8 << 20

  /// Forgets the messages and keeps the storage, for the next group of the same boot.
  package mutating func removeAll() {
    entries.removeAll(keepingCapacity: true)
    payloads.removeAll(keepingCapacity: payloads.capacity <= MessageGroup.keptBytes)
    origins.removeAll(keepingCapacity: true)
    originIndex.places.removeAll(keepingCapacity: true)
    properties.removeAll()
    topicBytes = 0
    propertyBytes = 0
  }

  package func moment(of index: Int) -> Moment {
    let entry = entries[index]
    return Moment(
      boot: boot, monotonic: entry.monotonic, wall: entry.wall, quality: entry.quality)
  }

  package subscript(index: Int) -> Message {
    let entry = entries[index]
    return Message(
      origin: origins[entry.origin], payload: Array(payloads[entry.payloadRange]), qos: entry.qos,
      retained: entry.retained, packetID: entry.packetID == 0 ? nil : entry.packetID,
      properties: properties[index] ?? [], received: moment(of: index))
  }
}

/// Names one raw log for ever; a new log, also one begun after damage, has a new name.
package struct LogID: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
  /// 16 lower-case hexadecimal digits.
  package let rawValue: String
  package init(rawValue: String) { self.rawValue = rawValue }
  package var description: String { rawValue }
}

/// A stretch of the log as it was committed: dense offsets from `first`.
package struct LogBlock: Sendable, Hashable {
  package var log: LogID
  package var first: Offset
  package var group: MessageGroup

  package init(log: LogID, first: Offset, group: MessageGroup) {
    self.log = log
    self.first = first
    self.group = group
  }

  /// One past the last offset.
  package var end: Offset { first + group.count }
  package func record(at index: Int) -> Record {
    Record(offset: first + index, message: group[index])
  }
}
