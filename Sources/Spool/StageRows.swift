internal import Telemetry

/// Rows of the table `stage` (StateSchema.swift).
enum StageRows {
  /// Stores what has changed.
  static func save(_ changes: StageState, of pipeline: String, in connection: Connection) throws(SpoolError) {
    let stage = SQLValue.text(changes.stage.rawValue)
    for row in changes.rows {
      if let value = row.value {
        try connection.run(
          """
          INSERT INTO stage VALUES(?, ?, ?, ?)
          ON CONFLICT(pipeline, stage, key) DO UPDATE SET value = excluded.value
          """, .text(pipeline), stage, .blob(row.key), .blob(value))
      } else {
        try connection.run(
          "DELETE FROM stage WHERE pipeline = ? AND stage = ? AND key = ?", .text(pipeline), stage,
          .blob(row.key))
      }
    }
  }

  static func forget(_ stage: StageState.Stage, of pipeline: String, in connection: Connection) throws(SpoolError) {
    try connection.run(
      "DELETE FROM stage WHERE pipeline = ? AND stage = ?", .text(pipeline), .text(stage.rawValue))
  }

  /// What one stage remembers.
  static func rows(
    of stage: StageState.Stage, of pipeline: String, in connection: Connection
  ) throws(SpoolError) -> [StateRow] {
    let row = try connection.statement("SELECT key, value FROM stage WHERE pipeline = ? AND stage = ? ORDER BY key")
    defer { row.reset() }
    try row.bind([.text(pipeline), .text(stage.rawValue)])
    var rows: [StateRow] = []
    while try row.step() { rows.append(StateRow(key: row.blob(0), value: row.blob(1))) }
    return rows
  }

  static func all(of pipeline: String, in connection: Connection) throws(SpoolError) -> [StageState] {
    let row = try connection.statement("SELECT stage, key, value FROM stage WHERE pipeline = ? ORDER BY stage, key")
    defer { row.reset() }
    try row.bind([.text(pipeline)])
    var stages: [StageState] = []
    while try row.step() {
      guard let stage = StageState.Stage(rawValue: row.text(0)) else { continue }
      if stages.last?.stage != stage { stages.append(StageState(stage: stage, rows: [])) }
      stages[stages.count - 1].rows.append(StateRow(key: row.blob(1), value: row.blob(2)))
    }
    return stages
  }
}
