internal import Telemetry

extension StatusAction {
  /// How the audit log names it; nil for what changes nothing.
  package var audited: (action: String, parameters: [String: String])? {
    func letters(_ query: DeadLetterQuery) -> [String: String] {
      var words: [String: String] = [:]
      words["pipeline"] = query.pipeline
      words["stage"] = query.stage?.rawValue
      words["rule"] = query.rule
      if query.isEmpty { words["all"] = "true" }
      return words
    }
    switch self {
    case .requeueDeadLetters(let query, let rate, let budget):
      var words = letters(query)
      words["rate"] = rate
      words["budgetBytes"] = budget.map(String.init)
      return ("dead-letters.requeue", words)
    case .discardDeadLetters(let query): return ("dead-letters.discard", letters(query))
    case .estimateReplay: return nil
    case .createReplay(let order):
      var words = ["pipeline": order.pipeline, "from": order.from]
      words["to"] = order.to
      words["rate"] = order.rate.map(String.init)
      words["budgetBytes"] = order.budgetBytes.map(String.init)
      return ("replay.create", words)
    case .pauseReplay(let id): return ("replay.pause", ["replay": id])
    case .resumeReplay(let id): return ("replay.resume", ["replay": id])
    case .cancelReplay(let id): return ("replay.cancel", ["replay": id])
    case .pauseUplink(let name): return ("uplink.pause", ["uplink": name])
    case .resumeUplink(let name): return ("uplink.resume", ["uplink": name])
    case .reload: return ("reload", [:])
    }
  }
}
