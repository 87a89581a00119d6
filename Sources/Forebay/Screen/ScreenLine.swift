/// One line of a screen, of which the beginning may be coloured.
struct ScreenLine: Equatable, Sendable {
  /// What a colour says; the words say it as well.
  enum Tone: Sendable {
    case good, doubtful, bad

    /// Select Graphic Rendition (ECMA-48, 8.3.117): bold, and a colour of the terminal's own palette.
    var code: String {
      switch self {
      case .good: "1;32"
      case .doubtful: "1;33"
      case .bad: "1;31"
      }
    }
  }

  var text: String
  var tone: Tone?
  /// Characters from the first that have the tone.
  var toned = 0

  init(_ text: String, _ tone: Tone? = nil, toned: Int = 0) {
    self.text = text
    self.tone = tone
    self.toned = toned
  }

  /// - Parameter width: columns that there are; the end of a longer line is cut off. Nil: as long as it is.
  func rendered(colour: Bool, width: Int? = nil) -> String {
    var text = text
    if let width, text.count > width { text = String(text.prefix(max(0, width - 1))) + "…" }
    guard colour, let tone, toned > 0 else { return text }
    return "\u{1B}[\(tone.code)m\(text.prefix(toned))\u{1B}[0m\(text.dropFirst(toned))"
  }
}

/// How texts become lines.
enum ScreenText {
  /// Breaks a text between words; those after the first line are indented.
  /// - Parameter width: nil: one line.
  static func wrap(_ text: String, width: Int?, indentation: Int = 2) -> [String] {
    guard let width, text.count > width, width > indentation + 8 else { return [text] }
    let indent = String(repeating: " ", count: indentation)
    var lines: [String] = []
    var line = String(text.prefix { $0 == " " })
    var isBegun = false
    for word in text.dropFirst(line.count).split(separator: " ") {
      var word = word
      if isBegun, line.count + 1 + word.count > width {
        lines.append(line)
        line = indent
      } else if isBegun {
        line += " "
      }
      isBegun = true
      // A word that is longer than a line.
      while line.count + word.count > width {
        let room = width - line.count
        lines.append(line + word.prefix(room))
        word = word.dropFirst(room)
        line = indent
      }
      line += word
    }
    return lines + [line]
  }

  /// Puts items side by side, two spaces apart, on as many lines as it takes.
  static func flow(_ items: [String], width: Int?, indentation: Int = 2) -> [String] {
    var lines: [String] = []
    var line = ""
    for item in items where !item.isEmpty {
      if let width, !line.isEmpty, line.count + 2 + item.count > width {
        lines.append(line)
        line = String(repeating: " ", count: indentation) + item
      } else {
        line += (line.isEmpty ? "" : "  ") + item
      }
    }
    return line.isEmpty ? lines : lines + [line]
  }

  /// A column of a table.
  struct Column {
    var title: String
    var cells: [String]
    /// Columns with the highest number are left out first where the table is too wide; 0: never.
    var dispensable = 0
  }

  /// A table that is no wider than `width`, as far as its columns can be spared.
  static func table(_ columns: [Column], width: Int?) -> [String] {
    var columns = columns
    while true {
      let rows = (columns.first?.cells ?? []).indices.map { row in columns.map { $0.cells[row] } }
      let lines = Output.table(columns.map(\.title), rows).split(separator: "\n", omittingEmptySubsequences: false)
      let widest = lines.map(\.count).max() ?? 0
      let spare = columns.indices.max { columns[$0].dispensable < columns[$1].dispensable }
      guard let width, widest > width, let spare, columns[spare].dispensable > 0 else { return lines.map(String.init) }
      columns.remove(at: spare)
    }
  }
}
