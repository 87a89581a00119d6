package import Telemetry

/// What stages of a pipeline remember, as its last seal left it.
package struct StoredStages: Sendable {
  package var version: String
  /// The configuration that it runs under.
  package var configuration: [UInt8]
  package var log: LogID
  /// The first message that is not in it.
  package var checkpoint: Offset
  package var stages: [StageState]

  /// Reads one moment of a spool without changing anything, beside a running daemon or without one.
  /// - Parameter wanted: the other stages are not read: windows may have many rows.
  /// - Returns: nil where there is no such pipeline.
  package static func read(
    _ wanted: [StageState.Stage], of pipeline: String, in directory: String
  ) throws(SpoolError) -> StoredStages? {
    let connection = try Connection(path: Spool.statePath(directory), access: .readOnly)
    defer { connection.close() }
    try DatabaseFormat.state.verify(connection)
    return try connection.transaction(.deferred) { () throws(SpoolError) in
      guard let row = try PipelineRow.find(pipeline, in: connection), row.active, row.replay == nil else { return nil }
      var stages: [StageState] = []
      for stage in wanted {
        let rows = try StageRows.rows(of: stage, of: pipeline, in: connection)
        if !rows.isEmpty { stages.append(StageState(stage: stage, rows: rows)) }
      }
      return StoredStages(
        version: row.version, configuration: try StateStore.configuration(row.configuration, in: connection),
        log: row.log, checkpoint: row.checkpoint, stages: stages)
    }
  }
}
