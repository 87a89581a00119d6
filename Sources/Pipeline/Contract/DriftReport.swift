package import Telemetry

/// A field of a device's readings that is not as it was.
package struct Drift: Sendable, Hashable {
  package enum Change: Sendable, Hashable {
    /// It was in none of the device's readings before.
    case appeared(JSONKind)
    /// It was in none of the last readings.
    case vanished
    case retyped(from: JSONKind, to: JSONKind)
  }

  /// JSON Pointer (RFC 6901) of the field, at most ``DriftReport/longestPath`` bytes of it.
  package var field: String
  package var change: Change
}

/// Which fields the devices' readings have, and how that changes.
///
/// A device's first reading says what its fields are; from then on a field that appears, that is missing for so
/// many readings, or that has a value of another type is reported once. Null has no type of its own: a field that
/// is null is there, as it was. Members of objects are fields of their own; arrays are not looked into.
///
/// Bounded by a number of devices, past which the one that was seen least recently is forgotten, and of fields for
/// each. The state is stored as of the checkpoint, as ``KeyedState`` does it.
package struct DriftReport: Sendable {
  /// Fields of a device that are known; others are not looked at.
  package static let maximumFields = 256
  /// Levels of objects that are looked into.
  package static let maximumDepth = 16
  /// Bytes of a field's path that are kept.
  package static let longestPath = 128

  /// Fields of all devices together; past it, the devices that were seen least recently are forgotten, however few
  /// there are: ten thousand devices with ever new fields would otherwise take half a gigabyte, and these take at
  /// most 60 MB, 20 where names are short.
  package static let maximumTotal = 262_144

  private var devices: KeyedState<DriftFields>
  /// Fields of all devices.
  package private(set) var total = 0
  private let patience: UInt64

  /// - Parameters:
  ///   - limit: devices that are known at most, from 1.
  ///   - readings: after how many readings without it a field has vanished, from 1.
  package init(limit: Int, vanishedAfter readings: Int) {
    devices = KeyedState(limit: limit, policy: .evictOldest, layout: PlainLayout())
    patience = UInt64(max(1, readings))
  }

  /// Goes on from what ``changes()`` gave.
  package init(
    limit: Int, vanishedAfter readings: Int, restoring rows: [StateRow]
  ) throws(StateDamage) {
    devices = try KeyedState(restoring: rows, limit: limit, policy: .evictOldest, layout: PlainLayout())
    patience = UInt64(max(1, readings))
    total = devices.liveSlots.reduce(0) { sum, slot in sum + devices.read(slot) { $0.fields.count } }
  }

  // MARK: State

  /// Devices that are known.
  package var count: Int { devices.count }
  /// Devices that were forgotten to make room, since this value was made.
  package var evicted: Int64 { devices.evicted }

  /// An open batch begins; see ``KeyedState/beginPending()``.
  package mutating func beginPending() { devices.beginPending() }
  /// The open batch is closed.
  package mutating func pendingDecided() { devices.pendingDecided() }
  /// The rows that differ from the store as of the checkpoint.
  package func changes() -> [StateRow] { devices.changes() }
  /// What ``changes()`` gave is stored.
  package mutating func stored() { devices.stored() }

  // MARK: Looking

  /// Looks at a device's reading.
  /// - Returns: what is not as it was: first what the reading has, in its order, then what has vanished, in the
  ///   order in which it first appeared.
  package mutating func add(
    key: UnsafeRawBufferPointer, tape: JSONTape, at index: Int = 0, in bytes: UnsafeRawBufferPointer
  ) -> [Drift] {
    let patience = patience
    if devices.count >= devices.limit, devices.slot(of: key) == nil, let slot = devices.oldestSlot { forget(slot) }
    let result = tape.values.withUnsafeBufferPointer { values in
      devices.update(key) { fields in
        let before = fields.fields.count
        let drifts = fields.add(index, JSONPlace(values: values, bytes: bytes), patience: patience)
        return (drifts: drifts, new: fields.fields.count - before)
      }
    }
    guard let result else { return [] }
    total += result.new
    // The device at hand is the newest, and has fewer than that.
    while total > DriftReport.maximumTotal, let slot = devices.oldestSlot { forget(slot) }
    return result.drifts
  }

  /// Forgets the device of the oldest slot.
  private mutating func forget(_ slot: Int) {
    total -= devices.read(slot) { $0.fields.count }
    devices.evictOldest()
  }

  /// The devices that are known, in the order of their bytes.
  package var keys: [[UInt8]] { devices.sortedSlots.map { devices.key(of: $0) } }

  /// The fields that a device has, in the order in which they appeared; empty for one that is not known.
  package func fields(of key: [UInt8]) -> [(field: String, kind: JSONKind)] {
    let fields = devices.value(key)?.fields ?? []
    return fields.filter { !$0.isGone }.map { ($0.path, $0.kind) }
  }
}

/// The fields of one device.
struct DriftFields: StateValue {
  struct Field: Sendable {
    var path: String
    /// Of the whole path, cut off or not.
    var hash: UInt64
    var kind: JSONKind
    /// The number of the last reading that had it.
    var last: UInt64
    var isGone: Bool
  }

  private(set) var fields: [Field] = []
  private var readings: UInt64 = 0

  init() {}

  // MARK: Storing

  func encode(to encoder: inout StateEncoder, layout: PlainLayout) {
    encoder.put(unsigned: readings)
    encoder.put(unsigned: UInt64(fields.count))
    for field in fields {
      encoder.put(fixed: field.hash)
      encoder.put(field.kind.rawValue << 1 | (field.isGone ? 1 : 0))
      encoder.put(unsigned: field.last)
      let path = Array(field.path.utf8)
      encoder.put(unsigned: UInt64(path.count))
      encoder.put(path)
    }
  }

  init?(from decoder: inout StateDecoder, layout: PlainLayout) {
    guard let readings = decoder.counter(),
      let count = decoder.count(of: 11, atMost: DriftReport.maximumFields)
    else { return nil }
    self.readings = UInt64(readings)
    for _ in 0..<count {
      guard let hash = decoder.fixed(), let flags = decoder.byte(), let kind = JSONKind(rawValue: flags >> 1),
        let last = decoder.counter(), last <= readings,
        let length = decoder.count(of: 1, atMost: DriftReport.longestPath), let path = decoder.bytes(length),
        let text = String(validating: path, as: UTF8.self)
      else { return nil }
      fields.append(Field(path: text, hash: hash, kind: kind, last: UInt64(last), isGone: flags & 1 == 1))
    }
  }

  // MARK: Looking

  mutating func add(_ index: Int, _ place: JSONPlace, patience: UInt64) -> [Drift] {
    readings += 1
    var drifts: [Drift] = []
    var expected = 0
    walk(index, place, 0, "", 0, &expected, &drifts)
    for position in fields.indices
    where !fields[position].isGone && readings - fields[position].last >= patience {
      fields[position].isGone = true
      drifts.append(Drift(field: fields[position].path, change: .vanished))
    }
    return drifts
  }

  /// - Parameter expected: the field that most likely is next: readings of a device mostly have the same order.
  private mutating func walk(
    _ index: Int, _ place: JSONPlace, _ outer: UInt64, _ path: String, _ depth: Int, _ expected: inout Int,
    _ drifts: inout [Drift]
  ) {
    guard place.values[index].kind == .object, depth < DriftReport.maximumDepth else { return }
    var child = index + 1
    while child < place.values[index].next {
      let member = place.values[child]
      let hash = (outer &* 0x9E37_79B9_7F4A_7C15) ^ JSONEquality.hash(member.name, member.nameHasEscapes, place)
      var position: Int? = expected < fields.count && fields[expected].hash == hash ? expected : nil
      if position == nil { position = fields.firstIndex { $0.hash == hash } }
      if let position {
        expected = position + 1
        see(position, member.kind, &drifts)
      } else if fields.count < DriftReport.maximumFields {
        let name = place.raw(member.name)
        let step =
          member.nameHasEscapes ? JSONPointer.step(JSONText.unescape(name)) : JSONPointer.step(name)
        let field = DriftFields.cut(path + step)
        fields.append(Field(path: field, hash: hash, kind: member.kind, last: readings, isGone: false))
        expected = fields.count
        if readings > 1 { drifts.append(Drift(field: field, change: .appeared(member.kind))) }
      }
      if member.kind == .object {
        let known = position ?? fields.count - 1
        walk(
          child, place, hash, fields.indices.contains(known) ? fields[known].path : path, depth + 1, &expected,
          &drifts)
      }
      child = member.next
    }
  }

  private mutating func see(_ position: Int, _ kind: JSONKind, _ drifts: inout [Drift]) {
    let known = fields[position]
    fields[position].last = readings
    fields[position].isGone = false
    if known.isGone { drifts.append(Drift(field: known.path, change: .appeared(kind))) }
    // Null says nothing about the type, and gives way to one.
    guard kind != .null, kind != known.kind else { return }
    fields[position].kind = kind
    if known.kind != .null, !known.isGone {
      drifts.append(Drift(field: known.path, change: .retyped(from: known.kind, to: kind)))
    }
  }

  private static func cut(_ path: String) -> String {
    guard path.utf8.count > DriftReport.longestPath else { return path }
    var length = DriftReport.longestPath
    while length > 0, String(path.utf8.prefix(length)) == nil { length -= 1 }
    return String(path.utf8.prefix(length)) ?? ""
  }
}
