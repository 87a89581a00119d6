import Glibc
import Ingest
import Logging
import Synchronization
import Telemetry
import TestSupport

/// A log in memory that can be slow, hang, fail and be full.
final class MemoryLog: MessageLog {
  struct Failure: Error {}

  struct State {
    var messages: [Message] = []
    var groupSizes: [Int] = []
    var attempts = 0
    /// Appends that will fail; they keep nothing.
    var failures = 0
    /// Those that fail keep everything all the same, as a commit whose fsync fails may.
    var failuresKeep = false
    /// Recoveries that will fail.
    var failedRecoveries = 0
    var recoveries = 0
    var isBlocked = false
    var milliseconds: UInt32 = 0
    var admission = Admission.open
    /// Closes by itself when it holds so many messages.
    var closesAt = Int.max
    /// Messages are counted and not kept.
    var countsOnly = false
    var count = 0
    /// By source, how many of its messages belong to a session that the broker has lost.
    var forgotten: [String: Int] = [:]
    /// Nothing is in doubt: the mechanism taken out, for tests that show what it is for.
    var recognisesNothing = getenv("FOREBAY_TEST_NO_IN_DOUBT") != nil
  }

  let state = Mutex(State())

  func append(_ group: MessageGroup) throws {
    let (milliseconds, fails, keeps) = state.withLock { state in
      state.attempts += 1
      defer { state.failures = max(0, state.failures - 1) }
      return (state.milliseconds, state.failures > 0, state.failures == 0 || state.failuresKeep)
    }
    while state.withLock({ $0.isBlocked }) { usleep(1000) }
    if milliseconds > 0 { usleep(milliseconds * 1000) }
    if !keeps { throw Failure() }
    state.withLock { state in
      state.count += group.count
      state.groupSizes.append(group.count)
      if !state.countsOnly {
        for index in 0..<group.count { state.messages.append(group[index]) }
      }
      if state.count >= state.closesAt { state.admission = .closed(reason: "full for the test") }
    }
    if fails { throw Failure() }
  }

  func inDoubt(source: String, window: Int) throws -> [InDoubtMessage] {
    state.withLock { state in
      if state.recognisesNothing { return [] }
      let own = state.messages.filter { $0.origin.source == source }
      return own.dropFirst(state.forgotten[source] ?? 0).filter { $0.qos == .atLeastOnce }
        .suffix(max(window, 32_768)).map {
          InDoubtMessage(
            packetID: $0.packetID ?? 0, topic: Array($0.origin.topic.utf8), payload: $0.payload)
        }
    }
  }

  func forgetInDoubt(source: String) throws {
    state.withLock { state in
      state.forgotten[source] = state.messages.count { $0.origin.source == source }
    }
  }

  func admission() -> Admission { state.withLock { $0.admission } }

  func recover() throws {
    try state.withLock { state in
      state.recoveries += 1
      if state.failedRecoveries > 0 {
        state.failedRecoveries -= 1
        throw Failure()
      }
    }
  }

  var count: Int { state.withLock { $0.count } }
  var attempts: Int { state.withLock { $0.attempts } }
  var messages: [Message] { state.withLock { $0.messages } }
  /// In order of arrival.
  var payloads: [String] { messages.map { String(decoding: $0.payload, as: UTF8.self) } }
}

final class MemorySessions: SessionStore {
  private let filters = Mutex<[String: [String: SubscriptionState]]>([:])
  private let identifier: String

  init(clientID: String? = nil) {
    identifier = clientID ?? "test-\(UInt64.random(in: 0...UInt64.max))"
  }

  func clientID(source: String) throws -> String { "\(identifier)-\(source)" }
  func subscribedFilters(source: String) throws -> [String: SubscriptionState] {
    filters.withLock { $0[source] ?? [:] }
  }
  func setSubscribedFilters(_ set: [String: SubscriptionState], source: String) throws {
    filters.withLock { $0[source] = set }
  }
}

/// The clocks, of a made-up boot.
func testMoment() -> Moment {
  Moment(
    boot: BootID(high: 1, low: 2), monotonic: Int64(monotonicSeconds() * 1e9), wall: 0,
    quality: .unsynchronised)
}

/// An intake with its log and its sessions, stopped when the test is over.
final class Rig {
  let log: MemoryLog
  let sessions: MemorySessions
  let intake: Intake

  init(
    _ sources: [SourceSettings], group: GroupSettings = GroupSettings(), log: MemoryLog = MemoryLog(),
    sessions: MemorySessions = MemorySessions()
  ) throws {
    self.log = log
    self.sessions = sessions
    var logger = Logger(label: "test")
    logger.logLevel = getenv("FOREBAY_TEST_LOG") == nil ? .critical : .trace
    intake = Intake(
      group: group, sources: sources, log: log, sessions: sessions, moment: testMoment,
      logger: logger)
    try intake.start()
  }

  deinit { stop() }

  func stop() { intake.stop(graceNanoseconds: 10_000_000_000) }

  func status(_ name: String = "floor") -> SourceStatus? {
    intake.status().first { $0.name == name }
  }

  /// Waits until the source is connected and the broker has acknowledged its subscriptions.
  func isReady(_ name: String = "floor", filters: [String] = ["t/#"]) -> Bool {
    eventually {
      guard status(name)?.state == .connected else { return false }
      let held = (try? sessions.subscribedFilters(source: name)) ?? [:]
      return Set(held.filter { $0.value == .held }.keys) == Set(filters)
    }
  }
}

extension SourceSettings {
  static func floor(
    _ port: Int, filters: [String] = ["t/#"], _ change: (inout SourceSettings) -> Void = { _ in }
  ) -> SourceSettings {
    var settings = SourceSettings(name: "floor", host: "127.0.0.1", port: port)
    settings.filters = filters
    change(&settings)
    return settings
  }
}

func numbers(_ range: Range<Int>) -> [String] { range.map { "m\($0)" } }
