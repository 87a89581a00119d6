package import Telemetry

/// What the HTTP API asks the daemon. Names are checked by whoever answers; numbers are in their ranges.
package enum StatusQuestion: Sendable, Hashable {
  /// One page of a list: what stands behind `after`, at most `limit` rows.
  package struct Page: Sendable, Hashable {
    /// Opaque to the server; each list says what it is. Nil: from the beginning.
    package var after: String?
    package var limit: Int

    package init(after: String? = nil, limit: Int) {
      self.after = after
      self.limit = limit
    }
  }

  /// The summary for a fleet (``GatewayStatus``).
  case summary
  /// Everything that `forebay status --json` shows.
  case report
  case pipelines
  case pipeline(String)
  case devices(pipeline: String, Page)
  case sources
  case uplinks
  case deadLetters(DeadLetterQuery, Page)
  case deadLetterCounts(DeadLetterQuery)
  case deadLetter(Int64)
  case replays
  case lineage(batch: String)
  case datasets
  case ledger
  /// What operators did, the newest first.
  case auditLog(Page)
  case alarms
  case objectives
  case history
  case traces
  /// The document of many gateways, from who asks them (``StatusServer/Resources/fleet``).
  case fleet
}

/// Which dead letters are meant; nil means any.
package struct DeadLetterQuery: Sendable, Hashable {
  package var pipeline: String?
  package var stage: Stage?
  package var rule: String?

  package init(pipeline: String? = nil, stage: Stage? = nil, rule: String? = nil) {
    self.pipeline = pipeline
    self.stage = stage
    self.rule = rule
  }

  package var isEmpty: Bool { pipeline == nil && stage == nil && rule == nil }
}

/// What the HTTP API has the daemon do. Every one of them is in the audit log.
package enum StatusAction: Sendable, Hashable {
  /// A stretch of the log and its limits, as `forebay replay` takes them.
  package struct ReplayOrder: Sendable, Hashable {
    package var pipeline: String
    /// A time, an offset or how long ago.
    package var from: String
    /// Nil: now.
    package var to: String?
    /// Messages a second; nil: as many as go.
    package var rate: Int64?
    /// Bytes upstream; nil: without a bound.
    package var budgetBytes: Int64?

    package init(pipeline: String, from: String, to: String?, rate: Int64?, budgetBytes: Int64?) {
      self.pipeline = pipeline
      self.from = from
      self.to = to
      self.rate = rate
      self.budgetBytes = budgetBytes
    }
  }

  /// - rate: how many in a time, as `forebay dead-letters requeue` takes it; nil: its default.
  /// - budgetBytes: of payloads in all; nil: without a bound.
  case requeueDeadLetters(DeadLetterQuery, rate: String?, budgetBytes: Int64?)
  case discardDeadLetters(DeadLetterQuery)
  case estimateReplay(ReplayOrder)
  case createReplay(ReplayOrder)
  case pauseReplay(String)
  case resumeReplay(String)
  case cancelReplay(String)
  case pauseUplink(String)
  case resumeUplink(String)
  case reload
}

/// Why a question has no answer, or an action was not done.
package struct StatusFault: Error, Sendable, Hashable, CustomStringConvertible {
  package enum Kind: Sendable, Hashable {
    /// What was named is not there.
    case unknown
    /// What was asked for makes no sense.
    case invalid
    /// Not in this state.
    case conflict
    /// The daemon cannot say or do it now: a database is being rebuilt, the disk fails.
    case unavailable
  }

  package var kind: Kind
  /// For people; neither payload nor secret stands in it.
  package var detail: String

  package init(_ kind: Kind, _ detail: String) {
    self.kind = kind
    self.detail = detail
  }

  package var description: String { detail }
}

/// Whether the daemon lives and whether it does its work, for load balancers and supervisors.
package struct StatusHealth: Sendable, Hashable {
  /// The threads that must go round do.
  package var isAlive: Bool
  /// Why it takes nothing in or runs no pipeline, in a few words each; empty when it is ready.
  package var notReady: [String]

  package init(isAlive: Bool, notReady: [String]) {
    self.isAlive = isAlive
    self.notReady = notReady
  }
}

/// The daemon, as the HTTP API sees it: typed questions, answers as JSON bytes. The API does HTTP, roles, limits,
/// the audit log and events, and knows nothing of spool and delivery.
package protocol StatusSource: Sendable {
  /// The answer as JSON; nil where this daemon has no such thing, so that there is no such route.
  func answer(_ question: StatusQuestion) async throws(StatusFault) -> [UInt8]?

  /// Does it, and gives what came of it as JSON.
  func perform(_ action: StatusAction, for caller: Caller) async throws(StatusFault) -> [UInt8]

  /// The metrics in Prometheus's text format 0.0.4; nil where there are none.
  func metrics() async -> [UInt8]?

  func health() async -> StatusHealth
}
