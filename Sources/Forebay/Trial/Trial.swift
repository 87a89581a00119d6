internal import Pipeline
internal import Spool
internal import Telemetry

/// One pipeline of a candidate configuration over some messages, beside the one that it would take the place of.
struct Trial {
  /// Rejections of one stage by one rule.
  struct Refused {
    var stage: Stage
    var rule: String
    var candidate: Int64 = 0
    var against: Int64 = 0
    /// The first one of the candidate's, or of the other's where the candidate has none.
    var offset: Offset
    var reason: String
  }

  /// Records after which what came of them is looked at.
  private static let portionRecords = 256
  private static let portionBytes = 4 << 20
  /// Kinds of rejections that are told apart: rules are few, and a bound all the same.
  private static let maximumKinds = 200

  let name: String
  private(set) var candidate: PipelineTrial
  private(set) var against: PipelineTrial?
  private(set) var counters = LedgerCounters()
  private(set) var countersAgainst = LedgerCounters()
  private(set) var lines = 0
  private(set) var linesAgainst = 0
  private(set) var messages: Int64 = 0
  private(set) var rejected: [Refused] = []
  /// The first readings of the candidate.
  private(set) var readings: [PipelineTrial.Reading] = []
  private(set) var comparison: TrialComparison
  private let log: LogID
  private let limit: Int
  private var open = 0

  /// - Parameters:
  ///   - against: the settings that it is compared with; nil: none.
  ///   - log: where the messages come from.
  ///   - first: the first offset that may come.
  ///   - limit: readings and differences that are kept for people.
  init(
    _ candidate: PipelineWorker.Assignment, against: PipelineWorker.Assignment?, log: LogID, first: Offset, limit: Int
  ) throws {
    func trial(_ assignment: PipelineWorker.Assignment) throws -> PipelineTrial {
      try PipelineTrial(settings: assignment.settings, version: assignment.version, log: log, first: first)
    }
    name = candidate.settings.name
    self.candidate = try trial(candidate)
    self.against = try against.map(trial)
    self.log = log
    self.limit = limit
    comparison = TrialComparison(
      limit: limit, byResult: candidate.settings.window != nil || against?.settings.window != nil)
  }

  mutating func take(_ record: Record) throws {
    messages += 1
    let log = log
    candidate.take(record, of: log)
    against?.take(record, of: log)
    open += 1
    if open >= Trial.portionRecords || candidate.bytes + (against?.bytes ?? 0) >= Trial.portionBytes {
      let portion = try candidate.portion()
      let other = try against?.portion()
      add(portion, other)
    }
  }

  mutating func finish() throws {
    let portion = try candidate.finish()
    let other = try against?.finish()
    add(portion, other)
    comparison.finish()
  }

  private mutating func add(_ portion: PipelineTrial.Portion, _ other: PipelineTrial.Portion?) {
    open = 0
    counters += portion.counters
    lines += portion.readings.count
    readings += portion.readings.prefix(limit - readings.count)
    for rejection in portion.rejections { count(rejection, \.candidate) }
    guard let other else { return }
    countersAgainst += other.counters
    linesAgainst += other.readings.count
    for rejection in other.rejections { count(rejection, \.against) }
    comparison.add(portion.readings, other.readings)
  }

  private mutating func count(_ rejection: Rejection, _ side: WritableKeyPath<Refused, Int64>) {
    let known = rejected.firstIndex { $0.stage == rejection.stage && $0.rule == rejection.rule }
    guard let known else {
      guard rejected.count < Trial.maximumKinds else { return }
      var refused = Refused(
        stage: rejection.stage, rule: rejection.rule, offset: rejection.offset, reason: rejection.reason)
      refused[keyPath: side] = 1
      rejected.append(refused)
      return
    }
    rejected[known][keyPath: side] += 1
  }

  /// Messages and readings that the candidate sets aside.
  var rejections: Int64 { rejected.reduce(0) { $0 + $1.candidate } }

  /// The books side by side: a column's name and its number in both.
  var books: [(name: String, candidate: Int64, against: Int64?)] {
    LedgerCounters.columns.map { column in
      (column.name, counters[keyPath: column.path], against == nil ? nil : countersAgainst[keyPath: column.path])
    }.filter { $0.1 != 0 || ($0.2 ?? 0) != 0 } + [("lines", Int64(lines), against == nil ? nil : Int64(linesAgainst))]
  }
}
