internal import Failpoints
package import Telemetry

/// What the daemon says of a pipeline when it starts or reloads.
package struct PipelineRegistration: Sendable, Hashable {
  package var name: String
  package var uplink: String
  package var version: String
  /// What the version does, for `forebay lineage` after the configuration has changed; the spool only keeps it.
  package var explanation: [UInt8]

  package init(name: String, uplink: String, version: String, explanation: [UInt8] = []) {
    self.name = name
    self.uplink = uplink
    self.version = version
    self.explanation = explanation
  }
}

extension StateStore {
  /// What came of a registration.
  package struct Registered: Sendable {
    /// The states of the configured pipelines.
    package var states: [String: PipelineState] = [:]
    /// Pipelines that the configuration has dropped and that have a backlog to seal.
    package var draining: [Draining] = []
  }

  /// A pipeline that ends where the log stood when the configuration dropped it.
  package struct Draining: Sendable, Hashable {
    package var state: PipelineState
    package var name: String
    package var until: Offset
    /// The configuration that it ran under, as it was registered.
    package var configuration: [UInt8]
  }

  /// The states of the configured pipelines, begun where they are new, and those of the pipelines that
  /// the configuration has dropped.
  ///
  /// A new pipeline begins at the end of the log, and one that is dropped ends there, at the same
  /// offset: what was received before it was configured is for a replay, and a pipeline that gets
  /// another name loses nothing and repeats nothing. One that comes back while it is still draining goes
  /// on from where it has read.
  ///
  /// Where the state has been lost while the log holds messages, a pipeline begins at its `delivered`
  /// mark, or at the first message that is left, and its batches up to the end of the log are possible
  /// duplicates.
  /// - Parameters:
  ///   - configuration: what the registrations come from, with the digests of the files that shape it: kept until
  ///     no pipeline needs it.
  ///   - log: the log, read in one snapshot.
  ///   - resumptions: where the mirror says that pipelines begin again; they count only for a log of that name.
  ///   - draw: draws an epoch.
  package func register(
    _ registrations: [PipelineRegistration], configuration: [UInt8], gateway: String, log: LogReader,
    resuming resumptions: [String: Resumption], wall: Int64, drawing draw: () -> Epoch
  ) throws(SpoolError) -> Registered {
    let (end, start) = try log.snapshot { () throws(SpoolError) in (try log.end(), try log.start()) }
    let digest = Digest(of: configuration).hex
    return try write { connection throws(SpoolError) in
      // A replay is none of the configuration's business.
      let known = try PipelineRow.all(in: connection).filter { $0.replay == nil }
      var registered = Registered()
      for registration in registrations {
        var row: PipelineRow
        if let found = known.first(where: { $0.name == registration.name }), !found.log.rawValue.isEmpty {
          row = found
          if row.gateway != gateway {
            // The gateway is part of every identity: a renamed one begins chains of its own.
            row.restartChain(gateway: gateway, epoch: draw())
          }
          if !row.active {
            row.begin(at: end)
          } else if row.log != end.log {
            try StateStore.replaceLog(of: &row, with: end, wall: wall, in: connection)
          } else if row.checkpoint > end.next {
            preconditionFailure("Spool.open raises the log above every checkpoint")
          }
        } else {
          // The row of a salvaged state has counters only, and an epoch of its own.
          let salvaged = known.first { $0.name == registration.name }
          let lost = salvaged != nil || resumptions[registration.name] != nil || known.isEmpty
          row =
            salvaged
            ?? PipelineRow(
              name: registration.name, uplink: registration.uplink, version: registration.version,
              gateway: gateway, epoch: draw())
          row.gateway = gateway
          row.begin(at: end)
          if lost, start < end.next {
            let resumption = resumptions[registration.name]
            let mark = max(start, resumption?.offset ?? start)
            row.checkpoint = min(mark, end.next)
            row.resumeWindows(resumption)
            row.receivedAt = end.received - (end.next - row.checkpoint)
            row.uncertainUntil = end.next
            try StateStore.book(
              Fault(
                wall: wall, kind: "state-rebuilt",
                detail: "pipeline \(row.name) begins again at offset \(row.checkpoint); its batches "
                  + "up to \(end.next) are marked as possible duplicates",
                messages: end.next - row.checkpoint), in: connection)
          }
        }
        row.active = true
        row.until = nil
        row.uplink = registration.uplink
        row.version = registration.version
        row.configuration = digest
        try row.save(in: connection)
        try LineageRows.keep(registration, configuration: digest, wall: wall, in: connection)
        registered.states[row.name] = row.state
      }
      try connection.run(
        "INSERT OR IGNORE INTO configuration VALUES(?, ?)", .text(digest), .blob(configuration))
      for var row in known where row.active && registered.states[row.name] == nil {
        if row.log != end.log {
          try StateStore.replaceLog(of: &row, with: end, wall: wall, in: connection)
        }
        if row.until == nil {
          row.until = end.next
          row.receivedUntil = end.received
        }
        try row.save(in: connection)
        registered.draining.append(
          Draining(
            state: row.state, name: row.name, until: row.until ?? end.next,
            configuration: try StateStore.configuration(row.configuration, in: connection)))
      }
      try connection.execute(
        """
        DELETE FROM configuration
        WHERE digest NOT IN (SELECT configuration FROM pipeline WHERE active = 1)
          AND digest NOT IN (SELECT configuration FROM version)
        """)
      return registered
    }
  }

  private static func replaceLog(
    of row: inout PipelineRow, with end: LogStore.End, wall: Int64, in connection: Connection
  ) throws(SpoolError) {
    try StateStore.book(
      Fault(
        wall: wall, kind: "log-replaced",
        detail: "pipeline \(row.name) had read log \(row.log) up to \(row.checkpoint); it goes on with "
          + "log \(end.log)", messages: 0), in: connection)
    // What the old log held beyond is not known: its counter went with it.
    row.receivedBefore = row.counters.handled
    row.begin(at: end)
  }

  static func configuration(
    _ digest: String, in connection: Connection
  ) throws(SpoolError) -> [UInt8] {
    let row = try connection.statement("SELECT text FROM configuration WHERE digest = ?")
    defer { row.reset() }
    try row.bind([.text(digest)])
    return try row.step() ? row.blob(0) : []
  }

  /// The configurations that active pipelines run under, as they were registered.
  package func configurations() throws(SpoolError) -> [[UInt8]] {
    try read { connection throws(SpoolError) in
      let rows = try connection.statement("SELECT text FROM configuration ORDER BY digest")
      defer { rows.reset() }
      var texts: [[UInt8]] = []
      while try rows.step() { texts.append(rows.blob(0)) }
      return texts
    }
  }

  /// The pipelines that are configured or still have a backlog to seal.
  package func activePipelines() throws(SpoolError) -> [PipelineRegistration] {
    try read { connection throws(SpoolError) in
      try PipelineRow.all(in: connection).filter { $0.active && $0.replay == nil }.map {
        PipelineRegistration(name: $0.name, uplink: $0.uplink, version: $0.version)
      }
    }
  }

  /// The pipeline's committed state, as the registration or the last seal left it.
  package func state(of pipeline: String) throws(SpoolError) -> PipelineState? {
    try read { connection throws(SpoolError) in
      try PipelineRow.find(pipeline, in: connection)?.state
    }
  }

  /// What the pipeline's stages remember, as of its committed state.
  package func stages(of pipeline: String) throws(SpoolError) -> [StageState] {
    try read { connection throws(SpoolError) in try StageRows.all(of: pipeline, in: connection) }
  }

  /// Forgets what a stage remembers, because the pipeline no longer has it or cannot read it.
  package func forget(_ stage: StageState.Stage, of pipeline: String) throws(SpoolError) {
    try write { connection throws(SpoolError) in
      try StageRows.forget(stage, of: pipeline, in: connection)
    }
  }

  /// The text of the configuration that a pipeline last ran under; nil where it never did.
  package func configuration(of pipeline: String) throws(SpoolError) -> [UInt8]? {
    try read { connection throws(SpoolError) in
      let row = try connection.statement("SELECT configuration FROM pipeline WHERE name = ?")
      defer { row.reset() }
      try row.bind([.text(pipeline)])
      guard try row.step() else { return nil }
      let digest = row.text(0)
      row.reset()
      return try StateStore.configuration(digest, in: connection)
    }
  }

  /// Where a pipeline ends that the configuration has dropped; nil for one that goes on.
  package func end(of pipeline: String) throws(SpoolError) -> Offset? {
    try read { connection throws(SpoolError) in
      try PipelineRow.find(pipeline, in: connection)?.until
    }
  }

  /// Closes the book of a pipeline that the configuration has dropped. Its outbox is still delivered.
  /// - Parameter unread: messages that it had not read; booked as damaged, because nobody can read
  ///   them under its rules any more. 0 when its backlog was sealed first.
  package func retire(_ pipeline: String, unread: Int64, wall: Int64) throws(SpoolError) {
    try write { connection throws(SpoolError) in
      guard var row = try PipelineRow.find(pipeline, in: connection), row.active else { return }
      guard row.until != nil else {
        throw SpoolError(
          kind: .misuse, operation: "retire pipeline \(pipeline) in", path: path,
          cause: "it is configured", hint: nil)
      }
      row.receivedBefore = row.received(at: row.receivedUntil)
      row.receivedAt = 0
      row.receivedUntil = 0
      row.until = nil
      row.active = false
      row.counters.damaged += unread
      try row.save(in: connection)
      // Nobody runs its dead letters any more, and whoever takes up the name did not ask for it.
      try connection.run(
        "UPDATE dead_letter SET requested = 0 WHERE pipeline = ? AND requested > 0", .text(pipeline))
      // Whoever takes up the name again begins with no memory of what another one met.
      for stage in StageState.Stage.allCases { try StageRows.forget(stage, of: pipeline, in: connection) }
      if unread > 0 {
        try StateStore.book(
          Fault(
            wall: wall, kind: "abandoned",
            detail: "pipeline \(pipeline) was dropped from the configuration with unread messages, and "
              + "its settings can no longer be read", messages: unread), in: connection)
      }
    }
  }

  /// Commits a seal. On return it is fsynced.
  /// - Parameters:
  ///   - pipeline: its name, or the name of a replay's book (``ReplayID/book(of:)``).
  ///   - now: when its dead letters are set aside.
  /// - Returns: false where nothing was committed, because the replay does not run any more.
  @discardableResult
  package func seal(_ seal: Seal, pipeline: String, now: Moment? = nil) throws(SpoolError) -> Bool {
    let isStored = try write { connection throws(SpoolError) in
      guard try ReplayRow.admit(seal, book: pipeline, in: connection) else { return false }
      guard var row = try PipelineRow.find(pipeline, in: connection) else {
        throw SpoolError(
          kind: .misuse, operation: "seal into", path: path,
          cause: "pipeline \(pipeline) is not registered", hint: nil)
      }
      row.adopt(seal.state)
      row.counters += seal.counters
      row.counters.recovered += Int64(seal.resolvedDeadLetters.count)
      try row.save(in: connection)
      for batch in seal.batches { try OutboxRow.append(batch, pipeline: pipeline, to: connection) }
      for rejection in seal.rejections {
        try DeadLetterRow.insert(rejection, pipeline: pipeline, since: now?.worthyWall, into: connection)
      }
      for id in seal.resolvedDeadLetters {
        try connection.run("DELETE FROM dead_letter WHERE id = ?", .integer(id))
      }
      for changes in seal.stages { try StageRows.save(changes, of: pipeline, in: connection) }
      for refusal in seal.refusedAgain {
        try connection.run(
          """
          UPDATE dead_letter SET requested = 0, attempts = attempts + 1, rule = ?, reason = ?
          WHERE id = ?
          """, .text(refusal.rejection.rule), .text(refusal.rejection.reason), .integer(refusal.id))
      }
      Failpoints.sealing()
      return true
    }
    if isStored { Failpoints.sealed() }
    return isStored
  }

  /// The lowest offset that an active pipeline still has to read; nil without pipelines.
  /// - Parameter withReplays: whether replays that have not ended count as well.
  package func lowestCheckpoint(withReplays: Bool = false) throws(SpoolError) -> Offset? {
    let rows = "FROM pipeline WHERE active = 1" + (withReplays ? "" : " AND instr(name, '#') = 0")
    return try read { connection throws(SpoolError) in
      try connection.integer("SELECT min(checkpoint) \(rows)").map { Offset($0) }
    }
  }

  /// What the mirror keeps of every active pipeline.
  /// - Parameter names: those of the log.
  func marks(of names: LogNames) throws(SpoolError) -> [String: Mirror.Marks] {
    try read { connection throws(SpoolError) in
      var marks: [String: Mirror.Marks] = [:]
      for row in try PipelineRow.all(in: connection) where row.active && row.replay == nil {
        let waiting = try connection.statement(
          """
          SELECT min(first, coalesce(windows_from, first)), windows_from, windows_closed, windows_partial, log
          FROM outbox WHERE pipeline = ? ORDER BY position, line
          """)
        defer { waiting.reset() }
        try waiting.bind([.text(row.name)])
        var delivered = min(row.checkpoint, row.windows?.from ?? row.checkpoint)
        var windows = row.windows?.closed
        var isOldest = true
        while try waiting.step() {
          // Of a log that was replaced nothing can be read again.
          guard names.contains(LogID(rawValue: waiting.text(4))) else { continue }
          delivered = min(delivered, Offset(waiting.integer(0)))
          // What the oldest batch holds has to be worked out again with all that came after it.
          if isOldest { windows = WindowMark(waiting, from: 1)?.closed }
          isOldest = false
        }
        marks[row.name] = Mirror.Marks(
          checkpoint: row.checkpoint.rawValue, delivered: delivered.rawValue, epoch: row.epoch.rawValue,
          sequence: row.sequence, windowsClosed: windows)
      }
      return marks
    }
  }
}
