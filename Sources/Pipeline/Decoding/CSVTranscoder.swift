/// Lines of values between delimiters (RFC 4180): one object for each row, its members in the columns' order.
///
/// Lines end with CRLF or LF. A field that is a JSON number, once the decimal comma is applied, is a number,
/// quoted or not (a decimal comma between delimiting commas must be quoted); an empty one is null; all others
/// are strings as they stand, spaces included, as the RFC has it. An empty line is no row, unless there is
/// but one column.
package struct CSVTranscoder: Transcoder {
  package struct Settings: Sendable, Hashable {
    /// The columns' names; nil: each payload begins with a line of them. Names are not empty and differ.
    package var columns: [String]?
    /// One that ``isDelimiter(_:)`` takes.
    package var delimiter: UInt8 = UInt8(ascii: ",")
    /// Whether `21,5` is the number 21.5; `21.5` is a text then.
    package var decimalComma = false
    package var characterSet: CharacterSet = .utf8

    package init() {}

    /// Whether a byte can stand between fields: ASCII, not a quote, a line end or NUL.
    package static func isDelimiter(_ byte: UInt8) -> Bool {
      byte < 0x80 && ![0x00, 0x0A, 0x0D, 0x22].contains(byte)
    }
  }

  private let settings: Settings
  /// The settings' columns, as JSON strings with a colon behind each.
  private let columns: [[UInt8]]?
  private var row = Row()

  package init(settings: Settings = Settings()) {
    self.settings = settings
    columns = settings.columns?.map { CSVTranscoder.name(Array($0.utf8)) }
  }

  package mutating func transcode(
    _ payload: UnsafeRawBufferPointer, received: Int64, into output: inout [UInt8]
  ) throws(Refusal) {
    let (settings, columns) = (settings, columns)
    var row = Row()
    swap(&row, &self.row)
    defer { swap(&row, &self.row) }
    try settings.characterSet.withUTF8(payload) { text throws(Refusal) in
      var reader = Reader(text: text, delimiter: settings.delimiter)
      let names = if let columns { columns } else { try CSVTranscoder.header(&reader, &row) }
      let start = output.count
      output.append(UInt8(ascii: "["))
      while try reader.next(&row) {
        if row.isBlank, names.count > 1 { continue }
        guard row.count == names.count else {
          throw Refusal(
            .csvColumns, "line \(row.line) has \(row.count) fields and there are \(names.count) columns")
        }
        if output.count > start + 1 { output.append(UInt8(ascii: ",")) }
        for index in 0..<row.count {
          output.append(UInt8(ascii: index == 0 ? "{" : ","))
          output.append(contentsOf: names[index])
          row.bytes.withUnsafeBytes { bytes in
            let field = UnsafeRawBufferPointer(rebasing: bytes[row.field(index)])
            if field.isEmpty {
              output.append("null")
            } else if !JSONText.appendNumber(field, decimalComma: settings.decimalComma, to: &output) {
              output.append(jsonString: field)
            }
          }
        }
        output.append(UInt8(ascii: "}"))
        try Transcoding.checkSize(output, since: start)
      }
      output.append(UInt8(ascii: "]"))
    }
  }

  private static func name(_ text: [UInt8]) -> [UInt8] {
    var name: [UInt8] = []
    name.append(jsonString: text)
    name.append(UInt8(ascii: ":"))
    return name
  }

  /// The columns that the first line names.
  private static func header(_ reader: inout Reader, _ row: inout Row) throws(Refusal) -> [[UInt8]] {
    guard try reader.next(&row) else {
      throw Refusal(
        .csvHeader, "the payload is empty and should begin with the columns' names; or name them in the settings")
    }
    var names: [[UInt8]] = []
    var seen: Set<ArraySlice<UInt8>> = []
    for index in 0..<row.count {
      let text = row.bytes[row.field(index)]
      if text.isEmpty { throw Refusal(.csvHeader, "column \(index + 1) of the first line has no name") }
      guard seen.insert(text).inserted else {
        throw Refusal(.csvHeader, "column \(index + 1) of the first line has the name of an earlier one")
      }
      names.append(name(Array(text)))
    }
    return names
  }
}

extension CSVTranscoder {
  /// The fields of one row, without their quotes.
  fileprivate struct Row: Sendable {
    var bytes: [UInt8] = []
    private var ends: [Int] = []
    /// The line that it begins on, from 1.
    var line = 0
    var hasQuotes = false
    var count: Int { ends.count }
    /// A line with nothing on it.
    var isBlank: Bool { count == 1 && bytes.isEmpty && !hasQuotes }

    func field(_ index: Int) -> Range<Int> { (index == 0 ? 0 : ends[index - 1])..<ends[index] }

    mutating func clear(line: Int) {
      bytes.removeAll(keepingCapacity: true)
      ends.removeAll(keepingCapacity: true)
      self.line = line
      hasQuotes = false
    }

    mutating func endField() { ends.append(bytes.count) }
  }

  private struct Reader {
    let text: UnsafeRawBufferPointer
    let delimiter: UInt8
    private var index = 0
    private var line = 1

    init(text: UnsafeRawBufferPointer, delimiter: UInt8) {
      self.text = text
      self.delimiter = delimiter
    }

    /// Reads one row; false at the end.
    mutating func next(_ row: inout Row) throws(Refusal) -> Bool {
      guard index < text.count else { return false }
      row.clear(line: line)
      while true {
        if index < text.count, text[index] == UInt8(ascii: "\"") {
          try quoted(&row)
        } else {
          try plain(&row)
        }
        row.endField()
        guard index < text.count else { return true }
        if text[index] == delimiter {
          index += 1
          continue
        }
        if text[index] == 0x0D { index += 1 }
        guard index < text.count, text[index] == 0x0A else {
          throw fault("there is something behind a closing quote, or a carriage return ends no line")
        }
        index += 1
        line += 1
        return true
      }
    }

    private func fault(_ reason: String) -> Refusal { Refusal(.csvSyntax, "line \(line): \(reason)") }

    private mutating func plain(_ row: inout Row) throws(Refusal) {
      let start = index
      while index < text.count, text[index] != delimiter, text[index] != 0x0A, text[index] != 0x0D {
        if text[index] == UInt8(ascii: "\"") {
          throw fault("a quote stands within a field that does not begin with one")
        }
        index += 1
      }
      row.bytes.append(contentsOf: text[start..<index])
    }

    private mutating func quoted(_ row: inout Row) throws(Refusal) {
      let opening = line
      row.hasQuotes = true
      index += 1
      while index < text.count {
        let byte = text[index]
        index += 1
        if byte == UInt8(ascii: "\"") {
          guard index < text.count, text[index] == UInt8(ascii: "\"") else { return }
          index += 1
        } else if byte == 0x0A {
          line += 1
        }
        row.bytes.append(byte)
      }
      throw Refusal(.csvSyntax, "line \(opening): a quoted field has no closing quote")
    }
  }
}
