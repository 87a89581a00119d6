import CSQLite
import Pipeline
import Testing

@Suite("Reference tables from SQLite")
struct SQLiteTableTests {
  /// The file of a database that was made by these statements.
  private static func database(_ sql: String) throws -> [UInt8] {
    var handle: OpaquePointer?
    #expect(sqlite3_open(":memory:", &handle) == SQLITE_OK)
    defer { sqlite3_close(handle) }
    try #require(sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK)
    var size: sqlite3_int64 = 0
    let bytes = try #require(sqlite3_serialize(handle, "main", &size, 0))
    defer { sqlite3_free(bytes) }
    return Array(UnsafeBufferPointer(start: bytes, count: Int(size)))
  }

  private static let devices = """
    CREATE TABLE devices (id TEXT PRIMARY KEY, site TEXT, floor INTEGER, factor REAL, secret BLOB);
    INSERT INTO devices VALUES ('a-1', 'Plant "7"', 9007199254740993, 1.5, x'00'), ('b-2', NULL, 2, NULL, NULL);
    CREATE VIEW seen AS SELECT id, upper(site) AS site FROM devices;
    """

  private func line(_ table: ReferenceTable, key: String) throws -> String {
    var output: [UInt8] = []
    try withTape("{}".utf8) { tape, json in
      _ = Array(key.utf8).withUnsafeBytes { table.append(tape, 0, in: json, key: $0, to: &output) }
    }
    return String(decoding: output, as: UTF8.self)
  }

  @Test("the columns of a query are those of the table, with their types")
  func query() throws {
    let bytes = try Self.database(Self.devices)
    #expect(ReferenceTable.isSQLite(bytes) && !ReferenceTable.isSQLite(Array("id,site\n".utf8)))
    let table = try ReferenceTable(
      sqlite: bytes, query: "SELECT id, site, floor AS level, factor FROM devices;", settings: .init(key: "id"))
    #expect(table.count == 2)
    #expect(try line(table, key: "a-1") == #"{"site":"Plant \"7\"","level":9007199254740993,"factor":1.5}"#)
    #expect(try line(table, key: "b-2") == #"{"level":2}"#)
    #expect(try line(table, key: "c-3") == "{}")
    let view = try ReferenceTable(sqlite: bytes, query: "SELECT * FROM seen", settings: .init(key: "id"))
    #expect(try line(view, key: "a-1") == #"{"site":"PLANT \"7\""}"#)
    let counted = try ReferenceTable(
      sqlite: bytes, query: "SELECT count(*) AS n, 'x' AS id FROM devices", settings: .init(key: "id"))
    #expect(try line(counted, key: "x") == #"{"n":2}"#)
  }

  @Test("a database in WAL mode can be read, and says so")
  func writeAheadLog() throws {
    var bytes = try Self.database(Self.devices)
    #expect(!ReferenceTable.mayHaveLog(bytes))
    bytes[18] = 2
    bytes[19] = 2
    #expect(ReferenceTable.mayHaveLog(bytes))
    #expect(try ReferenceTable(sqlite: bytes, query: "SELECT id FROM devices", settings: .init(key: "id")).count == 2)
  }

  @Test(
    "what a query must not do, or cannot, is refused in words",
    arguments: [
      ("SELECT id, secret FROM devices", "secret is a blob"),
      ("SELECT id FROM device", "no such table: device"), ("SELECT id, FROM devices", "syntax error"),
      ("SELECT site FROM devices", "there is no column id"), ("DELETE FROM devices", "not authorized"),
      ("SELECT id FROM devices; SELECT 1", "not one SELECT"), ("ATTACH '/tmp/x' AS y", "not authorized"),
      ("PRAGMA table_info(devices)", "not authorized"), ("VACUUM INTO '/tmp/x'", "not one SELECT"),
      ("", "not one SELECT"),
      ("SELECT random() AS id", "not authorized"), ("SELECT load_extension('x') AS id", "not authorized"),
      ("SELECT datetime('now') AS id", "not authorized"),
      ("WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id FROM n", "not authorized"),
      ("SELECT 'a' AS id FROM devices", "is the same as on line 1"), ("SELECT NULL AS id", "NULL or empty"),
    ])
  func refused(_ query: String, _ reason: String) throws {
    let bytes = try Self.database(Self.devices)
    let error = #expect(throws: ReferenceError.self) {
      try ReferenceTable(sqlite: bytes, query: query, settings: .init(key: "id"))
    }
    #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
  }

  @Test("a query that would never end is ended")
  func endless() throws {
    let rows = (0..<400).map { "(\($0))" }.joined(separator: ",")
    let bytes = try Self.database("CREATE TABLE n (id INTEGER); INSERT INTO n VALUES \(rows)")
    let error = #expect(throws: ReferenceError.self) {
      try ReferenceTable(
        sqlite: bytes, query: "SELECT count(*) AS id FROM n a, n b, n c, n d", settings: .init(key: "id"))
    }
    #expect(error?.description.contains("too many steps") == true, "\(error?.description ?? "")")
  }

  @Test("damage is told wherever it is, and never followed")
  func damage() throws {
    let bytes = try Self.database(Self.devices)
    for cut in [0, 15, 16, 99, 100, 4_096, bytes.count - 1] {
      #expect(throws: ReferenceError.self) {
        try ReferenceTable(
          sqlite: Array(bytes.prefix(cut)), query: "SELECT id FROM devices", settings: .init(key: "id"))
      }
    }
    var random = SeededGenerator(seed: 1)
    for _ in 0..<2_000 {
      var damaged = bytes
      for _ in 0..<3 { damaged[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next()) }
      _ = try? ReferenceTable(sqlite: damaged, query: "SELECT * FROM seen", settings: .init(key: "id"))
    }
  }
}
