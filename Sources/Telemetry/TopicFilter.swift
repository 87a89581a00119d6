/// What is wrong with a topic filter, and where.
package struct TopicFilterError: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Kind: Sendable, Hashable {
    case empty
    /// The UTF-8 bytes that the filter has; 65,535 are allowed.
    case tooLong(Int)
    case containsNUL
    /// `+` or `#` beside other characters of its level.
    case wildcardInsideLevel
    case multiLevelNotLast
    /// `{` or `}` anywhere but around a whole level.
    case captureInsideLevel
    case captureName
    case captureTwice
    case sharedSubscription
  }

  package var kind: Kind
  /// The level at fault, from 1; nil where the filter as a whole is.
  package var level: Int?
  /// The filter as it was given.
  package var filter: String

  package init(_ kind: Kind, level: Int?, filter: String) {
    self.kind = kind
    self.level = level
    self.filter = filter
  }

  /// What is wrong, without where.
  package var reason: String {
    switch kind {
    case .empty: "a topic filter has at least one character"
    case .tooLong(let bytes): "a topic filter has at most 65535 UTF-8 bytes, this one has \(bytes)"
    case .containsNUL: "a topic filter cannot hold the character U+0000"
    case .wildcardInsideLevel: "a wildcard takes a whole level"
    case .multiLevelNotLast: "# stands for all further levels and must be the last one"
    case .captureInsideLevel: "a capture takes a whole level"
    case .captureName: "a capture's name is 1 to 64 of A-Z a-z 0-9 _, not beginning with a digit"
    case .captureTwice: "two captures of one filter have the same name"
    case .sharedSubscription: "a shared subscription would hand part of the messages to other clients"
    }
  }

  /// What to write instead.
  package var hint: String {
    switch kind {
    case .empty: "write # for every topic"
    case .tooLong: "use + for levels that vary"
    case .containsNUL: "remove it"
    case .wildcardInsideLevel: "write a/+/b or a/#, not a/x+/b or a/x#"
    case .multiLevelNotLast: "use + for a single level in the middle"
    case .captureInsideLevel: "write sensors/{device}/climate; take a level apart downstream"
    case .captureName: "write {device}, or + for a level whose value is not wanted"
    case .captureTwice: "give each its own name, or use + for one of them"
    case .sharedSubscription: "write the filter that follows $share/<name>/ on its own"
    }
  }

  package var description: String {
    // A filter may be 64 KiB long; its beginning tells people which one is meant.
    let shown = filter.utf8.count <= 200 ? filter : "\(filter.prefix(100))…"
    let place = level.map { ", level \($0)" } ?? ""
    return "topic filter \"\(shown)\"\(place): \(reason) (\(hint))"
  }
}

/// An MQTT topic filter (MQTT 5.0, section 4.7) whose single-level wildcards may have names:
/// `sensors/{device}/{kind}` is `sensors/+/+`, and the levels that the wildcards stand for can be asked
/// for by name.
///
/// Topics are compared byte for byte, as section 4.7.3 demands: never by Swift's `String ==`, for
/// which two spellings of one accented letter are equal.
package struct TopicFilter: Sendable, Hashable, CustomStringConvertible {
  private enum Level: Sendable, Hashable {
    case literal([UInt8])
    case single
    /// A single-level wildcard with a name (ASCII).
    case capture(String)

    var isWildcard: Bool {
      if case .literal = self { false } else { true }
    }

    var text: String {
      switch self {
      case .literal(let bytes): String(decoding: bytes, as: UTF8.self)
      case .single: "+"
      case .capture(let name): "{\(name)}"
      }
    }

    func covers(_ other: Level) -> Bool {
      switch (self, other) {
      case (.literal(let mine), .literal(let theirs)): mine == theirs
      case (.literal, _): false
      default: true
      }
    }
  }

  /// Without the `#`.
  private let levels: [Level]
  /// Ends with `#`.
  private let isMultiLevel: Bool

  /// Reads the form of the configuration: MQTT's own, with `{name}` in the place of any `+`.
  package init(parsing text: String) throws(TopicFilterError) {
    func failure(_ kind: TopicFilterError.Kind, _ level: Int? = nil) -> TopicFilterError {
      TopicFilterError(kind, level: level, filter: text)
    }
    let parts = Array(text.utf8).split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    guard !text.utf8.isEmpty else { throw failure(.empty) }
    if parts.count > 1, parts[0].elementsEqual("$share".utf8) { throw failure(.sharedSubscription, 1) }

    var levels: [Level] = []
    var isMultiLevel = false
    var names: Set<String> = []
    for (index, part) in parts.enumerated() {
      let level = index + 1
      if part.contains(0) { throw failure(.containsNUL, level) }
      if part.elementsEqual("#".utf8) {
        guard level == parts.count else { throw failure(.multiLevelNotLast, level) }
        isMultiLevel = true
        continue
      }
      if part.elementsEqual("+".utf8) {
        levels.append(.single)
        continue
      }
      if part.first == UInt8(ascii: "{"), part.last == UInt8(ascii: "}"), part.count >= 2 {
        let inner = part.dropFirst().dropLast()
        let name = String(decoding: inner, as: UTF8.self)
        if inner.contains(where: TopicFilter.isBrace) { throw failure(.captureInsideLevel, level) }
        guard TopicFilter.isCaptureName(inner) else { throw failure(.captureName, level) }
        guard names.insert(name).inserted else { throw failure(.captureTwice, level) }
        levels.append(.capture(name))
        continue
      }
      if part.contains(where: { $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "#") }) {
        throw failure(.wildcardInsideLevel, level)
      }
      if part.contains(where: TopicFilter.isBrace) { throw failure(.captureInsideLevel, level) }
      levels.append(.literal(Array(part)))
    }
    self.levels = levels
    self.isMultiLevel = isMultiLevel
    let bytes = mqtt.utf8.count
    if bytes > 65_535 { throw failure(.tooLong(bytes)) }
  }

  private static func isBrace(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: "{") || byte == UInt8(ascii: "}")
  }

  private static func isCaptureName(_ name: ArraySlice<UInt8>) -> Bool {
    guard let first = name.first, name.count <= 64 else { return false }
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    return !digits.contains(first)
      && name.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "_"):
          true
        default: digits.contains(byte)
        }
      }
  }

  private func text(_ describe: (Level) -> String) -> String {
    (levels.map(describe) + (isMultiLevel ? ["#"] : [])).joined(separator: "/")
  }

  /// The filter as a broker is told it: captures are written `+`.
  package var mqtt: String { text { $0.isWildcard ? "+" : $0.text } }

  /// The form of the configuration; ``init(parsing:)`` reads it back.
  package var description: String { text(\.text) }

  /// The names of the captures, in the order of their levels.
  package var captureNames: [String] {
    levels.compactMap { if case .capture(let name) = $0 { name } else { nil } }
  }

  private var beginsWithWildcard: Bool { levels.first?.isWildcard ?? true }

  /// Whether a message on `topic` is for a subscriber of this filter.
  package func matches(_ topic: String) -> Bool { captures(topic) != nil }

  /// What the captures stand for in `topic`, in the order of their levels; nil where the filter does
  /// not match.
  package func captures(_ topic: String) -> [(name: String, value: String)]? {
    // Section 4.7.2: a filter that begins with a wildcard does not match topics that begin with $.
    guard let first = topic.utf8.first, !(first == UInt8(ascii: "$") && beginsWithWildcard) else {
      return nil
    }
    var found: [(name: String, value: String)] = []
    var rest = topic.utf8[...]
    // Nil once the topic's last level has been taken.
    var next: Substring.UTF8View? = rest
    for level in levels {
      guard let remaining = next else { return nil }
      rest = remaining
      let end = rest.firstIndex(of: UInt8(ascii: "/"))
      let part = rest[..<(end ?? rest.endIndex)]
      switch level {
      case .literal(let bytes):
        guard part.elementsEqual(bytes) else { return nil }
      case .single:
        break
      case .capture(let name):
        found.append((name, String(Substring(part))))
      }
      next = end.map { rest[rest.index(after: $0)...] }
    }
    // `#` also stands for no further level at all: sport/# matches sport.
    guard next == nil || isMultiLevel else { return nil }
    return found
  }

  /// The levels that every topic has which matches. A topic has at least one character, so that `#` says the
  /// same as `+/#`, and `/#` the same as `/+/#`.
  private var requiredLevels: [Level] {
    isMultiLevel && (levels.isEmpty || levels == [.literal([])]) ? levels + [.single] : levels
  }

  private var beginsWithDollar: Bool {
    if case .literal(let bytes) = levels.first { bytes.first == UInt8(ascii: "$") } else { false }
  }

  /// Whether this filter matches every topic that `other` matches.
  package func covers(_ other: TopicFilter) -> Bool {
    if beginsWithWildcard, other.beginsWithDollar { return false }
    let mine = requiredLevels
    let theirs = other.requiredLevels
    guard isMultiLevel ? mine.count <= theirs.count : mine.count == theirs.count && !other.isMultiLevel else {
      return false
    }
    return zip(mine, theirs).allSatisfy { $0.covers($1) }
  }

  /// Whether there is a topic that both filters match.
  ///
  /// A broker may deliver a message on such a topic once for each of the two subscriptions of one session
  /// (MQTT 5.0, section 3.3.4), and mosquitto 2.0 does.
  package func overlaps(_ other: TopicFilter) -> Bool {
    if beginsWithWildcard && other.beginsWithDollar || beginsWithDollar && other.beginsWithWildcard {
      return false
    }
    let mine = requiredLevels
    let theirs = other.requiredLevels
    guard mine.count == theirs.count || (mine.count < theirs.count ? isMultiLevel : other.isMultiLevel) else {
      return false
    }
    return zip(mine, theirs).allSatisfy { $0.covers($1) || $1.covers($0) }
  }

  /// The fewest of these filters that together match whatever any of them matches, as a broker is told
  /// them, in the order of their bytes.
  package static func covering(_ filters: [TopicFilter]) -> [String] {
    let candidates = filters.map { (filter: $0, mqtt: $0.mqtt) }
      .sorted { $0.mqtt.utf8.lexicographicallyPrecedes($1.mqtt.utf8) }
    var kept: [(filter: TopicFilter, mqtt: String)] = []
    for candidate in candidates where !kept.contains(where: { $0.filter.covers(candidate.filter) }) {
      kept.removeAll { candidate.filter.covers($0.filter) }
      kept.append(candidate)
    }
    return kept.map(\.mqtt)
  }
}
