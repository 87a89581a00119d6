import Glibc
import NIOPosix
import Synchronization
import Telemetry

/// What is simulated.
struct SimulationPlan: Sendable {
  enum Rate: Sendable, Hashable {
    /// Messages a second of each device; 0: as fast as the broker takes them.
    case perDevice(Double)
    /// Messages a second of all devices together.
    case total(Double)
    /// Recorded time runs so many times faster.
    case speed(Double)
  }

  var access: BrokerAccess
  var clients = 1
  var clientID = "forebay-simulate"
  /// Nil: one per series, or one when nothing is recorded.
  var devices: Int?
  var series: [SeriesCSV] = []
  var rate = Rate.perDevice(1)
  /// Messages of all devices together; nil: each recorded series once, the generator without end.
  var count: Int?
  /// Of each device's first message.
  var firstSequence = 1
  /// Bytes that each payload is filled up to; nil: not at all.
  var payloadBytes: Int?
  var qos: Int32 = 1
  /// Nanoseconds.
  var jitter: Int64 = 0
  /// Percentage of messages that a device sends twice.
  var duplicates: Double = 0
  var outage: DeviceSchedule.Outage?
  var topic = "sensors/{device}/{series}"
  var seed: UInt64 = 1
  /// Messages of one connection on the way at once.
  var window = 1000
  /// Nanoseconds for which a broker that was never reached is tried again.
  var patience: Int64 = 10_000_000_000
  /// Nanoseconds for which outstanding acknowledgements are awaited after an interruption.
  var grace: Int64 = 10_000_000_000

  /// The devices, in their order.
  func makeDevices() -> [SimulatedDevice] {
    let number = devices ?? max(series.count, 1)
    return (0..<number).map { i in
      let recorded = series.isEmpty ? nil : series[i % series.count]
      let name = "pump-" + String(repeating: "0", count: max(0, 3 - String(i + 1).count)) + String(i + 1)
      let pace: DeviceSchedule.Pace
      switch rate {
      case .perDevice(0), .total(0): pace = .unlimited
      // Devices of one rate begin evenly spread over the time between two messages.
      case .perDevice(let rate):
        pace = .every(1e9 / rate, phase: Int64(1e9 / rate / Double(number) * Double(i)))
      case .total(let rate):
        pace = .every(1e9 / rate * Double(number), phase: Int64(1e9 / rate * Double(i)))
      case .speed(let speed): pace = .recorded(speed: speed)
      }
      var outage = self.outage
      if let every = outage?.every { outage?.phase = every / Int64(number) * Int64(i) }
      let share = count.map { $0 / number + (i < $0 % number ? 1 : 0) }
      var keepsRecordedTime = false
      if case .speed = rate { keepsRecordedTime = true }
      let deviceSeed = seed &+ UInt64(i) &* 0x9E37_79B9
      return SimulatedDevice(
        name: name, seriesName: recorded?.name ?? "temperature",
        series: recorded.map { .recorded($0) } ?? .generated(seed: deviceSeed &+ 1), topic: topic,
        schedule: DeviceSchedule(pace: pace, jitter: jitter, outage: outage, seed: deviceSeed),
        remaining: share ?? recorded?.count, firstSequence: firstSequence,
        keepsRecordedTime: keepsRecordedTime, payloadBytes: payloadBytes)
    }
  }
}

/// What was published.
struct SimulationReport: Sendable, Hashable {
  var devices = 0
  var clients = 0
  /// Messages, each counted once.
  var published = 0
  /// Messages that devices published a second time, as new packets.
  var duplicates = 0
  /// Payload bytes of both.
  var bytes = 0
  var broker = BrokerPublisher.Totals()
  /// Packets that no acknowledgement came for. 0 at QoS 0.
  var unacknowledged = 0
  /// Nanoseconds.
  var duration: Int64 = 0
  var interrupted = false
  /// Why what was left could not be published when the simulation was interrupted: the broker was away.
  var failure: String?

  /// Whether everything that was published arrived, as far as the broker says so, and nothing kept devices from it.
  var isClean: Bool { unacknowledged == 0 && broker.refused == 0 && failure == nil }

  mutating func add(_ other: SimulationReport) {
    published += other.published
    duplicates += other.duplicates
    bytes += other.bytes
    broker.acknowledged += other.broker.acknowledged
    broker.refused += other.broker.refused
    broker.resent += other.broker.resent
    broker.reconnects += other.broker.reconnects
    unacknowledged += other.unacknowledged
    failure = failure ?? other.failure
  }

  private var rate: Int {
    duration > 0 ? Int(Double(published + duplicates) / (Double(duration) / 1e9)) : 0
  }

  var json: String {
    CompactJSON.object { out in
      out.add("devices", devices)
      out.add("clients", clients)
      out.add("published", published)
      out.add("duplicates", duplicates)
      out.add("acknowledged", broker.acknowledged)
      out.add("unacknowledged", unacknowledged)
      out.add("refused", broker.refused)
      out.add("resent", broker.resent)
      out.add("reconnects", broker.reconnects)
      out.add("bytes", bytes)
      out.add("seconds", raw: "\(Double(duration / 1_000_000) / 1000)")
      out.add("messages_per_second", rate)
      out.add("interrupted", interrupted)
      if let failure { out.add("failure", failure) }
    }
  }

  var text: String {
    "published \(Output.count(Int64(published), "message")) and \(Output.count(Int64(duplicates), "duplicate")) "
      + "of \(Output.count(Int64(devices), "device")) in "
      + "\(Double(duration / 1_000_000) / 1000) s (\(rate)/s, \(bytes) bytes); "
      + "acknowledged \(broker.acknowledged), unacknowledged \(unacknowledged), "
      + "refused \(broker.refused), resent \(broker.resent), reconnects \(broker.reconnects)"
      + (failure.map { "; \($0)" } ?? "")
  }
}

/// Runs a plan: one thread per connection, the devices spread over them.
final class Simulation: Sendable {
  private struct Outcome {
    var report = SimulationReport()
    var error: (any Error)?
    /// Connections that still run.
    var running = 0
    /// Of those, how many are without their broker.
    var troubled = 0
    var waiter: CheckedContinuation<Void, Never>?
  }

  private let plan: SimulationPlan
  private let notice: @Sendable (String) -> Void
  /// How often it was interrupted: once ends it cleanly, twice at once.
  private let interruptions = Atomic<Int>(0)
  private let outcome = Mutex(Outcome())

  /// - Parameter notice: is told, for people, when the broker goes away and when it is back; once each, however many
  ///   connections there are and however often each is tried.
  init(_ plan: SimulationPlan, notice: @escaping @Sendable (String) -> Void = { _ in }) {
    self.plan = plan
    self.notice = notice
  }

  /// Stops publishing and waits for what is on the way; the second time stops waiting.
  func interrupt() { interruptions.add(1, ordering: .relaxed) }

  /// Starts, and waits for the end.
  func run() async throws -> SimulationReport {
    start()
    return try await finish()
  }

  /// Starts the connections and returns at once. Call it once.
  func start() {
    let devices = plan.makeDevices()
    let clients = min(plan.clients, devices.count)
    let begin = Simulation.monotonic()
    outcome.withLock { outcome in
      outcome.report.devices = devices.count
      outcome.report.clients = clients
      outcome.running = clients
    }
    let pool = NIOThreadPool(numberOfThreads: clients)
    pool.start()
    for client in 0..<clients {
      let own = stride(from: client, to: devices.count, by: clients).map { devices[$0] }
      pool.submit { [self] _ in
        let result = Result { try publish(own, client: client, start: begin) }
        let waiter = outcome.withLock { outcome in
          switch result {
          case .success(let part): outcome.report.add(part)
          case .failure(let error):
            outcome.error = outcome.error ?? error
            // The other connections end too.
            interruptions.add(2, ordering: .relaxed)
          }
          outcome.running -= 1
          guard outcome.running == 0 else { return nil as CheckedContinuation<Void, Never>? }
          outcome.report.duration = Simulation.monotonic() - begin
          // Not from a thread of its own, which it would wait for.
          pool.shutdownGracefully { _ in }
          return outcome.waiter
        }
        waiter?.resume()
      }
    }
  }

  /// Waits for the end of what ``start()`` began. Call it once.
  func finish() async throws -> SimulationReport {
    await withCheckedContinuation { continuation in
      let isOver = outcome.withLock { outcome in
        outcome.waiter = continuation
        return outcome.running == 0
      }
      if isOver { continuation.resume() }
    }
    return try outcome.withLock { outcome in
      if let error = outcome.error { throw error }
      outcome.report.interrupted = interruptions.load(ordering: .relaxed) > 0
      return outcome.report
    }
  }

  /// The whole life of one connection, on its thread.
  private func publish(
    _ initial: [SimulatedDevice], client: Int, start: Int64
  ) throws -> SimulationReport {
    var devices = initial
    let publisher = try BrokerPublisher(
      plan.access, clientID: "\(plan.clientID)-\(getpid())-\(client)", limit: plan.window,
      giveUp: start + plan.patience, notice: tell)
    var report = SimulationReport()
    var queue = DueQueue()
    for i in devices.indices {
      if let due = devices[i].plan(now: 0) { queue.insert(i, due: due) }
    }
    var payload: [UInt8] = []
    var giveUp = Int64.max
    while true {
      let now = Simulation.monotonic()
      let interrupted = interruptions.load(ordering: .relaxed)
      if interrupted > 0, giveUp == .max { giveUp = now + plan.grace }
      if interrupted > 1 || now >= giveUp { break }
      let isDone = queue.isEmpty || interrupted > 0
      if isDone, publisher.outstanding == 0 { break }
      if !isDone {
        // A bounded run of messages between two looks at the socket and the clock.
        var budget = 64
        while budget > 0, let next = queue.first, next.due <= now - start, publisher.hasRoom {
          budget -= 1
          send(&devices[next.device], publisher, &payload, &report)
          queue.updateFirst(due: devices[next.device].plan(now: now - start))
        }
      }
      var deadline = now + 50_000_000
      if !isDone, publisher.hasRoom, let next = queue.first {
        deadline = min(deadline, start + next.due)
      }
      try publisher.turn(now: now, deadline: deadline)
    }
    let isDone = queue.isEmpty && publisher.outstanding == 0
    if !isDone { report.failure = publisher.trouble }
    publisher.disconnect()
    report.broker = publisher.totals
    report.unacknowledged = plan.qos > 0 ? publisher.outstanding : 0
    return report
  }

  /// Passes on what one connection has to say where it is news for all of them.
  private func tell(_ news: BrokerPublisher.Notice) {
    let isNews = outcome.withLock { outcome in
      switch news {
      case .unreachable, .lost:
        outcome.troubled += 1
        return outcome.troubled == 1
      case .back:
        outcome.troubled -= 1
        return outcome.troubled == 0
      }
    }
    guard isNews else { return }
    let broker = "\(ListenAddress(host: plan.access.host, port: plan.access.port))"
    switch news {
    case .unreachable(let cause):
      let patience = Quantity.describe(duration: plan.patience)
      notice("cannot connect to \(broker): \(cause); tried again for \(patience)")
    case .lost(let cause): notice("the connection to \(broker) is lost: \(cause); tried again")
    case .back: notice("connected to \(broker)")
    }
  }

  private func send(
    _ device: inout SimulatedDevice, _ publisher: BrokerPublisher, _ payload: inout [UInt8],
    _ report: inout SimulationReport
  ) {
    device.next(wall: Simulation.wallMilliseconds(), into: &payload)
    // What finds the connection broken is said when it is back, as a device would.
    while !publisher.publish(topic: device.topic, payload: payload, qos: plan.qos) {
      guard awaitRoom(publisher) else { return }
    }
    report.published += 1
    report.bytes += payload.count
    guard device.schedule.repeats(percent: plan.duplicates), awaitRoom(publisher),
      publisher.publish(topic: device.topic, payload: payload, qos: plan.qos)
    else { return }
    report.duplicates += 1
    report.bytes += payload.count
  }

  /// Waits until something may be published; false after an interruption.
  private func awaitRoom(_ publisher: BrokerPublisher) -> Bool {
    while !publisher.hasRoom {
      if interruptions.load(ordering: .relaxed) > 0 { return false }
      let now = Simulation.monotonic()
      guard (try? publisher.turn(now: now, deadline: now + 50_000_000)) != nil else { return false }
    }
    return true
  }

  private static func monotonic() -> Int64 { nanoseconds(CLOCK_MONOTONIC) }
  private static func wallMilliseconds() -> Int64 { nanoseconds(CLOCK_REALTIME) / 1_000_000 }

  private static func nanoseconds(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }
}
