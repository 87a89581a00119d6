// Columns: lines of JSON written down by field instead of by line (docs/delivery-protocol.md, section 12).
//
//   text   = {"rows":N,"order":[t,t,…],"tables":[table,table,…]} LF
//   table  = column | object of tables: a line with a column in the place of every value
//   column = [value,value,…], as they stand in the lines
//
// Lines whose objects have the same members in the same order share a table, and their values stand in its
// columns in the order of the lines. `order` says for each line in which table it is; it is left out where there
// is one table only. A table that is nothing but a column holds whole lines.
//
// Invariants:
//   1. What is decoded is what was encoded, byte for byte: nothing is read as a number or a text.
//   2. The same lines give the same text.
//   3. A text is at most `maximumLength(ofLines:)` long, so that a reader knows where to stop decompressing.

/// Lines of JSON as columns, and back. Deterministic and exact.
package enum Columns {
  /// Tables of one text: what a line's members are differs by kind of device, and a pipeline that takes more kinds
  /// than this gains nothing from columns. Lines of further kinds stand whole.
  package static let maximumTables = 256

  /// Columns of all tables together, so that a few bytes for each cannot make a reader allocate much.
  package static let maximumColumns = 65_536

  /// Objects within objects that have columns of their own; what lies deeper is a value.
  package static let maximumDepth = 16

  /// Bytes that a text of so many bytes of lines has at most.
  ///
  /// A column costs two brackets for its table and, for every line, a comma in the place of a name, a colon and a
  /// comma; a line's place in `order` costs at most four bytes. Where that is too much the lines stand whole.
  package static func maximumLength(ofLines length: Int) -> Int {
    let (double, overflow) = length.multipliedReportingOverflow(by: 2)
    return overflow || double > Int.max - 1024 ? Int.max : double + 1024
  }
}

/// Why a text of columns cannot be turned back into lines.
package struct ColumnsError: Error, Sendable, Hashable, CustomStringConvertible {
  /// For people; holds none of the text.
  package var reason: String
  /// Byte of the text, from 0.
  package var position: Int

  package var description: String { "the columns are damaged at byte \(position): \(reason)" }
}

/// Finds where JSON values end.
///
/// Knows of JSON what it takes to tell values apart, and no more: whether a number or a literal is one, and
/// which bracket closes which, is not looked at. It never passes a control character, so neither a line's end.
struct JSONExtent {
  let bytes: UnsafeRawBufferPointer

  /// One past the closing quote of the text that opens at `start`; nil where none closes it.
  @inline(__always)
  func endOfText(_ start: Int) -> Int? {
    var index = start + 1
    while index < bytes.count {
      switch bytes[index] {
      case UInt8(ascii: "\""): return index + 1
      case UInt8(ascii: "\\"):
        guard index + 1 < bytes.count, bytes[index + 1] >= 0x20 else { return nil }
        index += 2
      case 0..<0x20: return nil
      default: index += 1
      }
    }
    return nil
  }

  /// One past the value that begins at `start`; nil where there is none, or no end of it.
  @inline(__always)
  func endOfValue(_ start: Int) -> Int? {
    guard start < bytes.count else { return nil }
    switch bytes[start] {
    case UInt8(ascii: "\""): return endOfText(start)
    case UInt8(ascii: "{"), UInt8(ascii: "["): return endOfContainer(start)
    default:
      var index = start
      while index < bytes.count, JSONExtent.isPlain(bytes[index]) { index += 1 }
      return index > start ? index : nil
    }
  }

  private func endOfContainer(_ start: Int) -> Int? {
    var depth = 0
    var index = start
    while index < bytes.count {
      switch bytes[index] {
      case UInt8(ascii: "\""):
        guard let end = endOfText(index) else { return nil }
        index = end
        continue
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        if depth == 0 { return index + 1 }
      case 0..<0x20: return nil
      default: break
      }
      index += 1
    }
    return nil
  }

  /// Goes through the object at `start` and those in it.
  /// - Parameters:
  ///   - structure: gets what stands between values.
  ///   - value: gets values that are no objects, or empty ones, or too deep.
  /// - Returns: one past its closing brace, if something is behind it; nil where it is no object without white space.
  @inline(__always)
  func walk(
    _ start: Int, structure: (Range<Int>) -> Void, value: (Range<Int>) -> Void
  ) -> Int? {
    guard bytes[start] == UInt8(ascii: "{") else { return nil }
    var depth = 1
    var index = start + 1
    var begun = start
    while true {
      guard index < bytes.count, bytes[index] == UInt8(ascii: "\""), let colon = endOfText(index),
        colon + 1 < bytes.count, bytes[colon] == UInt8(ascii: ":")
      else { return nil }
      index = colon + 1
      if bytes[index] == UInt8(ascii: "{"), depth < Columns.maximumDepth, index + 1 < bytes.count,
        bytes[index + 1] != UInt8(ascii: "}")
      {
        depth += 1
        index += 1
        continue
      }
      guard let end = endOfValue(index) else { return nil }
      structure(begun..<index)
      value(index..<end)
      begun = end
      index = end
      while index < bytes.count, bytes[index] == UInt8(ascii: "}") {
        index += 1
        depth -= 1
        if depth == 0 {
          structure(begun..<index)
          return index < bytes.count ? index : nil
        }
      }
      guard index < bytes.count, bytes[index] == UInt8(ascii: ",") else { return nil }
      index += 1
    }
  }

  /// What numbers and literals are made of.
  private static func isPlain(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."):
      true
    default: false
    }
  }
}
