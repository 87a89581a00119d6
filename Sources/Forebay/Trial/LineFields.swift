internal import Pipeline

/// The fields of an encoded reading, each with its text, for comparing and matching.
struct LineFields: Equatable {
  /// `key`, `time`, `captures.NAME` and `data.NAME`, with the JSON that stands there.
  private(set) var fields: [String: [UInt8]] = [:]
  /// In the line's order.
  private(set) var names: [String] = []

  /// Nil for what is no JSON object.
  init?(_ line: [UInt8]) {
    var tape = JSONTape()
    var fields: [String: [UInt8]] = [:]
    var names: [String] = []
    let isObject = line.withUnsafeBytes { bytes in
      guard (try? tape.read(bytes)) != nil, tape.root.kind == .object else { return false }
      func add(_ name: String, _ value: JSONTape.Value) {
        if fields.updateValue(Array(bytes[value.range]), forKey: name) == nil { names.append(name) }
      }
      LineFields.forEachMember(of: 0, tape, bytes) { name, index in
        let value = tape.values[index]
        if name == "data" || name == "captures", value.kind == .object {
          LineFields.forEachMember(of: index, tape, bytes) { add("\(name).\($0)", tape.values[$1]) }
        } else {
          add(name, value)
        }
      }
      return true
    }
    guard isObject else { return nil }
    self.fields = fields
    self.names = names
  }

  static func forEachMember(
    of object: Int, _ tape: JSONTape, _ bytes: UnsafeRawBufferPointer, _ body: (String, Int) -> Void
  ) {
    var child = object + 1
    while child < tape.values[object].next {
      body(String(decoding: bytes[tape.values[child].name], as: UTF8.self), child)
      child = tape.values[child].next
    }
  }

  /// The text of a string field without quotes; the field's JSON where it is none.
  func text(_ name: String) -> String? {
    guard let raw = fields[name] else { return nil }
    guard raw.first == UInt8(ascii: "\""), raw.count >= 2 else { return String(decoding: raw, as: UTF8.self) }
    return String(decoding: raw.dropFirst().dropLast().withUnsafeBytes { JSONText.unescape($0) }, as: UTF8.self)
  }

  /// The names of the fields in which two readings differ, in the order of the first.
  func differences(from other: LineFields) -> [String] {
    names.filter { fields[$0] != other.fields[$0] } + other.names.filter { fields[$0] == nil }
  }
}
