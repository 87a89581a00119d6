package import Telemetry

/// What the daemon says of a pipeline when it starts or reloads.
package struct PipelineRegistration: Sendable, Hashable {
  package var name: String
  package var uplink: String
  package var version: String

  package init(name: String, uplink: String, version: String) {
    self.name = name
    self.uplink = uplink
    self.version = version
  }
}

extension StateStore {
  /// The states of the configured pipelines, begun where they are new.
  ///
  /// A new pipeline begins at the end of the log: what came before it was configured is for a replay.
  /// Where the state knows no pipeline at all while the log holds messages, the state has been lost:
  /// every pipeline begins at its `delivered` mark, or at the first message that is left, and its
  /// batches up to the end of the log are possible duplicates.
  /// - Parameters:
  ///   - log: the log, which nobody is writing to yet or which is read in one snapshot.
  ///   - delivered: the mirrored marks, by pipeline; they count only for a log of that name.
  ///   - draw: draws an epoch.
  package func register(
    _ registrations: [PipelineRegistration], gateway: String, log: LogReader, delivered: [String: Offset],
    wall: Int64, drawing draw: () -> Epoch
  ) throws(SpoolError) -> [String: PipelineState] {
    let (end, start) = try log.snapshot { () throws(SpoolError) in (try log.end(), try log.start()) }
    return try write { connection throws(SpoolError) in
      let lost = try PipelineRow.all(in: connection).isEmpty && start < end.next
      var states: [String: PipelineState] = [:]
      for registration in registrations {
        var row: PipelineRow
        if let known = try PipelineRow.find(registration.name, in: connection) {
          row = known
          if row.gateway != gateway {
            // The gateway is part of every identity: a renamed one begins chains of its own.
            row.restartChain(gateway: gateway, epoch: draw())
          }
          if row.log != end.log {
            try StateStore.book(
              Fault(
                wall: wall, kind: "log-replaced",
                detail: "pipeline \(row.name) had read log \(row.log) up to \(row.checkpoint); "
                  + "it goes on with log \(end.log)", messages: 0), in: connection)
            row.begin(at: end)
          } else if !row.active {
            row.begin(at: end)
          } else if row.checkpoint > end.next {
            preconditionFailure("Spool.open raises the log above every checkpoint")
          }
        } else {
          row = PipelineRow(
            name: registration.name, uplink: registration.uplink, version: registration.version,
            gateway: gateway, epoch: draw())
          row.begin(at: end)
          if lost {
            let mark = max(start, delivered[registration.name] ?? start)
            row.checkpoint = min(mark, end.next)
            row.receivedAt = end.received - (try log.waiting(from: row.checkpoint))
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
        row.uplink = registration.uplink
        row.version = registration.version
        try row.save(in: connection)
        states[row.name] = row.state
      }
      return states
    }
  }

  /// The states of the pipelines that were active when the state was last used.
  package func activePipelines() throws(SpoolError) -> [PipelineRegistration] {
    try read { connection throws(SpoolError) in
      try PipelineRow.all(in: connection).filter(\.active).map {
        PipelineRegistration(name: $0.name, uplink: $0.uplink, version: $0.version)
      }
    }
  }

  /// The pipeline's committed state, as ``register(_:gateway:end:drawing:)`` or the last seal left it.
  package func state(of pipeline: String) throws(SpoolError) -> PipelineState? {
    try read { connection throws(SpoolError) in
      try PipelineRow.find(pipeline, in: connection)?.state
    }
  }

  /// Closes the book of a pipeline that the configuration has dropped. Its outbox is still delivered.
  /// - Parameter unread: messages that it had not read; booked as damaged, because nobody can read
  ///   them under its rules any more. 0 when its backlog was sealed first.
  package func retire(_ pipeline: String, unread: Int64, wall: Int64) throws(SpoolError) {
    try write { connection throws(SpoolError) in
      guard var row = try PipelineRow.find(pipeline, in: connection), row.active else { return }
      row.active = false
      row.damaged += unread
      row.receivedBefore = row.unmatched + row.rejected + row.decoded + row.damaged
      row.receivedAt = 0
      try row.save(in: connection)
      if unread > 0 {
        try StateStore.book(
          Fault(
            wall: wall, kind: "abandoned",
            detail: "pipeline \(pipeline) was dropped from the configuration with unread messages",
            messages: unread), in: connection)
      }
    }
  }

  /// Commits a seal. On return it is fsynced.
  package func seal(_ seal: Seal, pipeline: String) throws(SpoolError) {
    try write { connection throws(SpoolError) in
      guard var row = try PipelineRow.find(pipeline, in: connection) else {
        throw SpoolError(
          kind: .misuse, operation: "seal into", path: path,
          cause: "pipeline \(pipeline) is not registered", hint: nil)
      }
      row.adopt(seal.state)
      row.unmatched += seal.unmatched
      row.rejected += seal.rejected
      row.decoded += seal.decoded
      row.damaged += seal.damaged
      row.produced += seal.produced
      row.requeued += seal.requeued
      row.recovered += Int64(seal.resolvedDeadLetters.count)
      try row.save(in: connection)
      for batch in seal.batches { try OutboxRow.append(batch, pipeline: pipeline, to: connection) }
      for rejection in seal.rejections {
        try DeadLetterRow.insert(rejection, pipeline: pipeline, into: connection)
      }
      for id in seal.resolvedDeadLetters {
        try connection.run("DELETE FROM dead_letter WHERE id = ?", .integer(id))
      }
      for refusal in seal.refusedAgain {
        try connection.run(
          """
          UPDATE dead_letter SET requested = 0, attempts = attempts + 1, rule = ?, reason = ?
          WHERE id = ?
          """, .text(refusal.rejection.rule), .text(refusal.rejection.reason), .integer(refusal.id))
      }
    }
  }

  /// The lowest offset that an active pipeline still has to read; nil without pipelines.
  package func lowestCheckpoint() throws(SpoolError) -> Offset? {
    try read { connection throws(SpoolError) in
      try connection.integer("SELECT min(checkpoint) FROM pipeline WHERE active = 1").map { Offset($0) }
    }
  }

  /// Per pipeline: the checkpoint, and the first offset that is not known to be delivered.
  package func marks() throws(SpoolError) -> [String: (checkpoint: Offset, delivered: Offset)] {
    try read { connection throws(SpoolError) in
      var marks: [String: (checkpoint: Offset, delivered: Offset)] = [:]
      for row in try PipelineRow.all(in: connection) where row.active {
        let waiting = try connection.integer(
          "SELECT min(first) FROM outbox WHERE pipeline = ? AND log = ?", .text(row.name),
          .text(row.log.rawValue))
        marks[row.name] = (row.checkpoint, waiting.map { min(Offset($0), row.checkpoint) } ?? row.checkpoint)
      }
      return marks
    }
  }
}

/// A row of the table `pipeline` (StateSchema.swift).
struct PipelineRow {
  var name: String
  var active = true
  var uplink: String
  var version: String
  var gateway: String
  var epoch: Epoch
  var sequence: Int64 = 1
  var digest: Digest = .zero
  var log = LogID(rawValue: "")
  var checkpoint = Offset(0)
  var uncertainUntil = Offset(0)
  var receivedBefore: Int64 = 0
  var receivedAt: Int64 = 0
  var unmatched: Int64 = 0
  var rejected: Int64 = 0
  var decoded: Int64 = 0
  var damaged: Int64 = 0
  var produced: Int64 = 0
  var requeued: Int64 = 0
  var delivered: Int64 = 0
  var deadLettered: Int64 = 0
  var recovered: Int64 = 0
  var discarded: Int64 = 0

  init(name: String, uplink: String, version: String, gateway: String, epoch: Epoch) {
    self.name = name
    self.uplink = uplink
    self.version = version
    self.gateway = gateway
    self.epoch = epoch
  }

  var state: PipelineState {
    PipelineState(
      gateway: gateway, epoch: epoch, nextSequence: sequence, previousDigest: digest, log: log,
      checkpoint: checkpoint,
      possibleDuplicateUntil: checkpoint < uncertainUntil ? uncertainUntil : nil)
  }

  mutating func adopt(_ state: PipelineState) {
    sequence = state.nextSequence
    digest = state.previousDigest
    checkpoint = state.checkpoint
  }

  mutating func restartChain(gateway: String, epoch: Epoch) {
    self.gateway = gateway
    self.epoch = epoch
    sequence = 1
    digest = .zero
  }

  /// Reads on from the end of a log. What was received before is what the book has on its other side.
  mutating func begin(at end: LogStore.End) {
    log = end.log
    checkpoint = end.next
    receivedBefore = unmatched + rejected + decoded + damaged
    receivedAt = end.received
  }

  private static let columns = """
    name, active, uplink, version, gateway, epoch, sequence, digest, log, checkpoint,
    uncertain_until, received_before, received_at, unmatched, rejected, decoded, damaged, produced,
    requeued, delivered, dead_lettered, recovered, discarded
    """

  private init(_ row: Statement, path: String) throws(SpoolError) {
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
    unmatched = row.integer(13)
    rejected = row.integer(14)
    decoded = row.integer(15)
    damaged = row.integer(16)
    produced = row.integer(17)
    requeued = row.integer(18)
    delivered = row.integer(19)
    deadLettered = row.integer(20)
    recovered = row.integer(21)
    discarded = row.integer(22)
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
      .integer(receivedAt), .integer(unmatched), .integer(rejected), .integer(decoded),
      .integer(damaged), .integer(produced), .integer(requeued), .integer(delivered),
      .integer(deadLettered), .integer(recovered), .integer(discarded),
    ]
  }

  func save(in connection: Connection) throws(SpoolError) {
    let places = Array(repeating: "?", count: values.count).joined(separator: ",")
    let statement = try connection.statement(
      "INSERT OR REPLACE INTO pipeline(\(PipelineRow.columns)) VALUES(\(places))")
    defer { statement.reset() }
    try statement.bind(values)
    _ = try statement.step()
  }
}
