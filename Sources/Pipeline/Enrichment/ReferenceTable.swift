/// A table of what is known about keys - a device's site, a meter's owner - whose columns are added to
/// readings. A value: to reload is to make another.
package struct ReferenceTable: Sendable {
  /// A cell of a row that the caller hands in.
  package enum Cell: Sendable, Hashable {
    case null
    case integer(Int64)
    /// Becomes null where it is not finite.
    case real(Double)
    /// UTF-8.
    case text([UInt8])
  }

  /// A column that readings get.
  package struct Column: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
      /// Cells of CSV are strings, `007` and `1e5` too.
      case text
      /// Cells of CSV are numbers as JSON writes them, and handed on as they stand.
      case number
    }

    /// In the header.
    package var source: String
    /// In the reading, behind the prefix or within the object.
    package var name: String
    package var kind: Kind

    package init(_ source: String, as name: String? = nil, kind: Kind = .text) {
      self.source = source
      self.name = name ?? source
      self.kind = kind
    }
  }

  /// Where in the reading the columns go.
  package enum Placement: Sendable, Hashable {
    /// Members of the reading, their names with this before them.
    case members(prefix: String)
    /// Members of one object of this name.
    case object(String)
  }

  package struct Settings: Sendable, Hashable {
    /// The column of the key.
    package var key: String
    /// Empty: all but the key's, as text.
    package var columns: [Column] = []
    package var placement: Placement = .members(prefix: "")
    /// Between cells of CSV; not a quote or a line's end.
    package var delimiter = UInt8(ascii: ",")
    package var maximumRows = 200_000
    /// Of the CSV text, and of the table in memory. A box has 1 GB and every reload holds two for a moment.
    package var maximumBytes = 32 << 20

    package init(key: String) { self.key = key }
  }

  private struct Row: Sendable {
    var key: Range<Int32>
    /// Members in JSON, without braces.
    var members: Range<Int32>
    var line: Int32
  }

  /// In the order of their keys' bytes.
  private var rows: [Row] = []
  private var keys: [UInt8] = []
  private var members: [UInt8] = []
  private let settings: Settings
  /// Members of a reading that give way.
  private let replaced: [[UInt8]]
  private let columns: [(position: Int, prefix: [UInt8], column: Column)]
  private let keyPosition: Int
  private let width: Int

  /// How many keys it knows.
  package var count: Int { rows.count }
  /// Bytes that it takes in memory.
  package var byteCount: Int { keys.count + members.count + rows.count * MemoryLayout<Row>.stride }

  // MARK: Making one

  /// From a CSV text with a header line.
  package init(csv: UnsafeRawBufferPointer, settings: Settings) throws(ReferenceError) {
    guard csv.count <= settings.maximumBytes else { throw ReferenceTable.tooManyBytes(settings, line: nil) }
    var source = CSVRows(csv, delimiter: settings.delimiter)
    var cells: [[UInt8]?] = []
    guard try source.next(into: &cells) != nil else {
      throw ReferenceError(.empty, "the file is empty; its first line must name the columns")
    }
    try self.init(header: cells.map { String(decoding: $0 ?? [], as: UTF8.self) }, settings: settings)
    while let line = try source.next(into: &cells) {
      guard cells.count == width else {
        throw ReferenceError(.width, line: line, "the row has \(cells.count) cells and the header \(width)")
      }
      guard let key = cells[keyPosition], !key.isEmpty else {
        throw ReferenceError(.emptyKey, line: line, "the key, \(settings.key), is empty")
      }
      let start = Int32(clamping: members.count)
      for (position, prefix, column) in columns {
        guard let cell = cells[position] else { continue }
        if members.count > Int(start) { members.append(UInt8(ascii: ",")) }
        members += prefix
        switch column.kind {
        case .text: members.append(jsonString: cell)
        case .number:
          guard ReferenceTable.isNumber(cell) else {
            throw ReferenceError(
              .number, line: line,
              "the cell of \(column.source) is not a number as JSON writes it; take the column as text, or leave it empty"
            )
          }
          members += cell
        }
      }
      try add(key: key, from: start, line: line)
    }
    try finish()
  }

  /// From the bytes of a CSV file.
  package init(csv: [UInt8], settings: Settings) throws(ReferenceError) {
    let result: Result<ReferenceTable, ReferenceError> = csv.withUnsafeBytes { csv in
      do throws(ReferenceError) { return .success(try ReferenceTable(csv: csv, settings: settings)) } catch {
        return .failure(error)
      }
    }
    self = try result.get()
  }

  /// From rows that the caller has read elsewhere, each with a cell for every column of the header.
  package init(
    header: [String], rows: some Sequence<[Cell]>, settings: Settings
  ) throws(ReferenceError) {
    try self.init(header: header, settings: settings)
    var line = 0
    for cells in rows {
      line += 1
      guard cells.count == width else {
        throw ReferenceError(.width, line: line, "the row has \(cells.count) cells and the header \(width)")
      }
      let key: [UInt8]
      switch cells[keyPosition] {
      case .null, .text([]): throw ReferenceError(.emptyKey, line: line, "the key, \(settings.key), is NULL or empty")
      case .integer(let value): key = Array(value.description.utf8)
      case .real(let value): key = Array(value.description.utf8)
      case .text(let text): key = text
      }
      let start = Int32(clamping: members.count)
      for (position, prefix, _) in columns where cells[position] != .null {
        if members.count > Int(start) { members.append(UInt8(ascii: ",")) }
        members += prefix
        switch cells[position] {
        case .null: break
        case .integer(let value): members.appendJSON(value)
        case .real(let value): members.appendJSON(value)
        case .text(let text):
          guard String(validating: text, as: UTF8.self) != nil else {
            throw ReferenceError(.encoding, line: line, "a text is not UTF-8")
          }
          members.append(jsonString: text)
        }
      }
      try add(key: key, from: start, line: line)
    }
    try finish()
  }

  private init(header: [String], settings: Settings) throws(ReferenceError) {
    func position(_ name: String) throws(ReferenceError) -> Int {
      guard let position = header.firstIndex(of: name) else {
        throw ReferenceError(
          .column, "there is no column \(name); there are: \(header.joined(separator: ", "))")
      }
      guard header.lastIndex(of: name) == position else {
        throw ReferenceError(.column, "the column \(name) stands there twice; rename one")
      }
      return position
    }
    self.settings = settings
    width = header.count
    keyPosition = try position(settings.key)
    let chosen =
      settings.columns.isEmpty ? header.filter { $0 != settings.key }.map { Column($0) } : settings.columns
    var before = ""
    if case .members(let prefix) = settings.placement { before = prefix }
    var names: Set<String> = []
    var columns: [(position: Int, prefix: [UInt8], column: Column)] = []
    for column in chosen {
      let name = before + column.name
      guard names.insert(name).inserted else {
        throw ReferenceError(.column, "two columns would have the name \(name); name one differently")
      }
      var prefix: [UInt8] = []
      prefix.append(jsonString: Array(name.utf8))
      prefix.append(UInt8(ascii: ":"))
      columns.append((position: try position(column.source), prefix: prefix, column: column))
    }
    self.columns = columns
    switch settings.placement {
    case .members(let prefix): replaced = chosen.map { Array((prefix + $0.name).utf8) }
    case .object(let name): replaced = [Array(name.utf8)]
    }
  }

  private static func tooManyBytes(_ settings: Settings, line: Int?) -> ReferenceError {
    ReferenceError(
      .tooLarge, line: line,
      "the table takes more than \(settings.maximumBytes) bytes; leave out columns or rows that no reading needs")
  }

  private mutating func add(key: [UInt8], from start: Int32, line: Int) throws(ReferenceError) {
    guard rows.count < settings.maximumRows else {
      throw ReferenceError(
        .tooLarge, line: line,
        "the table has more than \(settings.maximumRows) rows; leave out those that no reading needs")
    }
    let keyStart = Int32(clamping: keys.count)
    keys += key
    rows.append(
      Row(
        key: keyStart..<Int32(clamping: keys.count), members: start..<Int32(clamping: members.count),
        line: Int32(clamping: line)))
    // Below 1 GiB whatever the settings say, so that every place fits 32 bits.
    guard byteCount <= min(settings.maximumBytes, 1 << 30) else {
      throw ReferenceTable.tooManyBytes(settings, line: line)
    }
  }

  /// Sorts the rows and finds duplicates.
  private mutating func finish() throws(ReferenceError) {
    let sorted = keys.withUnsafeBytes { keys in
      rows.sorted { left, right in
        let order = ReferenceTable.compare(keys[left.key], keys[right.key])
        return order < 0 || (order == 0 && left.line < right.line)
      }
    }
    rows = sorted
    var duplicate: (first: Int32, second: Int32)?
    keys.withUnsafeBytes { keys in
      for (left, right) in zip(sorted, sorted.dropFirst()) {
        if let known = duplicate, known.second <= right.line { continue }
        if ReferenceTable.compare(keys[left.key], keys[right.key]) == 0 { duplicate = (left.line, right.line) }
      }
    }
    if let duplicate {
      throw ReferenceError(
        .duplicateKey, line: Int(duplicate.second), otherLine: Int(duplicate.first),
        "the key, \(settings.key), is the same as on line \(duplicate.first); a key may stand there once")
    }
  }

  private static func isNumber(_ text: [UInt8]) -> Bool {
    text.withUnsafeBytes { text in
      guard let base = text.baseAddress, !text.isEmpty else { return false }
      var cursor = JSONCursor(base, text.count)
      do throws(JSONError) { try cursor.number() } catch { return false }
      return cursor.atEnd
    }
  }

  /// Below, at or above 0 as the left bytes come before, are or come behind the right ones.
  private static func compare(
    _ left: Slice<UnsafeRawBufferPointer>, _ right: Slice<UnsafeRawBufferPointer>
  ) -> Int {
    for (left, right) in zip(left, right) where left != right { return left < right ? -1 : 1 }
    return left.count - right.count
  }

  // MARK: Looking up

  /// Appends a reading with what the table knows about a key: one JSON object without whitespace, the table's
  /// members last. Members of the reading with the same names give way where there is a row, for a device
  /// should not be able to speak for the table. An empty cell gives no member.
  /// - Parameters:
  ///   - index: the reading's object on the tape.
  ///   - key: UTF-8.
  /// - Returns: whether there is a row; where not, the reading is appended as it is.
  package func append(
    _ tape: JSONTape, _ index: Int, in bytes: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer,
    to output: inout [UInt8]
  ) -> Bool {
    let row = row(of: key)
    output.append(UInt8(ascii: "{"))
    let start = output.count
    tape.appendMembers(of: index, in: bytes, except: row == nil ? [] : replaced, isFirst: true, to: &output)
    if let row {
      let added = members[Int(row.members.lowerBound)..<Int(row.members.upperBound)]
      if case .object(let name) = settings.placement {
        if output.count > start { output.append(UInt8(ascii: ",")) }
        output.append(jsonString: Array(name.utf8))
        output.append(contentsOf: ":{".utf8)
        output += added
        output.append(UInt8(ascii: "}"))
      } else if !added.isEmpty {
        if output.count > start { output.append(UInt8(ascii: ",")) }
        output += added
      }
    }
    output.append(UInt8(ascii: "}"))
    return row != nil
  }

  /// The same with the key in a field of the reading, a string or a number as it is written; there is no row for
  /// anything else.
  package func append(
    _ tape: JSONTape, _ index: Int, in bytes: UnsafeRawBufferPointer, keyAt path: FieldPath,
    to output: inout [UInt8]
  ) -> Bool {
    var key: [UInt8] = []
    if let found = tape.index(of: path, from: index, in: bytes) {
      let value = tape.values[found]
      if value.kind == .string || value.kind == .number { key = tape.text(value, in: bytes) }
    }
    return key.withUnsafeBytes { append(tape, index, in: bytes, key: $0, to: &output) }
  }

  private func row(of key: UnsafeRawBufferPointer) -> Row? {
    keys.withUnsafeBytes { keys in
      var low = 0
      var high = rows.count
      while low < high {
        let middle = (low + high) / 2
        let order = ReferenceTable.compare(keys[rows[middle].key], key[...])
        if order == 0 { return rows[middle] }
        if order < 0 { low = middle + 1 } else { high = middle }
      }
      return nil
    }
  }
}

extension UnsafeRawBufferPointer {
  fileprivate subscript(range: Range<Int32>) -> Slice<UnsafeRawBufferPointer> {
    self[Int(range.lowerBound)..<Int(range.upperBound)]
  }
}
