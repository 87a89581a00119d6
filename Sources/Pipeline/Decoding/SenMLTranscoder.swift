/// Sensor measurement lists (RFC 8428) in JSON or CBOR: one object for each record, resolved as section 4.6
/// has it, in the order of the pack.
///
/// Which of the two a pack is written in shows in its first byte: no JSON text begins with one that begins an
/// array, a map or a tag in CBOR. Base fields are applied, sums are exact to the last digit, and `t` is always there:
/// seconds since 1970, a time relative to now (below 2^28, section 4.5.3) counted from the receipt. A record
/// of base fields only is no reading. Fields that the RFC does not know are kept, and `bver` is where it is
/// not 10. A `v` of null, which is how CBOR's NaN arrives, is kept too: one broken sensor does not cost the
/// pack. A name's characters are not checked, for a reading under an odd name is still a reading.
package struct SenMLTranscoder: Transcoder {
  /// The version of RFC 8428 itself; what later ones demand is not known.
  package static let version = 10

  private var tape = JSONTape()

  package init() {}

  package mutating func transcode(
    _ payload: UnsafeRawBufferPointer, received: Int64, into output: inout [UInt8]
  ) throws(Refusal) {
    // An array, a map or a tag in CBOR.
    guard let first = payload.first, 0x80...0xDB ~= first else {
      return try resolve(payload, received: received, into: &output)
    }
    var reader = CBORReader(payload)
    reader.labels = SenMLTranscoder.label
    reader.readsDecimalFractions = true
    var json: [UInt8] = []
    try reader.value(try reader.head(), depth: 0, into: &json)
    try reader.requireEnd()
    try json.withUnsafeBufferPointer { buffer throws(Refusal) in
      try resolve(UnsafeRawBufferPointer(buffer), received: received, into: &output)
    }
  }

  /// Section 6, table 6; it is closed for ever.
  private static func label(_ major: CBORReader.Major, _ number: UInt64) -> StaticString? {
    switch (major, number) {
    case (.negative, 0): "bver"
    case (.negative, 1): "bn"
    case (.negative, 2): "bt"
    case (.negative, 3): "bu"
    case (.negative, 4): "bv"
    case (.negative, 5): "bs"
    case (.unsigned, 0): "n"
    case (.unsigned, 1): "u"
    case (.unsigned, 2): "v"
    case (.unsigned, 3): "vs"
    case (.unsigned, 4): "vb"
    case (.unsigned, 5): "s"
    case (.unsigned, 6): "t"
    case (.unsigned, 7): "ut"
    case (.unsigned, 8): "vd"
    default: nil
    }
  }

  private mutating func resolve(
    _ text: UnsafeRawBufferPointer, received: Int64, into output: inout [UInt8]
  ) throws(Refusal) {
    do throws(JSONError) { try tape.read(text) } catch { throw Refusal(error) }
    guard tape.root.kind == .array else {
      throw Refusal(.senmlRecord, "the pack is \(tape.root.kind.phrase) and must be an array of records")
    }
    var pack = SenMLPack(text: text, received: DecimalNumber(nanoseconds: received))
    let start = output.count
    output.append(UInt8(ascii: "["))
    var child = 1
    while child < tape.root.next {
      pack.number += 1
      let record = try pack.record(child, tape)
      try pack.apply(record)
      if record.isReading {
        if output.count > start + 1 { output.append(UInt8(ascii: ",")) }
        try pack.write(record, tape, into: &output)
        try Transcoding.checkSize(output, since: start)
      }
      child = tape.values[child].next
    }
    output.append(UInt8(ascii: "]"))
  }
}

/// A record's fields, where they stand.
private struct SenMLRecord {
  typealias Value = JSONTape.Value
  var name, unit, value, sum, time: Value?
  enum Label: String { case vs, vb, vd }
  var other: (label: Label, value: Value)?
  var baseName, baseUnit, baseValue, baseSum, baseTime, baseVersion: Value?
  /// Fields that the RFC does not know, and `ut`.
  var rest: [Value] = []
  /// Whether there is anything but base fields: those whose names begin with b, known or not (section 4.6).
  var isReading = false
}

/// The base fields in force.
private struct SenMLPack {
  let text: UnsafeRawBufferPointer
  let received: DecimalNumber
  /// The record's, from 1.
  var number = 0
  private var baseName: Range<Int> = 0..<0
  private var baseUnit: JSONTape.Value?
  private var baseValue: DecimalNumber?
  private var baseSum: DecimalNumber?
  private var baseTime: DecimalNumber?
  private var version = SenMLTranscoder.version

  init(text: UnsafeRawBufferPointer, received: DecimalNumber) {
    self.text = text
    self.received = received
  }

  private func fault(_ reason: String) -> Refusal { Refusal(.senmlRecord, "record \(number): \(reason)") }

  func record(_ index: Int, _ tape: JSONTape) throws(Refusal) -> SenMLRecord {
    guard tape.values[index].kind == .object else {
      throw fault("it is \(tape.values[index].kind.phrase) and must be an object")
    }
    var record = SenMLRecord()
    var child = index + 1
    while child < tape.values[index].next {
      let value = tape.values[child]
      child = value.next
      let raw = UnsafeRawBufferPointer(rebasing: text[value.name])
      // The labels are short; so is the copy.
      let label = value.nameHasEscapes ? JSONText.unescape(raw) : Array(raw.prefix(5))
      if label.first != UInt8(ascii: "b") { record.isReading = true }
      switch String(decoding: label, as: UTF8.self) {
      case "n": record.name = try expect(value, .string)
      case "u": record.unit = try expect(value, .string)
      case "v": record.value = value.kind == .null ? value : try expect(value, .number)
      case "vs": try set(&record, .vs, try expect(value, .string))
      case "vb": try set(&record, .vb, try expect(value, .boolean))
      case "vd": try set(&record, .vd, try expect(value, .string))
      case "s": record.sum = try expect(value, .number)
      case "t": record.time = try expect(value, .number)
      case "bn": record.baseName = try expect(value, .string)
      case "bu": record.baseUnit = try expect(value, .string)
      case "bv": record.baseValue = try expect(value, .number)
      case "bs": record.baseSum = try expect(value, .number)
      case "bt": record.baseTime = try expect(value, .number)
      case "bver": record.baseVersion = try expect(value, .number)
      default:
        if (value.nameHasEscapes ? label.last : raw.last) == UInt8(ascii: "_") {
          throw Refusal(
            .senmlField, "record \(number) has a field that must be understood (its name ends in _) and is not")
        }
        record.rest.append(value)
      }
    }
    if record.value != nil, record.other != nil { throw fault("it has more than one value") }
    return record
  }

  private func set(
    _ record: inout SenMLRecord, _ label: SenMLRecord.Label, _ value: JSONTape.Value
  ) throws(Refusal) {
    if let other = record.other, other.label != label { throw fault("it has more than one value") }
    record.other = (label, value)
  }

  private func expect(_ value: JSONTape.Value, _ kind: JSONKind) throws(Refusal) -> JSONTape.Value {
    if value.kind != kind { throw fault("a field is \(value.kind.phrase) and must be \(kind.phrase)") }
    return value
  }

  private func bytes(_ value: JSONTape.Value) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: text[value.range])
  }

  private func decimal(_ value: JSONTape.Value) throws(Refusal) -> DecimalNumber {
    guard let number = DecimalNumber(bytes(value)) else {
      throw Refusal(
        .senmlRange, "record \(number): a number has digits beyond 1e±\(DecimalNumber.maximumScale)")
    }
    return number
  }

  /// Takes a record's base fields into force.
  mutating func apply(_ record: SenMLRecord) throws(Refusal) {
    if let version = record.baseVersion {
      guard let stated = Int(String(decoding: bytes(version).prefix(10), as: UTF8.self)), stated > 0 else {
        throw fault("the version is no positive integer")
      }
      if stated > SenMLTranscoder.version {
        throw Refusal(
          .senmlVersion,
          "record \(number) is of a later version than \(SenMLTranscoder.version), the last that is known"
        )
      }
      if number > 1, stated != self.version {
        throw Refusal(.senmlVersion, "record \(number) is of another version than the records before it")
      }
      self.version = stated
    }
    if let name = record.baseName { baseName = name.content }
    if let unit = record.baseUnit { baseUnit = unit.content.isEmpty ? nil : unit }
    if let value = record.baseValue { baseValue = try decimal(value) }
    if let sum = record.baseSum { baseSum = try decimal(sum) }
    if let time = record.baseTime { baseTime = try decimal(time) }
  }

  /// Appends a record with the base fields applied.
  func write(_ record: SenMLRecord, _ tape: JSONTape, into output: inout [UInt8]) throws(Refusal) {
    let name = record.name.map(\.content) ?? 0..<0
    if baseName.isEmpty, name.isEmpty { throw fault("it has no name") }
    output.append(#"{"n":""#)
    output.append(contentsOf: text[baseName])
    output.append(contentsOf: text[name])
    output.append(UInt8(ascii: "\""))
    if let unit = record.unit ?? baseUnit {
      output.append(#","u":"#)
      output.append(contentsOf: bytes(unit))
    }
    output.append(#","t":"#)
    try time(record).append(to: &output)
    if let other = record.other {
      output.append(",\"")
      output.append(contentsOf: other.label.rawValue.utf8)
      output.append("\":")
      output.append(contentsOf: bytes(other.value))
    } else if record.value != nil || baseValue != nil {
      try write(",\"v\":", record.value, base: baseValue, into: &output)
    } else if record.sum == nil, baseSum == nil, record.rest.isEmpty {
      throw fault("it has no value")
    }
    if record.sum != nil || baseSum != nil {
      try write(",\"s\":", record.sum, base: baseSum, into: &output)
    }
    for field in record.rest {
      output.append(",\"")
      output.append(contentsOf: text[field.name])
      output.append("\":")
      output.appendCompact(bytes(field), isCompact: !tape.hasWhitespace)
    }
    if version != SenMLTranscoder.version { output.append(contentsOf: ",\"bver\":\(version)".utf8) }
    output.append(UInt8(ascii: "}"))
  }

  /// 2^28: times below it are relative (section 4.5.3).
  private static let relative = DecimalNumber(nanoseconds: (1 << 28) * 1_000_000_000)

  private func time(_ record: SenMLRecord) throws(Refusal) -> DecimalNumber {
    var time = try record.time.map { value throws(Refusal) in try decimal(value) } ?? DecimalNumber(nanoseconds: 0)
    if let baseTime { time = time + baseTime }
    return time < SenMLPack.relative ? received + time : time
  }

  /// A number that has no base stays as it is written.
  private func write(
    _ label: StaticString, _ value: JSONTape.Value?, base: DecimalNumber?, into output: inout [UInt8]
  ) throws(Refusal) {
    output.append(label)
    guard let base, value?.kind != .null else {
      if let value { output.append(contentsOf: bytes(value)) }
      return
    }
    let sum = if let value { try decimal(value) + base } else { base }
    sum.append(to: &output)
  }
}
