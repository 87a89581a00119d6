/// When a device sends. Pure: times are nanoseconds since the simulation began, chance has a seed.
struct DeviceSchedule: Sendable, Hashable {
  enum Pace: Sendable, Hashable {
    /// As fast as the broker takes it.
    case unlimited
    /// Nanoseconds between two messages, and before the first one.
    case every(Double, phase: Int64)
    /// As far apart as the recorded moments, divided by this factor.
    case recorded(speed: Double)
  }

  /// Times at which a device is cut off and keeps what it has to say until the end of the outage.
  struct Outage: Sendable, Hashable {
    /// Nanoseconds from the beginning of one outage to that of the next.
    var every: Int64
    /// Nanoseconds, less than `every`.
    var length: Int64
    /// By how much this device's outages come later than those of the first one.
    var phase: Int64 = 0

    /// The moment itself, or the end of the outage that it falls into.
    func release(_ time: Int64) -> Int64 {
      // Each period ends with its outage, so that a device begins with something to say.
      let (quotient, remainder) = (time - phase).quotientAndRemainder(dividingBy: every)
      let within = remainder < 0 ? remainder + every : remainder
      guard within >= every - length else { return time }
      return (remainder < 0 ? quotient : quotient + 1) * every + phase
    }
  }

  var pace: Pace
  /// Nanoseconds by which a message may be late, drawn evenly.
  var jitter: Int64 = 0
  var outage: Outage?
  /// When the next message leaves. Never before the one before it.
  private(set) var due: Int64 = 0
  private var random: SplitMix64
  private var index = 0

  init(pace: Pace, jitter: Int64 = 0, outage: Outage? = nil, seed: UInt64) {
    self.pace = pace
    self.jitter = jitter
    self.outage = outage
    random = SplitMix64(seed: seed)
  }

  /// Sets ``due`` for the next message.
  ///
  /// - Parameters:
  ///   - recorded: milliseconds from the first recorded moment to that of the message.
  ///   - now: nanoseconds since the simulation began.
  mutating func plan(recorded: Int64, now: Int64) {
    var time: Int64
    switch pace {
    case .unlimited: time = now
    case .every(let interval, let phase): time = phase + Int64(interval * Double(index))
    case .recorded(let speed): time = Int64(Double(recorded) * 1e6 / speed)
    }
    index += 1
    if jitter > 0 { time += Int64.random(in: 0...jitter, using: &random) }
    due = max(due, outage?.release(time) ?? time)
  }

  /// Whether the message just sent is sent once more.
  mutating func repeats(percent: Double) -> Bool {
    percent > 0 && Double.random(in: 0..<100, using: &random) < percent
  }
}

/// Which device is due next: a binary heap of device numbers by due time.
struct DueQueue: Sendable {
  private var heap: [(due: Int64, device: Int)] = []

  var first: (due: Int64, device: Int)? { heap.first }
  var isEmpty: Bool { heap.isEmpty }

  mutating func insert(_ device: Int, due: Int64) {
    heap.append((due, device))
    var i = heap.count - 1
    while i > 0, precedes(i, (i - 1) / 2) {
      heap.swapAt(i, (i - 1) / 2)
      i = (i - 1) / 2
    }
  }

  /// Gives the first device another due time, or takes it out when there is none.
  mutating func updateFirst(due: Int64?) {
    guard let first = heap.first else { return }
    if let due {
      heap[0] = (due, first.device)
    } else {
      let last = heap.removeLast()
      if heap.isEmpty { return }
      heap[0] = last
    }
    var i = 0
    while true {
      var least = i
      for child in [2 * i + 1, 2 * i + 2] where child < heap.count && precedes(child, least) {
        least = child
      }
      if least == i { return }
      heap.swapAt(i, least)
      i = least
    }
  }

  private func precedes(_ a: Int, _ b: Int) -> Bool {
    (heap[a].due, heap[a].device) < (heap[b].due, heap[b].device)
  }
}
