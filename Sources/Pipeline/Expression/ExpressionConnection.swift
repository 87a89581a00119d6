internal import CSQLite

/// A private in-memory SQLite connection that can do nothing but compute: the fences around expressions.
///
/// Opened without SQLite's own locks, so one thread at a time; see ``Selection`` for who sees to that.
/// - The authorizer allows a SELECT and the functions of ``ExpressionFunctions``. Everything else is denied
///   when a statement is compiled: tables, `PRAGMA`, `ATTACH`, recursion, writes.
/// - Virtual tables are not compiled in, extensions are not loaded, the schema is not trusted.
/// - Lengths, depth, arguments and instructions are limited, and an evaluation that takes too many steps ends.
///
/// Defensive mode is left as it is: it keeps SQL from damaging a database file, there is none, and Swift cannot
/// call the variadic `sqlite3_db_config`.
///
/// https://www.sqlite.org/security.html lists these measures for statements that come from elsewhere.
package final class ExpressionConnection {
  /// Why a statement cannot be compiled.
  package struct Refused: Error {
    /// SQLite's primary result code.
    package var code: Int32
    /// UTF-8 bytes of the statement before the fault, where SQLite says so.
    package var offset: Int?
    /// SQLite's own words. A statement holds nothing of a reading.
    package var message: String

    /// Whether a limit or memory is at fault, rather than what the statement says.
    package var isTooLarge: Bool { code == SQLITE_TOOBIG || code == SQLITE_NOMEM }
  }

  private let handle: OpaquePointer

  package init(limits: ExpressionLimits = .standard) throws(Refused) {
    var opened: OpaquePointer?
    let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX
    let code = sqlite3_open_v2(":memory:", &opened, flags, nil)
    guard code == SQLITE_OK, let opened else {
      sqlite3_close_v2(opened)
      throw Refused(code: code, offset: nil, message: String(cString: sqlite3_errstr(code)))
    }
    handle = opened
    // Before the authorizer, which would deny it.
    let pragma = sqlite3_exec(opened, "PRAGMA trusted_schema = OFF", nil, nil, nil)
    guard pragma == SQLITE_OK else { throw refused(pragma) }
    for (limit, value) in [
      (SQLITE_LIMIT_LENGTH, limits.textBytes),
      (SQLITE_LIMIT_SQL_LENGTH, ExpressionConnection.statementBytes),
      (SQLITE_LIMIT_COLUMN, limits.entries),
      (SQLITE_LIMIT_EXPR_DEPTH, limits.depth),
      (SQLITE_LIMIT_COMPOUND_SELECT, 1),
      (SQLITE_LIMIT_VDBE_OP, limits.instructions),
      (SQLITE_LIMIT_FUNCTION_ARG, limits.arguments),
      (SQLITE_LIMIT_ATTACHED, 0),
      (SQLITE_LIMIT_LIKE_PATTERN_LENGTH, limits.patternBytes),
      (SQLITE_LIMIT_VARIABLE_NUMBER, ExpressionConnection.parameters),
      (SQLITE_LIMIT_TRIGGER_DEPTH, 0),
      (SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
      sqlite3_limit(opened, limit, Int32(clamping: value))
    }
    sqlite3_set_authorizer(
      opened,
      { _, action, _, name, _, _ in
        switch action {
        case SQLITE_SELECT: return SQLITE_OK
        case SQLITE_FUNCTION:
          guard let name else { return SQLITE_DENY }
          return ExpressionFunctions.allowed.contains(String(cString: name).lowercased()) ? SQLITE_OK : SQLITE_DENY
        default: return SQLITE_DENY
        }
      }, nil)
    // It is asked again only when so many steps have passed: that is the end.
    sqlite3_progress_handler(opened, Int32(clamping: limits.steps), { _ in 1 }, nil)
  }

  deinit { sqlite3_close_v2(handle) }

  /// Bytes of a statement: the entries of `select` after one another, as tokens with blanks between them.
  private static let statementBytes = 8 << 20
  /// Different fields in one statement.
  private static let parameters = 4_096

  private func refused(_ code: Int32) -> Refused {
    let offset = sqlite3_error_offset(handle)
    return Refused(
      code: code & 0xFF, offset: offset >= 0 ? Int(offset) : nil, message: String(cString: sqlite3_errmsg(handle)))
  }

  /// Compiles one statement.
  package func prepare(_ sql: String) throws(Refused) -> ExpressionStatement {
    var statement: OpaquePointer?
    var rest = 0
    let code = sql.withCString { text in
      var tail: UnsafePointer<CChar>?
      let code = sqlite3_prepare_v3(
        handle, text, -1, UInt32(SQLITE_PREPARE_PERSISTENT | SQLITE_PREPARE_NO_VTAB), &statement, &tail)
      if let tail { rest = sql.utf8.count - (tail - text) }
      return code
    }
    guard code == SQLITE_OK else { throw refused(code) }
    guard let statement, rest == 0 else {
      sqlite3_finalize(statement)
      throw Refused(code: SQLITE_ERROR, offset: sql.utf8.count - rest, message: "there is more than one statement")
    }
    // VACUUM and REINDEX ask the authorizer nothing when they are compiled.
    guard sqlite3_stmt_readonly(statement) != 0, sqlite3_column_count(statement) > 0 else {
      sqlite3_finalize(statement)
      throw Refused(code: SQLITE_AUTH, offset: 0, message: "not authorized")
    }
    return ExpressionStatement(statement, connection: self)
  }
}

/// A compiled statement that gives one row. Used by one thread at a time, as its connection is.
package final class ExpressionStatement {
  /// What a column of the row is; a text's bytes are valid until the next step or reset.
  package enum Result {
    case null
    case integer(Int64)
    case real(Double)
    case text(UnsafeRawBufferPointer)
    case blob
  }

  private let handle: OpaquePointer
  /// Keeps it open.
  private let connection: ExpressionConnection

  fileprivate init(_ handle: OpaquePointer, connection: ExpressionConnection) {
    self.handle = handle
    self.connection = connection
  }

  deinit { sqlite3_finalize(handle) }

  package var columns: Int { Int(sqlite3_column_count(handle)) }

  // MARK: Parameters, counted from 1

  /// Whether it was taken; not if a text is too long. Of a text in ``bind(borrowing:to:)`` SQLite keeps the
  /// pointer only, which must stay valid until ``reset()``. Every parameter is bound anew for every
  /// evaluation, so that a pointer of the one before is never followed.
  package func bindNull(to place: Int32) -> Bool { sqlite3_bind_null(handle, place) == SQLITE_OK }
  package func bind(_ value: Int64, to place: Int32) -> Bool { sqlite3_bind_int64(handle, place, value) == SQLITE_OK }
  package func bind(_ value: Double, to place: Int32) -> Bool { sqlite3_bind_double(handle, place, value) == SQLITE_OK }

  package func bind(borrowing text: UnsafeRawBufferPointer, to place: Int32) -> Bool {
    guard let base = text.baseAddress, !text.isEmpty else { return bindEmpty(to: place) }
    return sqlite3_bind_text64(
      handle, place, base.assumingMemoryBound(to: CChar.self), UInt64(text.count), nil, UInt8(SQLITE_UTF8))
      == SQLITE_OK
  }

  package func bind(copying text: UnsafeRawBufferPointer, to place: Int32) -> Bool {
    guard let base = text.baseAddress, !text.isEmpty else { return bindEmpty(to: place) }
    return sqlite3_bind_text64(
      handle, place, base.assumingMemoryBound(to: CChar.self), UInt64(text.count), ExpressionStatement.copied,
      UInt8(SQLITE_UTF8)) == SQLITE_OK
  }

  /// A text without bytes; a null pointer would be NULL.
  private func bindEmpty(to place: Int32) -> Bool {
    sqlite3_bind_text(handle, place, "", 0, ExpressionStatement.copied) == SQLITE_OK
  }

  /// SQLITE_TRANSIENT: SQLite takes its own copy.
  private static let copied = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

  // MARK: Evaluating

  /// Computes the row; nil where it stands. ``reset()`` must follow before the next.
  package func evaluate() -> EvaluationError.Kind? {
    // The handler counts over all evaluations of the statement; from nought here, so that whether it ends an
    // evaluation does not depend on the ones before.
    sqlite3_stmt_status(handle, SQLITE_STMTSTATUS_VM_STEP, 1)
    let code = sqlite3_step(handle)
    switch code & 0xFF {
    case SQLITE_ROW: return nil
    case SQLITE_INTERRUPT: return .tooManySteps
    case SQLITE_TOOBIG: return .tooLong
    case SQLITE_NOMEM: return .memory
    default: return .function
    }
  }

  package func reset() { sqlite3_reset(handle) }

  /// A column of the row, counted from 0.
  package func result(_ column: Int32) -> Result {
    switch sqlite3_column_type(handle, column) {
    case SQLITE_NULL: return .null
    case SQLITE_INTEGER: return .integer(sqlite3_column_int64(handle, column))
    case SQLITE_FLOAT: return .real(sqlite3_column_double(handle, column))
    case SQLITE_BLOB: return .blob
    default:
      let base = sqlite3_column_text(handle, column)
      return .text(UnsafeRawBufferPointer(start: base, count: Int(sqlite3_column_bytes(handle, column))))
    }
  }
}
