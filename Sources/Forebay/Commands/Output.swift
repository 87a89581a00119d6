internal import FoundationEssentials
internal import Pipeline

/// What commands print.
enum Output {
  /// One JSON text with sorted keys, and a line feed.
  static func json(_ value: some Encodable, pretty: Bool = true) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting =
      pretty ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted] : [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  /// Writes a line to standard error.
  static func complain(_ text: String) {
    StandardStream.error.write(line: text)
  }

  /// `1234567` as `1,234,567`.
  static func grouped(_ number: Int64) -> String {
    let digits = String(number.magnitude)
    var out = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index) % 3 == 0 { out.append(",") }
      out.append(digit)
    }
    return (number < 0 ? "-" : "") + out
  }

  /// Bytes in the largest binary unit that leaves at least one.
  static func bytes(_ count: Int64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var value = Double(count)
    var unit = 0
    while abs(value) >= 1024, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    return unit == 0 ? "\(count) B" : "\(decimal(value, places: 1)) \(units[unit])"
  }

  /// An amount of money: two places, four below 1.
  static func money(_ amount: Double) -> String { decimal(amount, places: amount < 1 ? 4 : 2) }

  /// `1 dead letter`, `2 dead letters`, `1,000 batches`.
  static func count(_ number: Int64, _ noun: String) -> String {
    let ending = noun.hasSuffix("ch") || noun.hasSuffix("s") ? "es" : "s"
    return "\(grouped(number)) \(noun)\(number == 1 ? "" : ending)"
  }

  /// A time in UTC for people: RFC 3339, to the millisecond.
  static func time(_ wall: Int64) -> String {
    let text = RFC3339.text(wall)
    let (whole, fraction) = (text.prefix(19), text.dropFirst(20).dropLast())
    return "\(whole).\((fraction + "000").prefix(3))Z"
  }

  /// How long something lasts, for people: its two largest units.
  /// - Parameter nanoseconds: not below zero.
  static func duration(_ nanoseconds: Int64) -> String {
    let seconds = max(0, nanoseconds) / 1_000_000_000
    let units: [(Int64, String)] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")]
    guard let first = units.firstIndex(where: { seconds >= $0.0 }) else { return "0 s" }
    let larger = "\(seconds / units[first].0) \(units[first].1)"
    guard first + 1 < units.count else { return larger }
    let smaller = seconds % units[first].0 / units[first + 1].0
    return smaller == 0 ? larger : "\(larger) \(smaller) \(units[first + 1].1)"
  }

  static func duration(seconds: Double) -> String {
    duration(Int64(min(max(0, seconds.isFinite ? seconds : 0), 9e9) * 1e9))
  }

  /// Characters of a foreign text that are shown at most.
  static let longestText = 60
  /// The same of a topic, which people look for by its end as well.
  static let longestTopic = 200

  /// A topic for a terminal.
  static func plain(topic: String) -> String { plain(topic, limit: longestTopic) }

  /// A text that devices or upstreams wrote, for a terminal: what would act on it or hide is escaped, and the end of
  /// a long one is cut off.
  /// - Parameter keepsLines: line feeds and tabs stay.
  static func plain(_ text: String, limit: Int = longestText, keepsLines: Bool = false) -> String {
    var out = ""
    for (index, scalar) in text.unicodeScalars.enumerated() {
      if index == limit { return out + "..." }
      if keepsLines, scalar == "\n" || scalar == "\t" {
        out.unicodeScalars.append(scalar)
        continue
      }
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
        out += "\\u{\(String(scalar.value, radix: 16))}"
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out
  }

  /// A decimal number with so many places, without a locale.
  static func decimal(_ value: Double, places: Int) -> String {
    guard value.isFinite else { return "-" }
    var scale = 1.0
    for _ in 0..<places { scale *= 10 }
    let scaled = (value.magnitude * scale).rounded()
    guard scaled < 9e15 else { return "\(value)" }
    let whole = Int64(scaled)
    let sign = value < 0 && whole != 0 ? "-" : ""
    if places == 0 { return sign + String(whole) }
    let unit = Int64(scale)
    let fraction = String(whole % unit)
    return sign + "\(whole / unit)." + String(repeating: "0", count: places - fraction.count) + fraction
  }

  /// A table whose columns are as wide as they need to be; numbers stand at the right.
  static func table(_ header: [String], _ rows: [[String]]) -> String {
    let all = [header] + rows
    let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    let numeric = header.indices.map { column in
      !rows.isEmpty && rows.allSatisfy { $0[column].first.map { $0.isNumber || $0 == "-" } ?? true }
    }
    return all.map { row in
      row.indices.map { column in
        let pad = String(repeating: " ", count: widths[column] - row[column].count)
        return numeric[column] ? pad + row[column] : row[column] + pad
      }.joined(separator: "  ").trimmingTrailingSpaces
    }.joined(separator: "\n")
  }
}

extension String {
  fileprivate var trimmingTrailingSpaces: String {
    var copy = self[...]
    while copy.last == " " { copy.removeLast() }
    return String(copy)
  }
}
