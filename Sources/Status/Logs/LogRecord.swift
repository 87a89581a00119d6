package import Logging

/// One line of the log before it is a text.
package struct LogRecord: Sendable {
  /// Nanoseconds since 1970.
  package var wall: Int64
  package var level: Logger.Level
  /// A constant: what differs from one line to the next is in the metadata.
  package var message: String
  package var metadata: Logger.Metadata

  package init(wall: Int64, level: Logger.Level, message: String, metadata: Logger.Metadata = [:]) {
    self.wall = wall
    self.level = level
    self.message = message
    self.metadata = metadata
  }
}

/// How lines are written.
package enum LogFormat: String, Sendable, Hashable, CaseIterable {
  /// `key=value`, for people and grep.
  case logfmt
  /// One JSON object (RFC 8259), for programs.
  case json
}

/// Turns records into lines. Whatever a message or a value holds, a line is one line, holds no character that a
/// terminal acts upon, and is bounded.
package enum LogLine {
  /// Characters of a value; the rest is cut off. Journald takes lines of 48 KiB.
  static let longestValue = 2_000
  /// Values in a line.
  static let mostValues = 32
  /// How deep values may lie in each other.
  private static let depth = 4

  /// A line without its line feed.
  /// - Parameter hasPriority: whether `<N>` stands before it, which journald takes off and keeps as the line's
  ///   `PRIORITY` (sd-daemon(3), syslog(3)). A member of the object would not do: what stands inside of a line
  ///   that comes by a stream journald does not read.
  package static func text(_ record: LogRecord, _ format: LogFormat, hasPriority: Bool) -> String {
    let prefix = hasPriority ? "<\(record.level.priority)>" : ""
    let members = record.metadata.sorted { $0.key < $1.key }.prefix(mostValues)
    let head = [("time", LogTime.text(record.wall)), ("level", record.level.rawValue), ("message", record.message)]
    switch format {
    case .logfmt:
      let pairs =
        head.map { "\($0.0)=\(bare($0.1))" }
        + members.map { "\(name($0.key))=\(bare(plain($0.value, depth: depth)))" }
      return prefix + pairs.joined(separator: " ")
    case .json:
      let pairs =
        head.map { "\(quoted($0.0)):\(quoted($0.1))" }
        + members.map { "\(quoted(name($0.key))):\(json($0.value, depth: depth))" }
      return prefix + "{" + pairs.joined(separator: ",") + "}"
    }
  }

  /// A key of logfmt, which has no way to quote one; the names of the head are taken.
  private static func name(_ key: String) -> String {
    let name = String(
      key.unicodeScalars.prefix(64).map { scalar -> Character in
        let isPlain = scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
        return isPlain || scalar == "." || scalar == "-" ? Character(scalar) : "_"
      })
    return ["", "time", "level", "message"].contains(name) ? name + "_" : name
  }

  private static func plain(_ value: Logger.MetadataValue, depth: Int) -> String {
    switch value {
    case .string(let text): text
    case .stringConvertible(let value): value.description
    case .array, .dictionary: json(value, depth: depth)
    }
  }

  private static func json(_ value: Logger.MetadataValue, depth: Int) -> String {
    switch value {
    case .string(let text): return quoted(text)
    case .stringConvertible(let value): return quoted(value.description)
    case .array(let values):
      guard depth > 0 else { return quoted("…") }
      return "[" + values.prefix(mostValues).map { json($0, depth: depth - 1) }.joined(separator: ",") + "]"
    case .dictionary(let values):
      guard depth > 0 else { return quoted("…") }
      let members = values.sorted { $0.key < $1.key }.prefix(mostValues)
      return "{" + members.map { "\(quoted($0.key)):\(json($0.value, depth: depth - 1))" }.joined(separator: ",") + "}"
    }
  }

  /// A value of logfmt: as it is, or in quotes where it would not be read back as one.
  private static func bare(_ text: String) -> String {
    let isBare =
      !text.isEmpty && text.utf8.count <= longestValue
      && text.utf8.allSatisfy { (0x21...0x7E).contains($0) && ![0x22, 0x3D, 0x5C].contains($0) }
    return isBare ? text : quoted(text)
  }

  /// A JSON string, in which control characters, and those that change how others are shown, are escaped.
  static func quoted(_ text: String) -> String {
    var out = "\""
    for (index, scalar) in text.unicodeScalars.enumerated() {
      if index == longestValue {
        out += "…"
        break
      }
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      default:
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
          for unit in String(scalar).utf16 {
            let digits = String(unit, radix: 16)
            out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
          }
        default: out.unicodeScalars.append(scalar)
        }
      }
    }
    return out + "\""
  }
}

extension Logger.Level {
  /// syslog(3).
  fileprivate var priority: Int {
    switch self {
    case .trace, .debug: 7
    case .info: 6
    case .notice: 5
    case .warning: 4
    case .error: 3
    case .critical: 2
    }
  }
}

/// A time in UTC, RFC 3339, to the millisecond.
enum LogTime {
  static func text(_ wall: Int64) -> String {
    let (seconds, nanoseconds) = divided(wall, 1_000_000_000)
    let (days, second) = divided(seconds, 86_400)
    let (year, month, day) = date(days)
    func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let milliseconds = nanoseconds / 1_000_000
    let fraction = String(repeating: "0", count: milliseconds < 10 ? 2 : milliseconds < 100 ? 1 : 0) + "\(milliseconds)"
    return "\(year)-\(two(month))-\(two(day))T\(two(second / 3_600)):\(two(second / 60 % 60)):\(two(second % 60))"
      + ".\(fraction)Z"
  }

  /// Towards negative infinity.
  private static func divided(_ number: Int64, _ divisor: Int64) -> (Int64, Int64) {
    let (quotient, remainder) = number.quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
  }

  /// Days since 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant, "chrono-Compatible Low-Level Date
  /// Algorithms", civil_from_days).
  private static func date(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let (era, dayOfEra) = divided(days + 719_468, 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
  }
}
