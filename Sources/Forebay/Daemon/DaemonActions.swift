internal import Glibc
internal import Pipeline
internal import Spool
internal import Status
internal import Synchronization
internal import Telemetry

/// What operators do over the API: the same that the commands do on the box.
extension DaemonSource {
  func outcome(of action: StatusAction, _ caller: Caller) async throws -> [UInt8] {
    switch action {
    case .requeueDeadLetters(let query, let rate, let budget): return try await requeue(query, rate, budget)
    case .discardDeadLetters(let query):
      return try await change { spool in
        try spool.state { state in
          try SpoolQueries.check(query, state)
          return try SpoolQueries.json(["discarded": try state.discardDeadLetters(SpoolQueries.filter(query))])
        }
      }
    case .estimateReplay(let order): return try await estimate(order)
    case .createReplay(let order): return try await create(order)
    case .pauseReplay(let id): return try await onReplay(id) { try $0.pauseReplay($1).get() }
    case .resumeReplay(let id): return try await onReplay(id) { try $0.resumeReplay($1).get() }
    case .cancelReplay(let id):
      return try await onReplay(id) { try $0.cancelReplay($1, wall: SystemClock.wall()).get() }
    case .pauseUplink(let name):
      let pause = PausedUplinks.Pause(
        uplink: name, since: RFC3339.text(SystemClock.wall()), by: caller.name)
      return try await onUplink(name, pause)
    case .resumeUplink(let name): return try await onUplink(name, nil)
    case .reload:
      // What the signal leads to is written once, in the supervision.
      guard kill(getpid(), SIGHUP) == 0 else { throw StatusFault(.unavailable, "the process cannot signal itself") }
      return try SpoolQueries.json(["reload": "requested"])
    }
  }

  private func requeue(_ query: DeadLetterQuery, _ rate: String?, _ budget: Int64?) async throws -> [UInt8] {
    guard let rate = rate.map({ RequeueRate(argument: $0) }) ?? .usual else {
      throw StatusFault(.invalid, "'rate' is how many in a time, such as 100/s, 10/min or 5/h")
    }
    return try await change { spool in
      try spool.state { state in
        try SpoolQueries.check(query, state)
        let reader = budget == nil ? nil : try spool.reader()
        let outcome = try state.requeueDeadLetters(
          SpoolQueries.filter(query), interval: rate.interval, budget: budget
        ) { log, offset throws(SpoolError) in
          // What the log no longer has costs nothing: it is refused.
          guard case .message(let message) = try reader?.message(at: offset, of: log) else { return 0 }
          return Int64(message.payload.count)
        }
        return try SpoolQueries.json(DeadLettersCommand.Requeue.Report(outcome, rate: rate))
      }
    }
  }

  private func plan(
    _ order: StatusAction.ReplayOrder, _ spool: SpoolQueries, _ state: StateStore
  ) throws -> ReplayOrder.Plan {
    try ReplayOrder(
      pipeline: order.pipeline, from: order.from, to: order.to, rate: order.rate, budget: order.budgetBytes,
      now: SystemClock.wall()
    ).plan(state, try spool.reader(), spool: spool.spool, daemon.configuration.withLock { $0 })
  }

  private func estimate(_ order: StatusAction.ReplayOrder) async throws -> [UInt8] {
    try await estimate { spool in
      try spool.state { state in
        guard let estimate = try self.plan(order, spool, state).estimate else {
          throw StatusFault(.conflict, "there is no estimate: the pipeline's version cannot be put together")
        }
        return try SpoolQueries.json(estimate)
      }
    }
  }

  private func create(_ order: StatusAction.ReplayOrder) async throws -> [UInt8] {
    try await estimate { spool in
      try spool.state { state in
        let replay = try state.createReplay(
          try self.plan(order, spool, state).request, wall: SystemClock.wall(), random: { .random(in: 0 ... .max) }
        ).get()
        return try SpoolQueries.json(ReplayReport(replay))
      }
    }
  }

  private func onReplay(
    _ id: String, _ body: @escaping @Sendable (StateStore, ReplayID) throws -> Void
  ) async throws -> [UInt8] {
    try await change { spool in
      try spool.state { state in
        guard let id = ReplayID(rawValue: id) else { throw ReplayRefusal.unknownReplay(id) }
        try body(state, id)
        guard let replay = try state.replay(id) else { throw ReplayRefusal.unknownReplay(id.rawValue) }
        return try SpoolQueries.json(ReplayReport(replay))
      }
    }
  }

  private func onUplink(_ name: String, _ pause: PausedUplinks.Pause?) async throws -> [UInt8] {
    guard try await daemon.uplinks.pause(name, pause) else {
      throw StatusFault(.unknown, "there is no uplink \(name)")
    }
    return try SpoolQueries.json(["uplink": name, "state": pause == nil ? "resumed" : "paused"])
  }
}

extension DeadLettersCommand.Requeue.Report {
  init(_ outcome: RequeueOutcome, rate: RequeueRate) {
    self.init(
      request: outcome.request, rate: rate.description, letters: outcome.letters, bytes: outcome.bytes,
      overBudget: outcome.overBudget, overBudgetBytes: outcome.overBudgetBytes, orphans: outcome.orphans)
  }
}
