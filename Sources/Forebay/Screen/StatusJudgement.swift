internal import FoundationEssentials

/// How well a gateway is, as its status document says it. Every field may be absent: a daemon of another version
/// made the document, or has no objectives.
struct StatusJudgement: Decodable, Sendable {
  /// A gateway's state in one word: the same in the terminal, on the page, in the API and in metrics.
  enum State: String, Decodable, Sendable {
    /// There are no alarms.
    case ok
    /// Tickets only: somebody looks at it in working hours.
    case warning
    /// Somebody is called.
    case critical
  }

  struct Alarm: Decodable, Sendable {
    /// `ticket` or `page`.
    var severity: String?
    /// RFC 3339.
    var since: String?
    /// Where to read what to do.
    var runbook: String?
  }

  struct Objective: Decodable, Sendable {
    var name: String
    /// `ok`, `burning` or `spent`.
    var state: String
    /// Shares, 0 to 1.
    var target: Double?
    var measured: Double?
    var budgetRemaining: Double?
    /// How many times faster than allowed the error budget goes.
    var burnRate1h: Double?
  }

  struct Pipeline: Decodable, Sendable {
    var freshnessSeconds: Double?
  }

  private var state: State?
  /// As many as the document has, in its order.
  var alarms: [Alarm]
  var objectives: [Objective]?
  var pipelines: [Pipeline]

  /// Nothing is known beside what ``StatusReport`` has.
  init(alarms: Int = 0, pipelines: Int = 0) {
    self.alarms = Array(repeating: Alarm(), count: alarms)
    self.pipelines = Array(repeating: Pipeline(), count: pipelines)
  }

  /// - Parameter report: of the same document; what cannot be read beside it is as if it were absent.
  init(document: [UInt8], report: StatusReport) {
    let read = try? JSONDecoder().decode(StatusJudgement.self, from: Data(document))
    self = read ?? StatusJudgement(alarms: report.alarms.count, pipelines: report.pipelines.count)
  }

  /// As the daemon says it, or else by its alarms. One without a severity, from an older daemon, is a ticket.
  var overall: State {
    if let state { return state }
    if alarms.isEmpty { return .ok }
    return alarms.contains { $0.severity == "page" } ? .critical : .warning
  }
}
