/// Reads YAML 1.1 through libyaml into a tree that keeps every place.
///
/// Only the part of YAML that a configuration needs: one document of mappings with scalar keys,
/// sequences and scalars. Anchors, aliases and tags are refused: they make a file that says other
/// things than it shows, and aliases let a small file grow without bound. Everything is bounded.
struct YAMLParser {
  struct Limits: Sendable {
    /// Bytes of a file.
    var bytes = 1 << 20
    /// Mappings and sequences within each other.
    var depth = 64
    /// Keys, scalars, mappings and sequences together.
    var nodes = 65_536
  }

  private let limits: Limits
  private let diagnostics: DiagnosticCollector
  private let events: YAMLEventStream
  /// The keys and indices that lead to the node being read, for messages.
  private var path: [String] = []
  private var nodes = 0

  /// What ends the reading: there is no sense in going on after it.
  private struct Fault: Error {
    var place: TextPlace?
    var message: String
    var hint: String?
  }

  /// The tree of a file, or nil with at least one error added to `diagnostics`.
  ///
  /// Duplicate keys, anchors and tags are errors that leave a tree (the first of two equal keys is in
  /// it), so that the rest of the file is checked as well.
  static func parse(
    _ bytes: [UInt8], limits: Limits = Limits(), diagnostics: DiagnosticCollector
  ) -> YAMLNode? {
    guard bytes.count <= limits.bytes else {
      diagnostics.error(
        at: nil, path: "",
        "the file has \(bytes.count) bytes; a configuration has at most \(limits.bytes)")
      return nil
    }
    if let place = UTF8Check.firstFault(in: bytes) {
      diagnostics.error(
        at: place, path: "", "the file is not UTF-8 here",
        hint: UTF8Check.hasUTF16Mark(bytes)
          ? "it begins like UTF-16; save it as UTF-8" : "save it as UTF-8")
      return nil
    }
    // A byte order mark is allowed (YAML 1.1, section 5.2), but libyaml would count it as a column.
    let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
    let text = bytes.starts(with: mark) ? bytes[mark.count...] : bytes[...]
    return text.withUnsafeBufferPointer { buffer in
      var parser = YAMLParser(
        limits: limits, diagnostics: diagnostics, events: YAMLEventStream(reading: buffer))
      do throws(Fault) {
        return try parser.document()
      } catch {
        diagnostics.error(
          at: error.place, path: joined(parser.path), error.message, hint: error.hint)
        return nil
      }
    }
  }

  private init(limits: Limits, diagnostics: DiagnosticCollector, events: YAMLEventStream) {
    self.limits = limits
    self.diagnostics = diagnostics
    self.events = events
  }

  private mutating func document() throws(Fault) -> YAMLNode {
    var root: YAMLNode?
    while true {
      let event = try next()
      switch event.kind {
      case .streamStart, .documentEnd: continue
      case .documentStart:
        guard root == nil else {
          throw Fault(
            place: event.start, message: "a second YAML document begins here",
            hint: "a configuration is one document; remove the '---'")
        }
        root = try node(try next())
      case .streamEnd:
        guard let root else {
          throw Fault(
            place: nil, message: "the file is empty", hint: "see docs/configuration.md for an example")
        }
        return root
      case .scalar, .mappingStart, .mappingEnd, .sequenceStart, .sequenceEnd, .alias:
        throw Fault(place: event.start, message: "unexpected \(event.kind)", hint: nil)
      }
    }
  }

  private mutating func node(_ event: YAMLEvent) throws(Fault) -> YAMLNode {
    nodes += 1
    guard nodes <= limits.nodes else {
      throw Fault(
        place: event.start, message: "more than \(limits.nodes) values in one file", hint: nil)
    }
    refuseDecorations(of: event)
    switch event.kind {
    case .scalar(let scalar):
      return YAMLNode(content: .scalar(scalar), start: event.start, end: event.end)
    case .mappingStart: return try mapping(from: event)
    case .sequenceStart: return try sequence(from: event)
    case .alias(let name):
      diagnostics.error(
        at: event.start, path: YAMLParser.joined(path), "aliases (\(quoted("*" + name))) are not used here",
        hint: "write the value out")
      // A stand-in that no reader takes for a value; the error above stops the configuration.
      return YAMLNode(content: .mapping([]), start: event.start, end: event.end)
    case .streamStart, .streamEnd, .documentStart, .documentEnd, .mappingEnd, .sequenceEnd:
      throw Fault(place: event.start, message: "a value is missing here", hint: nil)
    }
  }

  private mutating func mapping(from first: YAMLEvent) throws(Fault) -> YAMLNode {
    var entries: [YAMLNode.Entry] = []
    var places: [String: TextPlace] = [:]
    try checkDepth(at: first.start)
    while true {
      let event = try next()
      if case .mappingEnd = event.kind {
        return YAMLNode(content: .mapping(entries), start: first.start, end: event.end)
      }
      switch event.kind {
      case .scalar, .alias: break
      default:
        // Told before it is read: keys within keys would go as deep as the file is long.
        throw Fault(
          place: event.start, message: "a mapping or list stands where a key belongs",
          hint: "is there a '{' or '[' too much, or are quotes missing?")
      }
      let keyNode = try node(event)
      guard case .scalar(let key) = keyNode.content else {
        path.append("?")
        _ = try node(try next())
        path.removeLast()
        continue
      }
      path.append(YAMLParser.component(key.text))
      let value = try node(try next())
      if let earlier = places[key.text] {
        diagnostics.error(
          at: keyNode.start, path: YAMLParser.joined(path),
          "the key is here a second time; the first is at line \(earlier.line), column \(earlier.column)",
          hint: "remove one of them")
      } else {
        places[key.text] = keyNode.start
        entries.append(YAMLNode.Entry(key: key.text, keyPlace: keyNode.start, value: value))
      }
      path.removeLast()
    }
  }

  private mutating func sequence(from first: YAMLEvent) throws(Fault) -> YAMLNode {
    var items: [YAMLNode] = []
    try checkDepth(at: first.start)
    while true {
      let event = try next()
      if case .sequenceEnd = event.kind {
        return YAMLNode(content: .sequence(items), start: first.start, end: event.end)
      }
      path.append("[\(items.count)]")
      items.append(try node(event))
      path.removeLast()
    }
  }

  private func checkDepth(at place: TextPlace) throws(Fault) {
    guard path.count < limits.depth else {
      throw Fault(
        place: place, message: "mappings and lists are more than \(limits.depth) deep", hint: nil)
    }
  }

  private func refuseDecorations(of event: YAMLEvent) {
    if let anchor = event.anchor {
      diagnostics.error(
        at: event.start, path: YAMLParser.joined(path),
        "anchors (\(quoted("&" + anchor))) are not used here", hint: "write the value out")
    }
    if let tag = event.tag {
      diagnostics.error(
        at: event.start, path: YAMLParser.joined(path), "tags (\(quoted(tag))) are not used here",
        hint: "leave it out; quote a text that begins with '!'")
    }
  }

  private func next() throws(Fault) -> YAMLEvent {
    do {
      return try events.next()
    } catch {
      throw Fault(place: error.place, message: error.message, hint: error.hint)
    }
  }

  /// A key as paths show it: keys that are no plain words are quoted.
  static func component(_ key: String) -> String {
    let plain = key.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
        true
      default: false
      }
    }
    return plain && !key.isEmpty && key.utf8.count <= 64 ? key : quoted(key)
  }

  /// `a.b[2].c`
  static func joined(_ path: [String]) -> String {
    var out = ""
    for part in path {
      if !out.isEmpty, !part.hasPrefix("[") { out += "." }
      out += part
    }
    return out
  }
}

/// Where a text stops being UTF-8.
enum UTF8Check {
  /// The place of the first byte that belongs to no character; nil where there is none.
  static func firstFault(in bytes: [UInt8]) -> TextPlace? {
    guard !validates(bytes[...]) else { return nil }
    var line = 1
    for part in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      if !validates(part) {
        var decoder = UTF8()
        var iterator = part.makeIterator()
        var column = 1
        while case .scalarValue = decoder.decode(&iterator) { column += 1 }
        return TextPlace(line: line, column: column)
      }
      line += 1
    }
    return nil
  }

  static func hasUTF16Mark(_ bytes: [UInt8]) -> Bool {
    bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF])
  }

  private static func validates(_ bytes: ArraySlice<UInt8>) -> Bool {
    String(validating: bytes, as: UTF8.self) != nil
  }
}
