internal import Logging
internal import Pipeline
internal import Spool
internal import Telemetry

/// What the pipeline thread does for dead letters between the steps of the pipelines: it lets go what the bounds
/// no longer hold, and takes up what an operator wants to be run again, at the rate that was asked for.
struct DeadLetterKeeping {
  /// Letters of a pipeline that went before they were old.
  struct EarlyExpiry: Sendable, Hashable {
    /// By rule, since the alarm began.
    var rules: [String: Int64]
    /// Monotonic nanoseconds at which the last of them went.
    var last: Int64

    var count: Int64 { rules.values.reduce(0, +) }
  }

  /// Nanoseconds from the last early expiry to the end of its alarm: somebody who looks once a day sees it.
  static let alarmTime: Int64 = 24 * 3_600_000_000_000
  /// Portions that are deleted at one look, of all pipelines together.
  static let portions = 16
  /// Nanoseconds between two lines in the log: garbage that does not end must not fill it.
  private static let logInterval: Int64 = 60_000_000_000

  /// For pipelines that are no longer configured.
  var bounds: DeadLetterBounds
  private let logger: Logger
  private(set) var early: [String: EarlyExpiry] = [:]
  /// By pipeline and rule, of what has not been told yet.
  private var untold: [String: [String: Int64]] = [:]
  private var nextLine: Int64 = 0
  /// What each request may still take up, in nanoseconds of its interval.
  private var allowances: [Int64: (nanoseconds: Int64, at: Int64)] = [:]

  init(bounds: DeadLetterBounds, logger: Logger) {
    self.bounds = bounds
    self.logger = logger
  }

  // MARK: Bounds

  /// Deletes some of what is to go.
  /// - Returns: whether there is more.
  mutating func expire(_ runners: [PipelineRunner], state: StateStore, now: Moment) throws(SpoolError) -> Bool {
    early = early.filter { now.monotonic - $0.value.last < DeadLetterKeeping.alarmTime }
    defer { tell(now: now) }
    do throws(SpoolError) {
      try state.dateDeadLetters(now: now)
      var portions = DeadLetterKeeping.portions
      for pipeline in try state.deadLetterBytes().keys.sorted() {
        let bounds = runners.first { $0.name == pipeline }?.settings.deadLetters ?? bounds
        while let expired = try state.expireDeadLetters(of: pipeline, bounds, now: now) {
          note(expired, of: pipeline, now: now)
          portions -= 1
          guard expired.isMore else { break }
          if portions <= 0 { return true }
        }
      }
      return false
    } catch {
      // A disk without room for the deleting, or somebody who writes for long: the next look comes soon.
      guard error.kind == .full || error.kind == .busy else { throw error }
      logger.debug("dead letters were not looked at this time", metadata: ["error": "\(error)"])
      return false
    }
  }

  private mutating func note(_ expired: ExpiredDeadLetters, of pipeline: String, now: Moment) {
    for (rule, count) in [expired.old, expired.early].joined() {
      untold[pipeline, default: [:]][rule, default: 0] += count
    }
    guard !expired.early.isEmpty else { return }
    early[pipeline, default: EarlyExpiry(rules: [:], last: 0)].last = now.monotonic
    early[pipeline]?.rules.merge(expired.early, uniquingKeysWith: +)
  }

  private mutating func tell(now: Moment) {
    guard !untold.isEmpty, now.monotonic >= nextLine else { return }
    for (pipeline, rules) in untold.sorted(by: { $0.key < $1.key }) {
      logger.warning(
        "dead letters have expired: they were too old, or took too many bytes",
        metadata: [
          "pipeline": "\(pipeline)", "count": "\(rules.values.reduce(0, +))",
          "rules": "\(DeadLetterKeeping.text(rules))",
        ])
    }
    untold = [:]
    nextLine = now.monotonic + DeadLetterKeeping.logInterval
  }

  /// `json.syntax 1,100, time.missing 100`: the most frequent first, and no more than a line holds.
  static func text(_ rules: [String: Int64]) -> String {
    let sorted = rules.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
    let shown = sorted.prefix(5).map { "\($0.key) \(Output.grouped($0.value))" }.joined(separator: ", ")
    return sorted.count > 5 ? shown + ", and \(sorted.count - 5) other rules" : shown
  }

  // MARK: Requests

  /// Takes up what every request may have by now.
  mutating func requeue(
    _ runners: inout [PipelineRunner], from reader: LogReader, state: StateStore, now: Moment
  ) throws {
    let requests = try state.requeues()
    allowances = allowances.filter { entry in requests.contains { $0.id == entry.key } }
    for request in requests {
      var (nanoseconds, at) = allowances[request.id] ?? (request.interval, now.monotonic)
      // What was not used up lapses after a second, or a rate would turn into a burst.
      let most = max(request.interval, Work.housekeepingInterval)
      nanoseconds = min(most, nanoseconds + min(most, max(0, now.monotonic - at)))
      allowances[request.id] = (nanoseconds, now.monotonic)
      for index in runners.indices {
        let limit = Int(nanoseconds / request.interval)
        let count = try runners[index].requeue(request, from: reader, state: state, now: now, limit: limit)
        nanoseconds -= Int64(count) * request.interval
        allowances[request.id] = (nanoseconds, now.monotonic)
      }
      if try state.finishRequeue(request.id) {
        for index in runners.indices { runners[index].forget(request) }
        logger.info("a request to run dead letters again is done", metadata: ["request": "\(request.id)"])
      }
    }
  }
}
