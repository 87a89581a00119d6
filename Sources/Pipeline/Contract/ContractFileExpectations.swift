/// The expectations of a contract file: each an object with `field`, one rule, and what becomes of readings that do
/// not meet it.
extension ContractFileReader {
  private enum RuleName: String, CaseIterable {
    case range, increasing, decreasing, stuck, step, slope, fresh
    case nullShare = "null_share"
  }

  private enum ActionWord: String, CaseIterable {
    case tag
    case deadLetter = "dead-letter"
    case count

    var action: Expectation.Action {
      switch self {
      case .tag: .tag
      case .deadLetter: .deadLetter
      case .count: .count
      }
    }
  }

  mutating func expectations(_ place: Place) -> [Expectation] {
    guard tape.values[place.index].kind == .array else {
      fault(place, "must be an array, not \(tape.values[place.index].kind.phrase)")
      return []
    }
    let children = children(of: place.index)
    guard children.count <= ContractFile.maximumExpectations else {
      fault(place, "has \(children.count) expectations; a contract has at most \(ContractFile.maximumExpectations)")
      return []
    }
    return children.enumerated().compactMap { number, child in
      expectation(Place(index: child, pointer: "\(place.pointer)/\(number)"))
    }
  }

  private mutating func expectation(_ place: Place) -> Expectation? {
    let rules = RuleName.allCases.map(\.rawValue)
    let before = faults.count
    guard let members = members(of: place, "an expectation", known: ["field", "action"] + rules) else { return nil }
    let isKnown = faults.count == before
    let action = members["action"].flatMap { choice($0, ActionWord.self) } ?? .tag
    let path = members["field"].flatMap { field($0) }
    let named = RuleName.allCases.compactMap { name in members[name.rawValue].map { (name, $0) } }
    guard let (name, value) = named.first, named.count == 1 else {
      // A rule's name with a slip in it has been told.
      guard isKnown else { return nil }
      fault(
        place, "an expectation has one rule, and this one has \(named.isEmpty ? "none" : String(named.count))",
        hint: "the rules are: \(rules.joined(separator: ", "))")
      return nil
    }
    if name == .fresh, let field = members["field"] {
      fault(field, "'fresh' is about the reading's own time and has no field")
    } else if name != .fresh, members["field"] == nil {
      fault(place, "the member 'field' is missing", hint: #"for example "field": "object.temperature""#)
    }
    return rule(name, value).map { Expectation(path: path, rule: $0, action: action.action) }
  }

  private mutating func rule(_ name: RuleName, _ place: Place) -> Expectation.Rule? {
    switch name {
    case .range: return range(place)
    case .increasing: return isStrict(place).map { .increasing(strictly: $0) }
    case .decreasing: return isStrict(place).map { .decreasing(strictly: $0) }
    case .stuck: return stuck(place)
    case .step:
      let members = members(of: place, "'step'", known: ["max"], required: ["max"])
      return members?["max"].flatMap { double($0) }.map { .step(maximum: $0) }
    case .slope: return slope(place)
    case .nullShare:
      let members = members(of: place, "'null_share'", known: ["max", "readings"], required: ["max", "readings"])
      let maximum = members?["max"].flatMap { double($0, atMost: 1) }
      let readings = members?["readings"].flatMap { integer($0, in: 1...Expectation.Rule.maximumWindow) }
      guard let maximum, let readings else { return nil }
      return .nullShare(maximum: maximum, readings: readings)
    case .fresh:
      let members = members(of: place, "'fresh'", known: ["within"], required: ["within"])
      return members?["within"].flatMap { duration($0) }.map { .fresh(nanoseconds: $0) }
    }
  }

  private mutating func range(_ place: Place) -> Expectation.Rule? {
    guard let members = members(of: place, "'range'", known: ["min", "max"]) else { return nil }
    let minimum = members["min"].flatMap { number($0) }
    let maximum = members["max"].flatMap { number($0) }
    guard !members.isEmpty else {
      fault(place, "a range has 'min', 'max' or both")
      return nil
    }
    if let minimum, let maximum, minimum.isGreater(than: maximum) {
      let bounds = [minimum, maximum].map { ContractFileReader.quoted($0.description) }
      fault(place, "no number is at least \(bounds[0]) and at most \(bounds[1])")
      return nil
    }
    return .range(minimum: minimum, maximum: maximum)
  }

  /// `true`, or `"strictly"`.
  private mutating func isStrict(_ place: Place) -> Bool? {
    let value = tape.values[place.index]
    switch value.kind {
    case .boolean where flag(place) == true: return false
    case .string where tape.text(value, in: bytes) == Array("strictly".utf8): return true
    default:
      fault(place, #"must be true, or "strictly" where the value must not stay the same either"#)
      return nil
    }
  }

  private mutating func stuck(_ place: Place) -> Expectation.Rule? {
    guard let members = members(of: place, "'stuck'", known: ["readings", "for"]) else { return nil }
    guard !members.isEmpty else {
      fault(place, "'stuck' has 'readings', 'for' or both")
      return nil
    }
    let readings = members["readings"].flatMap { integer($0, in: 2...1_000_000_000) }
    let time = members["for"].flatMap { duration($0) }
    return .changing(readings: readings, nanoseconds: time)
  }

  private mutating func slope(_ place: Place) -> Expectation.Rule? {
    guard let members = members(of: place, "'slope'", known: ["max", "per"], required: ["max"]) else { return nil }
    let per = members["per"].map { duration($0) } ?? 1_000_000_000
    guard let per, let maximum = members["max"].flatMap({ double($0) }) else { return nil }
    return .slope(maximumPerSecond: maximum * 1e9 / Double(per))
  }
}

extension ExactNumber {
  func isGreater(than other: ExactNumber) -> Bool {
    other.text.withUnsafeBytes { compared(to: DecimalText($0)) } < 0
  }
}
