import Synchronization

@testable import Spool

/// The formats of versions to come: the log is one further, and every row of it is written anew; the state is two
/// further. What the module reads and writes is still there under its names.
enum LaterFormats {
  static let both = SpoolFormats(log: log { _ in }, state: state)
  static let stateOnly = SpoolFormats(log: .log, state: state)

  private static let dayTable = "CREATE TABLE day(first INTEGER PRIMARY KEY, count INTEGER NOT NULL) STRICT;"
  private static let labelTable =
    "CREATE TABLE label(pipeline TEXT PRIMARY KEY, text TEXT NOT NULL, colour TEXT) STRICT;"

  /// - Parameter midway: called within the transaction, when much is written.
  static func log(_ midway: @escaping @Sendable (Connection) throws(SpoolError) -> Void) -> DatabaseFormat {
    let step = DatabaseFormat.Migration(since: "0.2.0", extent: .rows) { connection throws(SpoolError) in
      try connection.execute(
        """
        \(dayTable)
        INSERT INTO day SELECT first, count FROM block;
        UPDATE block SET quality = quality;
        """)
      try midway(connection)
    }
    return DatabaseFormat(
      database: .log, application: DatabaseFormat.log.application, schema: LogStore.schema + dayTable,
      firstSince: "0.1.0", migrations: [step])
  }

  static let state = DatabaseFormat(
    database: .state, application: DatabaseFormat.state.application, schema: StateSchema.schema + labelTable,
    firstSince: "0.1.0",
    migrations: [
      DatabaseFormat.Migration(since: "0.2.0", extent: .schema) { connection throws(SpoolError) in
        try connection.execute(
          """
          CREATE TABLE label(pipeline TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT;
          INSERT INTO label SELECT name, 'of ' || gateway FROM pipeline;
          """)
      },
      DatabaseFormat.Migration(since: "0.3.0", extent: .schema) { connection throws(SpoolError) in
        try connection.execute("ALTER TABLE label ADD COLUMN colour TEXT; UPDATE label SET colour = 'blue'")
      },
    ])
}

extension SpoolFolder {
  func format(_ path: String) throws -> Int64? {
    let connection = try Connection(path: path, access: .readOnly)
    defer { connection.close() }
    return try connection.integer("PRAGMA user_version")
  }

  var names: [String] { FileSystem.names(in: settings.directory).sorted() }
  var copies: [String] { names.filter { $0.contains(".format-") } }
}
