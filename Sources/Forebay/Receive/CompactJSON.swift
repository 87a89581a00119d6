/// Builds one JSON text without white space, in the order of the calls.
///
/// Enough for answers and reports, which are written and never read here.
struct CompactJSON: Sendable {
  private(set) var text = ""
  private var needsComma = false

  /// `{...}` with what `body` adds.
  static func object(_ body: (inout CompactJSON) -> Void) -> String {
    var json = CompactJSON()
    json.text = "{"
    body(&json)
    return json.text + "}"
  }

  static func array(_ elements: some Sequence<String>) -> String {
    "[" + elements.joined(separator: ",") + "]"
  }

  mutating func add(_ name: String, _ value: String) { add(name, raw: CompactJSON.quoted(value)) }
  mutating func add(_ name: String, _ value: some BinaryInteger) { add(name, raw: "\(value)") }
  mutating func add(_ name: String, _ value: Bool) { add(name, raw: value ? "true" : "false") }

  /// Adds a member whose value is a JSON text already.
  mutating func add(_ name: String, raw: String) {
    if needsComma { text += "," }
    needsComma = true
    text += CompactJSON.quoted(name) + ":" + raw
  }

  /// A JSON string (RFC 8259, section 7).
  static func quoted(_ value: String) -> String {
    var out = "\""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case "\u{0}"..."\u{1F}":
        out += "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }
}
