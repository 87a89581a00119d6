internal import Telemetry

/// Why a mask's configuration is refused: the cause and a way out. Holds no key.
package struct MaskError: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Kind: Sendable, Hashable {
    case tooMany
    /// Two rules about the same field.
    case duplicate
    /// Characters to keep, or digits of a hash, outside of their range.
    case range
    case keyMissing, keyTooShort, keyID
  }

  package var kind: Kind
  /// The rule's number, counted from 0; nil where it is about the keys.
  package var rule: Int?
  package var reason: String

  package var description: String { rule.map { "mask[\($0)]: \(reason)" } ?? reason }
}

/// Takes personal fields out of readings, or makes them unreadable, before anything leaves.
///
/// It fails closed: whatever a device puts where a rule points - a number or an object instead of a string, the
/// same name twice, a name written with escapes - is treated. Only null stays null. An object or array counts
/// as a whole. Where two rules meet, the outer value's wins, and of the same value's the first.
///
/// Paths are those of the reading as it comes to the mask: behind `select`, under the names given there.
package struct FieldMask: Sendable {
  package enum Method: Sendable, Hashable {
    /// The member is left out; an element, and those behind it move up.
    case drop
    /// `****` and the last so many characters (Unicode scalars), 0 to 32. A value that has no more than those is
    /// hidden whole, and so are objects and arrays. The length of what is hidden does not show.
    case mask(keepingLast: Int)
    /// So many hexadecimal digits, 16 to 64, of the SHA-256 of the text. Whoever can guess a value can check
    /// the guess: a phone number or a plate is better tokenised.
    case hash(digits: Int)
    /// A ``Tokeniser``'s token of the text.
    case tokenise
  }

  package struct Rule: Sendable, Hashable {
    package var fields: FieldPattern
    package var method: Method

    package init(fields: FieldPattern, method: Method) {
      self.fields = fields
      self.method = method
    }
  }

  /// Rules of one mask: each is a walk over the reading.
  package static let maximumRules = 256

  private let rules: [Rule]
  private let tokeniser: Tokeniser?
  /// What is to be done to which value of the reading at hand, in the order of the tape.
  private var edits: [(index: Int, rule: Int)] = []
  /// The ends of the objects and arrays around the value that is written.
  private var open: [(end: Int, isObject: Bool)] = []

  /// - Parameter tokeniser: needed where a rule tokenises.
  package init(rules: [Rule], tokeniser: Tokeniser? = nil) throws(MaskError) {
    guard rules.count <= FieldMask.maximumRules else {
      throw MaskError(
        kind: .tooMany, rule: FieldMask.maximumRules,
        reason: "there are more than \(FieldMask.maximumRules) rules; name objects instead of their members")
    }
    var seen: [[FieldPattern.Step]: Int] = [:]
    for (index, rule) in rules.enumerated() {
      if let first = seen.updateValue(index, forKey: rule.fields.steps) {
        throw MaskError(
          kind: .duplicate, rule: index, reason: "mask[\(first)] is already about \(rule.fields); leave one out")
      }
      switch rule.method {
      case .drop: break
      case .mask(let kept):
        guard (0...32).contains(kept) else {
          throw MaskError(kind: .range, rule: index, reason: "0 to 32 characters can be kept, not \(kept)")
        }
      case .hash(let digits):
        guard (16...64).contains(digits) else {
          throw MaskError(kind: .range, rule: index, reason: "a hash can have 16 to 64 digits, not \(digits)")
        }
      case .tokenise:
        guard tokeniser != nil else {
          throw MaskError(
            kind: .keyMissing, rule: index, reason: "tokens need a key; name the file that holds one")
        }
      }
    }
    self.rules = rules
    self.tokeniser = tokeniser
  }

  /// Appends a reading as it may leave: one JSON object without whitespace. What no rule is about stays as it
  /// is, byte for byte.
  /// - Parameters:
  ///   - tape: what ``JSONTape/read(_:)`` made of `bytes`.
  ///   - index: the reading's object on it.
  package mutating func append(
    _ tape: JSONTape, _ index: Int, in bytes: UnsafeRawBufferPointer, to output: inout [UInt8]
  ) {
    edits.removeAll(keepingCapacity: true)
    for (number, rule) in rules.enumerated() {
      rule.fields.forEachMatch(tape, from: index, in: bytes) { edits.append((index: $0, rule: number)) }
    }
    if edits.count > 1 { edits.sort { ($0.index, $0.rule) < ($1.index, $1.rule) } }

    open.removeAll(keepingCapacity: true)
    let end = tape.values[index].next
    var next = 0
    var isFirst = true
    var current = index
    while current < end {
      while let level = open.last, current >= level.end { close(level.isObject, &isFirst, &output) }
      let value = tape.values[current]
      // Those within a value that has been replaced or dropped.
      while next < edits.count, edits[next].index < current { next += 1 }
      let rule = next < edits.count && edits[next].index == current ? rules[edits[next].rule] : nil
      if let rule, rule.method == .drop {
        current = value.next
        continue
      }
      if !isFirst { output.append(UInt8(ascii: ",")) }
      isFirst = false
      if open.last?.isObject == true { tape.appendName(of: value, in: bytes, to: &output) }
      if let rule, value.kind != .null {
        appendReplacement(of: value, rule.method, tape, bytes, to: &output)
      } else if value.kind == .object || value.kind == .array, next < edits.count, edits[next].index < value.next {
        let isObject = value.kind == .object
        output.append(UInt8(ascii: isObject ? "{" : "["))
        open.append((end: value.next, isObject: isObject))
        isFirst = true
        current += 1
        continue
      } else {
        output.appendCompact(UnsafeRawBufferPointer(rebasing: bytes[value.range]), isCompact: !tape.hasWhitespace)
      }
      current = value.next
    }
    while let level = open.last { close(level.isObject, &isFirst, &output) }
  }

  private mutating func close(_ isObject: Bool, _ isFirst: inout Bool, _ output: inout [UInt8]) {
    output.append(isObject ? UInt8(ascii: "}") : UInt8(ascii: "]"))
    open.removeLast()
    isFirst = false
  }

  private func appendReplacement(
    of value: JSONTape.Value, _ method: Method, _ tape: JSONTape, _ bytes: UnsafeRawBufferPointer,
    to output: inout [UInt8]
  ) {
    let isWhole = value.kind == .object || value.kind == .array
    var text: [UInt8] = []
    if isWhole {
      text.appendCompact(UnsafeRawBufferPointer(rebasing: bytes[value.range]), isCompact: !tape.hasWhitespace)
    } else {
      text = tape.text(value, in: bytes)
    }
    switch method {
    case .mask(let kept):
      output.append(jsonString: FieldMask.stars + (isWhole ? [] : FieldMask.lastCharacters(kept, of: text)))
    case .hash(let digits): output.append(jsonString: Array(Digest(of: text).hex.utf8.prefix(digits)))
    case .tokenise, .drop:
      // A rule that tokenises has its keys, or there would be no mask; what is dropped does not come here.
      output.append(jsonString: tokeniser.map { Array($0.token(of: text).utf8) } ?? FieldMask.stars)
    }
  }

  private static let stars = Array("****".utf8)

  /// The last characters of a text; none of one that has no more than those.
  private static func lastCharacters(_ count: Int, of text: [UInt8]) -> ArraySlice<UInt8> {
    guard count > 0 else { return [] }
    var start = text.count
    var found = 0
    while start > 0, found < count {
      start -= 1
      if text[start] & 0xC0 != 0x80 { found += 1 }
    }
    return start > 0 ? text[start...] : []
  }
}
