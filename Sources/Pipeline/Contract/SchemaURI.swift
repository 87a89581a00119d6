/// URI references as schemas name each other by (RFC 3986).
enum SchemaURI {
  /// A reference taken apart by the expression of RFC 3986, appendix B.
  private struct Parts {
    var scheme: Substring?
    var authority: Substring?
    var path: Substring = ""
    var query: Substring?

    init(_ text: Substring) {
      var rest = text
      if let colon = rest.firstIndex(of: ":"), colon != rest.startIndex,
        !rest[..<colon].contains(where: { "/?#".contains($0) })
      {
        scheme = rest[..<colon]
        rest = rest[rest.index(after: colon)...]
      }
      if rest.hasPrefix("//") {
        rest = rest.dropFirst(2)
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        authority = rest[..<end]
        rest = rest[end...]
      }
      if let mark = rest.firstIndex(of: "?") {
        query = rest[rest.index(after: mark)...]
        rest = rest[..<mark]
      }
      path = rest
    }

    var text: String {
      var text = scheme.map { "\($0):" } ?? ""
      if let authority { text += "//\(authority)" }
      text += path
      if let query { text += "?\(query)" }
      return text
    }
  }

  /// A reference without its fragment, and the fragment without its mark; nil where it has none.
  static func split(_ reference: String) -> (uri: String, fragment: String?) {
    guard let mark = reference.firstIndex(of: "#") else { return (reference, nil) }
    return (String(reference[..<mark]), String(reference[reference.index(after: mark)...]))
  }

  /// What a reference without fragment means beside `base` (RFC 3986, section 5.2.2).
  static func resolve(_ reference: String, base: String) -> String {
    if reference.isEmpty { return base }
    var target = Parts(reference[...])
    if target.scheme == nil {
      let base = Parts(base[...])
      target.scheme = base.scheme
      if target.authority == nil {
        target.authority = base.authority
        if target.path.isEmpty {
          target.path = base.path
          target.query = target.query ?? base.query
        } else if !target.path.hasPrefix("/") {
          if base.authority != nil, base.path.isEmpty {
            target.path = "/" + target.path
          } else if let slash = base.path.lastIndex(of: "/") {
            target.path = base.path[...slash] + target.path
          }
        }
      }
    }
    if target.scheme != nil, target.path.hasPrefix("/") { target.path = withoutDots(target.path)[...] }
    return target.text
  }

  /// RFC 3986, section 5.2.4, for a path that begins with a slash.
  private static func withoutDots(_ path: Substring) -> String {
    var kept: [Substring] = []
    let segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
    for (number, segment) in segments.enumerated() {
      let isLast = number == segments.count - 1
      switch segment {
      case ".", "..":
        if segment == "..", !kept.isEmpty { kept.removeLast() }
        if isLast { kept.append("") }
      default: kept.append(segment)
      }
    }
    return "/" + kept.joined(separator: "/")
  }

  /// The bytes that a fragment stands for, `%xx` decoded; a percent sign that begins no escape stays.
  static func decoded(_ fragment: String) -> [UInt8] {
    let text = Array(fragment.utf8)
    var output: [UInt8] = []
    output.reserveCapacity(text.count)
    var index = 0
    while index < text.count {
      if text[index] == UInt8(ascii: "%"), index + 2 < text.count,
        let high = JSONText.hexadecimal(text[index + 1]), let low = JSONText.hexadecimal(text[index + 2])
      {
        output.append(high << 4 | low)
        index += 3
      } else {
        output.append(text[index])
        index += 1
      }
    }
    return output
  }
}

/// JSON Pointer (RFC 6901).
enum JSONPointer {
  /// One step, as it stands in a pointer: `~` and `/` escaped.
  static func step(_ name: some Sequence<UInt8>) -> String {
    var output: [UInt8] = [UInt8(ascii: "/")]
    for byte in name {
      switch byte {
      case UInt8(ascii: "~"): output += [byte, UInt8(ascii: "0")]
      case UInt8(ascii: "/"): output += [UInt8(ascii: "~"), UInt8(ascii: "1")]
      default: output.append(byte)
      }
    }
    return String(decoding: output, as: UTF8.self)
  }

  /// The steps of a pointer, unescaped. It is empty or begins with a slash.
  static func steps(_ pointer: [UInt8]) -> [[UInt8]] {
    guard !pointer.isEmpty else { return [] }
    return pointer.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map {
      var name: [UInt8] = []
      var isEscape = false
      for byte in $0 {
        if isEscape {
          name.append(byte == UInt8(ascii: "1") ? UInt8(ascii: "/") : UInt8(ascii: "~"))
          isEscape = false
        } else if byte == UInt8(ascii: "~") {
          isEscape = true
        } else {
          name.append(byte)
        }
      }
      return name
    }
  }
}
