/// Decides which gateways are asked next. A value without clock and I/O: times are passed in.
///
/// Each gateway has a phase of its own within the interval, so that a fleet is asked evenly and never all at once.
/// Those that failed the last time (they cost a whole timeout each) may take only half of the places: however many
/// of them there are, the others are asked in time.
struct FleetSchedule: Sendable {
  private enum Step: Sendable { case idle, ready, running }

  private var step: [Step]
  private var isSuspect: [Bool]
  /// By phase.
  private let order: [Int]
  private let phases: [Int64]
  private let interval: Int64?
  private let concurrency: Int
  private var healthy = Queue<Int>()
  private var suspects = Queue<Int>()
  private var runningSuspects: Set<Int> = []
  private(set) var running = 0
  /// Pulls that have ended.
  private(set) var finished = 0
  private var cycle: Int64
  private var cursor = 0

  /// All are ready at once, in the order of their phases.
  /// - Parameters:
  ///   - phases: of each gateway, nanoseconds from 0 to below the interval, drawn by who calls.
  ///   - interval: nanoseconds from one pull of a gateway to its next; nil: each is asked once.
  ///   - concurrency: pulls at one time, at least 1.
  ///   - now: nanoseconds of a clock that never goes back.
  init(phases: [Int64], interval: Int64?, concurrency: Int, now: Int64) {
    self.phases = phases
    self.interval = interval.map { max(1, $0) }
    self.concurrency = max(1, concurrency)
    step = Array(repeating: .ready, count: phases.count)
    isSuspect = Array(repeating: false, count: phases.count)
    order = phases.indices.sorted { (phases[$0], $0) < (phases[$1], $1) }
    for index in order { healthy.append(index) }
    // The second time comes after half an interval to one and a half.
    cycle = now + (interval ?? 0) / 2
  }

  /// Whether each has been asked, when each is to be asked once.
  var isDone: Bool { interval == nil && finished == step.count }

  /// Makes those ready whose time has come. One that still runs or waits is left out: it is late as it is.
  mutating func advance(to now: Int64) {
    guard let interval, !order.isEmpty else { return }
    // After a pause of the whole process nobody is asked twice.
    if now - cycle > 2 * interval { cycle = now - (now - cycle) % interval }
    while true {
      if cursor == order.count {
        cursor = 0
        cycle += interval
      }
      let index = order[cursor]
      guard cycle + phases[index] <= now else { return }
      cursor += 1
      guard step[index] == .idle else { continue }
      step[index] = .ready
      if isSuspect[index] { suspects.append(index) } else { healthy.append(index) }
    }
  }

  /// Those to ask now; each of them is to be reported to ``finish(_:failed:)``.
  mutating func starts() -> [Int] {
    var out: [Int] = []
    while running < concurrency {
      let next: Int
      if let index = healthy.popFirst() {
        next = index
      } else if runningSuspects.count < max(1, concurrency / 2), let index = suspects.popFirst() {
        next = index
        runningSuspects.insert(index)
      } else {
        break
      }
      step[next] = .running
      running += 1
      out.append(next)
    }
    return out
  }

  mutating func finish(_ index: Int, failed: Bool) {
    guard step.indices.contains(index), step[index] == .running else { return }
    step[index] = .idle
    isSuspect[index] = failed
    runningSuspects.remove(index)
    running -= 1
    finished += 1
  }
}
