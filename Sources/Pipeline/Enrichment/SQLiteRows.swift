internal import CSQLite

extension ReferenceTable {
  /// What every SQLite database begins with (https://www.sqlite.org/fileformat2.html, section 1.3).
  private static let magic = Array("SQLite format 3\0".utf8)
  /// Bytes of that header. Those at 18 and 19 are 2 where the newest rows may lie in a log beside the file.
  private static let headerBytes = 100

  package static func isSQLite(_ bytes: [UInt8]) -> Bool { bytes.starts(with: magic) }

  /// Whether the database is one whose newest rows may lie in a log beside the file (WAL mode).
  package static func mayHaveLog(_ bytes: [UInt8]) -> Bool {
    bytes.count >= headerBytes && isSQLite(bytes) && bytes[18...19].contains(2)
  }

  /// Whether all of its pages are there; SQLite itself takes what is missing for zeros.
  private static func isWhole(_ bytes: [UInt8]) -> Bool {
    func number(_ range: ClosedRange<Int>) -> Int { bytes[range].reduce(0) { $0 << 8 | Int($1) } }
    let pageBytes = number(16...17) == 1 ? 65_536 : number(16...17)
    return pageBytes >= 512 && bytes.count % pageBytes == 0 && number(28...31) <= bytes.count / pageBytes
  }

  /// From what a query finds in an SQLite database.
  ///
  /// The database is the file's bytes in memory: nothing is locked, and nothing is written. The connection can
  /// read tables and call the functions of expressions and SQL's aggregates, and nothing else; lengths and steps
  /// are limited, for database and query may be anything.
  /// - Parameters:
  ///   - sqlite: the file. What lies in a log beside it is not seen.
  ///   - query: one SELECT; its columns are those of the table. Their types are the cells', whatever the settings say.
  package init(sqlite: [UInt8], query: String, settings: Settings) throws(ReferenceError) {
    guard sqlite.count <= settings.maximumBytes else {
      throw ReferenceError(
        .tooLarge, "the file has more than \(settings.maximumBytes) bytes; copy what readings need to a smaller one")
    }
    guard sqlite.count >= ReferenceTable.headerBytes, ReferenceTable.isSQLite(sqlite) else {
      throw ReferenceError(.empty, "the file is no SQLite database")
    }
    guard ReferenceTable.isWhole(sqlite) else {
      throw ReferenceError(.empty, "the file ends before its last page; replace it by renaming a finished file")
    }
    var bytes = sqlite
    // There is no log to look for in memory.
    for place in 18...19 where bytes[place] == 2 { bytes[place] = 1 }
    // SQLite may write to the pages in memory, which are this copy.
    let result: Result<ReferenceTable, ReferenceError> = bytes.withUnsafeMutableBytes { bytes in
      do throws(ReferenceError) {
        let rows = try SQLiteRows(bytes, query: query)
        let table = try ReferenceTable(header: rows.header, rows: rows, settings: settings)
        if let fault = rows.fault { throw fault }
        return .success(table)
      } catch { return .failure(error) }
    }
    self = try result.get()
  }
}

/// The rows of one query over a database in memory, each read when it is asked for. After the last, ``fault`` says
/// why there are no more, if something was wrong.
private final class SQLiteRows: Sequence, IteratorProtocol {
  /// Instructions of the database's check, and of the query: seconds of a small processor.
  private static let steps: Int32 = 100_000_000
  /// Bytes of a cell, and of the query.
  private static let textBytes: Int32 = 1 << 20
  private static let queryBytes: Int32 = 16 << 10

  private var handle: OpaquePointer?
  private var statement: OpaquePointer?
  let header: [String]
  private(set) var fault: ReferenceError?
  private var row = 0

  /// - Parameter bytes: must stay until this is gone.
  init(_ bytes: UnsafeMutableRawBufferPointer, query: String) throws(ReferenceError) {
    var opened: OpaquePointer?
    let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX
    let code = sqlite3_open_v2(":memory:", &opened, flags, nil)
    guard code == SQLITE_OK, let opened else {
      sqlite3_close_v2(opened)
      throw ReferenceError(.tooLarge, "SQLite cannot be opened: \(String(cString: sqlite3_errstr(code)))")
    }
    var compiled: OpaquePointer?
    do throws(ReferenceError) {
      try SQLiteRows.load(bytes, into: opened)
      compiled = try SQLiteRows.prepare(query, in: opened)
    } catch {
      sqlite3_close_v2(opened)
      throw error
    }
    handle = opened
    statement = compiled
    header = (0..<sqlite3_column_count(compiled)).map { column in
      sqlite3_column_name(compiled, column).map { String(cString: $0) } ?? ""
    }
  }

  deinit {
    sqlite3_finalize(statement)
    sqlite3_close_v2(handle)
  }

  private static func load(_ bytes: UnsafeMutableRawBufferPointer, into handle: OpaquePointer) throws(ReferenceError) {
    // It ends what takes too long: the check, and later the query.
    sqlite3_progress_handler(handle, steps, { _ in 1 }, nil)
    let size = Int64(bytes.count)
    let code = sqlite3_deserialize(
      handle, "main", bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), size, size,
      UInt32(SQLITE_DESERIALIZE_READONLY))
    guard code == SQLITE_OK,
      sqlite3_exec(handle, "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON", nil, nil, nil) == SQLITE_OK
    else { throw damaged(handle) }
    var check: OpaquePointer?
    defer { sqlite3_finalize(check) }
    guard sqlite3_prepare_v2(handle, "PRAGMA quick_check(1)", -1, &check, nil) == SQLITE_OK,
      sqlite3_step(check) == SQLITE_ROW, let text = sqlite3_column_text(check, 0), String(cString: text) == "ok"
    else { throw damaged(handle) }
    for (limit, value) in [
      (SQLITE_LIMIT_LENGTH, textBytes), (SQLITE_LIMIT_SQL_LENGTH, queryBytes), (SQLITE_LIMIT_ATTACHED, 0),
      (SQLITE_LIMIT_TRIGGER_DEPTH, 0), (SQLITE_LIMIT_WORKER_THREADS, 0),
      (SQLITE_LIMIT_LIKE_PATTERN_LENGTH, Int32(ExpressionLimits.standard.patternBytes)),
    ] {
      sqlite3_limit(handle, limit, value)
    }
    sqlite3_set_authorizer(
      handle,
      { _, action, _, name, _, _ in
        switch action {
        case SQLITE_SELECT, SQLITE_READ: return SQLITE_OK
        case SQLITE_FUNCTION:
          guard let name else { return SQLITE_DENY }
          return SQLiteRows.functions.contains(String(cString: name).lowercased()) ? SQLITE_OK : SQLITE_DENY
        default: return SQLITE_DENY
        }
      }, nil)
  }

  /// Those that give the same for the same rows.
  private static let functions = ExpressionFunctions.allowed.union(["avg", "count", "sum", "total", "group_concat"])

  private static func damaged(_ handle: OpaquePointer) -> ReferenceError {
    ReferenceError(
      .empty,
      "the database cannot be read (\(String(cString: sqlite3_errmsg(handle)))): it is damaged, or it was being "
        + "written; replace it by renaming a finished file")
  }

  private static func prepare(_ query: String, in handle: OpaquePointer) throws(ReferenceError) -> OpaquePointer? {
    var statement: OpaquePointer?
    var rest = ""
    let code = query.withCString { text in
      var tail: UnsafePointer<CChar>?
      let code = sqlite3_prepare_v3(handle, text, -1, UInt32(SQLITE_PREPARE_NO_VTAB), &statement, &tail)
      if let tail { rest = String(cString: tail) }
      return code
    }
    guard code == SQLITE_OK else {
      throw ReferenceError(.column, "SQLite refuses the query: \(String(cString: sqlite3_errmsg(handle)))")
    }
    let isOne = rest.utf8.allSatisfy { [0x20, 0x09, 0x0A, 0x0D, UInt8(ascii: ";")].contains($0) }
    guard let statement, isOne, sqlite3_stmt_readonly(statement) != 0, sqlite3_column_count(statement) > 0 else {
      sqlite3_finalize(statement)
      throw ReferenceError(.column, "the query is not one SELECT")
    }
    return statement
  }

  func next() -> [ReferenceTable.Cell]? {
    guard fault == nil else { return nil }
    let code = sqlite3_step(statement)
    guard code != SQLITE_DONE else { return nil }
    row += 1
    guard code == SQLITE_ROW else {
      let reason =
        code == SQLITE_INTERRUPT
        ? "the query takes too many steps; make it simpler, or a table of what it finds"
        : "the query fails: \(String(cString: sqlite3_errmsg(handle)))"
      fault = ReferenceError(.tooLarge, line: row, reason)
      return nil
    }
    var cells: [ReferenceTable.Cell] = []
    for column in 0..<Int32(header.count) {
      switch sqlite3_column_type(statement, column) {
      case SQLITE_NULL: cells.append(.null)
      case SQLITE_INTEGER: cells.append(.integer(sqlite3_column_int64(statement, column)))
      case SQLITE_FLOAT: cells.append(.real(sqlite3_column_double(statement, column)))
      case SQLITE_BLOB:
        fault = ReferenceError(
          .encoding, line: row, "\(header[Int(column)]) is a blob, which JSON does not have; take hex(…) of it")
        return nil
      default:
        let base = sqlite3_column_text(statement, column)
        let count = Int(sqlite3_column_bytes(statement, column))
        cells.append(.text(Array(UnsafeRawBufferPointer(start: base, count: count))))
      }
    }
    return cells
  }
}
