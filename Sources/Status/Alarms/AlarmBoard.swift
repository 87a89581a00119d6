/// What is wrong at one look.
package struct AlarmCondition: Sendable, Hashable {
  package var kind: AlarmKind
  /// ``Alarm/subject``
  package var subject: String
  package var severity: AlarmSeverity
  /// Nanoseconds after which it is a page, however mild it began; nil: as it is.
  package var pageAfter: Int64?
  /// ``Alarm/text``
  package var text: String

  package init(
    _ kind: AlarmKind, subject: String = "", severity: AlarmSeverity, pageAfter: Int64? = nil, text: String
  ) {
    self.kind = kind
    self.subject = subject
    self.severity = severity
    self.pageAfter = pageAfter
    self.text = text
  }
}

/// What makes two alarms the same one.
package struct AlarmIdentity: Sendable, Hashable {
  package var kind: String
  package var subject: String

  package init(kind: String, subject: String) {
    self.kind = kind
    self.subject = subject
  }

  package init(_ alarm: Alarm) { self.init(kind: alarm.kind, subject: alarm.subject) }
}

/// Alarms of which a look cannot say whether they last: what they are about could not be read.
package struct UnknownAlarms: Sendable, Hashable {
  /// Of which subjects.
  package enum Subjects: Sendable, Hashable {
    case all
    case only(Set<String>)
    case besides(Set<String>)
  }

  package var kind: AlarmKind
  package var subjects: Subjects

  package init(_ kind: AlarmKind, _ subjects: Subjects = .all) {
    self.kind = kind
    self.subjects = subjects
  }

  func contains(_ identity: AlarmIdentity) -> Bool {
    guard identity.kind == kind.rawValue else { return false }
    return switch subjects {
    case .all: true
    case .only(let names): names.contains(identity.subject)
    case .besides(let names): !names.contains(identity.subject)
    }
  }
}

/// What became of an alarm.
package struct AlarmEvent: Sendable, Hashable {
  package enum Change: String, Sendable, Hashable, CaseIterable, Codable {
    case raised
    /// It is more, or less, urgent than before.
    case changed
    case resolved
  }

  package var change: Change
  package var alarm: Alarm

  package init(_ change: Change, _ alarm: Alarm) {
    self.change = change
    self.alarm = alarm
  }
}

/// Turns what is wrong at every look into alarms with a beginning and an end. Pure: time is passed in.
///
/// Conditions of one kind and subject are one alarm. One that ends and comes back within the hold is the same alarm,
/// with its old beginning, and nobody is told of it twice; it becomes less urgent only when that has lasted as long.
package struct AlarmBoard: Sendable {
  /// Nanoseconds that an alarm must be over before that is told.
  package static let hold: Int64 = 60_000_000_000
  /// Nanoseconds after a restart in which what was wrong before may show again: connections have to be tried first.
  package static let restartHold: Int64 = 180_000_000_000
  /// Alarms at most: more than a person can take in, and few enough for every document.
  package static let limit = 200
  /// Bytes of a text at most.
  package static let longestText = 600
  /// Nanoseconds that an alarm from before a restart is taken to be old at most: clocks can be wrong.
  private static let longestAge: Int64 = 365 * 86_400_000_000_000

  struct Entry: Hashable, Sendable {
    var alarm: Alarm
    /// Monotonic nanoseconds when it was raised; of one from before a restart, as the wall clock has it.
    var began: Int64
    /// Monotonic nanoseconds when it is over for good, unless it comes back; nil while it lasts.
    var endsAt: Int64?
    /// Monotonic nanoseconds since when it has been less urgent than told.
    var milderSince: Int64?
    /// Its beginning was taken from the clocks of this run, so that it follows the wall clock when that is set.
    var isOfThisRun = true
  }

  private(set) var entries: [AlarmIdentity: Entry] = [:]
  /// The wall clock less the monotonic one at the last look.
  private var offset: Int64?

  package init() {}

  /// Goes on with alarms that were there before the restart.
  package init(restoring alarms: [Alarm], monotonic: Int64, wall: Int64) {
    for alarm in alarms.prefix(AlarmBoard.limit) {
      let age = min(max(0, wall - alarm.since), AlarmBoard.longestAge)
      entries[AlarmIdentity(alarm)] = Entry(
        alarm: alarm, began: monotonic - age, endsAt: monotonic + AlarmBoard.restartHold, isOfThisRun: false)
    }
  }

  /// What lasts now, the most urgent first, then the oldest.
  package var alarms: [Alarm] {
    entries.values.filter { $0.endsAt == nil }.map(\.alarm).sorted(by: AlarmBoard.order)
  }

  /// What is to be kept for the next start: also what may come back.
  package var kept: [Alarm] { entries.values.map(\.alarm).sorted(by: AlarmBoard.order) }

  /// How many of a kind and severity last now, those of which there is none too, for the metrics.
  package var counts: [AlarmCount] {
    var counts = AlarmCount.none
    for entry in entries.values where entry.endsAt == nil {
      let place = counts.firstIndex {
        $0.kind.rawValue == entry.alarm.kind && $0.severity == entry.alarm.severity
      }
      if let place { counts[place].count += 1 }
    }
    return counts
  }

  private static func order(_ a: Alarm, _ b: Alarm) -> Bool {
    if a.severity != b.severity { return a.severity > b.severity }
    return (a.since, a.kind, a.subject) < (b.since, b.kind, b.subject)
  }

  /// - Parameters:
  ///   - conditions: all that is wrong now.
  ///   - unknown: alarms that stay as they are, unless a condition says that they last.
  ///   - monotonic: nanoseconds of a clock that never jumps.
  ///   - wall: nanoseconds since 1970.
  /// - Returns: what people should be told, in the order of urgency.
  package mutating func look(
    _ conditions: [AlarmCondition], unknown: [UnknownAlarms] = [], monotonic: Int64, wall: Int64
  ) -> [AlarmEvent] {
    follow(wallClock: wall, monotonic: monotonic)
    let present = merged(conditions)
    var events: [AlarmEvent] = []
    for (identity, condition) in present {
      var condition = condition
      if let age = condition.pageAfter, monotonic - (entries[identity]?.began ?? monotonic) >= age {
        condition.severity = .page
      }
      guard var entry = entries[identity] else {
        let alarm = Alarm(
          kind: identity.kind, subject: identity.subject, severity: condition.severity, text: condition.text,
          since: wall)
        entries[identity] = Entry(alarm: alarm, began: monotonic)
        events.append(AlarmEvent(.raised, alarm))
        continue
      }
      entry.endsAt = nil
      entry.alarm.text = condition.text
      if condition.severity > entry.alarm.severity {
        entry.alarm.severity = condition.severity
        entry.milderSince = nil
        events.append(AlarmEvent(.changed, entry.alarm))
      } else if condition.severity < entry.alarm.severity {
        let since = entry.milderSince ?? monotonic
        entry.milderSince = since
        if monotonic - since >= AlarmBoard.hold {
          entry.alarm.severity = condition.severity
          entry.milderSince = nil
          events.append(AlarmEvent(.changed, entry.alarm))
        }
      } else {
        entry.milderSince = nil
      }
      entries[identity] = entry
    }
    for (identity, entry) in entries where present[identity] == nil {
      if unknown.contains(where: { $0.contains(identity) }) { continue }
      guard let endsAt = entry.endsAt else {
        entries[identity]?.endsAt = monotonic + AlarmBoard.hold
        continue
      }
      if monotonic >= endsAt {
        entries[identity] = nil
        events.append(AlarmEvent(.resolved, entry.alarm))
      }
    }
    return events.sorted { AlarmBoard.order($0.alarm, $1.alarm) }
  }

  /// A beginning that was noted by a clock that was wrong moves with it.
  private mutating func follow(wallClock wall: Int64, monotonic: Int64) {
    let now = wall - monotonic
    defer { offset = now }
    // Slewing is no jump: two seconds are not seen in a `since`.
    guard let offset, (now - offset).magnitude > 2_000_000_000 else { return }
    for identity in entries.keys where entries[identity]?.isOfThisRun == true {
      entries[identity]?.alarm.since += now - offset
    }
  }

  /// One condition for each identity, and no more than there is room for: the most urgent, and those that are known.
  private func merged(_ conditions: [AlarmCondition]) -> [AlarmIdentity: AlarmCondition] {
    var merged: [AlarmIdentity: AlarmCondition] = [:]
    for condition in conditions {
      let identity = AlarmIdentity(kind: condition.kind.rawValue, subject: condition.subject)
      var next = merged[identity] ?? condition
      next.severity = max(next.severity, condition.severity)
      next.pageAfter = [next.pageAfter, condition.pageAfter].compactMap { $0 }.min()
      if merged[identity] != nil, next.text.utf8.count < AlarmBoard.longestText, !next.text.contains(condition.text) {
        next.text += "; " + condition.text
      }
      merged[identity] = next
    }
    for identity in merged.keys {
      if let text = merged[identity]?.text { merged[identity]?.text = AlarmBoard.shortened(text) }
    }
    guard merged.count > AlarmBoard.limit else { return merged }
    func rank(_ element: (key: AlarmIdentity, value: AlarmCondition)) -> (Int, Int, String, String) {
      (
        element.value.severity == .page ? 0 : 1, entries[element.key] == nil ? 1 : 0, element.key.kind,
        element.key.subject
      )
    }
    let chosen = merged.sorted { rank($0) < rank($1) }.prefix(AlarmBoard.limit)
    return Dictionary(uniqueKeysWithValues: chosen.map { ($0.key, $0.value) })
  }

  /// At most ``longestText`` bytes, cut between characters.
  package static func shortened(_ text: String, to limit: Int = longestText) -> String {
    guard text.utf8.count > limit else { return text }
    var short = ""
    var count = 0
    for character in text {
      count += character.utf8.count
      if count > limit - 3 { break }
      short.append(character)
    }
    return short + "..."
  }
}
