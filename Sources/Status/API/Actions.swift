internal import HTTPTypes
internal import Telemetry

/// What operators may do.
enum Actions {
  static let routes: [Route] = letters + replays + others

  private static let letters: [Route] = [
    Route(.post, "/v1/dead-letters/requeue", .operator) { call async throws(Problem) in
      let order = try call.order(RequeueOrder.self)
      let query = try Route.Call.letters(order.pipeline, order.stage, order.rule)
      try deliberate(query, all: order.all)
      try positive(order.budgetBytes, "budgetBytes")
      return .json(try await call.perform(.requeueDeadLetters(query, rate: order.rate, budgetBytes: order.budgetBytes)))
    },
    Route(.post, "/v1/dead-letters/discard", .operator) { call async throws(Problem) in
      let order = try call.order(DiscardOrder.self)
      let query = try Route.Call.letters(order.pipeline, order.stage, order.rule)
      try deliberate(query, all: order.all)
      return .json(try await call.perform(.discardDeadLetters(query)))
    },
  ]

  private static let replays: [Route] = [
    // It changes nothing, and costs the gateway up to ten seconds of a core.
    Route(.post, "/v1/replays/estimate", .operator) { call async throws(Problem) in
      let order = try replay(call)
      do throws(StatusFault) {
        return .json(try await call.source.perform(.estimateReplay(order), for: call.caller))
      } catch {
        throw Problem(error)
      }
    },
    Route(.post, "/v1/replays", .operator) { call async throws(Problem) in
      .created(try await call.perform(.createReplay(try replay(call))))
    },
    Route(.post, "/v1/replays/{replay}/pause", .operator) { call async throws(Problem) in
      .json(try await call.perform(.pauseReplay(try name(call, "replay"))))
    },
    Route(.post, "/v1/replays/{replay}/resume", .operator) { call async throws(Problem) in
      .json(try await call.perform(.resumeReplay(try name(call, "replay"))))
    },
    Route(.post, "/v1/replays/{replay}/cancel", .operator) { call async throws(Problem) in
      .json(try await call.perform(.cancelReplay(try name(call, "replay"))))
    },
  ]

  private static let others: [Route] = [
    Route(.post, "/v1/uplinks/{uplink}/pause", .operator) { call async throws(Problem) in
      .json(try await call.perform(.pauseUplink(try name(call, "uplink"))))
    },
    Route(.post, "/v1/uplinks/{uplink}/resume", .operator) { call async throws(Problem) in
      .json(try await call.perform(.resumeUplink(try name(call, "uplink"))))
    },
    Route(.post, "/v1/reload", .admin) { call async throws(Problem) in
      _ = try call.order(EmptyOrder.self)
      return .json(try await call.perform(.reload))
    },
  ]

  /// The parameter of the path, of an action that has no body.
  private static func name(_ call: Route.Call, _ parameter: String) throws(Problem) -> String {
    _ = try call.order(EmptyOrder.self)
    return call.path[parameter] ?? ""
  }

  private static func replay(_ call: Route.Call) throws(Problem) -> StatusAction.ReplayOrder {
    let order = try call.order(ReplayRequest.self)
    try positive(order.rate, "rate")
    try positive(order.budgetBytes, "budgetBytes")
    return StatusAction.ReplayOrder(
      pipeline: order.pipeline, from: order.from, to: order.to, rate: order.rate, budgetBytes: order.budgetBytes)
  }

  /// Nothing named means nothing, not everything.
  private static func deliberate(_ query: DeadLetterQuery, all: Bool?) throws(Problem) {
    if query.isEmpty, all != true {
      throw .invalid("name a pipeline, a stage or a rule, or say \"all\": true")
    }
    if !query.isEmpty, all == true { throw .invalid("\"all\" and a choice exclude each other") }
  }

  private static func positive(_ number: Int64?, _ name: String) throws(Problem) {
    // Offsets and sums in the spool are below 2^58.
    if let number, !(1..<1 << 58).contains(number) { throw .invalid("'\(name)' is a whole number from 1") }
  }
}
