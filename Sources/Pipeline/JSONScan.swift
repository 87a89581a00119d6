/// The pass over a JSON text that fills a ``JSONTape``.
///
/// Most of what a message costs on its way from the log to a batch is here. So what devices write nearly always (no
/// whitespace, strings of ASCII without escapes, short numbers) is read by eight bytes at once, with no more variables
/// than processors have registers; all else is left to ``JSONCursor``.
enum JSONScan {
  typealias Value = JSONTape.Value
  typealias Place = UnsafePointer<UInt8>

  enum Outcome {
    case values(count: Int, hasWhitespace: Bool)
    case invalid(JSONError)
    /// There is not enough room for all values.
    case full
  }

  /// Reads a text; `room` then begins with its values.
  static func run(_ text: UnsafeRawBufferPointer, into room: UnsafeMutableBufferPointer<Value>) -> Outcome {
    guard let values = room.baseAddress else { return .full }
    guard let base = text.baseAddress, !text.isEmpty else { return .invalid(JSONError(.empty, at: 0)) }
    let start = base.assumingMemoryBound(to: UInt8.self)
    do throws(JSONError) {
      return try scan(start, start + text.count, values, values + room.count)
    } catch { return .invalid(error) }
  }

  // One function on purpose: its state stays in registers. A bare pointer takes the values, because an array would ask
  // for each of them whether it is its only owner. Every read is behind a comparison with `end`, every write behind
  // one with `limit`.
  private static func scan(
    _ base: Place, _ end: Place, _ values: UnsafeMutablePointer<Value>, _ limit: UnsafeMutablePointer<Value>
  ) throws(JSONError) -> Outcome {
    var next = base
    var hasWhitespace = false
    /// Where the next value goes, and how many there are before it.
    var slot = values
    var used: Int32 = 0
    /// The object or array around the next value; nil around the whole. What is around that is in its
    /// ``JSONTape/Value/behind``.
    var parent: UnsafeMutablePointer<Value>?
    var inObject = false
    var depth = 0

    if skipWhitespace(&next, end) { hasWhitespace = true }
    if next == end { throw JSONError(.empty, at: end - base) }

    value: while true {
      if slot == limit { return .full }
      if inObject {
        if try seek(&next, base, end) { hasWhitespace = true }
        guard next.pointee == UInt8(ascii: "\"") else { throw JSONError(.expectedName, at: next - base) }
        slot.pointee.nameStart = offset(next, base) &+ 1
        slot.pointee.nameHasEscapes = try string(&next, base, end)
        slot.pointee.nameEnd = offset(next, base) &- 1
        if try seek(&next, base, end) { hasWhitespace = true }
        guard next.pointee == UInt8(ascii: ":") else { throw JSONError(.expectedColon, at: next - base) }
        next += 1
      } else {
        slot.pointee.nameStart = 0
        slot.pointee.nameEnd = 0
        slot.pointee.nameHasEscapes = false
      }

      if try seek(&next, base, end) { hasWhitespace = true }
      let byte = next.pointee
      slot.pointee.start = offset(next, base)
      slot.pointee.count = 0
      slot.pointee.hasEscapes = false
      parent?.pointee.count &+= 1
      if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") {
        if depth == JSONTape.maximumDepth { throw JSONError(.tooDeep, at: next - base) }
        depth &+= 1
        inObject = byte == UInt8(ascii: "{")
        slot.pointee.kind = inObject ? .object : .array
        slot.pointee.behind = parent.map { Int32(truncatingIfNeeded: $0 - values) } ?? -1
        parent = slot
        slot += 1
        used &+= 1
        next += 1
        if try seek(&next, base, end) { hasWhitespace = true }
        if next.pointee != (inObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) { continue value }
      } else {
        if byte == UInt8(ascii: "\"") {
          slot.pointee.kind = .string
          slot.pointee.hasEscapes = try string(&next, base, end)
        } else if byte &- 0x30 <= 9 || byte == UInt8(ascii: "-") {
          slot.pointee.kind = .number
          if !plainNumber(&next, base, end) { next = try number(next, base, end) }
        } else {
          (slot.pointee.kind, next) = try literal(next, base, end)
        }
        slot.pointee.end = offset(next, base)
        used &+= 1
        slot.pointee.behind = used
        slot += 1
      }

      // After a value, at its comma or at what closes the level around it.
      while let object = parent {
        if try seek(&next, base, end) { hasWhitespace = true }
        if next.pointee == UInt8(ascii: ",") {
          next += 1
          continue value
        }
        guard next.pointee == (inObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
          throw JSONError(inObject ? .expectedCommaOrBrace : .expectedCommaOrBracket, at: next - base)
        }
        next += 1
        depth &-= 1
        let around = Int(object.pointee.behind)
        object.pointee.end = offset(next, base)
        object.pointee.behind = used
        parent = around < 0 ? nil : values + around
        inObject = around >= 0 && values[around].kind == .object
      }
      break
    }

    if skipWhitespace(&next, end) { hasWhitespace = true }
    if next != end { throw JSONError(.afterValue, at: next - base) }
    return .values(count: Int(used), hasWhitespace: hasWhitespace)
  }

  /// Bytes before a place; texts are shorter than 2 GiB.
  @inline(__always)
  private static func offset(_ place: Place, _ base: Place) -> Int32 { Int32(truncatingIfNeeded: place - base) }

  // MARK: What devices write

  /// Passes over whitespace to something else, which must be there.
  /// - Returns: whether there was any.
  @inline(__always)
  private static func seek(_ next: inout Place, _ base: Place, _ end: Place) throws(JSONError) -> Bool {
    guard next == end || next.pointee <= 0x20 else { return false }
    let hadAny = skipWhitespace(&next, end)
    if next == end { throw JSONError(.unexpectedEnd, at: end - base) }
    return hadAny
  }

  /// Reads a string, from its opening quote to behind its closing one; whether it has escapes.
  @inline(__always)
  private static func string(_ next: inout Place, _ base: Place, _ end: Place) throws(JSONError) -> Bool {
    var place = next + 1
    while end - place >= 8 {
      let finds = JSONWord(at: place).stringSpecials
      if finds == 0 {
        place += 8
        continue
      }
      place += JSONWord.place(finds)
      guard place.pointee == UInt8(ascii: "\"") else { break }
      next = place + 1
      return false
    }
    let hasEscapes: Bool
    (next, hasEscapes) = try anyString(next, base, end)
    return hasEscapes
  }

  /// Passes over a number of seven digits at most, or six and a point, behind which the text goes on without an
  /// exponent.
  /// - Returns: whether there is one; it may still be another number, or none.
  @inline(__always)
  private static func plainNumber(_ next: inout Place, _ base: Place, _ end: Place) -> Bool {
    let start = next.pointee == UInt8(ascii: "-") ? next + 1 : next
    let left = end - start
    guard left >= 8 || (left > 0 && end - base >= 8) else { return false }
    var finds = (left >= 8 ? JSONWord(at: start) : JSONWord(last: left, before: end)).nonDigits
    guard finds != 0 else { return false }
    let whole = JSONWord.place(finds)
    // None before the point, or a zero before others.
    guard whole < left, whole == 1 || (whole > 1 && start.pointee != UInt8(ascii: "0")) else { return false }
    var place = start + whole
    if place.pointee == UInt8(ascii: ".") {
      finds &= finds &- 1
      guard finds != 0 else { return false }
      let length = JSONWord.place(finds)
      guard length > whole &+ 1, length < left else { return false }
      place = start + length
    }
    guard place.pointee | 0x20 != UInt8(ascii: "e") else { return false }
    next = place
    return true
  }

  // MARK: Everything else

  @inline(never)
  private static func skipWhitespace(_ from: Place, _ end: Place) -> Place {
    var next = from
    while next != end {
      switch next.pointee {
      case 0x20, 0x0A, 0x0D, 0x09: next += 1
      default: return next
      }
    }
    return next
  }

  @inline(__always)
  private static func skipWhitespace(_ next: inout Place, _ end: Place) -> Bool {
    let behind = skipWhitespace(next, end)
    defer { next = behind }
    return behind != next
  }

  // These take and give places by value: one that lent its address to another function would not stay in a register.

  @inline(never)
  private static func anyString(
    _ from: Place, _ base: Place, _ end: Place
  ) throws(JSONError) -> (end: Place, hasEscapes: Bool) {
    var cursor = JSONCursor(base, end - base)
    cursor.index = from - base
    let hasEscapes = try cursor.string()
    return (base + cursor.index, hasEscapes)
  }

  @inline(never)
  private static func number(_ from: Place, _ base: Place, _ end: Place) throws(JSONError) -> Place {
    var cursor = JSONCursor(base, end - base)
    cursor.index = from - base
    try cursor.number()
    return base + cursor.index
  }

  @inline(never)
  private static func literal(
    _ from: Place, _ base: Place, _ end: Place
  ) throws(JSONError) -> (kind: JSONKind, end: Place) {
    var cursor = JSONCursor(base, end - base)
    cursor.index = from - base
    let kind: JSONKind
    switch from.pointee {
    case UInt8(ascii: "t"):
      kind = .boolean
      try cursor.literal("true")
    case UInt8(ascii: "f"):
      kind = .boolean
      try cursor.literal("false")
    case UInt8(ascii: "n"):
      kind = .null
      try cursor.literal("null")
    default: throw cursor.error(.expectedValue)
    }
    return (kind, base + cursor.index)
  }
}
