internal import Telemetry

extension StateStore {
  func highestCheckpoint() throws(SpoolError) -> Offset {
    try read { connection throws(SpoolError) in
      Offset(try connection.integer("SELECT coalesce(max(checkpoint), 0) FROM pipeline") ?? 0)
    }
  }

  /// Compares the state with the machine and the file that it was last used on. When either is
  /// another, this is a clone, a moved card or a restored backup: new epochs and new client ids are
  /// drawn before anything is sealed, so that no identity and no session is ever used twice. Batches
  /// that were sealed before keep theirs.
  /// - Returns: why it was taken for another one; nil when it is where it was.
  func bind(
    to machine: Machine, file: String, end: LogStore.End, wall: Int64, random: () -> UInt64
  ) throws(SpoolError) -> String? {
    try write { connection throws(SpoolError) in
      let row = try connection.statement("SELECT machine, file FROM instance")
      defer { row.reset() }
      guard try row.step() else {
        try connection.run("INSERT INTO instance VALUES(?, ?)", .text(machine.id), .text(file))
        return nil
      }
      let reason: String
      if row.text(0) != machine.id {
        reason = "the state comes from another machine"
      } else if row.text(1) != file {
        reason = "state.db was copied or restored"
      } else {
        return nil
      }
      row.reset()
      try StateStore.restartChains(end: end, random: random, in: connection)
      try connection.run("DELETE FROM session")
      try connection.run("UPDATE instance SET machine = ?, file = ?", .text(machine.id), .text(file))
      try StateStore.book(
        Fault(wall: wall, kind: "moved", detail: reason, messages: 0), in: connection)
      return reason
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
      try StateStore.restartChains(end: end, random: random, in: connection)
      try StateStore.book(
        Fault(wall: wall, kind: "state-rolled-back", detail: reason, messages: 0), in: connection)
      return reason
    }
  }

  private static func restartChains(
    end: LogStore.End, random: () -> UInt64, in connection: Connection
  ) throws(SpoolError) {
    for var pipeline in try PipelineRow.all(in: connection) {
      pipeline.restartChain(gateway: pipeline.gateway, epoch: Epoch(random: random()))
      pipeline.uncertainUntil = end.next
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
