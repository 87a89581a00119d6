import Testing

@testable import Status

@Suite("Who is told of alarms, and when")
struct NotificationQueueTests {
  private static let second: Int64 = 1_000_000_000
  private static let minute: Int64 = 60 * second

  /// A queue, the board that it follows, and the time.
  private struct Desk {
    var board = AlarmBoard()
    var queue: NotificationQueue
    var now: Int64 = 0
    private var keys = 0

    init(interval: Int64 = 0) { queue = NotificationQueue(interval: interval) }

    /// These alarms last now; of the others it is certain that they are over.
    mutating func look(_ conditions: AlarmCondition...) {
      _ = board.look(conditions, monotonic: now, wall: now)
      // Over for as long as it takes until that is told.
      _ = board.look(
        conditions, monotonic: now + AlarmBoard.restartHold, wall: now + AlarmBoard.restartHold)
      queue.follow(board)
    }

    mutating func begin() -> AlarmNews? {
      keys += 1
      let key = "k\(keys)"
      return queue.begin(now: now) { key }
    }

    /// Something is due.
    mutating func attempt() throws -> AlarmNews {
      let news = begin()
      return try #require(news)
    }

    /// One attempt; what was told, as `change subject severity`.
    @discardableResult
    mutating func tell(_ outcome: NotificationQueue.Outcome = .told) -> String? {
      guard let news = begin() else { return nil }
      queue.end(outcome, now: now)
      return Desk.text(news)
    }

    static func text(_ news: AlarmNews) -> String {
      "\(news.event.change) \(news.event.alarm.subject) \(news.event.alarm.severity)"
    }

    mutating func restart(interval: Int64 = 0) {
      board = AlarmBoard(restoring: queue.known.map(\.alarm), monotonic: now, wall: now)
      queue = NotificationQueue(interval: interval, known: queue.known)
      queue.follow(board)
    }
  }

  private func away(_ subject: String = "a", _ severity: AlarmSeverity = .ticket) -> AlarmCondition {
    AlarmCondition(.uplink, subject: subject, severity: severity, text: "")
  }

  @Test("each event is told once, pages first, then the oldest")
  func order() {
    var desk = Desk()
    desk.look(away("b"))
    desk.now += Self.second
    desk.look(away("b"), away("a"), away("c", .page))
    #expect([desk.tell(), desk.tell(), desk.tell()] == ["raised c page", "raised b ticket", "raised a ticket"])
    #expect(desk.tell() == nil)
    desk.look(away("b"))
    #expect([desk.tell(), desk.tell(), desk.tell()] == ["resolved c page", "resolved a ticket", nil])
  }

  @Test("between two messages about one alarm there is the interval, and the newest is told")
  func interval() {
    var desk = Desk(interval: Self.minute)
    desk.look(away())
    #expect(desk.tell() == "raised a ticket")
    desk.look(away("a", .page))
    desk.look()
    desk.now = Self.minute - 1
    #expect(desk.tell() == nil)
    desk.now = Self.minute
    #expect(desk.tell() == "resolved a page")
    desk.now = .max / 2
    #expect(desk.tell() == nil && desk.queue.known.isEmpty)
  }

  @Test("an alarm that comes back before its end was told has not ended for those who were told of it")
  func comesBack() {
    var desk = Desk(interval: Self.minute)
    desk.look(away())
    #expect(desk.tell() == "raised a ticket")
    desk.look()
    desk.look(away())
    desk.now = 5 * Self.minute
    #expect(desk.tell() == nil)
    desk.look(away("a", .page))
    #expect(desk.tell() == "changed a page")
    desk.look()
    desk.now = 9 * Self.minute
    #expect(desk.tell() == "resolved a page")
  }

  @Test("what came and went while nobody could be reached is not told; what stays is, as raised")
  func unreachable() {
    var desk = Desk(interval: Self.minute)
    desk.look(away("a"), away("b"))
    #expect(desk.tell(.notTold) == "raised a ticket")
    desk.look(away("b", .page))
    #expect(desk.tell() == nil)
    desk.now = NotificationQueue.firstPause
    #expect(desk.tell() == "raised b page")
    desk.now = .max / 2
    #expect(desk.tell() == nil && desk.queue.failingSince == nil)
  }

  @Test("an alarm that ends while its beginning is told is told as resolved")
  func endsMeanwhile() throws {
    var desk = Desk()
    desk.look(away())
    _ = try desk.attempt()
    desk.look()
    desk.queue.end(.told, now: 0)
    #expect(desk.tell() == "resolved a ticket")
    #expect(desk.tell() == nil)
    // It did not arrive: then there is nothing to take back.
    desk.look(away())
    _ = try desk.attempt()
    desk.look()
    desk.queue.end(.notTold, now: 0)
    desk.now = .max / 2
    #expect(desk.tell() == nil && desk.queue.known.isEmpty)
  }

  @Test("a beginning whose answer was lost is told again under its key, and its end whatever became of it")
  func lostAnswers() throws {
    var desk = Desk()
    desk.look(away())
    let first = try desk.attempt()
    desk.queue.end(.unknown, now: desk.now)
    desk.now += NotificationQueue.longestPause
    let again = try desk.attempt()
    #expect(again == first)
    desk.queue.end(.unknown, now: desk.now)
    desk.look()
    desk.now += NotificationQueue.longestPause
    let end = try desk.attempt()
    #expect(Desk.text(end) == "resolved a ticket" && end.key != first.key)
    desk.queue.end(.unknown, now: desk.now)
    desk.now += NotificationQueue.longestPause
    #expect(desk.begin() == end)
    desk.queue.end(.told, now: desk.now)
    #expect(desk.tell() == nil && desk.queue.known.isEmpty)
  }

  @Test("an end whose answer was lost, of an alarm that came back, is followed by a new beginning")
  func comesBackAfterALostEnd() throws {
    var desk = Desk()
    desk.look(away())
    #expect(desk.tell() == "raised a ticket")
    desk.look()
    #expect(desk.tell(.unknown) == "resolved a ticket")
    desk.look(away())
    desk.now += NotificationQueue.longestPause
    #expect(desk.tell() == "raised a ticket")
    // Or while the end is under way.
    desk.look()
    _ = try desk.attempt()
    desk.look(away())
    desk.queue.end(.told, now: desk.now)
    #expect(desk.tell() == "raised a ticket")
  }

  @Test("after a restart what was told and is over is told as resolved, and what lasts is not told again")
  func restart() {
    var desk = Desk()
    desk.look(away("a"), away("b"), away("c"))
    desk.tell()
    desk.tell()
    // The third is under way when the power goes.
    _ = desk.begin()
    desk.restart()
    #expect(desk.tell() == nil, "nobody knows yet how they stand")
    desk.look(away("b"))
    #expect([desk.tell(), desk.tell(), desk.tell()] == ["resolved a ticket", "resolved c ticket", nil])
  }

  @Test("news that were under way at a restart are told again under their key")
  func restartUnderWay() throws {
    var desk = Desk()
    desk.look(away())
    let first = try desk.attempt()
    desk.restart()
    desk.look(away())
    #expect(try desk.attempt().key == first.key)
    desk.queue.end(.told, now: 0)
    desk.look()
    let end = try desk.attempt()
    desk.restart()
    desk.look()
    let again = try desk.attempt()
    #expect(Desk.text(again) == "resolved a ticket" && again.key == end.key)
  }

  @Test("what changes while it is being told is told afterwards, each under a key of its own")
  func changesMeanwhile() throws {
    var desk = Desk()
    desk.look(away())
    let first = try desk.attempt()
    #expect(desk.begin() == nil, "one at a time")
    desk.look(away("a", .page))
    desk.queue.end(.told, now: 0)
    let next = try desk.attempt()
    #expect(Desk.text(next) == "changed a page" && next.key != first.key)
    desk.queue.end(.told, now: 0)
    #expect(desk.begin() == nil)
  }

  @Test("pauses between failures grow up to ten minutes, and begin anew after a success")
  func backoff() {
    var desk = Desk()
    desk.look(away("a"), away("b"))
    var pauses: [Int64] = []
    desk.tell(.notTold)
    for _ in 0..<10 {
      let began = desk.now
      var next = desk.begin()
      while next == nil {
        desk.now += 10 * Self.second
        next = desk.begin()
      }
      pauses.append((desk.now - began) / Self.second)
      desk.queue.end(.unknown, now: desk.now)
    }
    #expect(pauses == [10, 20, 40, 80, 160, 320, 600, 600, 600, 600])
    #expect(desk.queue.failingSince == 0)
    desk.now += NotificationQueue.longestPause
    #expect(desk.tell() != nil)
    #expect(desk.queue.failingSince == nil)
    #expect(desk.tell(.notTold) != nil)
    desk.now += NotificationQueue.firstPause
    #expect(desk.tell() != nil)
  }

  @Test("ends that cannot be told are remembered for so many alarms, the newest")
  func limit() {
    let told = (0..<2 * NotificationQueue.overLimit).map { number in
      let alarm = Alarm(kind: "uplink", subject: "\(number)", severity: .ticket, text: "", since: Int64(number))
      return ToldAlarm(AlarmNews(AlarmEvent(.raised, alarm), key: "\(number)"), isCertain: true)
    }
    var queue = NotificationQueue(interval: 0, known: told)
    queue.follow(AlarmBoard())
    let known = Set(queue.known.map(\.key))
    #expect(known == Set((NotificationQueue.overLimit..<2 * NotificationQueue.overLimit).map { "\($0)" }))
  }
}
