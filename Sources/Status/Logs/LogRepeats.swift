internal import Logging

/// Keeps one trouble from filling the log: of lines that are the same but for their details the first few are
/// written at once, and then one a minute, which says for how many it stands. No clock; time is passed in.
///
/// The same: level, message, and the source, the pipeline and the uplink that it is about. What is below `info` is
/// not held back: who asks for it wants all of it.
package struct LogRepeats: Sendable {
  /// Lines that are written at once.
  package static let burst = 5
  /// Nanoseconds between two lines after them; also how long it must have been quiet for another burst.
  package static let interval: Int64 = 60_000_000_000
  /// Troubles that are told apart at one time. The one that was met longest ago is forgotten first.
  static let limit = 256
  /// What tells a trouble from another one with the same message.
  private static let places = ["source", "pipeline", "uplink"]

  private struct Key: Hashable, Sendable {
    var level: Logger.Level
    var message: String
    var places: [String?]
  }

  private struct Trouble: Sendable {
    var written = 0
    var lastWritten: Int64
    var lastMet: Int64
    /// Those since the last line.
    var held = 0
    /// The last of them.
    var record: LogRecord?
  }

  private var troubles: [Key: Trouble] = [:]
  /// When the first line is due that stands for some; no later.
  private var due: Int64 = .max

  package init() {}

  /// Takes a record.
  /// - Parameter now: monotonic nanoseconds.
  /// - Returns: what is to be written now, in this order.
  package mutating func take(_ record: LogRecord, now: Int64) -> [LogRecord] {
    guard record.level >= .info else { return [record] }
    let key = Key(
      level: record.level, message: record.message,
      places: LogRepeats.places.map { name in record.metadata[name].map { "\($0)" } })
    var out = overdue(now: now, except: key)
    guard var trouble = troubles[key] else {
      if troubles.count >= LogRepeats.limit { out += forgetOldest() }
      troubles[key] = Trouble(written: 1, lastWritten: now, lastMet: now)
      return out + [record]
    }
    let isNew = trouble.held == 0 && now - trouble.lastMet >= LogRepeats.interval
    if isNew { trouble.written = 0 }
    trouble.lastMet = now
    if trouble.written < LogRepeats.burst {
      trouble.written += 1
      trouble.lastWritten = now
      out.append(record)
    } else {
      trouble.held += 1
      trouble.record = record
      if now - trouble.lastWritten >= LogRepeats.interval {
        out += LogRepeats.line(&trouble, now: now)
      } else {
        due = min(due, trouble.lastWritten + LogRepeats.interval)
      }
    }
    troubles[key] = trouble
    return out
  }

  /// Lines that are due though nothing more has come.
  package mutating func overdue(now: Int64) -> [LogRecord] { overdue(now: now, except: nil) }

  /// Everything that is held back: the end of the log.
  package mutating func finish(now: Int64) -> [LogRecord] {
    var out: [LogRecord] = []
    for key in ordered() {
      guard var trouble = troubles[key] else { continue }
      out += LogRepeats.line(&trouble, now: now)
      troubles[key] = trouble
    }
    return out
  }

  private mutating func overdue(now: Int64, except spared: Key?) -> [LogRecord] {
    guard now >= due else { return [] }
    var out: [LogRecord] = []
    due = .max
    for key in ordered() {
      guard var trouble = troubles[key] else { continue }
      if key != spared, trouble.held > 0, now - trouble.lastWritten >= LogRepeats.interval {
        out += LogRepeats.line(&trouble, now: now)
        troubles[key] = trouble
      } else if trouble.held > 0 {
        due = min(due, trouble.lastWritten + LogRepeats.interval)
      }
    }
    return out
  }

  /// Those that were met longest ago first.
  private func ordered() -> [Key] {
    troubles.filter { $0.value.held > 0 }.sorted { $0.value.lastMet < $1.value.lastMet }.map(\.key)
  }

  private mutating func forgetOldest() -> [LogRecord] {
    guard let oldest = troubles.min(by: { $0.value.lastMet < $1.value.lastMet })?.key,
      var trouble = troubles.removeValue(forKey: oldest)
    else { return [] }
    return LogRepeats.line(&trouble, now: trouble.lastMet)
  }

  /// The last of those that were held back, as it came, and how many it stands for.
  private static func line(_ trouble: inout Trouble, now: Int64) -> [LogRecord] {
    guard var record = trouble.record, trouble.held > 0 else { return [] }
    record.metadata["repeated"] = "\(trouble.held)"
    trouble.held = 0
    trouble.record = nil
    trouble.lastWritten = now
    return [record]
  }
}
