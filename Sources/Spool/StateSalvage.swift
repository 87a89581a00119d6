internal import Telemetry

/// Rebuilds a damaged state.
///
/// Where nothing is wrong with it after all, it goes on as it was. Otherwise active pipelines begin again
/// at the mirrored marks, under new epochs, and of the rest is kept what cannot be had from the log again:
/// dead letters, and batches whose messages no pipeline will read once more.
struct StateSalvage {
  /// The damaged file.
  var place: String
  /// The log and the first offset that it still holds, where pipelines without a mark begin again.
  var logStart: (log: LogNames, start: Offset)?
  /// Where pipelines begin again, by name.
  var marks: [String: Resumption]
  /// Wall nanoseconds, for what is booked.
  var wall: Int64
  /// Draws epochs.
  var random: () -> UInt64
  var format: DatabaseFormat = .state

  enum Outcome: Equatable {
    /// Nothing is wrong with it; it can be moved back.
    case whole
    /// - missing: readings in batches that could not be read.
    case rebuilt(batches: Int, deadLetters: Int, missing: Int64, wasCut: Bool)
  }

  func rebuild(into path: String) throws(SpoolError) -> Outcome {
    format.salvageForward(place)
    // A file whose first page is lost cannot be opened at all.
    let source = try? Connection(path: place, access: .readOnly)
    defer { source?.close() }
    if let source, try isWhole(source) { return .whole }
    try StateStore(path: path, format: format).close()
    let target = try Connection(path: path, access: .readWrite(.everyCommit))
    defer { target.close() }
    guard let source else {
      try target.truncateLog()
      return .rebuilt(batches: 0, deadLetters: 0, missing: 0, wasCut: false)
    }
    var pick = Pick(salvage: self, source: source, target: target)
    try pick.run(RebuildRoom(directory: FileSystem.folder(of: path)))
    try target.truncateLog()
    return .rebuilt(
      batches: pick.batches, deadLetters: pick.letters, missing: pick.missing, wasCut: pick.wasCut)
  }

  /// Whether SQLite finds nothing wrong, every row has its meaning, and every batch its digest.
  private func isWhole(_ source: Connection) throws(SpoolError) -> Bool {
    guard (try? format.verify(source)) != nil,
      (try? source.text("PRAGMA integrity_check(1)")) == "ok",
      (try? StateStore.verify(source)) != nil
    else { return false }
    var rows = ReadableRows("SELECT \(OutboxRow.columns) FROM outbox", id: "id", in: source)
    while let item = rows.next({ StateSalvage.item($0, in: source) }) {
      guard let item, StateSalvage.isSound(item.batch, in: source) else { return false }
    }
    guard rows.isWhole else { return false }
    try source.truncateLog()
    return FileSystem.size(place + "-wal") == 0
  }

  fileprivate static func item(_ row: Statement, in source: Connection) -> (id: Int64, row: OutboxItem?) {
    (row.integer(0), try? OutboxRow.item(row, path: source.path))
  }

  /// Whether the body is the one that was sealed.
  fileprivate static func isSound(_ batch: Batch, in source: Connection) -> Bool {
    guard let body = try? OutboxRow.plainBody(of: batch, path: source.path), body.count == batch.length
    else { return false }
    return batch.digest
      == Batch.digest(identity: batch.identity, previous: batch.previous, count: batch.count, body: body)
  }
}

/// Picks out of a state that is not whole what is to be kept.
private struct Pick {
  let salvage: StateSalvage
  let source: Connection
  let target: Connection
  /// The rows of the damaged table that can be read.
  private var known: [String: PipelineRow] = [:]
  private var books: [String: PipelineRow] = [:]
  /// Readings in the batches that could be read, by pipeline.
  private var seen: [String: Int64] = [:]
  private(set) var batches = 0
  private(set) var letters = 0
  private(set) var missing: Int64 = 0
  private(set) var wasCut = false

  init(salvage: StateSalvage, source: Connection, target: Connection) {
    self.salvage = salvage
    self.source = source
    self.target = target
  }

  mutating func run(_ room: RebuildRoom) throws(SpoolError) {
    for (table, id) in [("session", "rowid"), ("fault", "id"), ("configuration", "rowid"), ("replay", "rowid")] {
      try carry(table, id: id, room)
    }
    // That it was restored and has not been bound to its new place yet. Of one that was bound the place has changed
    // now, which tells nothing.
    if let word = try? source.text("SELECT file FROM instance"), StateStore.moveMarks.contains(word) {
      let machine = ((try? source.text("SELECT machine FROM instance")) ?? nil) ?? ""
      try target.run("INSERT INTO instance VALUES(?, ?)", .text(machine), .text(word))
    }
    var rows = ReadableRows("SELECT \(PipelineRow.columns), rowid FROM pipeline", id: "rowid", in: source)
    let path = source.path
    while let row = rows.next({ ($0.integer(PipelineRow.columnCount), try? PipelineRow($0, path: path)) }) {
      if let row { known[row.name] = row }
    }
    for row in known.values where row.active && row.until != nil && row.replay == nil { try drainOn(row) }
    try pickBatches(room)
    try pickLetters(room)
    try pickLineage(room)
    for row in known.values {
      let expected = row.counters.readings - row.counters.settled
      missing += max(0, expected - (seen[row.name] ?? 0))
    }
    try target.transaction(.immediate) { () throws(SpoolError) in
      for row in books.values { try row.save(in: target) }
      // What a replay has sealed is delivered; the rest of it is for another one.
      try ReplayRow.failAll("state.db was damaged and had to be rebuilt; start another", salvage.wall, in: target)
      // Positions go on behind those that were kept, whatever numbers their rows have now.
      try target.run(
        "UPDATE sqlite_sequence SET seq = max(seq, (SELECT max(position) FROM outbox)) WHERE name = 'outbox'")
      if missing > 0 {
        try StateStore.book(
          StateStore.Fault(
            wall: salvage.wall, kind: "lost-batches",
            detail: "readings in batches that could not be read; those whose messages are still in the log "
              + "are read again", messages: missing), in: target)
      }
    }
  }

  /// Where a pipeline begins again.
  private func resume(_ pipeline: String) -> Offset? {
    salvage.logStart.map { max($0.start, salvage.marks[pipeline]?.offset ?? $0.start) }
  }

  /// Whether the pipeline will read that message once more; nil where nobody knows.
  private func isReadAgain(_ pipeline: String, _ log: LogID, _ offset: Offset) -> Bool? {
    if ReplayID.parse(book: pipeline) != nil { return false }
    guard let resume = resume(pipeline), salvage.logStart?.log.contains(log) == true, offset >= resume else {
      return false
    }
    guard let row = known[pipeline] else { return nil }
    return row.active && offset < row.until ?? Offset(.max)
  }

  /// A pipeline that the configuration has dropped reads on to its end, from where it begins again.
  private mutating func drainOn(_ old: PipelineRow) throws(SpoolError) {
    guard let until = old.until, let resume = resume(old.name), salvage.logStart?.log.contains(old.log) == true
    else { return }
    var row = PipelineRow(
      name: old.name, uplink: old.uplink, version: old.version, gateway: old.gateway,
      epoch: Epoch(random: salvage.random()))
    row.configuration = old.configuration
    row.log = old.log
    row.checkpoint = min(resume, until)
    row.resumeWindows(salvage.marks[old.name])
    row.until = until
    row.receivedUntil = old.receivedUntil
    row.receivedAt = max(0, old.receivedUntil - (until - row.checkpoint))
    row.uncertainUntil = until
    books[row.name] = row
  }

  private mutating func book(_ name: String, _ change: (inout LedgerCounters) -> Void) {
    let old = known[name]
    var row: PipelineRow
    if let begun = books[name] {
      row = begun
    } else {
      row = PipelineRow(
        name: name, uplink: old?.uplink ?? "", version: old?.version ?? "", gateway: old?.gateway ?? "",
        epoch: Epoch(random: salvage.random()))
      row.active = false
    }
    let handled = row.counters.handled
    change(&row.counters)
    row.receivedBefore += row.counters.handled - handled
    books[name] = row
  }

  private mutating func pickBatches(_ room: RebuildRoom) throws(SpoolError) {
    var rows = ReadableRows("SELECT \(OutboxRow.columns) FROM outbox", id: "id", in: source)
    let source = source
    try fill(room) { pick throws(SpoolError) in
      guard let item = rows.next({ StateSalvage.item($0, in: source) }) else { return nil }
      guard let item, StateSalvage.isSound(item.batch, in: source) else { return 0 }
      var batch = item.batch
      let name = batch.book
      pick.seen[name, default: 0] += Int64(batch.count)
      let needed = batch.windows.map { min($0.from, batch.firstOffset) } ?? batch.firstOffset
      let again = pick.isReadAgain(name, batch.log, needed)
      if again == true { return 0 }
      if again == nil { batch.possibleDuplicate = true }
      let kept = try pick.keep { target throws(SpoolError) in
        try OutboxRow.insert(batch, pipeline: name, position: item.position, line: item.line, into: target)
      }
      guard kept else { return 0 }
      pick.batches += 1
      pick.book(name) {
        $0.decoded += Int64(batch.count)
        $0.produced += Int64(batch.count)
      }
      return batch.body.count
    }
  }

  private mutating func pickLetters(_ room: RebuildRoom) throws(SpoolError) {
    var rows = ReadableRows("SELECT \(DeadLetterRow.columns) FROM dead_letter", id: "id", in: source)
    try fill(room) { pick throws(SpoolError) in
      guard let letter = rows.next({ ($0.integer(0), DeadLetterRow.stored($0)) }) else { return nil }
      let rejection = letter.letter.rejection
      // What is read again is refused again. Where nobody knows, twice is better than never. A result of windows that
      // the upstream refused is not worked out again: its time stays closed.
      let isResult = rejection.stage == .upstream && pick.salvage.marks[letter.pipeline]?.windowsClosed != nil
      guard isResult || pick.isReadAgain(letter.pipeline, rejection.log, rejection.offset) != true else { return 0 }
      let kept = try pick.keep { target throws(SpoolError) in
        try DeadLetterRow.insert(rejection, pipeline: letter.pipeline, since: letter.since, into: target)
      }
      guard kept else { return 0 }
      pick.letters += 1
      pick.book(letter.pipeline) {
        switch rejection.stage {
        case .decode: $0.rejected += 1
        case .contract, .transform, .window:
          $0.decoded += 1
          $0.produced += 1
          $0.refused += 1
        case .upstream:
          $0.decoded += 1
          $0.produced += 1
          $0.deadLetteredUpstream += 1
        }
      }
      return rejection.payload.count
    }
  }

  /// Last, because batches and dead letters are worth more than the knowledge of those that are delivered.
  private mutating func pickLineage(_ room: RebuildRoom) throws(SpoolError) {
    try carry("version", id: "rowid", room)
    try carry("lineage", id: "id", bytes: LineageChunk.maximumBytes, room)
    var rows = ReadableRows("SELECT recent, rowid FROM pipeline", id: "rowid", in: source)
    try fill(room) { pick throws(SpoolError) in
      guard let recent = rows.next({ ($0.integer(1), $0.blob(0)) }) else { return nil }
      guard let chunk = try? LineageChunk(decoding: recent) else { return 0 }
      _ = try pick.keep { target throws(SpoolError) in
        try LineageRows.insert(chunk, recent, into: target)
      }
      return recent.count
    }
  }

  private mutating func carry(
    _ table: String, id: String, bytes: Int = 256, _ room: RebuildRoom
  ) throws(SpoolError) {
    var rows = ReadableRows("SELECT *, rowid FROM \(table)", id: id, in: source)
    try fill(room) { pick throws(SpoolError) in
      let row = rows.next { row in
        (row.integer(row.columns - 1), (0..<row.columns - 1).map { row.value($0) })
      }
      guard let row else { return nil }
      _ = try pick.keep { target throws(SpoolError) in try target.insert(row, into: table) }
      return bytes
    }
  }

  private mutating func fill(
    _ room: RebuildRoom, _ next: (inout Pick) throws(SpoolError) -> Int?
  ) throws(SpoolError) {
    guard !wasCut else { return }
    let whole = try target.fill(room) { () throws(SpoolError) in try next(&self) }
    wasCut = !whole
  }

  /// Writes a row; one that breaks a rule of its table, as a row from a damaged file may, is left out.
  private func keep(
    _ write: (Connection) throws(SpoolError) -> Void
  ) throws(SpoolError) -> Bool {
    do throws(SpoolError) {
      try write(target)
      return true
    } catch  where error.kind == .misuse {
      return false
    }
  }
}
