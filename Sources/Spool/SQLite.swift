internal import CSQLite

/// What went wrong in the store, with the operation, the file, the cause and a way out.
package struct SpoolError: Error, Sendable, CustomStringConvertible {
  package enum Kind: Sendable, Hashable {
    /// No room: the disk, a quota or the file-size limit is exhausted.
    case full
    /// The device or the file system failed; what a commit did is unknown until reopened.
    case io
    /// The file is no database, or its content breaks its own rules.
    case damaged
    /// Another connection held the lock for longer than we wait.
    case busy
    /// The file was written by a newer version.
    case newer
    /// The file is of an older format, and is not brought forward here or cannot be.
    case older
    /// It cannot be opened: missing, not permitted, a wrong kind of file.
    case unavailable
    /// A statement or a value that should never have been; a defect of ours.
    case misuse
  }

  package var kind: Kind
  package var operation: String
  package var path: String
  package var cause: String
  package var hint: String?

  package var description: String {
    "\(operation) \(path): \(cause)" + (hint.map { " (\($0))" } ?? "")
  }
}

/// How a connection's commits meet the disk.
package enum Durability: Sendable {
  /// `synchronous=FULL`: the write-ahead log is fsynced at every commit.
  case everyCommit
  /// `synchronous=NORMAL`: a power cut may take the last commits with it, in order and whole.
  case eventually
}

/// One connection to one SQLite database in WAL mode. Used by one thread at a time; its owner holds
/// a lock.
///
/// `synchronous` is set last and read back: a value that some later statement changed would break
/// promise 1 without a sign (https://www.sqlite.org/pragma.html#pragma_synchronous).
final class Connection {
  enum Access {
    case readOnly
    case readWrite(Durability)
  }

  private let handle: OpaquePointer
  let path: String
  private var cache: [String: Statement] = [:]

  init(path: String, access: Access, create: Bool = false) throws(SpoolError) {
    var opened: OpaquePointer?
    var flags = SQLITE_OPEN_NOMUTEX
    switch access {
    // A reader of a WAL database must be able to write the shared-memory file; it is kept from
    // writing the database by `query_only`.
    case .readOnly, .readWrite: flags |= SQLITE_OPEN_READWRITE
    }
    if create { flags |= SQLITE_OPEN_CREATE }
    let code = sqlite3_open_v2(path, &opened, flags, nil)
    guard code == SQLITE_OK, let opened else {
      let message = opened.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
      let kind = SpoolError.Kind(code: opened.map(sqlite3_extended_errcode) ?? code)
      sqlite3_close_v2(opened)
      throw SpoolError(kind: kind, operation: "open", path: path, cause: message, hint: kind.hint)
    }
    handle = opened
    self.path = path
    sqlite3_extended_result_codes(opened, 1)
    sqlite3_busy_timeout(opened, Connection.patience)
    do throws(SpoolError) {
      if create, try integer("PRAGMA page_count") == 0 {
        // Takes effect only before the first table is made, and would write even where it has none: a
        // full disk must not keep a database from being opened.
        try execute("PRAGMA auto_vacuum = INCREMENTAL")
      }
      try execute("PRAGMA journal_mode = WAL")
      try execute("PRAGMA foreign_keys = OFF")
      try execute("PRAGMA temp_store = MEMORY")
      // Debian's library overwrites what is deleted, which would write the pages of every batch once more
      // when it is confirmed. Pages that are written anyway are still cleaned.
      try execute("PRAGMA secure_delete = FAST")
      // KiB of pages that a connection keeps; of the library's 2 MB each, a long backlog fills all.
      try execute("PRAGMA cache_size = -512")
      // What a checkpoint has emptied goes back to the file system, down to the size at which the next
      // one begins anyway (1000 pages): a burst must not count against the cap for ever.
      try execute("PRAGMA journal_size_limit = 4194304")
      switch access {
      case .readOnly:
        try execute("PRAGMA query_only = ON")
      case .readWrite(.everyCommit):
        try execute("PRAGMA synchronous = FULL")
        try require("PRAGMA synchronous", equals: 2)
        try syncWhatWasLeft()
      case .readWrite(.eventually):
        try execute("PRAGMA synchronous = NORMAL")
        try require("PRAGMA synchronous", equals: 1)
      }
      guard try text("PRAGMA journal_mode") == "wal" else {
        throw SpoolError(
          kind: .unavailable, operation: "open", path: path,
          cause: "the write-ahead log cannot be used here",
          hint: "the spool must lie on a local file system, not on a network share")
      }
    } catch {
      close()
      throw error
    }
  }

  deinit { close() }

  private var closed = false

  /// Finalises every statement and closes the handle; safe to call twice.
  func close() {
    guard !closed else { return }
    closed = true
    cache.removeAll()
    sqlite3_close_v2(handle)
  }

  /// What a process wrote before it was killed is read from the write-ahead log as if it were committed,
  /// but has perhaps never been synced. Before anybody builds on it - acknowledges a message that is in
  /// it, sends a batch - it must survive a power cut as well.
  ///
  /// Never the database itself: closing any descriptor of it drops the locks that this process's other
  /// connections hold on it, and the next `forebay audit` would take itself for the only user and delete
  /// the write-ahead log under them (https://www.sqlite.org/howtocorrupt.html, section 2.2). It need not
  /// be: until a checkpoint has synced it, the write-ahead log holds what it lacks.
  private func syncWhatWasLeft() throws(SpoolError) {
    try FileSystem.sync(path + "-wal")
    try FileSystem.syncDirectory(of: path)
  }

  private func require(_ pragma: String, equals value: Int64) throws(SpoolError) {
    let found = try integer(pragma)
    guard found == value else {
      throw SpoolError(
        kind: .misuse, operation: pragma, path: path,
        cause: "expected \(value), found \(found.map(String.init) ?? "nothing")", hint: nil)
    }
  }

  /// For what SQLite offers beside statements.
  func withHandle<R>(_ body: (OpaquePointer) -> R) -> R { body(handle) }

  func failure(_ operation: String, _ code: Int32) -> SpoolError {
    let extended = sqlite3_extended_errcode(handle)
    let kind = SpoolError.Kind(code: extended == SQLITE_OK ? code : extended)
    return SpoolError(
      kind: kind, operation: operation, path: path,
      cause: "\(String(cString: sqlite3_errmsg(handle))) (SQLite \(extended))", hint: kind.hint)
  }

  /// Runs statements that give no rows.
  func execute(_ sql: String) throws(SpoolError) {
    let code = sqlite3_exec(handle, sql, nil, nil, nil)
    guard code == SQLITE_OK else { throw failure(sql.operationName, code) }
  }

  /// A prepared statement, kept for the life of the connection.
  func statement(_ sql: String) throws(SpoolError) -> Statement {
    if let known = cache[sql] {
      known.reset()
      return known
    }
    var prepared: OpaquePointer?
    let code = sqlite3_prepare_v3(
      handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, nil)
    guard code == SQLITE_OK, let prepared else { throw failure(sql.operationName, code) }
    let statement = Statement(prepared, sql: sql, connection: self)
    cache[sql] = statement
    return statement
  }

  func integer(_ sql: String, _ values: SQLValue...) throws(SpoolError) -> Int64? {
    let statement = try statement(sql)
    defer { statement.reset() }
    try statement.bind(values)
    return try statement.step() ? statement.optionalInteger(0) : nil
  }

  func text(_ sql: String) throws(SpoolError) -> String? {
    let statement = try statement(sql)
    defer { statement.reset() }
    return try statement.step() ? statement.text(0) : nil
  }

  func run(_ sql: String, _ values: SQLValue...) throws(SpoolError) {
    let statement = try statement(sql)
    defer { statement.reset() }
    try statement.bind(values)
    while try statement.step() {}
  }

  /// Writes the row that a statement over all columns of the same table, of another database, stands on.
  func insert(_ row: Statement, into table: String) throws(SpoolError) {
    try insert((0..<row.columns).map { row.value($0) }, into: table)
  }

  /// Writes a row, a value for every column.
  func insert(_ values: [SQLValue], into table: String) throws(SpoolError) {
    let places = Array(repeating: "?", count: values.count).joined(separator: ",")
    let statement = try statement("INSERT OR REPLACE INTO \(table) VALUES(\(places))")
    defer { statement.reset() }
    try statement.bind(values)
    _ = try statement.step()
  }

  /// Rows that the last statement changed.
  var changes: Int { Int(sqlite3_changes64(handle)) }
  var lastInsertedRow: Int64 { sqlite3_last_insert_rowid(handle) }

  enum Transaction: String {
    /// A snapshot for reading; taken at the first read.
    case deferred = "BEGIN DEFERRED"
    /// Takes the write lock at once, so that it cannot fail half-way for want of it.
    case immediate = "BEGIN IMMEDIATE"
  }

  /// Runs `body` in one transaction; an error of `body` or of the commit rolls it back.
  func transaction<R>(
    _ kind: Transaction, _ body: () throws(SpoolError) -> R
  ) throws(SpoolError) -> R {
    try execute(kind.rawValue)
    do throws(SpoolError) {
      let result = try body()
      try execute("COMMIT")
      return result
    } catch {
      // SQLite may have rolled back already (SQLITE_FULL, SQLITE_IOERR); then this fails, and the
      // first error is the one that matters.
      if sqlite3_get_autocommit(handle) == 0 { try? execute("ROLLBACK") }
      throw error
    }
  }

  /// Moves what the write-ahead log holds into the database and gives its space back, as far as readers
  /// permit now: nobody else waits for them meanwhile.
  func truncateLog() throws(SpoolError) {
    sqlite3_busy_timeout(handle, 20)
    defer { sqlite3_busy_timeout(handle, Connection.patience) }
    _ = try integer("PRAGMA wal_checkpoint(TRUNCATE)")
  }

  /// Bytes that ``truncateLog()`` would give back to the file system: those of the write-ahead log, and
  /// those of pages that were vacuumed away, for the file is only cut when a checkpoint has come to its end.
  func slack() throws(SpoolError) -> Int64 {
    let pages = try integer("PRAGMA page_count") ?? 0
    let inUse = pages * (try integer("PRAGMA page_size") ?? 4096)
    return FileSystem.size(path + "-wal") + max(0, FileSystem.size(path) - inUse)
  }

  /// Gives free pages back to the file system: `pages` in one commit, so many times at most. Moving a page
  /// costs another one in the write-ahead log meanwhile, so on a short disk the portions are small.
  func vacuum(pages: Int, times: Int) throws(SpoolError) {
    for _ in 0..<times {
      guard try integer("PRAGMA freelist_count") ?? 0 > 2 * pages else { return }
      try run("PRAGMA incremental_vacuum(\(pages))")
    }
  }

  /// Milliseconds for which a lock of another connection is waited for.
  private static let patience: Int32 = 10_000

  /// Bytes in pages that hold something.
  func usedBytes() throws(SpoolError) -> Int64 {
    let pages = try integer("PRAGMA page_count") ?? 0
    let free = try integer("PRAGMA freelist_count") ?? 0
    return (pages - free) * (try integer("PRAGMA page_size") ?? 4096)
  }
}

enum SQLValue {
  case null
  case integer(Int64)
  case text(String)
  case blob([UInt8])

  static func integer(_ value: Int) -> SQLValue { .integer(Int64(value)) }
  static func optional(_ value: Int64?) -> SQLValue { value.map { .integer($0) } ?? .null }
  static func optional(_ value: String?) -> SQLValue { value.map { .text($0) } ?? .null }
}

/// A prepared statement. Belongs to one ``Connection`` and is reset before each use.
final class Statement {
  private let handle: OpaquePointer
  private let sql: String
  private unowned let connection: Connection

  fileprivate init(_ handle: OpaquePointer, sql: String, connection: Connection) {
    self.handle = handle
    self.sql = sql
    self.connection = connection
  }

  deinit { sqlite3_finalize(handle) }

  func reset() {
    sqlite3_reset(handle)
    sqlite3_clear_bindings(handle)
  }

  func bind(_ values: [SQLValue]) throws(SpoolError) {
    for (index, value) in values.enumerated() {
      let place = Int32(index + 1)
      let code: Int32
      switch value {
      case .null: code = sqlite3_bind_null(handle, place)
      case .integer(let integer): code = sqlite3_bind_int64(handle, place, integer)
      case .text(let text):
        code = sqlite3_bind_text(handle, place, text, -1, Statement.copied)
      case .blob(let bytes):
        code = bytes.withUnsafeBytes { buffer in
          buffer.isEmpty
            ? sqlite3_bind_zeroblob(handle, place, 0)
            : sqlite3_bind_blob64(
              handle, place, buffer.baseAddress, UInt64(buffer.count), Statement.copied)
        }
      }
      guard code == SQLITE_OK else { throw connection.failure(sql.operationName, code) }
    }
  }

  /// SQLITE_TRANSIENT: SQLite takes its own copy.
  private static let copied = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

  /// True: there is a row. False: done.
  func step() throws(SpoolError) -> Bool {
    switch sqlite3_step(handle) {
    case SQLITE_ROW: return true
    case SQLITE_DONE: return false
    case let code:
      let error = connection.failure(sql.operationName, code)
      sqlite3_reset(handle)
      throw error
    }
  }

  /// How many columns a row has.
  var columns: Int32 { sqlite3_column_count(handle) }

  /// A column of the row as it is stored.
  func value(_ column: Int32) -> SQLValue {
    switch sqlite3_column_type(handle, column) {
    case SQLITE_NULL: .null
    case SQLITE_INTEGER: .integer(integer(column))
    case SQLITE_BLOB: .blob(blob(column))
    default: .text(text(column))
    }
  }

  func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }
  func optionalInteger(_ column: Int32) -> Int64? {
    sqlite3_column_type(handle, column) == SQLITE_NULL ? nil : integer(column)
  }
  func text(_ column: Int32) -> String {
    sqlite3_column_text(handle, column).map { String(cString: $0) } ?? ""
  }
  func optionalText(_ column: Int32) -> String? {
    sqlite3_column_type(handle, column) == SQLITE_NULL ? nil : text(column)
  }
  func blob(_ column: Int32) -> [UInt8] {
    let count = Int(sqlite3_column_bytes(handle, column))
    guard count > 0, let base = sqlite3_column_blob(handle, column) else { return [] }
    return Array(UnsafeRawBufferPointer(start: base, count: count))
  }
}

extension SpoolError.Kind {
  init(code: Int32) {
    switch code & 0xFF {
    case SQLITE_FULL: self = .full
    case SQLITE_IOERR: self = .io
    case SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_FORMAT: self = .damaged
    case SQLITE_BUSY, SQLITE_LOCKED: self = .busy
    case SQLITE_CANTOPEN, SQLITE_PERM, SQLITE_READONLY, SQLITE_AUTH: self = .unavailable
    default: self = .misuse
    }
  }

  var hint: String? {
    switch self {
    case .full: "free some space, or lower spool.max"
    case .io: "look for disk errors with 'dmesg'; the card may be worn out"
    case .damaged: "the file is set aside under quarantine/ and a new one is begun at the next start"
    case .busy: "another process holds the database; is a second forebay running?"
    case .unavailable: "check that the folder exists and belongs to the service's user"
    case .newer, .older, .misuse: nil
    }
  }
}

extension String {
  /// The first words of a statement, for messages.
  fileprivate var operationName: String {
    let words = split(whereSeparator: \.isWhitespace).prefix(4)
    return words.joined(separator: " ")
  }
}
