package import Telemetry

/// A dead letter as it is kept.
package struct StoredDeadLetter: Sendable, Hashable {
  package var pipeline: String
  package var letter: DeadLetter
  /// It is to be run through the pipeline again.
  package var requested: Bool
  /// How often it was run again and refused again.
  package var attempts: Int64
  /// Wall nanoseconds at which it was set aside; nil where no clock worth it has seen it yet.
  package var since: Int64?
}

/// A row of the table `dead_letter` (StateSchema.swift).
enum DeadLetterRow {
  static let columns = """
    id, pipeline, stage, rule, reason, source, topic, log, offset, boot, monotonic, wall, quality,
    requested, attempts, reading, withheld, since, payload
    """

  /// - Parameter since: when it is set aside, in wall nanoseconds; nil where the clock is not worth it.
  static func insert(
    _ rejection: Rejection, pipeline: String, since: Int64?, into connection: Connection
  ) throws(SpoolError) {
    try connection.run(
      """
      INSERT INTO dead_letter(pipeline, stage, rule, reason, source, topic, log, offset, boot,
        monotonic, wall, quality, reading, withheld, since, payload) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
      """,
      .text(pipeline), .text(rejection.stage.rawValue), .text(rejection.rule),
      .text(rejection.reason), .text(rejection.origin.source), .text(rejection.origin.topic),
      .text(rejection.log.rawValue), .integer(rejection.offset.rawValue),
      .blob(rejection.received.boot.bytes), .integer(rejection.received.monotonic),
      .integer(rejection.received.wall), .integer(Int64(rejection.received.quality.rawValue)),
      .optional(rejection.reading.map(Int64.init)), .integer(rejection.isWithheld ? 1 : 0), .optional(since),
      .blob(rejection.payload))
  }

  static func stored(_ row: Statement) -> StoredDeadLetter {
    let rejection = Rejection(
      stage: Stage(rawValue: row.text(2)) ?? .decode, rule: row.text(3), reason: row.text(4),
      origin: Origin(source: row.text(5), topic: row.text(6)), log: LogID(rawValue: row.text(7)),
      offset: Offset(row.integer(8)),
      received: Moment(
        boot: BootID(bytes: row.blob(9)), monotonic: row.integer(10), wall: row.integer(11),
        quality: ClockQuality(column: row.integer(12))),
      payload: row.blob(18), reading: row.optionalInteger(15).flatMap { Int(exactly: $0) },
      isWithheld: row.integer(16) != 0)
    return StoredDeadLetter(
      pipeline: row.text(1), letter: DeadLetter(id: row.integer(0), rejection: rejection),
      requested: row.integer(13) != 0, attempts: row.integer(14), since: row.optionalInteger(17))
  }
}
