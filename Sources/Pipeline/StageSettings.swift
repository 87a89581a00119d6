package import Telemetry

/// A field in which every device counts its messages: what is left out was lost on the way.
package struct SequenceSettings: Sendable, Hashable {
  package var field: FieldPath
  /// Numbers go from 0 to one below it and begin at 0 again; nil where they never do.
  package var modulus: Int64?
  /// More numbers left out in one place are no loss but another counting.
  package var maximumGap: Int64 = 100_000
  /// Devices that are remembered at most; past it, those that were silent for longest are forgotten.
  package var limit = 10_000

  package static let moduli: ClosedRange<Int64> = 256...1 << 53
  package static let gaps: ClosedRange<Int64> = 1...1 << 53
  package static let limits = 1...1_000_000

  package init(field: FieldPath) { self.field = field }

  /// For the version of the pipeline.
  var canonical: String { "\(field) \(modulus ?? 0) \(maximumGap) \(limit)" }
}

/// Whether fields that appear, vanish or change their type are reported.
package struct DriftSettings: Sendable, Hashable {
  /// A field that so many readings in a row lack has vanished.
  package var vanishedAfter = 100
  /// Devices that are remembered at most; past it, those that were silent for longest are forgotten.
  package var limit = 10_000

  package static let patience = 2...1_000_000
  package static let limits = 1...1_000_000

  package init() {}

  /// For the version of the pipeline.
  var canonical: String { "\(vanishedAfter) \(limit)" }
}

/// A reference table, and what of a reading is looked up in it.
package struct EnrichmentSettings: Sendable, Hashable {
  /// The field that is looked up; nil: the reading's key.
  package var by: FieldPath?
  package var table: ReferenceTable
  /// Of the file's bytes and the table's settings: another one makes another version of the pipeline.
  package var digest: Digest

  package init(by: FieldPath?, table: ReferenceTable, digest: Digest) {
    self.by = by
    self.table = table
    self.digest = digest
  }

  package static func == (a: EnrichmentSettings, b: EnrichmentSettings) -> Bool {
    a.by == b.by && a.digest == b.digest
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(by)
    hasher.combine(digest)
  }
}

/// What becomes of personal fields before anything leaves. What is refused behind the topic is kept without its
/// bytes (``Rejection/isWithheld``).
package struct MaskSettings: Sendable, Hashable {
  package var rules: [FieldMask.Rule]
  package var tokeniser: Tokeniser?

  package init(rules: [FieldMask.Rule], tokeniser: Tokeniser?) {
    self.rules = rules
    self.tokeniser = tokeniser
  }

  /// Says which keys there are and nothing about them: the tokens of an empty text.
  var fingerprint: [String] { tokeniser?.tokens(of: []) ?? [] }

  package static func == (a: MaskSettings, b: MaskSettings) -> Bool {
    a.rules == b.rules && a.fingerprint == b.fingerprint
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(rules)
    hasher.combine(fingerprint)
  }
}

/// Windows over event time, per key, and what becomes of readings that come too late for theirs.
package struct WindowingSettings: Sendable, Hashable {
  /// One member of a result.
  package struct Emitted: Sendable, Hashable {
    package var name: String
    package var function: WindowSettings.Function
    /// What is aggregated: an SQL expression over the reading as it comes out of `select` and `mask`; nil for a
    /// count of readings.
    package var argument: String?

    package init(name: String, function: WindowSettings.Function, argument: String?) {
      self.name = name
      self.function = function
      self.argument = argument
    }
  }

  package enum Late: Sendable, Hashable {
    /// Booked as late, and that is all.
    case drop
    case deadLetter
    /// Windows take readings for so many nanoseconds after they have closed, and give a corrected result; readings
    /// that come later still are dropped.
    case correct(within: Int64)
  }

  package var span: WindowSettings.Span
  package var emit: [Emitted]
  /// How much older than the newest reading a reading may be, and the present that it may lie ahead of.
  package var watermark = Watermark.Settings(allowedLateness: 0)
  package var late = Late.drop
  /// Windows at most, of all keys together.
  package var maximumWindows = 100_000
  package var overflow = WindowSettings.Overflow.closeEarly

  package init(span: WindowSettings.Span, emit: [Emitted]) {
    self.span = span
    self.emit = emit
  }

  /// For the version of the pipeline.
  var canonical: String {
    let span =
      switch span {
      case .tumbling(let length): "tumbling \(length)"
      case .hopping(let length, let every): "hopping \(length) \(every)"
      case .session(let gap): "session \(gap)"
      }
    let late =
      switch late {
      case .drop: "drop"
      case .deadLetter: "dead-letter"
      case .correct(let within): "correct \(within)"
      }
    let idle = watermark.idleAfter.map(String.init) ?? "never"
    let emitted = emit.map { "\($0.name.utf8.count):\($0.name) \($0.function) \($0.argument ?? "")" }
    return
      ([
        span, late, "\(watermark.allowedLateness) \(watermark.maximumAhead) \(idle)",
        "\(maximumWindows) \(overflow)",
      ] + emitted).joined(separator: "\n")
  }
}
