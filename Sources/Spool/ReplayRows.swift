package import Telemetry

/// A row of the table `replay` (StateSchema.swift).
enum ReplayRow {
  /// Replays that have not ended, at most: each keeps a stretch of the log from being deleted.
  static let openLimit = 100
  /// Replays that have ended and are still shown.
  static let endedLimit = 100

  private static let columns = """
    id, pipeline, state, reason, from_wall, until_wall, log, first, end, rate, budget, bytes, batches,
    estimated_readings, estimated_batches, estimated_bytes, created, ended
    """

  /// In the order in which they were made, with their books.
  static func select(
    _ condition: String = "1", _ values: SQLValue..., in connection: Connection
  ) throws(SpoolError) -> [Replay] {
    var replays: [Replay] = []
    do {
      let row = try connection.statement("SELECT \(columns) FROM replay WHERE \(condition) ORDER BY created, rowid")
      defer { row.reset() }
      try row.bind(values)
      while try row.step() { replays.append(try replay(row, path: connection.path)) }
    }
    for index in replays.indices {
      guard let row = try PipelineRow.find(replays[index].book, in: connection) else { continue }
      replays[index].version = row.version
      replays[index].uplink = row.uplink
      replays[index].checkpoint = row.checkpoint
      replays[index].ledger = try Audit.entry(row, in: connection).ledger
    }
    return replays
  }

  static func find(_ id: ReplayID, in connection: Connection) throws(SpoolError) -> Replay? {
    try select("id = ?", .text(id.rawValue), in: connection).first
  }

  private static func replay(_ row: Statement, path: String) throws(SpoolError) -> Replay {
    let numbers = [7, 8, 9, 10, 11, 12].map { row.integer($0) }
    guard let id = ReplayID(rawValue: row.text(0)), let state = Replay.State(rawValue: row.text(2)),
      numbers.allSatisfy(LogStore.offsets.contains), row.integer(7) <= row.integer(8)
    else {
      throw SpoolError(
        kind: .damaged, operation: "read replay \(row.text(0)) of", path: path,
        cause: "its id, its state or a number is none", hint: SpoolError.Kind.damaged.hint)
    }
    var request = Replay.Request(
      pipeline: row.text(1), log: LogID(rawValue: row.text(6)),
      offsets: Offset(row.integer(7))..<Offset(row.integer(8)))
    if let from = row.optionalInteger(4), let until = row.optionalInteger(5), from <= until {
      request.times = from..<until
    }
    request.rate = row.integer(9)
    request.budget = row.integer(10)
    if let readings = row.optionalInteger(13) {
      request.estimate = Replay.Estimate(readings: readings, batches: row.integer(14), bytes: row.integer(15))
    }
    return Replay(
      id: id, request: request, state: state, reason: row.optionalText(3), bytes: row.integer(11),
      batches: row.integer(12), created: row.integer(16), ended: row.optionalInteger(17), version: "", uplink: "",
      checkpoint: request.offsets.lowerBound, ledger: Ledger())
  }

  static func insert(_ replay: Replay, into connection: Connection) throws(SpoolError) {
    let request = replay.request
    try connection.run(
      "INSERT INTO replay(\(columns)) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", .text(replay.id.rawValue),
      .text(request.pipeline), .text(replay.state.rawValue), .optional(replay.reason),
      .optional(request.times?.lowerBound), .optional(request.times?.upperBound), .text(request.log.rawValue),
      .integer(request.offsets.lowerBound.rawValue), .integer(request.offsets.upperBound.rawValue),
      .integer(request.rate), .integer(request.budget), .integer(replay.bytes), .integer(replay.batches),
      .optional(request.estimate?.readings), .optional(request.estimate?.batches), .optional(request.estimate?.bytes),
      .integer(replay.created), .optional(replay.ended))
  }

  static func set(
    _ state: Replay.State, _ reason: String?, of id: ReplayID, ended: Int64? = nil, in connection: Connection
  ) throws(SpoolError) {
    try connection.run(
      "UPDATE replay SET state = ?, reason = ?, ended = ? WHERE id = ?", .text(state.rawValue), .optional(reason),
      .optional(ended), .text(id.rawValue))
  }

  /// Ends a replay and closes its book: what it has received is what it has passed.
  static func end(
    _ replay: Replay, _ state: Replay.State, _ reason: String?, wall: Int64, in connection: Connection
  ) throws(SpoolError) {
    try set(state, reason, of: replay.id, ended: wall, in: connection)
    guard var row = try PipelineRow.find(replay.book, in: connection) else { return }
    row.receivedBefore = row.checkpoint - replay.request.offsets.lowerBound
    row.receivedAt = 0
    row.receivedUntil = 0
    row.until = nil
    row.active = false
    try row.save(in: connection)
    for stage in StageState.Stage.allCases { try StageRows.forget(stage, of: replay.book, in: connection) }
  }

  /// For a state that was rebuilt: none of them can go on.
  static func failAll(_ reason: String, _ wall: Int64, in connection: Connection) throws(SpoolError) {
    try connection.run(
      "UPDATE replay SET state = 'failed', reason = ?, ended = ? WHERE ended IS NULL", .text(reason), .integer(wall))
  }

  /// Whether a seal may be committed: those of pipelines always, those of a replay while it runs, for its operator
  /// may have paused or cancelled it a moment ago. What the seal holds is counted here.
  static func admit(_ seal: Seal, book: String, in connection: Connection) throws(SpoolError) -> Bool {
    guard let replay = ReplayID.parse(book: book)?.replay else { return true }
    let bytes = seal.batches.reduce(0) { $0 + $1.body.count }
    try connection.run(
      "UPDATE replay SET bytes = bytes + ?, batches = batches + ? WHERE id = ? AND state = 'running'",
      .integer(bytes), .integer(seal.batches.count), .text(replay.rawValue))
    return connection.changes == 1
  }

  /// Forgets replays that ended long ago and of which nothing is left but their numbers.
  static func prune(in connection: Connection) throws(SpoolError) {
    let ended = try select("ended IS NOT NULL", in: connection).sorted { ($0.ended ?? 0) > ($1.ended ?? 0) }
    for replay in ended.dropFirst(endedLimit) where replay.ledger.inOutbox == 0 && replay.ledger.deadLetters == 0 {
      try connection.run("DELETE FROM replay WHERE id = ?", .text(replay.id.rawValue))
      try connection.run("DELETE FROM pipeline WHERE name = ?", .text(replay.book))
    }
  }
}

extension StateStore {
  /// What a replay of a pipeline would run: the version at work and the configuration that it comes from.
  package func replayable(_ pipeline: String) throws(SpoolError) -> (version: String, configuration: [UInt8])? {
    try read { connection throws(SpoolError) in
      guard let row = try PipelineRow.find(pipeline, in: connection), row.isReplayable else { return nil }
      return (row.version, try StateStore.configuration(row.configuration, in: connection))
    }
  }

  /// Makes a replay, for the daemon to take up. Its stages remember nothing, but know what the wall clocks were
  /// worth, as far as the pipeline does today.
  package func createReplay(
    _ request: Replay.Request, wall: Int64, random: () -> UInt64
  ) throws(SpoolError) -> Result<Replay, ReplayRefusal> {
    try write { connection throws(SpoolError) in
      guard let source = try PipelineRow.find(request.pipeline, in: connection), source.isReplayable else {
        let known = try PipelineRow.all(in: connection).filter(\.isReplayable).map(\.name)
        return .failure(.unknownPipeline(request.pipeline, known: known))
      }
      guard source.log == request.log else { return .failure(.otherLog(request.pipeline)) }
      let open = try connection.integer("SELECT count(*) FROM replay WHERE ended IS NULL") ?? 0
      guard open < ReplayRow.openLimit else { return .failure(.tooMany(Int(open))) }
      try ReplayRow.prune(in: connection)
      var id = ReplayID(random: random())
      while try ReplayRow.find(id, in: connection) != nil { id = ReplayID(random: random()) }
      let replay = Replay(
        id: id, request: request, state: .waiting, reason: nil, bytes: 0, batches: 0, created: wall, ended: nil,
        version: source.version, uplink: source.uplink, checkpoint: request.offsets.lowerBound, ledger: Ledger())
      try ReplayRow.insert(replay, into: connection)
      var row = PipelineRow(
        name: replay.book, uplink: source.uplink, version: source.version, gateway: source.gateway,
        epoch: Epoch(random: random()))
      row.configuration = source.configuration
      row.log = request.log
      row.checkpoint = request.offsets.lowerBound
      row.until = request.offsets.upperBound
      row.receivedUntil = request.offsets.upperBound - request.offsets.lowerBound
      try row.save(in: connection)
      for var clock in try StageRows.all(of: request.pipeline, in: connection) where clock.stage == .clock {
        clock.rows = clock.rows.filter { $0.value != nil }
        try StageRows.save(clock, of: replay.book, in: connection)
      }
      return .success(try ReplayRow.find(id, in: connection) ?? replay)
    }
  }

  /// All that are known, in the order in which they were made.
  package func replays() throws(SpoolError) -> [Replay] {
    try read { connection throws(SpoolError) in try ReplayRow.select(in: connection) }
  }

  package func replay(_ id: ReplayID) throws(SpoolError) -> Replay? {
    try read { connection throws(SpoolError) in try ReplayRow.find(id, in: connection) }
  }

  /// The replay that is to run: the one that does, or the one that has waited longest.
  package func nextReplay() throws(SpoolError) -> Replay? {
    try read { connection throws(SpoolError) in
      let open = try ReplayRow.select("state IN ('running', 'waiting')", in: connection)
      return open.first { $0.state == .running } ?? open.first
    }
  }

  /// The configuration that a replay runs under.
  package func configuration(of replay: Replay) throws(SpoolError) -> [UInt8] {
    try read { connection throws(SpoolError) in
      guard let row = try PipelineRow.find(replay.book, in: connection) else { return [] }
      return try StateStore.configuration(row.configuration, in: connection)
    }
  }

  /// Bytes of its batches that wait for their delivery.
  package func outboxBytes(of replay: Replay) throws(SpoolError) -> Int64 {
    try read { connection throws(SpoolError) in
      try connection.integer(
        "SELECT coalesce(sum(length(body)), 0) FROM outbox WHERE pipeline = ?", .text(replay.book)) ?? 0
    }
  }

  // MARK: What the daemon does with them

  /// The daemon takes it up.
  /// - Returns: false where it is no longer to run.
  package func runReplay(_ id: ReplayID) throws(SpoolError) -> Bool {
    try change(id, "run", from: [.waiting, .running]) { replay, connection throws(SpoolError) in
      if replay.state == .waiting { try ReplayRow.set(.running, nil, of: id, in: connection) }
    }.isSuccess
  }

  /// It has read and sealed everything.
  package func finishReplay(_ id: ReplayID, wall: Int64) throws(SpoolError) {
    _ = try change(id, "finished", from: [.running]) { replay, connection throws(SpoolError) in
      guard replay.checkpoint >= replay.request.offsets.upperBound else {
        throw SpoolError(
          kind: .misuse, operation: "finish replay \(id) in", path: path, cause: "it has not read all of it", hint: nil)
      }
      try ReplayRow.end(replay, .finished, nil, wall: wall, in: connection)
    }
  }

  /// It cannot go on.
  package func failReplay(_ id: ReplayID, reason: String, wall: Int64) throws(SpoolError) {
    _ = try change(id, "failed", from: [.waiting, .running]) { replay, connection throws(SpoolError) in
      try ReplayRow.end(replay, .failed, reason, wall: wall, in: connection)
    }
  }

  // MARK: What an operator does with them

  /// - Parameter reason: why, where it is not an operator's wish.
  @discardableResult
  package func pauseReplay(
    _ id: ReplayID, reason: String? = nil
  ) throws(SpoolError) -> Result<Void, ReplayRefusal> {
    try change(id, "paused", from: [.waiting, .running]) { _, connection throws(SpoolError) in
      try ReplayRow.set(.paused, reason, of: id, in: connection)
    }
  }

  /// Lets a paused one go on where it stopped.
  /// - Parameters:
  ///   - rate, budget: other ones than it had; nil leaves them. The budget counts from its beginning.
  package func resumeReplay(
    _ id: ReplayID, rate: Int64? = nil, budget: Int64? = nil
  ) throws(SpoolError) -> Result<Void, ReplayRefusal> {
    try change(id, "resumed", from: [.paused]) { replay, connection throws(SpoolError) in
      try connection.run(
        "UPDATE replay SET rate = ?, budget = ? WHERE id = ?", .integer(rate ?? replay.request.rate),
        .integer(budget ?? replay.request.budget), .text(id.rawValue))
      try ReplayRow.set(.waiting, nil, of: id, in: connection)
    }
  }

  /// Ends one before its time. What it has sealed is still delivered: a chain has no gaps.
  package func cancelReplay(_ id: ReplayID, wall: Int64) throws(SpoolError) -> Result<Void, ReplayRefusal> {
    try change(id, "cancelled", from: [.waiting, .running, .paused]) { replay, connection throws(SpoolError) in
      try ReplayRow.end(replay, .cancelled, nil, wall: wall, in: connection)
    }
  }

  private func change(
    _ id: ReplayID, _ action: String, from states: Set<Replay.State>,
    _ body: (Replay, Connection) throws(SpoolError) -> Void
  ) throws(SpoolError) -> Result<Void, ReplayRefusal> {
    try write { connection throws(SpoolError) in
      guard let replay = try ReplayRow.find(id, in: connection) else { return .failure(.unknownReplay(id.rawValue)) }
      guard states.contains(replay.state) else { return .failure(.state(id, replay.state, action)) }
      try body(replay, connection)
      return .success(())
    }
  }
}

extension PipelineRow {
  /// Whether it is a pipeline that is configured and at work.
  fileprivate var isReplayable: Bool { replay == nil && active && until == nil && !log.rawValue.isEmpty }
}

extension Result where Success == Void {
  fileprivate var isSuccess: Bool { if case .success = self { true } else { false } }
}
