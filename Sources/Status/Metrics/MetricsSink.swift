/// What a family of series measures (Prometheus text exposition format 0.0.4, "TYPE").
package enum MetricKind: String, Sendable, Hashable, CaseIterable {
  /// Only grows, until the process starts anew. Names end in `_total`.
  case counter
  case gauge
  case histogram
}

/// Takes figures as they are gathered: whoever asks is given a page in the form that it reads.
///
/// A family comes with all of its series, one after the other; a family without series is left out.
package protocol MetricsSink {
  /// Begins a family; the samples that follow are its series.
  /// - Parameters:
  ///   - name: `[a-zA-Z_:][a-zA-Z0-9_:]*`, with its unit.
  ///   - help: one sentence for people.
  mutating func family(_ name: String, _ kind: MetricKind, help: String)
  /// - Parameter more: further labels, whose names are not among the first.
  mutating func sample(_ labels: MetricLabels, _ more: MetricLabels, _ value: Int64)
  mutating func sample(_ labels: MetricLabels, _ more: MetricLabels, _ value: Double)
  /// - Parameter value: shown in seconds.
  mutating func sample(_ labels: MetricLabels, nanoseconds value: Int64)
  mutating func sample(_ labels: MetricLabels, _ value: HistogramFigures)
}

extension MetricsSink {
  package mutating func sample(_ labels: MetricLabels, _ value: Int64) { sample(labels, .none, value) }
  package mutating func sample(_ labels: MetricLabels, _ value: Double) { sample(labels, .none, value) }

  /// A family of one series without labels.
  package mutating func single(_ name: String, _ kind: MetricKind, _ value: Int64, help: String) {
    family(name, kind, help: help)
    sample(.none, value)
  }

  /// A family of one series without labels; none where the value is not known.
  package mutating func single(_ name: String, _ kind: MetricKind, _ value: Double?, help: String) {
    guard let value else { return }
    family(name, kind, help: help)
    sample(.none, value)
  }
}

/// The labels of one series, made once and used by every family that has them.
package struct MetricLabels: Sendable, Hashable {
  package struct Pair: Sendable, Hashable {
    package let name: String
    package let value: String
  }

  /// Labels of one series at most: more are no use to anybody and cost memory.
  package static let maximumPairs = 8
  /// Bytes of one value at most; the rest is cut off. Our own are names of at most 64 bytes.
  package static let maximumValue = 128

  package static let none = MetricLabels(rendering: [])

  /// One object, so that handing labels on costs one count.
  private final class Storage: Sendable {
    let pairs: [Pair]
    let text: [UInt8]

    init(_ pairs: [Pair], _ text: [UInt8]) {
      self.pairs = pairs
      self.text = text
    }
  }

  private let storage: Storage

  package var pairs: [Pair] { storage.pairs }
  /// As the text format writes them, without the braces.
  var text: [UInt8] { storage.text }

  package static func == (a: MetricLabels, b: MetricLabels) -> Bool { a.text == b.text }
  package func hash(into hasher: inout Hasher) { hasher.combine(text) }

  /// Names are made valid and values cut to ``maximumValue`` bytes; of a name that comes twice the first counts.
  package init(_ pairs: [(String, String)]) {
    var kept: [Pair] = []
    for (name, value) in pairs.prefix(MetricLabels.maximumPairs) {
      let name = MetricName.label(name)
      guard !kept.contains(where: { $0.name == name }) else { continue }
      kept.append(Pair(name: name, value: MetricLabels.bounded(value)))
    }
    self.init(rendering: kept)
  }

  /// One label; its name is a valid one.
  package init(_ name: StaticString, _ value: String) {
    self.init(rendering: [Pair(name: name.description, value: MetricLabels.bounded(value))])
  }

  private init(rendering pairs: [Pair]) {
    // Room for the worst, in which every byte of a value is escaped.
    let room = pairs.reduce(0) { $0 + $1.name.utf8.count + 2 * $1.value.utf8.count + 4 }
    let text = [UInt8](unsafeUninitializedCapacity: room) { text, count in
      for pair in pairs {
        func put(_ byte: UInt8) {
          text.initializeElement(at: count, to: byte)
          count += 1
        }
        if count > 0 { put(UInt8(ascii: ",")) }
        for byte in pair.name.utf8 { put(byte) }
        put(UInt8(ascii: "="))
        put(UInt8(ascii: "\""))
        for byte in pair.value.utf8 {
          switch byte {
          case UInt8(ascii: "\\"), UInt8(ascii: "\""):
            put(UInt8(ascii: "\\"))
            put(byte)
          case UInt8(ascii: "\n"):
            put(UInt8(ascii: "\\"))
            put(UInt8(ascii: "n"))
          default: put(byte)
          }
        }
        put(UInt8(ascii: "\""))
      }
    }
    storage = Storage(pairs, text)
  }

  /// These and one more, whose name is a valid one.
  package func adding(_ name: StaticString, _ value: String) -> MetricLabels {
    MetricLabels(rendering: pairs + [Pair(name: name.description, value: MetricLabels.bounded(value))])
  }

  private static func bounded(_ value: String) -> String {
    guard value.utf8.count > maximumValue else { return value }
    var cut = value.prefix(maximumValue)
    while cut.utf8.count > maximumValue { cut.removeLast() }
    return String(cut)
  }

}

/// Names of metrics and labels, which libraries write in forms of their own (`http.server.requests`).
package enum MetricName {
  /// Bytes of a name at most.
  static let maximumLength = 128

  /// `[a-zA-Z_:][a-zA-Z0-9_:]*`: every other character becomes an underscore.
  package static func metric(_ name: String) -> String { valid(name, colons: true) }

  /// `[a-zA-Z_][a-zA-Z0-9_]*`, and not one of those that begin with two underscores, which are Prometheus's own.
  static func label(_ name: String) -> String {
    let text = valid(name, colons: false)
    return text.hasPrefix("__") ? "label" + text : text
  }

  private static func valid(_ name: String, colons: Bool) -> String {
    var bytes: [UInt8] = []
    for byte in name.utf8.prefix(maximumLength) {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"):
        bytes.append(byte)
      case UInt8(ascii: "0")...UInt8(ascii: "9"):
        if bytes.isEmpty { bytes.append(UInt8(ascii: "_")) }
        bytes.append(byte)
      case UInt8(ascii: ":") where colons: bytes.append(byte)
      default: bytes.append(UInt8(ascii: "_"))
      }
    }
    return bytes.isEmpty ? "_" : String(decoding: bytes, as: UTF8.self)
  }
}
