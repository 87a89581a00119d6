/// A decimal number of any size, exactly as it was written.
package struct ExactNumber: Sendable, Hashable, CustomStringConvertible {
  let text: [UInt8]
  let shape: DecimalShape

  /// Nil for what is no JSON number.
  package init?(_ text: String) {
    let bytes = Array(text.utf8)
    var tape = JSONTape()
    let isNumber = bytes.withUnsafeBytes { (try? tape.read($0)) != nil && tape.root.kind == .number }
    guard isNumber, !tape.hasWhitespace else { return nil }
    self.text = bytes
    shape = bytes.withUnsafeBytes { DecimalText($0).shape }
  }

  package var description: String { String(decoding: text, as: UTF8.self) }

  package static func == (left: ExactNumber, right: ExactNumber) -> Bool { left.text == right.text }
  package func hash(into hasher: inout Hasher) { hasher.combine(text) }

  /// Below 0 where `value` is the smaller one, 0 where both are the same, otherwise above 0.
  func compared(to value: DecimalText) -> Int {
    text.withUnsafeBytes { value.compare(DecimalText($0, shape: shape)) }
  }
}

/// Something that a contract expects of a field beside its form. What is expected of how values follow each other
/// is kept for each device by ``ExpectationChecks``.
///
/// A value of another type than the rule is about meets it: types are the schema's matter.
package struct Expectation: Sendable, Hashable {
  package enum Rule: Sendable, Hashable {
    /// A number within bounds, both included; nil for none.
    case range(minimum: ExactNumber?, maximum: ExactNumber?)
    /// A number never goes below the one before; where `strictly`, it also never stays.
    case increasing(strictly: Bool)
    /// The same the other way round.
    case decreasing(strictly: Bool)
    /// The value does not stay the same for so many readings in a row (2 or more), or for so many nanoseconds;
    /// nil for no such bound.
    case changing(readings: Int?, nanoseconds: Int64?)
    /// A number differs from the one before by no more than this. In double precision.
    case step(maximum: Double)
    /// A number moves by no more than this a second. In double precision; two readings of the same time are not
    /// compared.
    case slope(maximumPerSecond: Double)
    /// Of the last so many readings (1 to ``maximumWindow``), no more than this share (0 to 1) lack the field or
    /// have null in it. Nothing is said before there are so many.
    case nullShare(maximum: Double, readings: Int)
    /// The reading's own time lies no more than so many nanoseconds before its receipt.
    case fresh(nanoseconds: Int64)

    /// Readings that a share can be taken of. They take a bit each for each device.
    package static let maximumWindow = 1_024
  }

  /// What becomes of a reading that does not meet it.
  package enum Action: UInt8, Sendable, Hashable {
    /// It is passed on with a mark.
    case tag
    /// It is set aside.
    case deadLetter
    /// It is passed on and counted.
    case count
  }

  /// The field; ``Rule/fresh(nanoseconds:)`` has none.
  package var path: FieldPath?
  package var rule: Rule
  package var action: Action

  package init(path: FieldPath?, rule: Rule, action: Action) {
    self.path = path
    self.rule = rule
    self.action = action
  }
}

extension Expectation {
  /// Its kind and its field, as the tags of readings and the status have them: `range:temperature`, `freshness`.
  package var name: String { [rule.kind.rawValue, path?.description].compactMap { $0 }.joined(separator: ":") }
}

/// A reading that does not meet an expectation. Holds nothing of its values.
package struct Finding: Sendable, Hashable, CustomStringConvertible {
  package enum Kind: String, Sendable, Hashable {
    case range, monotonic, stuck, jump, freshness
    case nullShare = "null-share"
  }

  package var kind: Kind
  /// The expectation's place in its contract, from 0.
  package var expectation: Int
  package var action: Expectation.Action
  /// What is wrong, in words, with the field's path.
  package var description: String
}

extension Expectation.Rule {
  var kind: Finding.Kind {
    switch self {
    case .range: .range
    case .increasing, .decreasing: .monotonic
    case .changing: .stuck
    case .step, .slope: .jump
    case .nullShare: .nullShare
    case .fresh: .freshness
    }
  }
}
