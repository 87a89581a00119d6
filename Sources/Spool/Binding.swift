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
  func bind(
    to machine: Machine, file: String, end: LogStore.End, wall: Int64, random: () -> UInt64,
    findings: inout [String]
  ) throws(SpoolError) {
    let moved: String? = try write { connection throws(SpoolError) in
      let row = try connection.statement("SELECT machine, file FROM instance")
      defer { row.reset() }
      guard try row.step() else {
        try connection.run(
          "INSERT INTO instance VALUES(?, ?, '')", .text(machine.id), .text(file))
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
      for var pipeline in try PipelineRow.all(in: connection) {
        pipeline.restartChain(gateway: pipeline.gateway, epoch: Epoch(random: random()))
        pipeline.uncertainUntil = end.next
        try pipeline.save(in: connection)
      }
      try connection.run("DELETE FROM session")
      try connection.run("UPDATE instance SET machine = ?, file = ?", .text(machine.id), .text(file))
      try StateStore.book(
        Fault(wall: wall, kind: "moved", detail: reason, messages: 0), in: connection)
      return reason
    }
    if let moved {
      findings.append("\(moved): new epochs and new client ids were drawn")
    }
  }

  /// Books checkpoints that lie beyond the end of their log, which a log restored from a backup, or a
  /// disk that lied about a sync, leaves behind.
  /// - Returns: the offset at which the log has to go on, when it has to be raised.
  func reconcile(with end: LogStore.End, wall: Int64) throws(SpoolError) -> Offset? {
    try write { connection throws(SpoolError) in
      var raised: Offset?
      for var pipeline in try PipelineRow.all(in: connection)
      where pipeline.active && pipeline.log == end.log && pipeline.checkpoint > end.next {
        let missing = pipeline.checkpoint - end.next
        // The messages were received, read and delivered; only the log's counter has lost them.
        pipeline.receivedBefore += missing
        try pipeline.save(in: connection)
        try StateStore.book(
          Fault(
            wall: wall, kind: "checkpoint-beyond-log",
            detail: "pipeline \(pipeline.name) had read up to \(pipeline.checkpoint), the log ends at "
              + "\(end.next)", messages: missing), in: connection)
        raised = max(raised ?? pipeline.checkpoint, pipeline.checkpoint)
      }
      guard let raised else { return nil }
      // Pipelines that had read less than the furthest one meet the lost messages as a gap, which they
      // book as damaged; their own book has to have received them as well.
      for var pipeline in try PipelineRow.all(in: connection)
      where pipeline.active && pipeline.log == end.log && pipeline.checkpoint < raised {
        pipeline.receivedBefore += raised - max(pipeline.checkpoint, end.next)
        try pipeline.save(in: connection)
      }
      return raised
    }
  }
}
