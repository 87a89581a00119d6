internal import Telemetry

/// The writer of state.db (StateSchema.swift tells its format and invariants).
package final class StateStore: Sendable {
  private struct Connections {
    /// Seals, splits and dead letters: fsynced. Nil after a failure, until ``reopen()``.
    var durable: Connection?
    /// Confirmations: not fsynced of themselves.
    var relaxed: Connection?
  }

  package let path: String
  private let format: DatabaseFormat
  private let connections: Locked<Connections>
  /// Outbox reads have a connection of their own, so that a long seal does not hold up delivery.
  private let reader: Locked<Connection?>
  /// So have those who only watch, whose questions take long when much waits: delivery does not wait for them.
  private let watcher: Locked<(connection: Connection?, isClosed: Bool)>

  /// Opens the state, or begins one.
  package convenience init(path: String) throws(SpoolError) { try self.init(path: path, format: .state) }

  init(path: String, format: DatabaseFormat) throws(SpoolError) {
    self.path = path
    self.format = format
    let opened = try StateStore.open(path, create: true, format)
    connections = Locked(Connections(durable: opened.durable, relaxed: opened.relaxed))
    reader = Locked(try Connection(path: path, access: .readOnly))
    watcher = Locked((nil, false))
  }

  package static func exists(at path: String) -> Bool { FileSystem.exists(path) }

  /// Reads what a daemon cannot run without.
  func verify() throws(SpoolError) {
    try read { connection throws(SpoolError) in try StateStore.verify(connection) }
  }

  static func verify(_ connection: Connection) throws(SpoolError) {
    try Schema.check { () throws(SpoolError) in
      _ = try PipelineRow.all(in: connection)
      _ = try connection.text("SELECT machine FROM instance")
      _ = try connection.integer("SELECT id FROM outbox ORDER BY pipeline, position, line LIMIT 1")
      _ = try connection.integer("SELECT count(*) FROM configuration WHERE length(text) > 0")
      _ = try connection.integer("SELECT id FROM dead_letter LIMIT 1")
      _ = try connection.integer("SELECT sum(bytes) FROM dead_letter_total")
      _ = try connection.integer("SELECT max(id) FROM requeue")
      _ = try connection.integer("SELECT count(*) FROM replay WHERE length(id) > 0")
      _ = try connection.integer("SELECT max(id) FROM fault")
      _ = try connection.integer("SELECT count(*) FROM session WHERE length(client_id) > 0")
    }
  }

  private static func open(
    _ path: String, create: Bool, _ format: DatabaseFormat
  ) throws(SpoolError) -> (durable: Connection, relaxed: Connection) {
    let durable = try Connection(path: path, access: .readWrite(.everyCommit), create: create)
    if create, try DatabaseFormat.isEmpty(durable) {
      try durable.transaction(.immediate) { () throws(SpoolError) in try format.begin(durable) }
    }
    try format.verify(durable)
    return (durable, try Connection(path: path, access: .readWrite(.eventually)))
  }

  enum Effort {
    case durable
    case relaxed
  }

  /// Runs `body` as one transaction. After an error of the disk the connections are closed and stay
  /// so until ``reopen()``: what the commit did is unknown, and it is never tried again as it was.
  func write<R>(
    _ effort: Effort = .durable, _ body: (Connection) throws(SpoolError) -> R
  ) throws(SpoolError) -> R {
    try connections.withLock { connections throws(SpoolError) in
      guard
        let connection = effort == .durable ? connections.durable : connections.relaxed
      else {
        throw SpoolError(
          kind: .unavailable, operation: "use", path: path,
          cause: "the state is closed after a failure", hint: "it is reopened by itself")
      }
      do throws(SpoolError) {
        return try connection.transaction(.immediate) { () throws(SpoolError) in
          try body(connection)
        }
      } catch {
        if error.kind == .io || error.kind == .full {
          connections.durable?.close()
          connections.relaxed?.close()
          connections.durable = nil
          connections.relaxed = nil
        }
        throw error
      }
    }
  }

  /// For looks, beside which everything else goes on.
  func watch<R>(_ body: (Connection) throws(SpoolError) -> R) throws(SpoolError) -> R {
    try watcher.withLock { watcher throws(SpoolError) in
      guard !watcher.isClosed else {
        throw SpoolError(
          kind: .unavailable, operation: "look into", path: path, cause: "the state is closed", hint: nil)
      }
      let open: Connection
      if let connection = watcher.connection {
        open = connection
      } else {
        open = try Connection(path: path, access: .readOnly)
      }
      watcher.connection = open
      return try open.transaction(.deferred) { () throws(SpoolError) in try body(open) }
    }
  }

  func read<R>(_ body: (Connection) throws(SpoolError) -> R) throws(SpoolError) -> R {
    try reader.withLock { connection throws(SpoolError) in
      guard let connection else {
        throw SpoolError(
          kind: .unavailable, operation: "read", path: path, cause: "the state is closed", hint: nil)
      }
      return try connection.transaction(.deferred) { () throws(SpoolError) in
        try body(connection)
      }
    }
  }

  /// Opens the state anew after a failure; does nothing while it is open.
  package func reopen() throws(SpoolError) {
    try connections.withLock { connections throws(SpoolError) in
      guard connections.durable == nil else { return }
      let opened = try StateStore.open(path, create: false, format)
      // As in LogStore.reopen: pages that an fsync has failed for are written once more.
      do throws(SpoolError) { try opened.durable.truncateLog() } catch  where error.kind == .full {}
      connections.durable = opened.durable
      connections.relaxed = opened.relaxed
    }
  }

  /// Gives the space of the write-ahead log and of vacuumed pages back, as far as readers permit, if that
  /// is more than `bytes`.
  package func truncateLog(above bytes: Int64 = 0) throws(SpoolError) {
    try connections.withLock { connections throws(SpoolError) in
      guard let connection = connections.durable, try connection.slack() > bytes else { return }
      try connection.truncateLog()
    }
  }

  package var isOpen: Bool {
    connections.withLock { $0.durable != nil }
  }

  package func usedBytes() throws(SpoolError) -> Int64 {
    try read { connection throws(SpoolError) in try connection.usedBytes() }
      + FileSystem.size(path + "-wal")
  }

  /// Gives pages of delivered batches back to the file system; see ``Connection/vacuum(pages:times:)``.
  func vacuum(pages: Int, times: Int) throws(SpoolError) {
    try connections.withLock { connections throws(SpoolError) in
      try connections.relaxed?.vacuum(pages: pages, times: times)
    }
  }

  package func close() {
    connections.withLock { connections in
      connections.durable?.close()
      connections.relaxed?.close()
      connections.durable = nil
      connections.relaxed = nil
    }
    reader.withLock { connection in
      connection?.close()
      connection = nil
    }
    watcher.withLock { watcher in
      watcher.connection?.close()
      watcher = (nil, true)
    }
  }

  // MARK: Faults

  package struct Fault: Sendable, Hashable {
    /// Wall nanoseconds.
    package var wall: Int64
    package var kind: String
    package var detail: String
    package var messages: Int64

    package init(wall: Int64, kind: String, detail: String, messages: Int64) {
      self.wall = wall
      self.kind = kind
      self.detail = detail
      self.messages = messages
    }

    /// All that are booked, the oldest first.
    static func all(in connection: Connection) throws(SpoolError) -> [Fault] {
      let row = try connection.statement("SELECT wall, kind, detail, messages FROM fault ORDER BY id")
      defer { row.reset() }
      var faults: [Fault] = []
      while try row.step() {
        faults.append(
          Fault(wall: row.integer(0), kind: row.text(1), detail: row.text(2), messages: row.integer(3)))
      }
      return faults
    }
  }

  /// The furthest that any pipeline has read, with what its book says of the log.
  func estimate() throws(SpoolError) -> LogEstimate? {
    try read { connection throws(SpoolError) in
      let rows = try PipelineRow.all(in: connection).filter {
        $0.active && $0.replay == nil && !$0.log.rawValue.isEmpty
      }
      return rows.max { $0.checkpoint < $1.checkpoint }.map {
        LogEstimate(
          log: $0.log, next: $0.checkpoint, received: $0.receivedAt + $0.counters.handled - $0.receivedBefore)
      }
    }
  }

  static func book(_ fault: Fault, in connection: Connection) throws(SpoolError) {
    try connection.run(
      "INSERT INTO fault(wall, kind, detail, messages) VALUES(?, ?, ?, ?)", .integer(fault.wall),
      .text(fault.kind), .text(fault.detail), .integer(fault.messages))
    // A fault that repeats must not fill the disk.
    try connection.run("DELETE FROM fault WHERE id <= (SELECT max(id) FROM fault) - 1000")
  }

  package func book(_ fault: Fault) throws(SpoolError) {
    try write { connection throws(SpoolError) in try StateStore.book(fault, in: connection) }
  }

  package func faults() throws(SpoolError) -> [Fault] {
    try read { connection throws(SpoolError) in try Fault.all(in: connection) }
  }

  // MARK: Sessions

  /// The client id of a broker session: drawn when the source is first seen and kept.
  package func clientID(
    source: String, drawing draw: () -> String
  ) throws(SpoolError) -> String {
    try write { connection throws(SpoolError) in
      let row = try connection.statement("SELECT client_id FROM session WHERE source = ?")
      defer { row.reset() }
      try row.bind([.text(source)])
      if try row.step() { return row.text(0) }
      let drawn = draw()
      try connection.run(
        "INSERT INTO session VALUES(?, ?, '{}')", .text(source), .text(drawn))
      return drawn
    }
  }

  /// What the broker last acknowledged as subscribed, as the caller wrote it.
  package func subscriptions(source: String) throws(SpoolError) -> String? {
    try read { connection throws(SpoolError) in
      let row = try connection.statement("SELECT filters FROM session WHERE source = ?")
      defer { row.reset() }
      try row.bind([.text(source)])
      return try row.step() ? row.text(0) : nil
    }
  }

  package func setSubscriptions(_ text: String, source: String) throws(SpoolError) {
    try write { connection throws(SpoolError) in
      try connection.run(
        "UPDATE session SET filters = ? WHERE source = ?", .text(text), .text(source))
    }
  }

  package func clientIDs() throws(SpoolError) -> [String: String] {
    try read { connection throws(SpoolError) in
      let row = try connection.statement("SELECT source, client_id FROM session")
      defer { row.reset() }
      var ids: [String: String] = [:]
      while try row.step() { ids[row.text(0)] = row.text(1) }
      return ids
    }
  }

  /// Keeps a client id that the mirror remembers, where none is known yet.
  func adopt(clientID: String, source: String) throws(SpoolError) {
    try write { connection throws(SpoolError) in
      try connection.run(
        "INSERT OR IGNORE INTO session VALUES(?, ?, '{}')", .text(source), .text(clientID))
    }
  }
}
