internal import Pipeline
internal import Telemetry

/// Where a reference table comes from: enough to read it again when its file has changed.
struct TableSource: Sendable, Hashable {
  var pipeline: String
  /// Which entry of the pipeline's `enrich`, from 0.
  var index: Int
  /// Absolute.
  var path: String
  var settings: ReferenceTable.Settings
  /// What is asked of an SQLite database; nil for a CSV file.
  var query: String?
  /// The field that is looked up; nil: the reading's key.
  var by: FieldPath?

  /// Why a table cannot be had.
  struct Fault: Error, Sendable, Hashable, CustomStringConvertible {
    var path: String
    var reason: String
    var hint: String?

    var description: String { "the table \(path) \(reason)" + (hint.map { "; \($0)" } ?? "") }
  }

  /// - Parameter bytes: of the file.
  func enrichment(_ bytes: [UInt8], _ files: ConfigurationFiles) throws(Fault) -> EnrichmentSettings {
    let isSQLite = ReferenceTable.isSQLite(bytes)
    if isSQLite != (query != nil) {
      throw Fault(
        path: path,
        reason: isSQLite
          ? "is an SQLite database, and nothing says what of it"
          : "is no SQLite database, and a CSV file has no query",
        hint: isSQLite ? "add: query: SELECT device, site FROM devices" : "leave 'query' out")
    }
    // The copy of a kept configuration was whole when it was taken.
    if isSQLite, files.copies[path] == nil { try checkLogs(bytes, files) }
    do throws(ReferenceError) {
      let table: ReferenceTable
      if let query {
        table = try ReferenceTable(sqlite: bytes, query: query, settings: settings)
      } else {
        table = try ReferenceTable(csv: bytes, settings: settings)
      }
      return EnrichmentSettings(by: by, table: table, digest: Digest(of: Array(canonical.utf8), bytes))
    } catch {
      throw Fault(path: path, reason: "cannot be used: \(error)")
    }
  }

  /// Only the file itself is read: what lies beside it in a log, or half written, would be missing.
  private func checkLogs(_ bytes: [UInt8], _ files: ConfigurationFiles) throws(Fault) {
    func isInUse(_ suffix: String) -> Bool {
      switch files.read(path + suffix, settings.maximumBytes) {
      case .success(let contents): !contents.bytes.isEmpty
      case .failure(let fault): fault != .missing
      }
    }
    if ReferenceTable.mayHaveLog(bytes), isInUse("-wal") {
      throw Fault(
        path: path, reason: "has its newest rows in \(path)-wal, which is not read",
        hint: "make a finished copy with: VACUUM INTO 'copy.db'")
    }
    if isInUse("-journal") {
      throw Fault(
        path: path, reason: "is being written, or was left half written (\(path)-journal is there)",
        hint: "replace it by renaming a finished copy")
    }
  }

  /// Everything beside the file that shapes the table, each text with its length before it.
  private var canonical: String {
    let placement =
      switch settings.placement {
      case .members(let prefix): ["prefix", prefix]
      case .object(let name): ["object", name]
      }
    let columns = settings.columns.flatMap { [$0.source, $0.name, $0.kind == .number ? "number" : "text"] }
    let texts = [settings.key, String(settings.delimiter), query ?? ""] + placement + columns
    return texts.map { "\($0.utf8.count):\($0)\n" }.joined()
  }
}

/// The tables of one file's pipelines. A class for the same reason as ``DiagnosticCollector``.
final class TableCollector {
  var sources: [TableSource] = []
}

/// `enrich`: reference tables.
extension ConfigurationDecoder {
  /// Tables of one pipeline: each is a look-up for every reading, and all are in memory.
  private static let mostTables = 8

  private enum ColumnWord: String, CaseIterable {
    case text
    case number
  }

  func enrichment(_ value: ConfigurationValue, of pipeline: PipelineSettings) -> [EnrichmentSettings] {
    let items = value.items()
    if items.count > ConfigurationDecoder.mostTables {
      value.error("has \(items.count) entries, expected at most \(ConfigurationDecoder.mostTables)")
    }
    return items.reduce(into: []) { all, value in
      if let table = table(value, index: all.count, of: pipeline) { all.append(table) }
    }
  }

  private func table(_ value: ConfigurationValue, index: Int, of pipeline: PipelineSettings) -> EnrichmentSettings? {
    guard let section = value.section() else { return nil }
    let file = section.required("table")
    let path = file?.location()
    let key = section.required("key")?.text(expected: "the column that names the device")
    let query = section.optional("query")
    let queryText = query?.text(expected: "an SQL query, for example SELECT device, site FROM devices")
    let by = section.optional("by")
    let field = by?.fieldPath()
    if by == nil, pipeline.key == nil {
      value.error(
        at: value.keyPlace, "nothing says what is looked up in the table, for the pipeline has no key",
        hint: "add 'by' with a field of the readings")
    }
    var settings = ReferenceTable.Settings(key: key ?? "")
    section.set(&settings.columns, from: "columns", columns)
    section.set(&settings.delimiter, from: "delimiter") { $0.delimiter() }
    placement(section, &settings)
    section.close()
    guard let file, let path, key != nil, query == nil || queryText != nil, by == nil || field != nil,
      let bytes = file.attachment(.table, at: path)
    else { return nil }
    let source = TableSource(
      pipeline: pipeline.name, index: index, path: path, settings: settings, query: queryText, by: field)
    do throws(TableSource.Fault) {
      let settings = try source.enrichment(bytes, files)
      tables.sources.append(source)
      return settings
    } catch {
      file.error("the file \(path) \(error.reason)", hint: error.hint, concern: .attachment)
      return nil
    }
  }

  private func placement(_ section: ConfigurationSection, _ settings: inout ReferenceTable.Settings) {
    let prefix = section.optional("prefix")
    let object = section.optional("object")
    if let text = prefix?.text(expected: "what stands before the names of columns") {
      settings.placement = .members(prefix: text)
    }
    if let text = object?.text(expected: "the name of an object") { settings.placement = .object(text) }
    if prefix != nil {
      object?.error(
        at: object?.keyPlace, "columns stand either in an object or among the fields", hint: "leave 'prefix' out")
    }
  }

  /// A list of names, or a mapping from the names in the table to what the readings get.
  private func columns(_ value: ConfigurationValue) -> [ReferenceTable.Column]? {
    guard case .mapping = value.node.content else {
      return value.items().compactMap { item in
        item.text(expected: "a column's name").map { ReferenceTable.Column($0) }
      }
    }
    return value.members(of: "a column").compactMap { name, value in
      if case .scalar = value.node.content {
        return value.choice(ColumnWord.self).map { ReferenceTable.Column(name, kind: $0 == .number ? .number : .text) }
      }
      guard let section = value.section() else { return nil }
      defer { section.close() }
      var column = ReferenceTable.Column(name)
      section.set(&column.name, from: "as") { $0.text(expected: "a field's name") }
      section.set(&column.kind, from: "type") { $0.choice(ColumnWord.self).map { $0 == .number ? .number : .text } }
      return column
    }
  }
}
