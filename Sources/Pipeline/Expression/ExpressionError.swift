/// Which of a pipeline's expressions.
package enum ExpressionPlace: Sendable, Hashable, CustomStringConvertible {
  /// `where`.
  case condition
  /// An entry of `select`, counted from 0.
  case selected(Int)
  /// What an entry of `window.emit` aggregates, counted from 0.
  case emitted(Int)

  /// As a path in the configuration: `where`, `select[2]`.
  package var description: String {
    switch self {
    case .condition: "where"
    case .selected(let index): "select[\(index)]"
    case .emitted(let index): "window.emit[\(index)]"
    }
  }
}

/// Why an expression is refused when the configuration is read: the place, the cause and a way out.
package struct ExpressionError: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Kind: Sendable, Hashable {
    case empty
    /// Longer, deeper or more than ``ExpressionLimits`` allow.
    case tooLarge
    /// A character that begins nothing in an expression.
    case character
    /// A string, a quoted name or a comment has no end.
    case unterminated
    case number
    case parenthesis
    /// A word of SQL that expressions leave out: a subquery, the clock, a blob.
    case notAvailable
    /// A function that is not on the list.
    case function
    /// The wrong arguments of a function that is.
    case arguments
    /// A field that is not written as a path.
    case field
    /// An entry of `select` without a name, or two with the same.
    case name
    /// A `*` that is not alone or followed by `EXCEPT (…)`.
    case star
    /// SQLite does not understand it.
    case syntax
    /// SQLite cannot be had: memory has run out.
    case unavailable
  }

  package var kind: Kind
  package var place: ExpressionPlace
  /// Characters (Unicode scalars) of the expression before the fault; nil where no place in it is at fault.
  package var position: Int?
  package var reason: String

  /// For people; characters are counted from 1.
  package var description: String {
    "\(place): \(reason)" + (position.map { " (character \($0 + 1))" } ?? "")
  }
}

/// Why an expression has no value for a reading. Holds nothing of the reading: SQLite's own texts, which may
/// quote a field, are not used.
package struct EvaluationError: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Kind: String, Sendable, Hashable {
    /// A field or a result is longer than ``ExpressionLimits/textBytes``.
    case tooLong = "expression.length"
    /// More steps than ``ExpressionLimits/steps``.
    case tooManySteps = "expression.steps"
    /// The result is a blob, which JSON does not have.
    case blob = "expression.blob"
    /// The result is a text that is not UTF-8.
    case invalidUTF8 = "expression.utf8"
    /// A function cannot work with what it was given.
    case function = "expression.function"
    case memory = "expression.memory"
  }

  package var kind: Kind
  package var place: ExpressionPlace

  package init(kind: Kind, place: ExpressionPlace) {
    self.kind = kind
    self.place = place
  }

  package var description: String {
    let reason =
      switch kind {
      case .tooLong:
        "a text is longer than the \(ExpressionLimits.standard.textBytes) bytes that an expression may handle"
      case .tooManySteps: "the evaluation takes too many steps; write a shorter expression"
      case .blob: "the result is a blob; write a text or a number"
      case .invalidUTF8: "the result is a text that is not UTF-8"
      case .function:
        "a function cannot work with the values of this reading, as abs() of the smallest integer or "
          + "json_extract() of what is not JSON; guard it with CASE WHEN"
      case .memory: "there was no memory to evaluate it"
      }
    return "\(place): \(reason)"
  }
}

/// A fault within one expression, before it is known which one it is.
struct ExpressionFault: Error, Hashable {
  var kind: ExpressionError.Kind
  /// UTF-8 bytes before it.
  var offset: Int?
  var reason: String

  init(_ kind: ExpressionError.Kind, at offset: Int?, _ reason: String) {
    self.kind = kind
    self.offset = offset
    self.reason = reason
  }

  /// The fault with its place, for people.
  func error(in source: String, at place: ExpressionPlace) -> ExpressionError {
    let position = offset.map { offset in
      source.utf8.prefix(offset).count { $0 & 0xC0 != 0x80 }
    }
    return ExpressionError(kind: kind, place: place, position: position, reason: reason)
  }
}
