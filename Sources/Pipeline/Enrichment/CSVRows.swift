/// The rows of a CSV text (RFC 4180): cells parted by a delimiter, quoted where they hold one, a quote or a
/// line's end; lines ended by LF or CRLF. Lines without any byte are passed over, and so is a byte order mark.
struct CSVRows {
  private let bytes: UnsafeRawBufferPointer
  private let delimiter: UInt8
  private var index = 0
  private var line = 1

  init(_ bytes: UnsafeRawBufferPointer, delimiter: UInt8) {
    self.bytes = bytes
    self.delimiter = delimiter
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { index = 3 }
  }

  /// Puts the next row's cells in `cells`, a cell without quotes and without bytes as nil.
  /// - Returns: the line where the row begins, counted from 1; nil at the end.
  mutating func next(into cells: inout [[UInt8]?]) throws(ReferenceError) -> Int? {
    cells.removeAll(keepingCapacity: true)
    while index < bytes.count, endOfLine() {}
    guard index < bytes.count else { return nil }
    let start = line
    while true {
      cells.append(try cell())
      guard index < bytes.count else { return start }
      if bytes[index] == delimiter {
        index += 1
      } else if endOfLine() {
        return start
      } else {
        throw ReferenceError(
          .quote, line: line, "something stands behind a closing quote; a quote within quotes is written twice")
      }
    }
  }

  /// Passes a line's end; whether there was one.
  private mutating func endOfLine() -> Bool {
    if bytes[index] == 0x0A {
      index += 1
    } else if bytes[index] == 0x0D, index + 1 < bytes.count, bytes[index + 1] == 0x0A {
      index += 2
    } else {
      return false
    }
    line += 1
    return true
  }

  private mutating func cell() throws(ReferenceError) -> [UInt8]? {
    guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") else {
      let start = index
      while index < bytes.count, bytes[index] != delimiter, bytes[index] != 0x0A {
        if bytes[index] == 0x0D, index + 1 < bytes.count, bytes[index + 1] == 0x0A { break }
        if bytes[index] == UInt8(ascii: "\"") {
          throw ReferenceError(
            .quote, line: line, "a quote stands within a cell without quotes; quote the cell and write it twice")
        }
        index += 1
      }
      return try text(start..<index).flatMap { $0.isEmpty ? nil : $0 }
    }
    let opening = line
    index += 1
    var text: [UInt8] = []
    var start = index
    while index < bytes.count {
      if bytes[index] == 0x0A { line += 1 }
      guard bytes[index] == UInt8(ascii: "\"") else {
        index += 1
        continue
      }
      text += bytes[start..<index]
      index += 1
      guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") else { return try checked(text, opening) }
      text.append(UInt8(ascii: "\""))
      index += 1
      start = index
    }
    throw ReferenceError(.quote, line: opening, "a quoted cell is never closed")
  }

  private func text(_ range: Range<Int>) throws(ReferenceError) -> [UInt8]? {
    try checked(Array(bytes[range]), line)
  }

  private func checked(_ text: [UInt8], _ line: Int) throws(ReferenceError) -> [UInt8] {
    guard text.allSatisfy({ $0 < 0x80 }) || String(validating: text, as: UTF8.self) != nil else {
      throw ReferenceError(.encoding, line: line, "a cell is not UTF-8; convert the file, for example with iconv")
    }
    return text
  }
}
