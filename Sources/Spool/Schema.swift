/// What every database of ours says of itself: whose it is and how new its format is.
enum Schema {
  /// - Throws: ``SpoolError/Kind/damaged`` for a file that is not ours, ``SpoolError/Kind/newer`` for
  ///   one that a later version wrote.
  static func verify(
    _ connection: Connection, application: Int64, version: Int64
  ) throws(SpoolError) {
    let found = try connection.integer("PRAGMA application_id") ?? 0
    guard found == application else {
      throw SpoolError(
        kind: .damaged, operation: "open", path: connection.path,
        cause: "this is not the file that it should be (application id \(found), not \(application))",
        hint: SpoolError.Kind.damaged.hint)
    }
    let format = try connection.integer("PRAGMA user_version") ?? 0
    guard format <= version else {
      throw SpoolError(
        kind: .newer, operation: "open", path: connection.path,
        cause: "format \(format) is newer than \(version), the newest that this version reads",
        hint: "install the version that wrote it, or restore a backup")
    }
  }

  /// Runs what is asked of a database at its opening: a question that cannot even be asked (a table or a
  /// column is not there) tells of damage like an answer that makes no sense.
  static func check<R>(_ body: () throws(SpoolError) -> R) throws(SpoolError) -> R {
    do throws(SpoolError) {
      return try body()
    } catch {
      var error = error
      if error.kind == .misuse {
        error.kind = .damaged
        error.hint = SpoolError.Kind.damaged.hint
      }
      throw error
    }
  }

  /// Brings the format forward, one version at a time, each in a transaction of its own.
  /// - Parameter steps: `steps[n]` leads from version n to n + 1 (version 0: an empty file).
  static func migrate(
    _ connection: Connection, application: Int64, steps: [String]
  ) throws(SpoolError) {
    if try connection.integer("SELECT count(*) FROM sqlite_master") == 0 {
      try connection.execute("PRAGMA application_id = \(application)")
    }
    try verify(connection, application: application, version: Int64(steps.count))
    let found = Int(try connection.integer("PRAGMA user_version") ?? 0)
    for version in found..<steps.count {
      try connection.transaction(.immediate) { () throws(SpoolError) in
        try connection.execute(steps[version])
        try connection.execute("PRAGMA user_version = \(version + 1)")
      }
    }
  }
}
