/// A configured pipeline as the daemon registered it.
package struct RegisteredPipeline: Sendable, Hashable {
  package var name: String
  package var version: String
  /// The configuration that it runs under.
  package var configuration: [UInt8]

  /// Those of a spool, read without changing anything, beside a running daemon or without one. Pipelines that the
  /// configuration has dropped are none of them.
  package static func all(in directory: String) throws(SpoolError) -> [RegisteredPipeline] {
    let connection = try Connection(path: Spool.statePath(directory), access: .readOnly)
    defer { connection.close() }
    try DatabaseFormat.state.verify(connection)
    let row = try connection.statement(
      """
      SELECT name, version, text FROM pipeline JOIN configuration ON configuration.digest = pipeline.configuration
      WHERE active = 1 AND until IS NULL ORDER BY name
      """)
    defer { row.reset() }
    var pipelines: [RegisteredPipeline] = []
    while try row.step() {
      pipelines.append(RegisteredPipeline(name: row.text(0), version: row.text(1), configuration: row.blob(2)))
    }
    return pipelines
  }
}
