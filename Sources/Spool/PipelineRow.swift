internal import Telemetry

/// A row of the table `pipeline` (StateSchema.swift).
struct PipelineRow {
  var name: String
  var active = true
  var uplink: String
  var version: String
  /// The digest of the configuration that it runs under.
  var configuration = ""
  var gateway: String
  var epoch: Epoch
  var sequence: Int64 = 1
  var digest: Digest = .zero
  var log = LogID(rawValue: "")
  var checkpoint = Offset(0)
  /// Where it ends, once the configuration has dropped it.
  var until: Offset?
  var uncertainUntil = Offset(0)
  var receivedBefore: Int64 = 0
  var receivedAt: Int64 = 0
  /// The log's counter at `until`.
  var receivedUntil: Int64 = 0
  var counters = LedgerCounters()
  /// Of a pipeline with windows.
  var windows: WindowMark?

  init(name: String, uplink: String, version: String, gateway: String, epoch: Epoch) {
    self.name = name
    self.uplink = uplink
    self.version = version
    self.gateway = gateway
    self.epoch = epoch
  }

  /// The replay whose row this is; nil for a pipeline's own.
  var replay: ReplayID? { ReplayID.parse(book: name)?.replay }

  var state: PipelineState {
    var state = PipelineState(
      gateway: gateway, epoch: epoch, nextSequence: sequence, previousDigest: digest, log: log,
      checkpoint: checkpoint, replay: replay, windows: windows)
    if state.reaches(before: uncertainUntil) { state.possibleDuplicateUntil = uncertainUntil }
    return state
  }

  mutating func adopt(_ state: PipelineState) {
    sequence = state.nextSequence
    digest = state.previousDigest
    checkpoint = state.checkpoint
    windows = state.windows
  }

  mutating func restartChain(gateway: String, epoch: Epoch) {
    self.gateway = gateway
    self.epoch = epoch
    sequence = 1
    digest = .zero
  }

  /// Reads on from the end of a log; what it has received so far stays in its book.
  mutating func begin(at end: LogStore.End) {
    log = end.log
    checkpoint = end.next
    until = nil
    receivedAt = end.received
    windows = nil
  }

  /// Begins again at the checkpoint, with nothing in its windows.
  mutating func resumeWindows(_ resumption: Resumption?) {
    windows = resumption?.windowsClosed.map { WindowMark(from: checkpoint, closed: $0) }
  }

  /// Messages that it was given, once the log's counter stands at `counter`.
  func received(at counter: Int64) -> Int64 {
    receivedBefore + (until == nil ? counter : receivedUntil) - receivedAt
  }

  static let columns =
    """
    name, active, uplink, version, gateway, epoch, sequence, digest, log, checkpoint,
    uncertain_until, received_before, received_at, configuration, until, received_until,
    windows_from, windows_closed, windows_partial,
    """ + counterColumns.joined(separator: ", ")

  /// Those of ``LedgerCounters/columns``, in their order.
  private static let counterColumns = [
    "unmatched", "rejected", "decoded", "damaged", "produced", "emitted", "requeued", "duplicate", "refused",
    "late", "filtered", "absorbed", "delivered", "dead_lettered", "recovered", "discarded", "expired",
  ]
  private static let firstCounter = 19
  static let columnCount = Int32(firstCounter + counterColumns.count)

  /// The row that a statement over ``columns`` stands on.
  init(_ row: Statement, path: String) throws(SpoolError) {
    guard let epoch = Epoch(rawValue: row.text(5)), let digest = Digest(bytes: row.blob(7)) else {
      throw SpoolError(
        kind: .damaged, operation: "read pipeline \(row.text(0)) of", path: path,
        cause: "its epoch or digest is no such thing", hint: SpoolError.Kind.damaged.hint)
    }
    self.init(
      name: row.text(0), uplink: row.text(2), version: row.text(3), gateway: row.text(4),
      epoch: epoch)
    active = row.integer(1) != 0
    sequence = row.integer(6)
    self.digest = digest
    log = LogID(rawValue: row.text(8))
    checkpoint = Offset(row.integer(9))
    uncertainUntil = Offset(row.integer(10))
    receivedBefore = row.integer(11)
    receivedAt = row.integer(12)
    configuration = row.text(13)
    until = row.optionalInteger(14).map { Offset($0) }
    receivedUntil = row.integer(15)
    windows = WindowMark(row, from: 16)
    var numbers: [Int64] =
      [checkpoint.rawValue, sequence, uncertainUntil.rawValue, until?.rawValue ?? 0, receivedBefore]
      + [receivedAt, receivedUntil, windows?.from.rawValue ?? 0]
    for (index, column) in LedgerCounters.columns.enumerated() {
      let count = row.integer(Int32(PipelineRow.firstCounter + index))
      counters[keyPath: column.path] = count
      numbers.append(count)
    }
    guard numbers.allSatisfy(LogStore.offsets.contains) else {
      throw SpoolError(
        kind: .damaged, operation: "read pipeline \(name) of", path: path,
        cause: "one of its numbers makes no sense", hint: SpoolError.Kind.damaged.hint)
    }
  }

  static func find(_ name: String, in connection: Connection) throws(SpoolError) -> PipelineRow? {
    let row = try connection.statement("SELECT \(columns) FROM pipeline WHERE name = ?")
    defer { row.reset() }
    try row.bind([.text(name)])
    return try row.step() ? try PipelineRow(row, path: connection.path) : nil
  }

  static func all(in connection: Connection) throws(SpoolError) -> [PipelineRow] {
    let row = try connection.statement("SELECT \(columns) FROM pipeline ORDER BY name")
    defer { row.reset() }
    var rows: [PipelineRow] = []
    while try row.step() { rows.append(try PipelineRow(row, path: connection.path)) }
    return rows
  }

  private var values: [SQLValue] {
    [
      .text(name), .integer(active ? 1 : 0), .text(uplink), .text(version), .text(gateway),
      .text(epoch.rawValue), .integer(sequence), .blob(digest.bytes), .text(log.rawValue),
      .integer(checkpoint.rawValue), .integer(uncertainUntil.rawValue), .integer(receivedBefore),
      .integer(receivedAt), .text(configuration), .optional(until?.rawValue), .integer(receivedUntil),
      .optional(windows?.from.rawValue), .optional(windows?.closed?.through),
      .optional(windows?.closed?.partial),
    ] + LedgerCounters.columns.map { .integer(counters[keyPath: $0.path]) }
  }

  /// Every column but the name: replacing the whole row would write the page of the name's index at each seal.
  private static let changes =
    columns.split { ", \n".contains($0) }.filter { $0 != "name" }.map { "\($0) = excluded.\($0)" }
    .joined(separator: ", ")

  func save(in connection: Connection) throws(SpoolError) {
    let places = Array(repeating: "?", count: values.count).joined(separator: ",")
    let statement = try connection.statement(
      """
      INSERT INTO pipeline(\(PipelineRow.columns)) VALUES(\(places))
      ON CONFLICT(name) DO UPDATE SET \(PipelineRow.changes)
      """)
    defer { statement.reset() }
    try statement.bind(values)
    _ = try statement.step()
  }
}

extension WindowMark {
  /// Three columns, of which the first is NULL where there is none.
  init?(_ row: Statement, from column: Int32) {
    guard let from = row.optionalInteger(column) else { return nil }
    let through = row.optionalInteger(column + 1)
    let partial = row.optionalInteger(column + 2)
    self.init(
      from: Offset(from), closed: through.map { ClosedWindows(through: $0, partial: partial ?? $0) })
  }
}
