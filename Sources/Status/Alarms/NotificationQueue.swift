/// What somebody is still to be told of alarms, over one channel. Pure: time is passed in, in monotonic nanoseconds.
///
/// Of each alarm only the newest is kept: who could not be reached for hours hears how things are, not how they were.
/// So there are never more entries than alarms.
package struct NotificationQueue: Sendable {
  private struct Entry: Sendable {
    var event: AlarmEvent
    /// Nobody has been told of this alarm yet.
    var isNews: Bool
  }

  /// Nanoseconds before a failed attempt is made again: at first, and at most.
  package static let firstPause: Int64 = 10_000_000_000
  package static let longestPause: Int64 = 600_000_000_000

  /// Nanoseconds between two messages about one alarm.
  package var interval: Int64
  private var waiting: [AlarmIdentity: Entry] = [:]
  private var told: [AlarmIdentity: Int64] = [:]
  private var pause: Int64 = 0
  private var notBefore: Int64 = .min
  /// Since when nothing could be told; nil while it can.
  package private(set) var failingSince: Int64?

  package init(interval: Int64) { self.interval = interval }

  package mutating func add(_ events: [AlarmEvent]) {
    for event in events {
      let identity = AlarmIdentity(event.alarm)
      let isNews = waiting[identity]?.isNews ?? (event.change == .raised)
      if event.change == .resolved, isNews, waiting[identity] != nil {
        // It came and went, and nobody knows of it.
        waiting[identity] = nil
      } else {
        var next = event
        if isNews { next.change = .raised }
        waiting[identity] = Entry(event: next, isNews: isNews)
      }
    }
  }

  /// Alarms that are there and of which nobody has been told.
  package var untold: Set<AlarmIdentity> { Set(waiting.filter(\.value.isNews).keys) }

  /// What is to be told now; nil when there is nothing, or it has to wait.
  package func next(now: Int64) -> AlarmEvent? {
    guard now >= notBefore else { return nil }
    let due = waiting.filter { identity, _ in told[identity].map { now - $0 >= interval } ?? true }
    return due.map(\.value.event).min { a, b in
      a.alarm.severity != b.alarm.severity
        ? a.alarm.severity > b.alarm.severity
        : (a.alarm.since, a.alarm.kind, a.alarm.subject) < (b.alarm.since, b.alarm.kind, b.alarm.subject)
    }
  }

  /// It was told; what came meanwhile of the same alarm is still to be told.
  package mutating func succeeded(_ event: AlarmEvent, now: Int64) {
    let identity = AlarmIdentity(event.alarm)
    told = told.filter { now - $0.value < interval }
    told[identity] = now
    if waiting[identity]?.event == event {
      waiting[identity] = nil
    } else {
      waiting[identity]?.isNews = false
    }
    pause = 0
    notBefore = .min
    failingSince = nil
  }

  /// It could not be told.
  package mutating func failed(now: Int64) {
    failingSince = failingSince ?? now
    pause = min(max(NotificationQueue.firstPause, pause * 2), NotificationQueue.longestPause)
    notBefore = now + pause
  }
}
