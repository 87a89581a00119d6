extension Columns {
  /// Turns a text of columns back into its lines, each with its line feed.
  ///
  /// A text from anywhere may be given: what it takes is bounded by its length and `maximumOutput`.
  /// - Parameter maximumOutput: the most bytes that the lines may have.
  package static func decode(
    _ text: [UInt8], maximumOutput: Int
  ) throws(ColumnsError) -> (lines: [UInt8], count: Int) {
    let result: Result<(lines: [UInt8], count: Int), ColumnsError> = text.withUnsafeBytes { bytes in
      do throws(ColumnsError) {
        var decoder = ColumnsDecoder(bytes)
        try decoder.read()
        return .success((try decoder.lines(maximumOutput: maximumOutput), decoder.rows))
      } catch { return .failure(error) }
    }
    return try result.get()
  }
}

private struct ColumnsDecoder {
  private struct Column {
    /// What stands in a line before the column's value.
    var before: Range<Int>
    /// Where the next value begins.
    var cursor: Int
  }

  private struct Table {
    var columns: Range<Int>
    /// What stands in a line behind the last value.
    var after: Range<Int>
    /// Values of each column.
    var rows: Int
    /// Bytes of all of its lines.
    var length: Int
  }

  private let extent: JSONExtent
  private var index = 0
  private(set) var rows = 0
  /// The table of each line; empty where there is only one.
  private var order: [UInt8] = []
  private var tables: [Table] = []
  private var columns: [Column] = []

  init(_ text: UnsafeRawBufferPointer) { extent = JSONExtent(bytes: text) }

  private var bytes: UnsafeRawBufferPointer { extent.bytes }

  private func error(_ reason: String) -> ColumnsError { ColumnsError(reason: reason, position: index) }

  // MARK: Reading

  /// Finds tables and columns, and checks that they hold the rows that the text says.
  mutating func read() throws(ColumnsError) {
    try expect(#"{"rows":"#)
    rows = try number()
    try expect(",")
    if skip(#""order":["#) { try readOrder() }
    try expect(#""tables":["#)
    repeat {
      guard tables.count < Columns.maximumTables else { throw error("there are too many tables") }
      try readTable()
    } while skip(",")
    try expect("]}\n")
    guard index == bytes.count else { throw error("something follows the end") }
    try compareRows()
  }

  private mutating func readOrder() throws(ColumnsError) {
    // Two bytes for each, at least.
    order.reserveCapacity(min(rows, bytes.count / 2))
    repeat {
      let table = try number()
      guard table < Columns.maximumTables else { throw error("a line is in a table that cannot be") }
      order.append(UInt8(table))
    } while skip(",")
    try expect("],")
  }

  private mutating func readTable() throws(ColumnsError) {
    let first = columns.count
    var rows: Int?
    var depth = 0
    // Of the line's text, what is not yet in front of a column.
    var begun = index
    var length = 0
    repeat {
      while skip("{") {
        depth += 1
        guard depth <= Columns.maximumDepth else { throw error("objects are nested too deeply") }
        try readName()
      }
      let before = begun..<index
      guard skip("[") else { throw error("a column is expected") }
      guard columns.count < Columns.maximumColumns else { throw error("there are too many columns") }
      columns.append(Column(before: before, cursor: index))
      let start = index
      var count = 1
      try readValue()
      while skip(",") {
        try readValue()
        count += 1
      }
      length += index - start - (count - 1)
      try expect("]")
      guard rows ?? count == count else { throw error("the columns of a table have different lengths") }
      rows = count
      begun = index
      while depth > 0, skip("}") { depth -= 1 }
      if depth > 0 {
        try expect(",")
        try readName()
      }
    } while depth > 0
    let after = begun..<index
    let texts = columns[first...].reduce(after.count) { $0 + $1.before.count }
    let count = rows ?? 0
    // The texts are parts of a table, and so are the values: only the product may be large.
    let (repeated, overflow) = texts.multipliedReportingOverflow(by: count)
    guard !overflow, repeated <= Int.max / 4 else { throw error("a table is too large") }
    tables.append(
      Table(columns: first..<columns.count, after: after, rows: count, length: length + repeated + count))
  }

  private mutating func readName() throws(ColumnsError) {
    guard index < bytes.count, bytes[index] == UInt8(ascii: "\""), let end = extent.endOfText(index),
      end <= bytes.count
    else { throw error("a name is expected") }
    index = end
    try expect(":")
  }

  private mutating func readValue() throws(ColumnsError) {
    guard let end = extent.endOfValue(index) else { throw error("a value is expected") }
    index = end
  }

  /// Whether the tables have as many lines as `rows` and `order` say.
  private func compareRows() throws(ColumnsError) {
    guard !order.isEmpty else {
      guard tables.count == 1 else { throw error("there are several tables, and no order") }
      guard tables[0].rows == rows else { throw error("there are other rows than it says") }
      return
    }
    var counts = [Int](repeating: 0, count: Columns.maximumTables)
    for table in order { counts[Int(table)] += 1 }
    guard order.count == rows, counts[tables.count...].allSatisfy({ $0 == 0 }),
      zip(tables, counts).allSatisfy({ $0.rows == $1 })
    else { throw error("there are other rows than it says") }
  }

  // MARK: Tokens

  private mutating func skip(_ token: StaticString) -> Bool {
    let length = token.utf8CodeUnitCount
    guard bytes.count - index >= length else { return false }
    for offset in 0..<length where bytes[index + offset] != token.utf8Start[offset] { return false }
    index += length
    return true
  }

  private mutating func expect(_ token: StaticString) throws(ColumnsError) {
    guard skip(token) else { throw error("\(token.description.debugDescription) is expected") }
  }

  /// A number in decimal, up to nine digits without leading zeros.
  private mutating func number() throws(ColumnsError) -> Int {
    let start = index
    var value = 0
    while index < bytes.count, index - start < 9, case let digit = bytes[index] &- 0x30, digit <= 9 {
      value = value * 10 + Int(digit)
      index += 1
    }
    guard index > start, index - start == 1 || bytes[start] != UInt8(ascii: "0") else {
      throw error("a number is expected")
    }
    return value
  }

  // MARK: Writing

  /// The lines that ``read()`` found.
  mutating func lines(maximumOutput: Int) throws(ColumnsError) -> [UInt8] {
    var length = 0
    for table in tables {
      // Each is below a quarter of what fits.
      guard table.length <= maximumOutput - length else { throw error("the lines are longer than expected") }
      length += table.length
    }
    return [UInt8](unsafeUninitializedCapacity: length) { room, count in
      count = restore(to: UnsafeMutableRawBufferPointer(room))
    }
  }

  /// - Parameter room: as long as all lines are.
  /// - Returns: bytes written.
  private mutating func restore(to room: UnsafeMutableRawBufferPointer) -> Int {
    let bytes = bytes
    var end = 0
    func put(_ range: Range<Int>) {
      UnsafeMutableRawBufferPointer(rebasing: room[end...])
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[range]))
      end += range.count
    }
    for row in 0..<rows {
      let table = tables[order.isEmpty ? 0 : Int(order[row])]
      for column in table.columns {
        put(columns[column].before)
        let start = columns[column].cursor
        // It was found before, and so is found again.
        guard let next = extent.endOfValue(start) else { return end }
        put(start..<next)
        // Behind the comma, or the bracket that ends the column.
        columns[column].cursor = next + 1
      }
      put(table.after)
      room[end] = UInt8(ascii: "\n")
      end += 1
    }
    return end
  }
}
