internal import Synchronization
package import Telemetry

// Why a log changes its name. A name and an offset stand for one message, for ever: that is what the label of a
// possible duplicate rests on, and whoever asks upstream where a reading came from. Of a card that was cloned, or a
// backup that was restored, there is another box (or was one) that gave the offsets behind the copy's end to messages
// of its own, under the name that both have. So before anything is appended the copy draws another name, and keeps in
// the table `former` up to where which earlier one holds. Offsets go on without a gap and mean the same as before:
// checkpoints stay true, and what was received before the copy was made keeps the name that the other box knows it
// by. A batch that passes messages on holds those of one name only (PipelineCore closes it where the name of the block
// changes); a result of a window that was open then is made of both, and comes under the later.

/// The names of a log: the one that it has now, and those that it had before.
package struct LogNames: Sendable, Hashable {
  package struct Former: Sendable, Hashable {
    package var id: LogID
    /// The first offset that is not under this name any more.
    package var upto: Offset
  }

  package var current: LogID
  /// The oldest first.
  package var former: [Former]

  static let schema = """
    CREATE TABLE IF NOT EXISTS former(
      place INTEGER PRIMARY KEY, id TEXT NOT NULL, upto INTEGER NOT NULL) STRICT;
    """

  init(current: LogID, former: [Former] = []) {
    self.current = current
    self.former = former
  }

  init(current: LogID, in connection: Connection) throws(SpoolError) {
    self.init(current: current)
    // A reader may come before the first writer that knows of this table.
    let isThere = try connection.integer("SELECT count(*) FROM sqlite_master WHERE name = 'former'") ?? 0
    guard isThere > 0 else { return }
    let rows = try connection.statement("SELECT id, upto FROM former ORDER BY place")
    defer { rows.reset() }
    while try rows.step() {
      former.append(Former(id: LogID(rawValue: rows.text(0)), upto: Offset(rows.integer(1))))
    }
  }

  /// The name under which the message at an offset was received.
  package func name(at offset: Offset) -> LogID { former.first { offset < $0.upto }?.id ?? current }

  /// Whether it is, or was, a name of this log, so that offsets of it mean what they mean here.
  package func contains(_ log: LogID) -> Bool { log == current || former.contains { $0.id == log } }

  func contains(_ log: String) -> Bool { contains(LogID(rawValue: log)) }
}

extension LogStore {
  /// Gives the log another name from its end on. What was in doubt of broker sessions is forgotten: the broker may
  /// have used the same packet identifiers for other messages since the copy was made, and a message that is taken
  /// for one that is there already would be lost.
  /// - Parameter sources: whose sessions are concerned beside those that the log knows.
  func rename(to id: LogID, sources: [String]) throws(SpoolError) {
    let names = try withConnection { connection, _ throws(SpoolError) in
      try connection.transaction(.immediate) { () throws(SpoolError) in
        let end = try LogStore.end(of: connection, id: self.id).next.rawValue
        try connection.run(
          "INSERT INTO former(id, upto) VALUES(?, ?)", .text(self.id.rawValue), .integer(end))
        try connection.run("UPDATE log SET id = ?", .text(id.rawValue))
        try connection.execute("DELETE FROM in_doubt")
        try connection.run("UPDATE session SET upto = ?", .integer(end))
        for source in sources {
          try connection.run("INSERT OR IGNORE INTO session VALUES(?, 0, ?)", .text(source), .integer(end))
        }
      }
      return try LogNames(current: id, in: connection)
    }
    inDoubtStart.withLock { $0 = [:] }
    namesHeld.withLock { $0 = names }
    _ = try end()
  }
}

extension StateStore {
  /// Makes what was read under a former name of the log go on under the one that it has: the offsets are the same.
  /// Also where a change of the name was cut off between the two databases.
  func follow(_ names: LogNames) throws(SpoolError) {
    guard !names.former.isEmpty else { return }
    let isBehind = try read { connection throws(SpoolError) in
      try PipelineRow.all(in: connection).contains { $0.log != names.current && names.contains($0.log) }
    }
    guard isBehind else { return }
    try write { connection throws(SpoolError) in
      for former in names.former {
        // What was read behind the end of a name was another box's.
        try connection.run(
          "UPDATE pipeline SET log = ?1 WHERE log = ?2 AND checkpoint <= ?3", .text(names.current.rawValue),
          .text(former.id.rawValue), .integer(former.upto.rawValue))
        try connection.run(
          "UPDATE replay SET log = ? WHERE log = ?", .text(names.current.rawValue), .text(former.id.rawValue))
      }
    }
  }
}
