internal import Telemetry

/// Rebuilds a damaged state.
///
/// Where every row of every table that matters still reads and makes sense, the state goes on as it was.
/// Otherwise pipelines begin again at the mirrored marks, and of the rest is kept what cannot be had from
/// the log again: dead letters, and batches whose messages the log no longer holds.
struct StateSalvage {
  /// The damaged file.
  var place: String
  /// The log and the first offset that it still holds, where pipelines without a mark begin again.
  var logStart: (log: LogID, start: Offset)?
  /// Where pipelines begin again, by name.
  var marks: [String: Offset]

  enum Outcome: Equatable {
    /// Everything is there.
    case whole
    case partly(batches: Int, deadLetters: Int)
    /// The disk was full before everything was copied.
    case cut
  }

  private static let carried = ["session", "fault", "configuration"]

  func rebuild(into path: String) throws(SpoolError) -> Outcome {
    let store = try StateStore(path: path)
    defer { store.close() }
    guard let source = try? Connection(path: place, access: .readOnly) else {
      return .partly(batches: 0, deadLetters: 0)
    }
    defer { source.close() }
    do throws(SpoolError) {
      if try carryOver(source, into: store) {
        try store.truncateLog()
        return .whole
      }
      let outcome = try pickUp(source, into: store)
      try store.truncateLog()
      return outcome
    } catch  where error.kind == .full {
      return .cut
    }
  }

  /// Copies everything; leaves the target as it was where a single row cannot be read.
  private func carryOver(_ source: Connection, into store: StateStore) throws(SpoolError) -> Bool {
    struct Unreadable: Error {}
    do {
      guard try source.text("PRAGMA quick_check(1)") == "ok",
        try source.integer("SELECT count(*) FROM pipeline") ?? 0 > 0
      else { return false }
      for table in ["instance", "pipeline", "outbox", "dead_letter"] + StateSalvage.carried {
        guard try StateSalvage.isSound(table, in: source) else { return false }
      }
    } catch {
      return false
    }
    try store.write { target throws(SpoolError) in
      for table in ["instance", "pipeline", "outbox", "dead_letter"] + StateSalvage.carried {
        try StateSalvage.copy(table, from: source, to: target)
      }
      try target.run(
        "UPDATE instance SET file = ?", .text(FileSystem.identity(target.path) ?? ""))
    }
    return true
  }

  private static func isSound(_ table: String, in source: Connection) throws(SpoolError) -> Bool {
    switch table {
    case "pipeline": _ = try PipelineRow.all(in: source)
    case "outbox":
      let row = try source.statement("SELECT \(OutboxRow.columns) FROM outbox")
      defer { row.reset() }
      while try row.step() {
        guard let batch = try? OutboxRow.item(row, path: source.path).batch, StateSalvage.isSound(batch, in: source)
        else { return false }
      }
    default:
      let row = try source.statement("SELECT * FROM \(table)")
      defer { row.reset() }
      while try row.step() {}
    }
    return true
  }

  /// Whether the body is the one that was sealed.
  private static func isSound(_ batch: Batch, in source: Connection) -> Bool {
    guard let body = try? OutboxRow.plainBody(of: batch, path: source.path), body.count == batch.length
    else { return false }
    return batch.digest
      == Batch.digest(identity: batch.identity, previous: batch.previous, count: batch.count, body: body)
  }

  private static func copy(
    _ table: String, from source: Connection, to target: Connection
  ) throws(SpoolError) {
    let row = try source.statement("SELECT * FROM \(table)")
    defer { row.reset() }
    while try row.step() { try target.insert(row, into: table) }
  }

  // MARK: Where it is not whole

  private func pickUp(_ source: Connection, into store: StateStore) throws(SpoolError) -> Outcome {
    try store.write { target throws(SpoolError) in
      for table in StateSalvage.carried {
        try readable(table, in: source) { row throws(SpoolError) in
          try target.insert(row, into: table)
        }
      }
      var known: [String: PipelineRow] = [:]
      try readable("pipeline", columns: PipelineRow.columns, in: source) { row throws(SpoolError) in
        if let pipeline = try? PipelineRow(row, path: source.path) { known[pipeline.name] = pipeline }
      }
      var books: [String: PipelineRow] = [:]
      func book(_ name: String, _ change: (inout PipelineRow) -> Void) {
        let old = known[name]
        var row =
          books[name]
          ?? PipelineRow(
            name: name, uplink: old?.uplink ?? "", version: old?.version ?? "",
            gateway: old?.gateway ?? "", epoch: old?.epoch ?? Epoch(random: 0))
        row.active = false
        change(&row)
        row.receivedBefore = row.handled
        books[name] = row
      }
      var batches = 0
      try readable("outbox", columns: OutboxRow.columns, in: source) { row throws(SpoolError) in
        guard let batch = try? OutboxRow.item(row, path: source.path).batch,
          StateSalvage.isSound(batch, in: source),
          !isReadAgain(batch.identity.pipeline, batch.log, batch.firstOffset)
        else { return }
        let name = batch.identity.pipeline
        try OutboxRow.insert(
          batch, pipeline: name, position: row.integer(1), line: row.integer(2), into: target)
        batches += 1
        book(name) {
          $0.decoded += Int64(batch.count)
          $0.produced += Int64(batch.count)
        }
      }
      var letters = 0
      try readable("dead_letter", columns: DeadLetterRow.columns, in: source) { row throws(SpoolError) in
        let letter = DeadLetterRow.stored(row)
        let rejection = letter.letter.rejection
        // One whose message is read again is refused again.
        guard !isReadAgain(letter.pipeline, rejection.log, rejection.offset) else { return }
        try DeadLetterRow.insert(rejection, pipeline: letter.pipeline, into: target)
        letters += 1
        book(letter.pipeline) {
          switch rejection.stage {
          case .decode: $0.rejected += 1
          case .upstream:
            $0.decoded += 1
            $0.produced += 1
            $0.deadLettered += 1
          }
        }
      }
      for row in books.values { try row.save(in: target) }
      return .partly(batches: batches, deadLetters: letters)
    }
  }

  /// Whether the pipeline will read that message once more.
  private func isReadAgain(_ pipeline: String, _ log: LogID, _ offset: Offset) -> Bool {
    guard let logStart, logStart.log == log else { return false }
    return offset >= max(logStart.start, marks[pipeline] ?? logStart.start)
  }

  /// Calls `body` for every row that can be read; behind an unreadable stretch nothing more is looked for.
  private func readable(
    _ table: String, columns: String = "*", in source: Connection,
    _ body: (Statement) throws(SpoolError) -> Void
  ) throws(SpoolError) {
    guard let row = try? source.statement("SELECT \(columns) FROM \(table)") else { return }
    defer { row.reset() }
    while (try? row.step()) == true { try body(row) }
  }
}
