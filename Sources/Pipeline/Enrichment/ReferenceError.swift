/// Why a reference table cannot be taken: the place, the cause and a way out. Holds no cell.
package struct ReferenceError: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Kind: Sendable, Hashable {
    /// No header line.
    case empty
    /// Bytes that are not UTF-8.
    case encoding
    /// A quote where none may stand, or one that is never closed.
    case quote
    /// A row with more or fewer cells than the header.
    case width
    /// A column that the header does not have, or has twice, or two with the same name in the output.
    case column
    case emptyKey
    case duplicateKey
    /// A cell of a column of numbers that is none.
    case number
    /// More rows or bytes than the limits allow.
    case tooLarge
  }

  package var kind: Kind
  /// Counted from 1: the line where the row begins in a CSV file, the row's number otherwise.
  package var line: Int?
  /// Of a duplicate: where the key stood first.
  package var otherLine: Int?
  package var reason: String

  package init(_ kind: Kind, line: Int? = nil, otherLine: Int? = nil, _ reason: String) {
    self.kind = kind
    self.line = line
    self.otherLine = otherLine
    self.reason = reason
  }

  package var description: String { line.map { "line \($0): \(reason)" } ?? reason }
}
