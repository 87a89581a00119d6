internal import Delivery
internal import Spool
internal import Status
internal import Telemetry

// Labels whose values are a fixed list: made once for the life of the process.

/// The columns of a book as the label `outcome`.
struct LedgerLabels: Sendable {
  let labels: MetricLabels
  let count: @Sendable (LedgerCounters) -> Int64

  private init(_ outcome: String, _ count: @escaping @Sendable (LedgerCounters) -> Int64) {
    labels = MetricLabels("outcome", outcome)
    self.count = count
  }

  /// Of messages: every one that was received ends in exactly one of these.
  static let messages = [
    LedgerLabels("decoded") { $0.decoded }, LedgerLabels("unmatched") { $0.unmatched },
    LedgerLabels("rejected") { $0.rejected }, LedgerLabels("damaged") { $0.damaged },
  ]

  /// Of readings: the first three are where they come from, the others what became of them.
  static let readings = [
    LedgerLabels("produced") { $0.produced }, LedgerLabels("emitted") { $0.emitted },
    LedgerLabels("requeued") { $0.requeued }, LedgerLabels("duplicate") { $0.duplicate },
    LedgerLabels("refused") { $0.refused }, LedgerLabels("late") { $0.late },
    LedgerLabels("filtered") { $0.filtered }, LedgerLabels("absorbed") { $0.absorbed },
    LedgerLabels("delivered") { $0.delivered },
    LedgerLabels("dead_lettered_upstream") { $0.deadLetteredUpstream },
  ]
}

struct AnswerLabels: Sendable {
  let kind: Answer.Kind
  let labels: MetricLabels

  static let all = Answer.Kind.allCases.map { AnswerLabels(kind: $0, labels: MetricLabels("answer", $0.rawValue)) }
}

struct ReplayStates: Sendable {
  let state: Replay.State
  let labels: MetricLabels

  static let all = Replay.State.allCases.map { ReplayStates(state: $0, labels: MetricLabels("state", $0.rawValue)) }
}
