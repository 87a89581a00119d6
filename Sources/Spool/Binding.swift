internal import Telemetry

extension StateStore {
  func highestCheckpoint() throws(SpoolError) -> Offset {
    try read { connection throws(SpoolError) in
      Offset(try connection.integer("SELECT coalesce(max(checkpoint), 0) FROM pipeline") ?? 0)
    }
  }

  /// That the state is not where it was last used.
  struct Move: Sendable, Hashable {
    var reason: String
    /// The box that it comes from is gone for good: the broker sessions go on under the same client ids.
    var takesOver = false
  }

  /// What `instance.file` says of a state that was restored from a backup, until it is bound to its new place: no
  /// inode number, so that it is another place for certain.
  static let restoredMark = "restored"
  static let takenOverMark = "restored, taking over"
  static let moveMarks = [restoredMark, takenOverMark]

  /// Offsets behind the end of a log within which messages of a session that is taken over are possible duplicates:
  /// the old box may have taken in and delivered what it had not acknowledged yet. That is as many as there are packet
  /// identifiers at most, and a broker sends them first.
  static let takenOverMessages = 65_536

  /// Compares the state with the machine and the file that it was last used on. When either is another, this is a
  /// clone, a moved card or a restored backup.
  /// - Parameter mirrored: the machine that the mirror names. It is all that is known where the state was rebuilt.
  /// - Returns: nil when it is where it was, and for one that was never used.
  func move(to machine: Machine, file: String, mirrored: String?) throws(SpoolError) -> Move? {
    try read { connection throws(SpoolError) in
      let row = try connection.statement("SELECT machine, file FROM instance")
      defer { row.reset() }
      guard try row.step() else {
        guard let mirrored, !mirrored.isEmpty, mirrored != machine.id else { return nil }
        return Move(reason: "what is left of the state comes from another machine")
      }
      switch row.text(1) {
      case StateStore.restoredMark: return Move(reason: "this was restored from a backup")
      case StateStore.takenOverMark:
        return Move(reason: "this was restored from a copy, in the place of what is gone", takesOver: true)
      default: break
      }
      if row.text(0) != machine.id { return Move(reason: "the state comes from another machine") }
      return row.text(1) != file ? Move(reason: "state.db was copied or restored") : nil
    }
  }

  /// Binds the state to its place. After a move new epochs and new client ids are drawn before anything is sealed, so
  /// that no identity and no session is ever used twice; what the other box may have delivered is marked as possible
  /// duplicates. Batches that were sealed before keep their identity.
  /// - Parameter end: of the log, which has its new name already.
  func bind(
    to machine: Machine, file: String, _ move: Move?, end: LogStore.End, wall: Int64, random: () -> UInt64
  ) throws(SpoolError) {
    try write { connection throws(SpoolError) in
      if let move {
        let sources = try connection.integer("SELECT count(*) FROM session") ?? 0
        let uncertain = end.next + (move.takesOver ? StateStore.takenOverMessages * Int(max(1, sources)) : 0)
        try StateStore.restartChains(end: end, uncertainUntil: uncertain, random: random, in: connection)
        try connection.execute("UPDATE outbox SET uncertain = 1")
        // The other box runs them, or has run them: whoever wants them here says so again.
        try connection.execute("UPDATE dead_letter SET requested = 0 WHERE requested > 0")
        if !move.takesOver { try connection.execute("DELETE FROM session") }
        try StateStore.book(
          Fault(
            wall: wall, kind: "moved",
            detail: "\(move.reason); the log goes on as \(end.log) from offset \(end.next) on, and batches that "
              + "begin before offset \(uncertain) are possible duplicates", messages: 0), in: connection)
      }
      let known = try connection.integer("SELECT count(*) FROM instance") ?? 0
      guard move != nil || known == 0 else { return }
      try connection.execute("DELETE FROM instance")
      try connection.run("INSERT INTO instance VALUES(?, ?)", .text(machine.id), .text(file))
    }
  }

  /// Compares the state with marks that were mirrored from it: it can never lie behind them, for they
  /// are taken from what is committed. Where it does (an older copy written over it, a disk that lost
  /// what it had confirmed), sequences have been used that it knows nothing of: new epochs are drawn.
  /// - Returns: what was found; nil when nothing is wrong.
  func compare(
    with marks: [String: Mirror.Marks], end: LogStore.End, wall: Int64, random: () -> UInt64
  ) throws(SpoolError) -> String? {
    try write { connection throws(SpoolError) in
      var behind: [String] = []
      for row in try PipelineRow.all(in: connection) where row.active && row.log == end.log {
        guard let mark = marks[row.name] else { continue }
        let lost = mark.epoch == row.epoch.rawValue && mark.sequence > row.sequence
        if lost || mark.checkpoint > row.checkpoint.rawValue { behind.append(row.name) }
      }
      guard !behind.isEmpty else { return nil }
      let reason =
        "state.db is older than the marks that were mirrored from it (\(behind.joined(separator: ", ")))"
      try StateStore.restartChains(end: end, uncertainUntil: end.next, random: random, in: connection)
      try StateStore.book(
        Fault(wall: wall, kind: "state-rolled-back", detail: reason, messages: 0), in: connection)
      return reason
    }
  }

  private static func restartChains(
    end: LogStore.End, uncertainUntil: Offset, random: () -> UInt64, in connection: Connection
  ) throws(SpoolError) {
    for var pipeline in try PipelineRow.all(in: connection) {
      pipeline.restartChain(gateway: pipeline.gateway, epoch: Epoch(random: random()))
      // A move soon after a move: what is uncertain of the first stays so.
      pipeline.uncertainUntil = max(pipeline.uncertainUntil, uncertainUntil)
      try pipeline.save(in: connection)
    }
  }

  /// The furthest that pipelines have read of a log, or that it had reached when one was dropped: where
  /// it cannot end before.
  func furthestCheckpoint(in log: LogID) throws(SpoolError) -> Offset? {
    try read { connection throws(SpoolError) in
      var furthest: Offset?
      for row in try PipelineRow.all(in: connection) where row.active && row.log == log {
        let known = max(row.checkpoint, row.until ?? row.checkpoint)
        furthest = max(furthest ?? known, known)
      }
      return furthest
    }
  }
}
