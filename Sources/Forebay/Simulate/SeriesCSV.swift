/// A recorded series of measurements: moments and the values as they were written.
struct SeriesCSV: Sendable, Hashable {
  /// The file's name without its ending.
  var name: String
  /// Milliseconds since 1970-01-01T00:00:00Z, one per row.
  private(set) var times: [Int64] = []
  /// The JSON numbers of all rows, one after the other; row i ends at `valueEnds[i]`.
  private var values: [UInt8] = []
  private var valueEnds: [Int] = []

  var count: Int { times.count }

  func value(_ row: Int) -> ArraySlice<UInt8> {
    values[(row == 0 ? 0 : valueEnds[row - 1])..<valueEnds[row]]
  }
}

/// A CSV file that cannot be played, with the place.
struct SeriesCSVError: Error, Sendable, Hashable, CustomStringConvertible {
  var path: String
  var line: Int
  var reason: String
  var description: String { "\(path):\(line): \(reason)" }
}

extension SeriesCSV {
  /// Reads CSV (RFC 4180; lines may also end with a line feed alone) whose header names the columns
  /// `timestamp` and `value`, in any order and among others. Timestamps are
  /// `2013-12-02 21:15:00[.123][Z|+01:00]`, with a blank or a `T`, in UTC unless they say otherwise.
  ///
  /// - Parameter path: for errors; the series has its last component's name.
  init(_ bytes: [UInt8], path: String) throws(SeriesCSVError) {
    let file = path.split(separator: "/").last ?? ""
    name = String(file.hasSuffix(".csv") ? file.dropLast(4) : file)
    var reader = CSVReader(bytes)
    func fail(_ reason: String) -> SeriesCSVError {
      SeriesCSVError(path: path, line: reader.recordLine, reason: reason)
    }
    guard let header = try reader.next(path: path) else {
      throw SeriesCSVError(path: path, line: 1, reason: "is empty; expected the header timestamp,value")
    }
    let names = header.map { String(decoding: $0, as: UTF8.self) }
    guard let timeColumn = names.firstIndex(of: "timestamp"),
      let valueColumn = names.firstIndex(of: "value")
    else {
      throw fail("the header names no columns timestamp and value: \(names.joined(separator: ","))")
    }
    while let row = try reader.next(path: path) {
      guard row.count == header.count else {
        throw fail("has \(row.count) fields, the header \(header.count)")
      }
      guard let time = TimestampText.milliseconds(row[timeColumn]) else {
        let text = String(decoding: row[timeColumn].prefix(40), as: UTF8.self)
        throw fail("'\(text)' is no timestamp such as 2013-12-02 21:15:00")
      }
      guard let number = JSONNumber.normalised(row[valueColumn]) else {
        let text = String(decoding: row[valueColumn].prefix(40), as: UTF8.self)
        throw fail("'\(text)' is no number")
      }
      times.append(time)
      values += number
      valueEnds.append(values.count)
    }
    guard !times.isEmpty else { throw fail("has no rows") }
  }
}

/// Splits CSV into records (RFC 4180). Empty lines are passed over.
struct CSVReader {
  private let bytes: [UInt8]
  private var position = 0
  private var line = 1
  /// The line on which the last record began, from 1.
  private(set) var recordLine = 1

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    // A byte order mark, as some spreadsheets write it.
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
  }

  /// The fields of the next record; nil at the end.
  mutating func next(path: String) throws(SeriesCSVError) -> [ArraySlice<UInt8>]? {
    while position < bytes.count, bytes[position] == 0x0A || bytes[position] == 0x0D {
      if bytes[position] == 0x0A { line += 1 }
      position += 1
    }
    guard position < bytes.count else { return nil }
    recordLine = line
    var fields: [ArraySlice<UInt8>] = []
    while true {
      fields.append(try bytes[position] == UInt8(ascii: "\"") ? quoted(path) : plain())
      guard position < bytes.count, bytes[position] == UInt8(ascii: ",") else { break }
      position += 1
      if position == bytes.count {
        fields.append([])
        break
      }
    }
    if position < bytes.count, bytes[position] == 0x0D { position += 1 }
    if position < bytes.count, bytes[position] != 0x0A, bytes[position - 1] != 0x0D {
      throw SeriesCSVError(
        path: path, line: line, reason: "a quoted field is followed by something other than a comma")
    }
    return fields
  }

  private mutating func plain() -> ArraySlice<UInt8> {
    let start = position
    while position < bytes.count {
      switch bytes[position] {
      case UInt8(ascii: ","), 0x0A, 0x0D: return bytes[start..<position]
      default: position += 1
      }
    }
    return bytes[start...]
  }

  private mutating func quoted(_ path: String) throws(SeriesCSVError) -> ArraySlice<UInt8> {
    let opened = line
    var field: [UInt8] = []
    position += 1
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      if byte == 0x0A { line += 1 }
      if byte == UInt8(ascii: "\"") {
        guard position < bytes.count, bytes[position] == byte else { return field[...] }
        position += 1
      }
      field.append(byte)
    }
    throw SeriesCSVError(path: path, line: opened, reason: "a quoted field is not closed")
  }
}
