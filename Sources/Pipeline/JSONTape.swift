internal import Telemetry

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

  /// What is wrong. Holds nothing of the text.
  var reason: String {
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
    case .tooDeep: "values are nested more than \(JSONTape.maximumDepth) deep"
    }
  }

  /// What is wrong and where; bytes are counted from 1. Holds nothing of the text.
  package var description: String { "\(reason) (byte \(position + 1))" }
}

/// A JSON text as a flat list of its values, in the order in which they stand: what every stage looks into.
///
/// Made in one pass, fully validating (grammar, UTF-8 and surrogate pairs), because what passes is handed on
/// byte for byte and must be readable for whoever comes after. Nothing is copied and nothing converted: a
/// value is a range of the bytes that were read, so that large integers and decimals survive. The list is
/// used again for the next text.
package struct JSONTape: Sendable {
  /// Arrays and objects within one another.
  package static let maximumDepth = 128
  /// Room for so many values stays for the next text, some 2 MB; what a text of a million values needed goes with the
  /// next one that is small.
  static let keptValues = 65_536

  /// A value, and its name where it is a member of an object.
  package struct Value: Sendable, Hashable {
    package var kind: JSONKind
    /// A string with at least one backslash.
    package var hasEscapes = false
    package var nameHasEscapes = false
    var start: Int32
    var end: Int32
    var nameStart: Int32 = 0
    var nameEnd: Int32 = 0
    /// While it is read, of an array or object: the one around it, or -1.
    var behind: Int32 = 0
    /// Elements of an array, members of an object (one that stands there twice counts twice).
    package internal(set) var count: Int32 = 0

    /// All of the value; of a string, with its quotes.
    package var range: Range<Int> { Int(start)..<Int(end) }
    /// The inside of a string, escapes as they stand; all of any other value.
    package var content: Range<Int> { kind == .string ? Int(start) + 1..<Int(end) - 1 : range }
    /// The inside of the member's name, escapes as they stand; empty where it is no member.
    package var name: Range<Int> { Int(nameStart)..<Int(nameEnd) }
    /// The index of the first value that is not within this one: its next sibling, or its parent's, or the
    /// end. The first value within it, if any, is the one behind it in the list.
    package var next: Int { Int(behind) }
  }

  /// Values in the order in which they stand.
  package struct Values: RandomAccessCollection, Sendable {
    fileprivate var storage: [Value] = []
    package fileprivate(set) var count = 0
    /// Values that there is room for.
    var room: Int { storage.count }

    package var startIndex: Int { 0 }
    package var endIndex: Int { count }

    package subscript(index: Int) -> Value {
      precondition(index < count, "a value belongs to the text that was read")
      return storage[index]
    }

    package func withUnsafeBufferPointer<Result>(_ body: (UnsafeBufferPointer<Value>) -> Result) -> Result {
      storage.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[..<count])) }
    }
  }

  /// The text's values; the first is the whole.
  package private(set) var values = Values()
  /// Whether there is whitespace outside of strings, within the value or around it.
  package private(set) var hasWhitespace = false

  package init() {}

  /// The whole.
  package var root: Value { values.first ?? Value(kind: .null, start: 0, end: 0) }

  /// Reads one text of less than 2 GiB. What was read stands in ``values`` until the next; after an error
  /// they mean nothing.
  package mutating func read(_ bytes: UnsafeRawBufferPointer) throws(JSONError) {
    values.count = 0
    hasWhitespace = false
    // No text has more values than bytes.
    if values.storage.count > JSONTape.keptValues, bytes.count <= JSONTape.keptValues { values.storage = [] }
    guard !bytes.isEmpty else { throw JSONError(.empty, at: 0) }
    if bytes.count >= 3, bytes[0] == 0xEF, bytes[1] == 0xBB, bytes[2] == 0xBF {
      throw JSONError(.byteOrderMark, at: 0)
    }
    let text = UnsafeRawBufferPointer(rebasing: bytes[..<Int(Int32(clamping: bytes.count))])
    while true {
      let outcome = values.storage.withUnsafeMutableBufferPointer { JSONScan.run(text, into: $0) }
      switch outcome {
      case .values(let count, let hasWhitespace):
        values.count = count
        self.hasWhitespace = hasWhitespace
        return
      case .invalid(let error): throw error
      case .full: makeRoom(for: text.count)
      }
    }
  }

  /// The text is read anew from its beginning then. That is rare, for the room stays, and twice the work at most, for
  /// it doubles.
  private mutating func makeRoom(for length: Int) {
    // Devices write some ten bytes for a value. No text has more values than bytes.
    let room = max(2 * values.storage.count, min(length / 8, 1_024) + 16)
    values.storage.append(
      contentsOf: repeatElement(Value(kind: .null, start: 0, end: 0), count: room - values.storage.count))
  }

  // MARK: Looking

  /// The index of an object's member; of a name that stands there several times, the last. Nil where there
  /// is none, or the value at `index` is no object.
  /// - Parameters:
  ///   - name: as it is meant, without escapes.
  ///   - bytes: those that were read.
  package func member(_ name: [UInt8], of index: Int, in bytes: UnsafeRawBufferPointer) -> Int? {
    values.withUnsafeBufferPointer { values in
      guard values[index].kind == .object else { return nil }
      let end = values[index].next
      var found: Int?
      var child = index + 1
      while child < end {
        let length = Int(values[child].nameEnd &- values[child].nameStart)
        // Most of the others have another length.
        if length == name.count || values[child].nameHasEscapes, isName(of: values[child], name, in: bytes) {
          found = child
        }
        child = values[child].next
      }
      return found
    }
  }

  /// The index of an array's element; nil where there is none, or the value at `index` is no array.
  package func element(_ number: Int, of index: Int) -> Int? {
    guard values[index].kind == .array, number >= 0, number < Int(values[index].count) else { return nil }
    var child = index + 1
    for _ in 0..<number { child = values[child].next }
    return child
  }

  /// The UTF-8 bytes that a string stands for, or the bytes of any other value.
  package func text(_ value: Value, in bytes: UnsafeRawBufferPointer) -> [UInt8] {
    let raw = UnsafeRawBufferPointer(rebasing: bytes[value.content])
    return value.hasEscapes ? JSONText.unescape(raw) : Array(raw)
  }
}
