internal import CYAML

/// One step of libyaml's parser, as a value.
struct YAMLEvent {
  enum Kind {
    case streamStart
    case streamEnd
    case documentStart
    case documentEnd
    case alias(String)
    case scalar(YAMLNode.Scalar)
    case mappingStart
    case mappingEnd
    case sequenceStart
    case sequenceEnd
  }

  var kind: Kind
  var start: TextPlace
  var end: TextPlace
  var anchor: String?
  var tag: String?
}

/// libyaml's parser over a text in memory.
///
/// A class with the parser on the heap, because libyaml keeps pointers to the parser inside it and it
/// must be freed on every way out.
final class YAMLEventStream {
  struct Fault: Error {
    var place: TextPlace?
    var message: String
    var hint: String?
  }

  private let parser: UnsafeMutablePointer<yaml_parser_t>
  private let input: UnsafeBufferPointer<UInt8>
  private let isReady: Bool

  /// - Parameter input: UTF-8 without a byte order mark; must outlive the stream.
  init(reading input: UnsafeBufferPointer<UInt8>) {
    self.input = input
    parser = .allocate(capacity: 1)
    parser.initialize(to: yaml_parser_t())
    isReady = yaml_parser_initialize(parser) == 1
    if isReady {
      yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
      yaml_parser_set_input_string(parser, input.baseAddress, input.count)
    }
  }

  deinit {
    if isReady { yaml_parser_delete(parser) }
    parser.deinitialize(count: 1)
    parser.deallocate()
  }

  func next() throws(Fault) -> YAMLEvent {
    guard isReady else { throw Fault(place: nil, message: "out of memory", hint: nil) }
    var event = yaml_event_t()
    guard yaml_parser_parse(parser, &event) == 1 else { throw fault() }
    defer { yaml_event_delete(&event) }
    return YAMLEventStream.value(of: event)
  }

  private static func value(of event: yaml_event_t) -> YAMLEvent {
    var result = YAMLEvent(
      kind: .streamEnd, start: place(event.start_mark), end: place(event.end_mark))
    switch event.type {
    case YAML_STREAM_START_EVENT: result.kind = .streamStart
    case YAML_DOCUMENT_START_EVENT: result.kind = .documentStart
    case YAML_DOCUMENT_END_EVENT: result.kind = .documentEnd
    case YAML_ALIAS_EVENT: result.kind = .alias(text(event.data.alias.anchor) ?? "")
    case YAML_SCALAR_EVENT:
      let scalar = event.data.scalar
      let bytes = UnsafeBufferPointer(start: scalar.value, count: scalar.length)
      result.kind = .scalar(
        YAMLNode.Scalar(text: String(decoding: bytes, as: UTF8.self), style: style(scalar.style)))
      result.anchor = text(scalar.anchor)
      result.tag = text(scalar.tag)
    case YAML_SEQUENCE_START_EVENT:
      result.kind = .sequenceStart
      result.anchor = text(event.data.sequence_start.anchor)
      result.tag = text(event.data.sequence_start.tag)
    case YAML_SEQUENCE_END_EVENT: result.kind = .sequenceEnd
    case YAML_MAPPING_START_EVENT:
      result.kind = .mappingStart
      result.anchor = text(event.data.mapping_start.anchor)
      result.tag = text(event.data.mapping_start.tag)
    case YAML_MAPPING_END_EVENT: result.kind = .mappingEnd
    default: result.kind = .streamEnd
    }
    return result
  }

  private static func style(_ style: yaml_scalar_style_t) -> YAMLNode.Style {
    switch style {
    case YAML_SINGLE_QUOTED_SCALAR_STYLE, YAML_DOUBLE_QUOTED_SCALAR_STYLE: .quoted
    case YAML_LITERAL_SCALAR_STYLE, YAML_FOLDED_SCALAR_STYLE: .block
    default: .plain
    }
  }

  private static func text(_ pointer: UnsafeMutablePointer<UInt8>?) -> String? {
    pointer.map { String(decodingCString: UnsafePointer($0), as: UTF8.self) }
  }

  /// libyaml counts from 0.
  private static func place(_ mark: yaml_mark_t) -> TextPlace {
    TextPlace(line: Int(mark.line) + 1, column: Int(mark.column) + 1)
  }

  /// libyaml's own words, with the place, and what usually helps.
  private func fault() -> Fault {
    let state = parser.pointee
    guard state.error != YAML_MEMORY_ERROR else {
      return Fault(place: nil, message: "out of memory", hint: nil)
    }
    let problem = state.problem.map { String(cString: $0) } ?? "cannot be read"
    guard state.error != YAML_READER_ERROR else {
      return Fault(
        place: place(ofByte: Int(state.problem_offset)), message: problem,
        hint: "remove the character, or write it as an escape in double quotes")
    }
    var message = problem
    let at = YAMLEventStream.place(state.context_mark)
    if let context = state.context, at != YAMLEventStream.place(state.problem_mark) {
      message += " (\(String(cString: context)) that begins at line \(at.line), column \(at.column))"
    }
    return Fault(
      place: YAMLEventStream.place(state.problem_mark), message: message, hint: hint(for: problem))
  }

  /// Advice for the slips that are made most often. libyaml tells them apart by text only, and the
  /// advice is for people: nothing is decided by it.
  private func hint(for problem: String) -> String? {
    let found = byte(at: YAMLEventStream.place(parser.pointee.problem_mark))
    if problem.contains("expected ','"), found == UInt8(ascii: "{") {
      return "within [ ] and { } a text with braces needs quotes: \"sensors/{device}\""
    }
    if problem.contains("cannot start any token") {
      return found == UInt8(ascii: "\t")
        ? "YAML is indented with spaces, never with tabs" : "put the text in quotes"
    }
    if problem.contains("tab character") { return "YAML is indented with spaces, never with tabs" }
    if problem.contains("mapping values are not allowed") {
      return "check the indentation, and put a text that holds ': ' in quotes"
    }
    if problem.contains("did not find expected key")
      || problem.contains("could not find expected ':'")
    {
      return "check the indentation of this line and of those above; a key is followed by ': '"
    }
    return nil
  }

  private func byte(at place: TextPlace) -> UInt8? {
    var current = TextPlace.start
    for byte in input {
      if current == place { return byte }
      if byte == UInt8(ascii: "\n") {
        current = TextPlace(line: current.line + 1, column: 1)
      } else if byte & 0xC0 != 0x80 {
        current.column += 1
      }
    }
    return nil
  }

  private func place(ofByte offset: Int) -> TextPlace {
    var place = TextPlace.start
    for byte in input.prefix(offset) {
      if byte == UInt8(ascii: "\n") {
        place = TextPlace(line: place.line + 1, column: 1)
      } else if byte & 0xC0 != 0x80 {
        place.column += 1
      }
    }
    return place
  }
}
