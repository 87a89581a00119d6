internal import Status
internal import Telemetry

/// `objectives`.
extension ConfigurationDecoder {
  fileprivate static let off = "off"
  /// What a day's budget would say of a month is little, and the history does not go back further.
  private static let periods = day...ObjectiveSettings.longestPeriod
  private static let bounds = second...7 * day

  /// The objectives that are kept. Those that are not named have their defaults.
  func objectives(_ value: ConfigurationValue?) -> [ObjectiveName: ObjectiveSettings] {
    var objectives = ObjectiveSettings.usual
    guard let value else { return objectives }
    if value.isOff { return [:] }
    guard let section = value.section(or: ConfigurationDecoder.off) else { return objectives }
    for name in ObjectiveName.allCases {
      guard let entry = section.optional(name.key) else { continue }
      objectives[name] = entry.isOff ? nil : objective(entry, name)
    }
    section.close()
    return objectives
  }

  private func objective(_ value: ConfigurationValue, _ name: ObjectiveName) -> ObjectiveSettings {
    var settings = ObjectiveSettings.usual(name)
    guard let section = value.section(or: ConfigurationDecoder.off) else { return settings }
    section.set(&settings.target, from: "target") { $0.share() }
    section.set(&settings.period, from: "over") { $0.duration(in: ConfigurationDecoder.periods) }
    switch name.bound {
    case .duration:
      section.set(&settings.bound, from: "within") { $0.duration(in: ConfigurationDecoder.bounds) }
    case .count: section.set(&settings.bound, from: "below") { $0.integer(in: 1...1_000_000_000).map { Int64($0) } }
    case nil: break
    }
    section.close()
    return settings
  }
}

extension ConfigurationValue {
  /// `off`, which YAML 1.1 also writes as `false`: they are the same here.
  fileprivate var isOff: Bool {
    guard case .scalar(let scalar) = node.content else { return false }
    return [ConfigurationDecoder.off, "false"].contains(scalar.text)
  }

  /// A share above 0 and below 1, in per cent: `99.9 %`.
  fileprivate func share() -> Double? {
    let expected = "a percentage such as '99.9 %'"
    guard let text = text(expected: expected) else { return nil }
    let digits = text.hasSuffix("%") ? text.dropLast().trimmingSpaces : ""
    guard digits.utf8.count <= 12, let percent = Double(digits), digits.allSatisfy({ $0.isNumber || $0 == "." }) else {
      error("\(quoted(text)) is no percentage, expected \(expected)")
      return nil
    }
    guard percent >= 50, percent <= 99.999 else {
      error(
        "\(quoted(text)) is out of range, expected 50 % to 99.999 %",
        hint: percent >= 100 ? "without an error budget nothing can be measured against it" : nil)
      return nil
    }
    return percent / 100
  }
}

extension Substring {
  fileprivate var trimmingSpaces: Substring {
    var text = self
    while text.last == " " { text.removeLast() }
    return text
  }
}
