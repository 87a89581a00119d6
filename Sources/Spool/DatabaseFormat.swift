/// The formats of one of the spool's databases: what this version begins, and what leads to it from older ones.
///
/// The number stands in the file (`user_version`). It rises when a version writes what an older one would not
/// understand, and then a ``Migration`` is added here, with the version of forebay that brings it: the number and the
/// oldest version that can read what this one writes follow from the list.
struct DatabaseFormat: Sendable {
  /// A step from one format to the next.
  struct Migration: Sendable {
    /// How much a step writes, for the room that it is given.
    enum Extent: Sendable {
      /// Tables, columns or a few rows.
      case schema
      /// Every row: as much as the file has.
      case rows
    }

    /// The version of forebay that writes the new format first.
    let since: String
    let extent: Extent
    /// Runs in the one transaction of all steps. It reads the old format as it stands, by names of its own: what the
    /// rest of the module says of tables and columns is true of the newest format only.
    let run: @Sendable (Connection) throws(SpoolError) -> Void
  }

  let database: Database
  /// `application_id` of the file: whose it is.
  let application: Int64
  /// The CREATE statements of the newest format.
  let schema: String
  /// The version of forebay that wrote format 1 first.
  let firstSince: String
  /// `migrations[n]` leads from format n + 1 to n + 2.
  let migrations: [Migration]

  /// The oldest that can be brought forward.
  static let first: Int64 = 1
  /// The one that this version writes, and works on.
  var current: Int64 { DatabaseFormat.first + Int64(migrations.count) }
  /// The oldest version of forebay that reads it.
  var since: String { migrations.last?.since ?? firstSince }

  /// `application_id` is "FBLG".
  static let log = DatabaseFormat(
    database: .log, application: 0x4642_4C47, schema: LogStore.schema, firstSince: "0.1.0", migrations: [])
  /// `application_id` is "FBST".
  static let state = DatabaseFormat(
    database: .state, application: 0x4642_5354, schema: StateSchema.schema, firstSince: "0.1.0", migrations: [])
}

/// The formats of both databases.
struct SpoolFormats: Sendable {
  var log: DatabaseFormat
  var state: DatabaseFormat

  static let current = SpoolFormats(log: .log, state: .state)

  /// The log first: it is the larger one, and what fails is best found before anything has changed.
  var all: [DatabaseFormat] { [log, state] }
}

extension Spool {
  /// The oldest versions of forebay that can open what this one has written: of the log and of the state.
  package static var oldestReaders: [String] { SpoolFormats.current.all.map(\.since) }
}

extension DatabaseFormat {
  /// - Throws: ``SpoolError/Kind/damaged`` for a file that is not ours, ``SpoolError/Kind/newer`` for one that a
  ///   later version wrote, ``SpoolError/Kind/older`` for one that has yet to be brought forward.
  func verify(_ connection: Connection) throws(SpoolError) {
    let found = try read(connection)
    guard found == current else {
      throw SpoolError(
        kind: .older, operation: "open", path: connection.path,
        cause: "it is of format \(found), and this version works on format \(current)",
        hint: "the daemon of this version brings it forward when it starts; for now use the version that runs")
    }
  }

  /// The format of a file that is ours and not too new.
  func read(_ connection: Connection) throws(SpoolError) -> Int64 {
    let application = try connection.integer("PRAGMA application_id") ?? 0
    guard application == self.application else {
      throw SpoolError(
        kind: .damaged, operation: "open", path: connection.path,
        cause: "this is not the file that it should be (application id \(application), not \(self.application))",
        hint: SpoolError.Kind.damaged.hint)
    }
    let found = try connection.integer("PRAGMA user_version") ?? 0
    guard found >= DatabaseFormat.first else {
      throw SpoolError(
        kind: .damaged, operation: "open", path: connection.path, cause: "there is no format \(found)",
        hint: SpoolError.Kind.damaged.hint)
    }
    guard found <= current else { throw tooNew(found, path: connection.path) }
    return found
  }

  private func tooNew(_ found: Int64, path: String) -> SpoolError {
    let formats = current == DatabaseFormat.first ? "format 1 only" : "formats 1 to \(current)"
    let copies = FormatCopy.all(in: FileSystem.folder(of: path))
    let back =
      if copies.contains(where: { $0.database == database && $0.format <= current }) {
        "or, without what came since, go back to what was kept before the upgrade: "
          + copies.map(\.name).sorted().joined(separator: ", ") + " in the same folder (installation.md tells how)"
      } else {
        "or put the folder aside and begin with an empty one, without what it holds (installation.md tells how)"
      }
    return SpoolError(
      kind: .newer, operation: "open", path: path,
      cause: "it is of format \(found), which a newer version of forebay wrote; this version reads \(formats)",
      hint: "install the version that wrote it, or a newer one; \(back); nothing was changed")
  }

  /// Whether nothing has been written to a database yet.
  static func isEmpty(_ connection: Connection) throws(SpoolError) -> Bool {
    try connection.integer("SELECT count(*) FROM sqlite_master") == 0
  }

  /// Begins an empty database, in the caller's transaction.
  func begin(_ connection: Connection) throws(SpoolError) {
    try connection.execute(
      "PRAGMA application_id = \(application); PRAGMA user_version = \(current); \(schema)")
  }

  /// Brings a database forward, over all formats between in one transaction, fsynced on return. Does nothing to one
  /// that is of the newest format.
  func bringForward(_ connection: Connection) throws(SpoolError) {
    guard try read(connection) < current else { return }
    try connection.transaction(.immediate) { () throws(SpoolError) in
      let found = try read(connection)
      for migration in migrations.dropFirst(Int(found - DatabaseFormat.first)) { try migration.run(connection) }
      try connection.execute("PRAGMA user_version = \(current)")
    }
  }

  /// Brings a damaged database forward as far as it can be read, so that what can be saved of it is found under its
  /// newest names. One that cannot be is left as it is.
  func salvageForward(_ path: String) {
    guard let connection = try? Connection(path: path, access: .readWrite(.everyCommit)) else { return }
    defer { connection.close() }
    try? bringForward(connection)
  }
}
