import Testing

@testable import forebay

@Suite("Fleet: the schedule") struct FleetScheduleTests {
  private let second: Int64 = 1_000_000_000

  @Test("each is asked once, so many at a time, and then it is done")
  func once() {
    var schedule = FleetSchedule(phases: (0..<100).map { Int64($0) }, interval: nil, concurrency: 7, now: 0)
    var asked: [Int] = []
    while !schedule.isDone {
      let starts = schedule.starts()
      #expect(starts.count <= 7 && schedule.running <= 7)
      guard !starts.isEmpty else { break }
      asked += starts
      for index in starts { schedule.finish(index, failed: index % 2 == 0) }
      schedule.advance(to: 1_000 * second)
    }
    #expect(schedule.isDone && asked.sorted() == Array(0..<100))
  }

  @Test("a fleet is asked evenly, each gateway once in an interval")
  func evenly() {
    let interval = 10 * second
    var schedule = FleetSchedule(
      phases: (0..<1000).map { Int64($0) * interval / 1000 }, interval: interval, concurrency: 1000, now: 0)
    for index in schedule.starts() { schedule.finish(index, failed: false) }
    var counts = [Int](repeating: 0, count: 1000)
    var most = 0
    for tick in 0..<4000 {
      schedule.advance(to: interval / 2 + Int64(tick) * second / 100)
      let starts = schedule.starts()
      most = max(most, starts.count)
      for index in starts {
        counts[index] += 1
        schedule.finish(index, failed: false)
      }
    }
    #expect(counts.allSatisfy { $0 == 4 }, "four intervals")
    #expect(most == 1, "never two at once: each has a phase of its own")
  }

  @Test("those that fail take half of the places at most, so that the others are asked in time")
  func suspects() {
    let interval = 10 * second
    var schedule = FleetSchedule(
      phases: (0..<100).map { Int64($0) }, interval: interval, concurrency: 10, now: 0)
    var first: [Int] = []
    while true {
      let starts = schedule.starts()
      if starts.isEmpty { break }
      first += starts
      for index in starts { schedule.finish(index, failed: index < 60) }
    }
    #expect(first.count == 100)
    // All are due again. The failing ones never end now.
    schedule.advance(to: 20 * second)
    var healthy = 0
    var hanging = 0
    while true {
      let starts = schedule.starts()
      if starts.isEmpty { break }
      for index in starts {
        if index < 60 {
          hanging += 1
        } else {
          healthy += 1
          schedule.finish(index, failed: false)
        }
      }
    }
    #expect(hanging == 5 && healthy == 40)
    // One that still hangs is not asked a second time, one that has recovered is no suspect any more.
    schedule.finish(0, failed: false)
    schedule.advance(to: 30 * second)
    #expect(schedule.starts().filter { $0 < 60 }.count <= 2)
  }

  @Test("after a pause nobody is asked twice in a row")
  func pause() {
    let interval = 10 * second
    var schedule = FleetSchedule(phases: [0, 1, 2], interval: interval, concurrency: 10, now: 0)
    for index in schedule.starts() { schedule.finish(index, failed: false) }
    schedule.advance(to: 1_000_000 * second)
    let starts = schedule.starts()
    #expect(starts.count == 3)
    for index in starts { schedule.finish(index, failed: false) }
    schedule.advance(to: 1_000_000 * second + 1)
    #expect(schedule.starts().isEmpty)
  }

  @Test("what ends that never began changes nothing, and a fleet of none is done")
  func strange() {
    var schedule = FleetSchedule(phases: [], interval: nil, concurrency: 0, now: 0)
    schedule.finish(3, failed: true)
    schedule.advance(to: second)
    #expect(schedule.isDone && schedule.starts().isEmpty && schedule.running == 0)
  }
}
