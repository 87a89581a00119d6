import Testing

@testable import Status

@Suite("Who is told of alarms, and when")
struct NotificationQueueTests {
  private static let minute: Int64 = 60_000_000_000

  private func event(
    _ change: AlarmEvent.Change, _ subject: String = "a", _ severity: AlarmSeverity = .ticket, since: Int64 = 0
  ) -> AlarmEvent {
    AlarmEvent(change, Alarm(kind: "uplink", subject: subject, severity: severity, text: "", since: since))
  }

  @Test("each event is told once, pages first, then the oldest")
  func order() {
    var queue = NotificationQueue(interval: Self.minute)
    queue.add([event(.raised, "a", since: 2), event(.raised, "b", since: 1), event(.raised, "c", .page, since: 3)])
    var told: [String] = []
    while let next = queue.next(now: 0) {
      told.append(next.alarm.subject)
      queue.succeeded(next, now: 0)
    }
    #expect(told == ["c", "b", "a"])
  }

  @Test("between two messages about one alarm there is the interval, and the newest is told")
  func interval() throws {
    var queue = NotificationQueue(interval: Self.minute)
    queue.add([event(.raised)])
    queue.succeeded(try #require(queue.next(now: 0)), now: 0)
    queue.add([event(.changed, "a", .page)])
    queue.add([event(.resolved, "a", .page)])
    #expect(queue.next(now: Self.minute - 1) == nil)
    let next = try #require(queue.next(now: Self.minute))
    #expect(next.change == .resolved)
    queue.succeeded(next, now: Self.minute)
    #expect(queue.next(now: .max / 2) == nil)
  }

  @Test("what came and went while nobody could be reached is not told; what stays is, as raised")
  func unreachable() throws {
    var queue = NotificationQueue(interval: Self.minute)
    queue.add([event(.raised, "a"), event(.raised, "b")])
    queue.failed(now: 0)
    queue.add([event(.resolved, "a"), event(.changed, "b", .page)])
    #expect(queue.untold == [AlarmIdentity(kind: "uplink", subject: "b")])
    #expect(queue.next(now: NotificationQueue.firstPause - 1) == nil)
    let next = try #require(queue.next(now: NotificationQueue.firstPause))
    #expect(next.change == .raised && next.alarm.subject == "b" && next.alarm.severity == .page)
    queue.succeeded(next, now: NotificationQueue.firstPause)
    #expect(queue.next(now: .max / 2) == nil)
    #expect(queue.untold.isEmpty && queue.failingSince == nil)
  }

  @Test("an alarm from before a restart is told as resolved")
  func resolvedAfterARestart() {
    var queue = NotificationQueue(interval: Self.minute)
    queue.add([event(.resolved)])
    #expect(queue.next(now: 0)?.change == .resolved)
    #expect(queue.untold.isEmpty)
  }

  @Test("what changes while it is being told is told afterwards")
  func changesMeanwhile() throws {
    var queue = NotificationQueue(interval: 0)
    queue.add([event(.raised)])
    let first = try #require(queue.next(now: 0))
    queue.add([event(.changed, "a", .page)])
    queue.succeeded(first, now: 0)
    #expect(queue.next(now: 0)?.alarm.severity == .page)
    #expect(queue.untold.isEmpty)
  }

  @Test("pauses between failures grow up to ten minutes, and begin anew after a success")
  func backoff() throws {
    var queue = NotificationQueue(interval: 0)
    queue.add([event(.raised, "a"), event(.raised, "b")])
    var now: Int64 = 0
    var pauses: [Int64] = []
    for _ in 0..<10 {
      queue.failed(now: now)
      var pause: Int64 = 0
      while queue.next(now: now + pause) == nil { pause += 10_000_000_000 }
      pauses.append(pause / 1_000_000_000)
      now += pause
    }
    #expect(pauses == [10, 20, 40, 80, 160, 320, 600, 600, 600, 600])
    #expect(queue.failingSince == 0)
    queue.succeeded(try #require(queue.next(now: now)), now: now)
    #expect(queue.next(now: now) != nil)
    queue.failed(now: now)
    #expect(queue.next(now: now + NotificationQueue.firstPause) != nil)
  }
}
