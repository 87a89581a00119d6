/// A place in a text file: line and column, both from 1. Columns count Unicode scalars, as libyaml and
/// editors do.
struct TextPlace: Sendable, Hashable, Comparable {
  var line: Int
  var column: Int

  static let start = TextPlace(line: 1, column: 1)

  static func < (a: TextPlace, b: TextPlace) -> Bool {
    (a.line, a.column) < (b.line, b.column)
  }
}

/// One value of a YAML file with the places where it begins and ends.
///
/// A scalar stays the text that the file says: whether `12` is a number or a name is for the reader of
/// the value to say, who knows what is expected.
struct YAMLNode: Sendable, Hashable {
  enum Style: Sendable, Hashable {
    case plain
    /// In single or double quotes.
    case quoted
    /// `|` or `>`.
    case block
  }

  struct Scalar: Sendable, Hashable {
    var text: String
    var style: Style
  }

  struct Entry: Sendable, Hashable {
    var key: String
    var keyPlace: TextPlace
    var value: YAMLNode
  }

  enum Content: Sendable, Hashable {
    case scalar(Scalar)
    /// In the file's order; no key twice.
    case mapping([Entry])
    case sequence([YAMLNode])
  }

  var content: Content
  var start: TextPlace
  /// The place behind the last character.
  var end: TextPlace

  /// The place of the character at `offset` (Unicode scalars from 0) of a scalar's text: its own place
  /// where the file writes the text as it is, and the scalar's beginning where escapes, folding or
  /// several lines make that impossible to tell.
  func place(ofCharacter offset: Int) -> TextPlace {
    guard case .scalar(let scalar) = content, start.line == end.line else { return start }
    let quotes = scalar.style == .quoted ? 2 : 0
    guard scalar.style != .block,
      end.column - start.column == scalar.text.unicodeScalars.count + quotes
    else { return start }
    return TextPlace(line: start.line, column: start.column + quotes / 2 + offset)
  }

  /// The value of a key of a mapping; nil for a missing key and for everything that is no mapping.
  func value(of key: String) -> YAMLNode? {
    guard case .mapping(let entries) = content else { return nil }
    return entries.first { $0.key == key }?.value
  }
}
