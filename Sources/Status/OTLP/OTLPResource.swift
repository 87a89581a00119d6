/// Who sends: the attributes of OpenTelemetry's resource (semantic conventions, "Service").
package struct OTLPResource: Sendable, Hashable {
  /// By name, in the order in which they are written.
  package var attributes: [(name: String, value: String)]

  /// - Parameters:
  ///   - gateway: its id, which names the instance of the service.
  ///   - site: left out where there is none.
  package init(gateway: String, site: String?, version: String) {
    attributes = [("service.name", "forebay"), ("service.instance.id", gateway), ("service.version", version)]
    if let site { attributes.append(("forebay.site", site)) }
  }

  package static func == (a: OTLPResource, b: OTLPResource) -> Bool {
    a.attributes.elementsEqual(b.attributes) { $0 == $1 }
  }

  package func hash(into hasher: inout Hasher) {
    for (name, value) in attributes {
      hasher.combine(name)
      hasher.combine(value)
    }
  }

  /// For the header field `Content-Type` of every request.
  package static let mediaType = "application/json"
  /// What comes behind the base URL (OTLP specification, "OTLP/HTTP request").
  package static let metricsPath = "/v1/metrics"
  package static let tracesPath = "/v1/traces"
}

/// JSON texts as the mapping of Protocol Buffers asks for them (opentelemetry-proto, "JSON Protobuf Encoding"): names
/// in lowerCamelCase, 64-bit integers as strings, enumerations as numbers, ids as hexadecimal digits.
struct OTLPText {
  var bytes: [UInt8] = []

  mutating func raw(_ text: StaticString) {
    text.withUTF8Buffer { bytes.append(contentsOf: $0) }
  }

  mutating func string(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(byte)
      case 0..<0x20:
        raw("\\u00")
        bytes.append(contentsOf: [Self.digit(byte >> 4), Self.digit(byte & 15)])
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private static func digit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
  }

  /// A 64-bit integer, which is a string.
  mutating func wide(_ value: Int64) {
    bytes.append(UInt8(ascii: "\""))
    PrometheusPage.append(value, to: &bytes)
    bytes.append(UInt8(ascii: "\""))
  }

  mutating func number(_ value: Int64) { PrometheusPage.append(value, to: &bytes) }

  /// What JSON has no number for is a string (Protocol Buffers, "ProtoJSON Format").
  mutating func number(_ value: Double) {
    if value.isNaN { return raw("\"NaN\"") }
    if value.isInfinite { return value < 0 ? raw("\"-Infinity\"") : raw("\"Infinity\"") }
    PrometheusPage.append(value, to: &bytes)
  }

  /// Attributes with texts.
  mutating func attributes(_ attributes: some Sequence<(name: String, value: String)>) {
    raw("\"attributes\":[")
    var isFirst = true
    for (name, value) in attributes {
      if !isFirst { raw(",") }
      isFirst = false
      raw("{\"key\":")
      string(name)
      raw(",\"value\":{\"stringValue\":")
      string(value)
      raw("}}")
    }
    raw("]")
  }

  /// Begins a document: the resource, and the scope that everything is from.
  mutating func begin(_ list: StaticString, _ scope: StaticString, _ items: StaticString, _ resource: OTLPResource) {
    raw("{\"")
    raw(list)
    raw("\":[{\"resource\":{")
    attributes(resource.attributes)
    raw("},\"")
    raw(scope)
    raw("\":[{\"scope\":{\"name\":\"forebay\"},\"")
    raw(items)
    raw("\":[")
  }

  mutating func end() { raw("]}]}]}") }
}
