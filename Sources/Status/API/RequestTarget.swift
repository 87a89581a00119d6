/// The path and the query of a request, decoded (RFC 3986).
struct RequestTarget: Sendable, Hashable {
  /// Parameters beyond these make the request invalid: nobody has more.
  private static let maximumParameters = 16

  /// Without empty ones, so that `/v1/status/` is `/v1/status`.
  var segments: [String]
  /// Each name once.
  var parameters: [String: String]

  /// Nil for what is no path, holds broken percent-encoding or bytes that are no UTF-8, or says something twice.
  init?(_ target: String) {
    let bytes = Array(target.utf8)
    guard bytes.first == UInt8(ascii: "/") else { return nil }
    let path = bytes.prefix { $0 != UInt8(ascii: "?") }
    let query = bytes.dropFirst(path.count + 1)
    segments = []
    for part in path.split(separator: UInt8(ascii: "/")) {
      guard let text = RequestTarget.decode(part, plusIsSpace: false) else { return nil }
      segments.append(text)
    }
    parameters = [:]
    for pair in query.split(separator: UInt8(ascii: "&")) {
      let name = pair.prefix { $0 != UInt8(ascii: "=") }
      guard let key = RequestTarget.decode(name, plusIsSpace: true),
        let value = RequestTarget.decode(pair.dropFirst(name.count + 1), plusIsSpace: true),
        parameters.updateValue(value, forKey: key) == nil, parameters.count <= RequestTarget.maximumParameters
      else { return nil }
    }
  }

  /// - Parameter plusIsSpace: as HTML forms write queries.
  private static func decode(_ bytes: ArraySlice<UInt8>, plusIsSpace: Bool) -> String? {
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var index = bytes.startIndex
    while index < bytes.endIndex {
      let byte = bytes[index]
      index += 1
      switch byte {
      case UInt8(ascii: "%"):
        guard index + 1 < bytes.endIndex, let high = digit(bytes[index]), let low = digit(bytes[index + 1]) else {
          return nil
        }
        out.append(high << 4 | low)
        index += 2
      case UInt8(ascii: "+") where plusIsSpace: out.append(UInt8(ascii: " "))
      default: out.append(byte)
      }
    }
    return String(validating: out, as: UTF8.self)
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}
