extension Columns {
  /// Writes lines as columns.
  ///
  /// In two passes over the lines, so that beside them and the text only a byte for each line is in memory.
  /// - Parameter lines: each ended by a line feed.
  /// - Returns: nil where there is no line, where the last one does not end, or where one is not a JSON value (as far
  ///   as that is looked at; see `JSONExtent`): no text of columns could give it back.
  package static func encode(_ lines: [UInt8]) -> [UInt8]? {
    lines.withUnsafeBytes { bytes in
      var encoder = ColumnsEncoder(bytes, divides: true)
      guard encoder.survey() else { return nil }
      if encoder.length > maximumLength(ofLines: bytes.count) {
        encoder = ColumnsEncoder(bytes, divides: false)
        guard encoder.survey() else { return nil }
      }
      return encoder.text()
    }
  }
}

private struct ColumnsEncoder {
  private struct Table {
    /// Its text, without the values.
    let template: [UInt8]
    /// Where in the template the values of each column belong.
    let places: [Int]
    var rows = 0
    /// Bytes of all values of each column, without commas.
    var lengths: [Int]

    init(template: [UInt8], places: [Int]) {
      self.template = template
      self.places = places
      lengths = Array(repeating: 0, count: places.count)
    }

    var length: Int { template.count + lengths.reduce(0, +) + places.count * (rows - 1) }
  }

  private let extent: JSONExtent
  /// Whether lines are divided into columns at all; otherwise all of them stand whole.
  private let divides: Bool
  private var tables: [Table] = []
  /// The table of each template that was met, and of those whose lines stand whole.
  private var known: [[UInt8]: Int] = [:]
  private var columns = 0
  /// The table of whole lines.
  private var whole: Int?
  /// The table of each line.
  private var order: [UInt8] = []
  /// Of the line before: most lines are like it.
  private var last: Int?

  // Of the line that is looked at; kept for their room.
  private var template: [UInt8] = []
  private var places: [Int] = []
  private var lengths: [Int] = []

  init(_ lines: UnsafeRawBufferPointer, divides: Bool) {
    extent = JSONExtent(bytes: lines)
    self.divides = divides
  }

  // MARK: First pass: tables, and how long the columns are

  /// Whether all lines can be written.
  mutating func survey() -> Bool {
    guard extent.bytes.last == UInt8(ascii: "\n") else { return false }
    var start = 0
    while start < extent.bytes.count {
      let end: Int
      if divides, let found = divide(start), extent.bytes[found] == UInt8(ascii: "\n") {
        end = found
        let index = table()
        if index == whole {
          tables[index].lengths[0] += end - start
        } else {
          for (column, length) in lengths.enumerated() { tables[index].lengths[column] += length }
        }
        note(index)
      } else if let found = extent.endOfValue(start), found < extent.bytes.count,
        extent.bytes[found] == UInt8(ascii: "\n")
      {
        end = found
        let index = wholeTable()
        tables[index].lengths[0] += end - start
        note(index)
      } else {
        return false
      }
      start = end + 1
    }
    return true
  }

  private mutating func note(_ index: Int) {
    tables[index].rows += 1
    order.append(UInt8(index))
    last = index
  }

  /// Looks at the line that begins at `start`.
  /// - Returns: one past its closing brace, which is within the lines; nil where it cannot be divided.
  private mutating func divide(_ start: Int) -> Int? {
    template.removeAll(keepingCapacity: true)
    places.removeAll(keepingCapacity: true)
    lengths.removeAll(keepingCapacity: true)
    let extent = extent
    return extent.walk(
      start,
      structure: { template.append(contentsOf: extent.bytes[$0]) },
      value: {
        template.append(UInt8(ascii: "["))
        places.append(template.count)
        template.append(UInt8(ascii: "]"))
        lengths.append($0.count)
      })
  }

  /// The table of the line that was divided, a new one if there is none.
  private mutating func table() -> Int {
    if let last, tables[last].template == template { return last }
    if let index = known[template] { return index }
    // One place is kept for the table of whole lines.
    guard tables.count < Columns.maximumTables - 1, known.count < Columns.maximumTables,
      columns + places.count < Columns.maximumColumns
    else { return wholeTable() }
    guard namesAreDistinct() else {
      let index = wholeTable()
      known[template] = index
      return index
    }
    tables.append(Table(template: template, places: places))
    columns += places.count
    known[template] = tables.count - 1
    return tables.count - 1
  }

  private mutating func wholeTable() -> Int {
    if let whole { return whole }
    tables.append(Table(template: Array("[]".utf8), places: [1]))
    whole = tables.count - 1
    return tables.count - 1
  }

  /// Whether every object of the template has each name once, spelled without escapes: only then does every reader
  /// of JSON find all columns.
  private func namesAreDistinct() -> Bool {
    template.withUnsafeBytes { bytes in
      let extent = JSONExtent(bytes: bytes)
      var open: [Set<[UInt8]>] = []
      var index = 0
      while index < bytes.count {
        switch bytes[index] {
        case UInt8(ascii: "{"): open.append([])
        case UInt8(ascii: "}"): open.removeLast()
        case UInt8(ascii: "\""):
          guard let end = extent.endOfText(index), !bytes[index..<end].contains(UInt8(ascii: "\\")),
            !open.isEmpty, open[open.count - 1].insert(Array(bytes[index..<end])).inserted
          else { return false }
          index = end
          continue
        default: break
        }
        index += 1
      }
      return true
    }
  }

  // MARK: Second pass: the text

  private var head: [UInt8] {
    var head = Array(#"{"rows":\#(order.count),"#.utf8)
    if tables.count > 1 {
      head += Array(#""order":["#.utf8)
      let numbers = tables.indices.map { Array("\($0),".utf8) }
      for index in order { head += numbers[Int(index)] }
      head[head.count - 1] = UInt8(ascii: "]")
      head.append(UInt8(ascii: ","))
    }
    return head + Array(#""tables":["#.utf8)
  }

  private static let tail = Array("]}\n".utf8)

  /// Bytes of the text.
  var length: Int {
    head.count + tables.reduce(0) { $0 + $1.length } + tables.count - 1 + ColumnsEncoder.tail.count
  }

  /// The text of the lines that were surveyed.
  func text() -> [UInt8] {
    let head = head
    let length = length
    return [UInt8](unsafeUninitializedCapacity: length) { room, count in
      let text = UnsafeMutableRawBufferPointer(room)
      var end = 0
      // Where the next value of each column goes; those of one table stand together.
      var cursors: [Int] = []
      var firsts: [Int] = []
      func put(_ bytes: some Collection<UInt8>) {
        UnsafeMutableRawBufferPointer(rebasing: text[end...]).copyBytes(from: bytes)
        end += bytes.count
      }
      put(head)
      for index in tables.indices {
        if index > 0 { put(CollectionOfOne(UInt8(ascii: ","))) }
        let table = tables[index]
        firsts.append(cursors.count)
        var copied = 0
        for (place, length) in zip(table.places, table.lengths) {
          put(table.template[copied..<place])
          cursors.append(end)
          end += length + table.rows - 1
          copied = place
        }
        put(table.template[copied...])
      }
      put(ColumnsEncoder.tail)
      fill(text, &cursors, firsts)
      count = end
    }
  }

  /// Copies every value to its column.
  private func fill(_ text: UnsafeMutableRawBufferPointer, _ cursors: inout [Int], _ firsts: [Int]) {
    let lines = extent.bytes
    var begun = [Bool](repeating: false, count: tables.count)
    var start = 0
    for index in order {
      let table = Int(index)
      var column = firsts[table]
      let isFirst = !begun[table]
      begun[table] = true
      func put(_ value: Range<Int>) {
        if !isFirst {
          text[cursors[column]] = UInt8(ascii: ",")
          cursors[column] += 1
        }
        UnsafeMutableRawBufferPointer(rebasing: text[cursors[column]...])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: lines[value]))
        cursors[column] += value.count
        column += 1
      }
      let end: Int?
      if table == whole {
        end = extent.endOfValue(start)
        if let end { put(start..<end) }
      } else {
        end = extent.walk(start, structure: { _ in }, value: { put($0) })
      }
      // The survey found an end for every line.
      guard let end else { return }
      start = end + 1
    }
  }
}
