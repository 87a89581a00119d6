/// What somebody is to be told of an alarm.
package struct AlarmNews: Sendable, Hashable {
  package var event: AlarmEvent
  /// Names these news: they have the same one however often they are told, also after a restart, and no others have it.
  package var key: String

  package init(_ event: AlarmEvent, key: String) {
    self.event = event
    self.key = key
  }
}

/// The last that the other side was told of an alarm, or may have been told.
package struct ToldAlarm: Sendable, Hashable, Codable {
  package var change: AlarmEvent.Change
  package var alarm: Alarm
  /// ``AlarmNews/key``
  package var key: String
  /// False: it was sent, and no answer said that it arrived. So it counts as told where the end of the alarm is
  /// concerned, and is told again where its beginning is.
  package var isCertain: Bool

  package init(_ news: AlarmNews, isCertain: Bool) {
    change = news.event.change
    alarm = news.event.alarm
    key = news.key
    self.isCertain = isCertain
  }
}

/// What somebody is still to be told of alarms, over one channel. Pure: time is passed in, in monotonic nanoseconds.
///
/// It compares how alarms stand with what the other side knows of them, or may know, and tells the difference: who
/// could not be reached for hours hears how things are, not how they were. Beginning and end are each told at least
/// once: an end is due until it has certainly arrived, and as soon as a beginning may have.
package struct NotificationQueue: Sendable {
  /// How an attempt ended.
  package enum Outcome: Sendable, Hashable {
    case told
    /// It did not arrive.
    case notTold
    /// It may have arrived: it was sent, and there was no answer.
    case unknown
  }

  private struct Entry: Sendable {
    enum Stand: Sendable {
      case lasts
      case over
      /// Of an alarm from before a restart: it may come back or be over.
      case unknown
    }

    /// As it is, or was at last.
    var alarm: Alarm
    var stand: Stand
    var told: ToldAlarm?
    /// News that were tried and are not certain to have arrived: tried again they keep their key.
    var tried: AlarmNews?

    /// What the other side lacks.
    var change: AlarmEvent.Change? {
      switch (stand, told) {
      case (.unknown, _), (.over, nil): nil
      case (.over, _): .resolved
      case (.lasts, nil): .raised
      case (.lasts, let told?):
        if told.change == .resolved {
          .raised
        } else if !told.isCertain {
          told.change
        } else {
          told.alarm.severity == alarm.severity ? nil : .changed
        }
      }
    }

    /// - Parameter make: a new key.
    func news(_ change: AlarmEvent.Change, _ make: () -> String) -> AlarmNews {
      let isSame = tried.map { $0.event.change == change && $0.event.alarm.severity == alarm.severity } ?? false
      return AlarmNews(AlarmEvent(change, alarm), key: isSame ? tried?.key ?? make() : make())
    }
  }

  /// Nanoseconds before a failed attempt is made again: at first, and at most.
  package static let firstPause: Int64 = 10_000_000_000
  package static let longestPause: Int64 = 600_000_000_000
  /// Alarms that are over and whose end could not be told: the oldest beyond that many are forgotten.
  package static let overLimit = AlarmBoard.limit

  /// Nanoseconds between two messages about one alarm.
  package var interval: Int64
  private var entries: [AlarmIdentity: Entry] = [:]
  private var toldAt: [AlarmIdentity: Int64] = [:]
  /// With what the other side knew before.
  private var underWay: (news: AlarmNews, before: ToldAlarm?)?
  private var pause: Int64 = 0
  private var notBefore: Int64 = .min
  /// Since when nothing could be told; nil while it can.
  package private(set) var failingSince: Int64?

  /// - Parameter known: what the other side was told before a restart. Nothing is told of these before it is known
  ///   how they stand now.
  package init(interval: Int64, known: [ToldAlarm] = []) {
    self.interval = interval
    for told in known {
      entries[AlarmIdentity(told.alarm)] = Entry(
        alarm: told.alarm, stand: .unknown, told: told,
        tried: told.isCertain ? nil : AlarmNews(AlarmEvent(told.change, told.alarm), key: told.key))
    }
  }

  /// What the other side knows or may know, by kind and subject: what has to outlive the process before an attempt
  /// is made.
  package var known: [ToldAlarm] {
    entries.values.compactMap(\.told).sorted { ($0.alarm.kind, $0.alarm.subject) < ($1.alarm.kind, $1.alarm.subject) }
  }

  /// Follows the alarms as they stand after a look. One that may come back stays as it was.
  package mutating func follow(_ board: AlarmBoard) {
    for alarm in board.alarms {
      let identity = AlarmIdentity(alarm)
      var entry = entries[identity] ?? Entry(alarm: alarm, stand: .lasts)
      entry.alarm = alarm
      entry.stand = .lasts
      entries[identity] = entry
    }
    for identity in entries.keys where board.entries[identity] == nil {
      // It came and went, and nobody knows of it.
      if entries[identity]?.told == nil { entries[identity] = nil } else { entries[identity]?.stand = .over }
    }
    let over = entries.filter { $0.value.stand == .over }
    guard over.count > NotificationQueue.overLimit else { return }
    let oldest = over.sorted { $0.value.alarm.since < $1.value.alarm.since }
    for (identity, _) in oldest.prefix(over.count - NotificationQueue.overLimit) { entries[identity] = nil }
  }

  /// What is to be told now, the most urgent first, then the oldest; nil when there is nothing, or it has to wait.
  /// It is under way until ``end(_:now:)``, and counts as told until then.
  /// - Parameter key: makes a key that no news have had.
  package mutating func begin(now: Int64, key: () -> String) -> AlarmNews? {
    guard now >= notBefore, underWay == nil else { return nil }
    let due = entries.filter { identity, entry in
      entry.change != nil && toldAt[identity].map { now - $0 >= interval } ?? true
    }
    let first = due.min { a, b in
      let (a, b) = (a.value.alarm, b.value.alarm)
      return a.severity != b.severity
        ? a.severity > b.severity : (a.since, a.kind, a.subject) < (b.since, b.kind, b.subject)
    }
    guard let (identity, entry) = first, let change = entry.change else { return nil }
    let news = entry.news(change, key)
    underWay = (news, entry.told)
    entries[identity]?.tried = news
    entries[identity]?.told = ToldAlarm(news, isCertain: false)
    return news
  }

  /// The attempt that is under way has ended; what became of the alarm meanwhile is still to be told.
  package mutating func end(_ outcome: Outcome, now: Int64) {
    guard let (news, before) = underWay else { return }
    underWay = nil
    let identity = AlarmIdentity(news.event.alarm)
    guard outcome == .told else {
      if outcome == .notTold {
        entries[identity]?.told = before
        if before == nil, entries[identity]?.stand == .over { entries[identity] = nil }
      }
      failingSince = failingSince ?? now
      pause = min(max(NotificationQueue.firstPause, pause * 2), NotificationQueue.longestPause)
      notBefore = now + pause
      return
    }
    toldAt = toldAt.filter { now - $0.value < interval }
    toldAt[identity] = now
    entries[identity]?.tried = nil
    if news.event.change != .resolved {
      entries[identity]?.told?.isCertain = true
    } else if entries[identity]?.stand == .lasts {
      entries[identity]?.told = nil
    } else {
      entries[identity] = nil
    }
    pause = 0
    notBefore = .min
    failingSince = nil
  }
}
