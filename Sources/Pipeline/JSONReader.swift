/// What a JSON value is (RFC 8259, section 3).
package enum JSONKind: UInt8, Sendable, Hashable {
  case object, array, string, number, boolean, null

  /// With its article, for sentences.
  package var phrase: String {
    switch self {
    case .object: "an object"
    case .array: "an array"
    case .string: "a string"
    case .number: "a number"
    case .boolean: "true or false"
    case .null: "null"
    }
  }
}

/// Why bytes are not a JSON text that Forebay takes, and where.
package struct JSONError: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Kind: UInt8, Sendable, Hashable {
    /// No bytes, or whitespace only.
    case empty
    case byteOrderMark
    case unexpectedEnd
    case expectedValue
    case expectedName
    case expectedColon
    case expectedCommaOrBrace
    case expectedCommaOrBracket
    case afterValue
    case number
    case literal
    case controlCharacter
    case escape
    /// Bytes that are not UTF-8 (RFC 3629), overlong forms and surrogates included.
    case invalidUTF8
    /// A `\u` escape that is one half of a surrogate pair without the other.
    case loneSurrogate
    case tooDeep
  }

  package var kind: Kind
  /// Bytes before the fault.
  package var position: Int

  package init(_ kind: Kind, at position: Int) {
    self.kind = kind
    self.position = position
  }

  private var reason: String {
    switch kind {
    case .empty: "there is no value"
    case .byteOrderMark: "a byte order mark is not allowed before JSON"
    case .unexpectedEnd: "the text ends too early"
    case .expectedValue: "a value was expected"
    case .expectedName: "a member's name in double quotes was expected"
    case .expectedColon: "a colon was expected after a member's name"
    case .expectedCommaOrBrace: "a comma or a closing brace was expected"
    case .expectedCommaOrBracket: "a comma or a closing bracket was expected"
    case .afterValue: "there is something after the value"
    case .number: "a number is not written as JSON has it"
    case .literal: "true, false or null was expected"
    case .controlCharacter: "a control character stands in a string without being escaped"
    case .escape: "a backslash begins no escape that JSON has"
    case .invalidUTF8: "the bytes are not UTF-8"
    case .loneSurrogate: "an escape is one half of a surrogate pair without the other"
    case .tooDeep: "values are nested more than \(JSONReader.maximumDepth) deep"
    }
  }

  /// What is wrong and where; bytes are counted from 1. Holds nothing of the text.
  package var description: String { "\(reason) (byte \(position + 1))" }
}

/// Where in a text a value stands.
package struct JSONSlice: Sendable, Hashable {
  package var kind: JSONKind
  /// All of the value; of a string, with its quotes.
  package var range: Range<Int>
  /// A string with at least one backslash.
  package var hasEscapes: Bool

  package init(kind: JSONKind, range: Range<Int>, hasEscapes: Bool) {
    self.kind = kind
    self.range = range
    self.hasEscapes = hasEscapes
  }

  /// The inside of a string, escapes as they stand; all of any other value.
  package var content: Range<Int> {
    kind == .string ? range.lowerBound + 1..<range.upperBound - 1 : range
  }
}

/// Checks that bytes are one JSON text (RFC 8259) and finds top-level members by their names, in one
/// pass and without allocating.
///
/// Fully validating: grammar, UTF-8 and surrogate pairs, because what passes is handed on byte for byte
/// and must be readable for whoever comes after. Numbers are never converted, so that large integers and
/// decimals survive. Nesting is kept in bits, not on the call stack.
package struct JSONReader: Sendable {
  /// Arrays and objects within one another. The bits of the nesting must fit into a `UInt128`.
  package static let maximumDepth = 128

  /// The names that are looked for.
  package let fields: [String]
  private let names: [[UInt8]]
  /// What was found for each of `fields` in the text that was read last; of a name that stands there
  /// several times, the last.
  package private(set) var members: [JSONSlice?]
  /// All of the text's value, without whitespace around it.
  package private(set) var root = JSONSlice(kind: .null, range: 0..<0, hasEscapes: false)
  /// Whether there is whitespace outside of strings, within the value or around it.
  package private(set) var hasWhitespace = false

  /// - Parameter fields: names of top-level members, all different.
  package init(fields: [String]) {
    self.fields = fields
    names = fields.map { Array($0.utf8) }
    members = Array(repeating: nil, count: fields.count)
  }

  /// Reads one text. What was found is in ``members``, ``root`` and ``hasWhitespace`` until the next.
  package mutating func read(_ bytes: UnsafeRawBufferPointer) throws(JSONError) {
    for index in members.indices { members[index] = nil }
    hasWhitespace = false
    guard let base = bytes.baseAddress, !bytes.isEmpty else { throw JSONError(.empty, at: 0) }
    if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF {
      throw JSONError(.byteOrderMark, at: 0)
    }
    try scan(base, bytes.count)
  }

  // One function on purpose: its state stays in registers.
  private mutating func scan(_ base: UnsafeRawPointer, _ count: Int) throws(JSONError) {
    var cursor = JSONCursor(base, count)
    /// One bit per level, the innermost lowest: 1 for an object.
    var nesting: UInt128 = 0
    var depth = 0
    /// The index of the wanted member whose value is being read, or -1.
    var wanted = -1
    var valueStart = 0
    var valueKind = JSONKind.null
    var valueEscapes = false

    cursor.skipWhitespace()
    if cursor.atEnd { throw JSONError(.empty, at: count) }
    let rootStart = cursor.index
    var rootKind = JSONKind.null

    value: while true {
      cursor.skipWhitespace()
      if cursor.atEnd { throw cursor.error(.unexpectedEnd) }
      let start = cursor.index
      let kind: JSONKind
      var opened = false
      switch cursor.byte {
      case UInt8(ascii: "\""):
        kind = .string
        let escapes = try cursor.string()
        if depth == 1 { valueEscapes = escapes }
      case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
        kind = .number
        try cursor.number()
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        kind = cursor.byte == UInt8(ascii: "{") ? .object : .array
        opened = true
      case UInt8(ascii: "t"):
        kind = .boolean
        try cursor.literal("true")
      case UInt8(ascii: "f"):
        kind = .boolean
        try cursor.literal("false")
      case UInt8(ascii: "n"):
        kind = .null
        try cursor.literal("null")
      default:
        throw cursor.error(.expectedValue)
      }
      if depth == 0 { rootKind = kind }
      if depth == 1, wanted >= 0 {
        valueStart = start
        valueKind = kind
      }

      var needsName = false
      if opened {
        if depth == JSONReader.maximumDepth { throw cursor.error(.tooDeep) }
        nesting = nesting << 1 | (kind == .object ? 1 : 0)
        depth += 1
        cursor.index += 1
        cursor.skipWhitespace()
        if cursor.atEnd { throw cursor.error(.unexpectedEnd) }
        if cursor.byte != (kind == .object ? UInt8(ascii: "}") : UInt8(ascii: "]")) {
          if kind == .array { continue value }
          needsName = true
        }
      }

      // After a value, at its comma or at what closes the level around it.
      while !needsName {
        if opened {
          // An empty object or array: its closing byte is next.
          opened = false
        } else {
          if depth == 0 { break value }
          if depth == 1, wanted >= 0 {
            members[wanted] = JSONSlice(
              kind: valueKind, range: valueStart..<cursor.index,
              hasEscapes: valueKind == .string && valueEscapes)
            wanted = -1
          }
          cursor.skipWhitespace()
          if cursor.atEnd { throw cursor.error(.unexpectedEnd) }
          if cursor.byte == UInt8(ascii: ",") {
            cursor.index += 1
            if nesting & 1 == 0 { continue value }
            needsName = true
            continue
          }
        }
        if nesting & 1 == 1 {
          guard cursor.byte == UInt8(ascii: "}") else { throw cursor.error(.expectedCommaOrBrace) }
        } else {
          guard cursor.byte == UInt8(ascii: "]") else { throw cursor.error(.expectedCommaOrBracket) }
        }
        cursor.index += 1
        nesting >>= 1
        depth -= 1
      }

      cursor.skipWhitespace()
      if cursor.atEnd { throw cursor.error(.unexpectedEnd) }
      guard cursor.byte == UInt8(ascii: "\"") else { throw cursor.error(.expectedName) }
      let nameStart = cursor.index + 1
      let escapes = try cursor.string()
      if depth == 1 {
        wanted = indexOfName(
          UnsafeRawBufferPointer(start: base + nameStart, count: cursor.index - 1 - nameStart), escapes)
      }
      cursor.skipWhitespace()
      if cursor.atEnd { throw cursor.error(.unexpectedEnd) }
      guard cursor.byte == UInt8(ascii: ":") else { throw cursor.error(.expectedColon) }
      cursor.index += 1
    }

    root = JSONSlice(kind: rootKind, range: rootStart..<cursor.index, hasEscapes: false)
    cursor.skipWhitespace()
    hasWhitespace = cursor.sawWhitespace
    if !cursor.atEnd { throw cursor.error(.afterValue) }
  }

  /// The index in ``fields`` of a member's name as it stands in the text, or -1.
  @inline(__always)
  private func indexOfName(_ name: UnsafeRawBufferPointer, _ hasEscapes: Bool) -> Int {
    if hasEscapes {
      let decoded = JSONText.unescape(name)
      return names.firstIndex(of: decoded) ?? -1
    }
    for index in names.indices where names[index].count == name.count {
      if names[index].elementsEqual(name) { return index }
    }
    return -1
  }
}
