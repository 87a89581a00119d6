import Foundation
import Synchronization
import TestSupport
import Testing

/// `kill -9` cannot see a missing fsync, for the page cache survives it. So the daemon's calls are
/// recorded, and the spool is rebuilt as a disk may hold it after a power cut (``Disk``).
@Suite("Power cuts")
struct PowerCutTests {
  static let environment = ProcessInfo.processInfo.environment
  /// Cuts of each kind; `make test-powercut` asks for 200.
  static let cuts = environment["FOREBAY_POWERCUT_CUTS"].flatMap { Int($0) } ?? 12
  static let seed = environment["FOREBAY_POWERCUT_SEED"].flatMap { UInt64($0) } ?? .random(in: 0...999_999)

  /// What is wrong after one cut.
  struct Loss: Sendable, CustomStringConvertible {
    var event: Int
    var cut: Disk.Cut
    var faults: [String]
    var description: String { "cut at event \(event), \(cut.rawValue): \(faults.joined(separator: "; "))" }
  }

  @Test("nothing is acknowledged before its log is synced, and no power cut loses what was acknowledged")
  func everyCut() throws {
    var random = SplitMix(seed: Self.seed)
    let recording = try PowerCutRecording("powercut")
    try recording.house.startUpstream()
    try recording.startDaemon()
    var publishers = [
      try recording.house.simulate(["--devices", "20", "--count", "6000", "--total-rate", "1500"]),
      try recording.publishNoise(1_500, device: "one", random: &random),
    ]
    try recording.house.wait("messages flow") { try recording.house.status().spool.received > 1_500 }
    try recording.kill(atSyncOf: "log.db-wal", number: 3)
    try recording.startDaemon()
    publishers.append(try recording.publishNoise(1_500, device: "two", random: &random))
    for publisher in publishers { #expect(publisher.wait(seconds: 120) == 0) }
    try recording.house.settle(distinct: 9_000)
    let record = try recording.finish()
    try recording.house.expectProof()

    let acknowledgements = Acknowledgements(record, port: recording.house.broker.port)
    let keys = acknowledgements.acknowledged(before: .max)
    #expect(keys.count == 9_000, "messages that the record shows as acknowledged")
    let violations = acknowledgements.violations(in: record)
    #expect(violations.isEmpty, "\(violations.count) of \(acknowledgements.messages.count): \(violations.prefix(5))")

    let started = monotonicSeconds()
    let places = PowerCutRecording.cuts(Self.cuts, in: record, acknowledgements, random: &random)
    let losses = try Self.losses(recording, record, acknowledgements, cutting: places, random: random)
    #expect(losses.isEmpty, "seed \(Self.seed): \(losses.count) cuts of \(2 * places.count); \(losses.prefix(5))")
    let seconds = Int(monotonicSeconds() - started)
    let figures =
      "Seed \(Self.seed): \(record.events.count) calls and \(acknowledgements.messages.count) messages recorded, "
      + "\(places.count) places cut in each of the two ways, \(losses.count) with a loss, in \(seconds) s."
    print("power cuts:", figures)
    if losses.isEmpty { try Figures.record("power cuts", figures) }
  }

  @Test("a message that a killed daemon had written but not synced is synced before it is acknowledged")
  func killedBeforeTheSync() throws {
    let recording = try PowerCutRecording("unsynced")
    try recording.house.startUpstream()
    try recording.startDaemon()
    try recording.house.broker.publish("sensors/a/b", (1...20).map { "{\"ts\":1,\"seq\":\($0)}" })
    try recording.house.wait("they are there") { try recording.house.status().spool.received == 20 }
    try recording.kill(atSyncOf: "log.db-wal", number: 1) {
      try recording.house.broker.publish("sensors/a/b", (21...40).map { "{\"ts\":1,\"seq\":\($0)}" })
    }
    try recording.startDaemon()
    try recording.house.wait("the broker has sent them again") {
      // Committed a second time, or recognised: at least what was there.
      let acknowledgements = Acknowledgements(
        try Record(contentsOf: recording.recorder.recordPath), port: recording.house.broker.port)
      return acknowledgements.acknowledged(before: .max).count == 40
    }
    let record = try recording.finish()
    let acknowledgements = Acknowledgements(record, port: recording.house.broker.port)
    #expect(acknowledgements.messages.contains { $0.isRepeat }, "the broker sends them again with DUP")
    let violations = acknowledgements.violations(in: record)
    #expect(violations.isEmpty, "\(violations)")
    let places = Set(acknowledgements.messages.compactMap { $0.acknowledged.map { $0 + 1 } }).sorted()
    let losses = try Self.losses(
      recording, record, acknowledgements, cutting: places, kinds: [.unsyncedGone], random: SplitMix(seed: 1))
    #expect(losses.isEmpty, "\(losses)")
  }

  @Test("a disk whose syncs and writes fail, and then loses power, has lost nothing that was acknowledged")
  func failingDisk() throws {
    var random = SplitMix(seed: Self.seed)
    let recording = try PowerCutRecording("failing")
    try recording.house.startUpstream()
    try recording.startDaemon()
    var publishers: [ChildProcess] = []
    // A checkpoint takes more messages than a commit.
    let faults: [(fault: PreloadedRecorder.Fault, messages: Int)] = [
      (.init(errno: EIO, calls: "s", file: "log.db-wal"), 300),
      (.init(errno: EIO, calls: "s", file: "log.db"), 2_500),
      (.init(errno: EIO, calls: "w", every: 5), 300),
      (.init(errno: ENOSPC, calls: "w", file: "log.db-wal", every: 3), 300),
      (.init(errno: EIO, calls: "s", file: "state.db-wal"), 300),
    ]
    let total = faults.reduce(0) { $0 + $1.messages }
    var made = 0
    for (index, (fault, messages)) in faults.enumerated() {
      try recording.recorder.set(fault)
      publishers.append(try recording.publishNoise(messages, device: "d\(index)", random: &random))
      try recording.house.wait("\(fault) is felt") { try recording.recorder.faultsMade() > made }
      try recording.recorder.set(nil)
      made = try recording.recorder.faultsMade()
    }
    for publisher in publishers { #expect(publisher.wait(seconds: 120) == 0) }
    try recording.house.settle(distinct: total)
    // A fault drops connections: what was committed and not acknowledged by then is sent again, and recognised.
    try recording.house.wait("all is acknowledged") {
      let record = try Record(contentsOf: recording.recorder.recordPath)
      let acknowledgements = Acknowledgements(record, port: recording.house.broker.port)
      return acknowledgements.acknowledged(before: .max).count == total
    }
    let record = try recording.finish()
    let acknowledgements = Acknowledgements(record, port: recording.house.broker.port)
    let violations = acknowledgements.violations(in: record)
    #expect(violations.isEmpty, "\(violations.count) of \(acknowledgements.messages.count): \(violations.prefix(5))")
    let places = PowerCutRecording.cuts(Self.cuts, in: record, acknowledgements, random: &random)
    let losses = try Self.losses(recording, record, acknowledgements, cutting: places, random: random)
    #expect(losses.isEmpty, "seed \(Self.seed): \(losses.count) cuts of \(2 * places.count); \(losses.prefix(5))")
    let figures =
      "On a disk that fails, seed \(Self.seed): \(made) calls made to fail, \(places.count) places cut in each way, "
      + "\(losses.count) with a loss."
    print("power cuts:", figures)
    if losses.isEmpty { try Figures.record("power cuts of a failing disk", figures) }
  }

  @Test(
    "the harness notices when syncs are missing",
    arguments: PreloadedRecorder.Sabotage.allCases.filter { $0 != .none })
  func sabotage(_ sabotage: PreloadedRecorder.Sabotage) throws {
    var random = SplitMix(seed: Self.seed)
    let recording = try PowerCutRecording("sabotage", sabotage: sabotage)
    try recording.house.startUpstream()
    try recording.startDaemon()
    try recording.house.publish(devices: 5, count: 1_000, rate: 1_000)
    try recording.house.wait("they are there") { try recording.house.status().spool.received == 1_000 }
    let record = try recording.finish()
    let acknowledgements = Acknowledgements(record, port: recording.house.broker.port)
    #expect(acknowledgements.acknowledged(before: .max).count == 1_000)
    #expect(!acknowledgements.violations(in: record).isEmpty, "the order of the calls shows it")
    let acknowledged = Set(acknowledgements.messages.compactMap { $0.acknowledged.map { $0 + 1 } }).sorted()
    // The last is the surest: nothing that comes after it can have been synced yet.
    let places = [acknowledged[Int(random.next() % UInt64(acknowledged.count))], try #require(acknowledged.last)]
    let losses = try Self.losses(
      recording, record, acknowledgements, cutting: places, kinds: [.unsyncedGone], random: random)
    #expect(losses.contains { $0.faults.contains { $0.contains("acknowledged messages are lost") } }, "\(losses)")
  }

  /// Rebuilds the spool at each place and in each way, starts the daemon on it and collects what is wrong.
  static func losses(
    _ recording: PowerCutRecording, _ record: Record, _ acknowledgements: Acknowledgements, cutting places: [Int],
    kinds: [Disk.Cut] = Disk.Cut.allCases, random: SplitMix
  ) throws -> [Loss] {
    let losses = Mutex<[Loss]>([])
    let trouble = Mutex<(any Error)?>(nil)
    let posts = Posts(record, port: recording.house.upstreamPort)
    let closedPort = try freePort()
    // Several at a time: each is a daemon that waits for the end of its grace period most of the time.
    let slots = DispatchSemaphore(value: 4)
    let group = DispatchGroup()
    var random = random
    try recording.replay(record, stops: places) { disk, place in
      let acknowledged = acknowledgements.acknowledged(before: place)
      let sent = posts.sent(before: place)
      if !acknowledged.isEmpty, !disk.spoolIsDurable {
        let fault = "the entry of the spool's own folder was never synced"
        losses.withLock { $0.append(Loss(event: place, cut: .unsyncedGone, faults: [fault])) }
      }
      for kind in kinds {
        let image = disk.after(kind, random: &random)
        let rebuilt = try RebuiltSpool(
          image, of: recording, identity: disk.identity(of: "state.db"), closedPort: closedPort)
        slots.wait()
        DispatchQueue.global().async(group: group) {
          defer { slots.signal() }
          do {
            let faults = try rebuilt.faults(acknowledged: acknowledged, sent: sent)
            if !faults.isEmpty { losses.withLock { $0.append(Loss(event: place, cut: kind, faults: faults)) } }
          } catch {
            trouble.withLock { $0 = error }
          }
        }
      }
    }
    group.wait()
    if let error = trouble.withLock({ $0 }) { throw error }
    return losses.withLock { $0 }.sorted { $0.event < $1.event }
  }
}
