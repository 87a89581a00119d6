internal import HTTPTypes

extension StatusServer {
  /// What a server answers for.
  package enum Resources: Sendable, Hashable {
    /// A gateway: the whole API.
    case gateway
    /// Many gateways, from who asks them: `/healthz`, `/metrics` and `/v1/fleet`.
    case fleet

    var routes: [Route] {
      switch self {
      case .gateway: Routes.all
      case .fleet: [Routes.alive, Routes.metrics, Routes.view("/v1/fleet", .fleet)]
      }
    }
  }
}

/// Every resource of the API. The most specific of those that share a prefix stands first; openapi.json describes
/// each, and a test holds the two together.
enum Routes {
  static let all: [Route] = health + views + records + Actions.routes

  static let alive = Route(.get, "/healthz", nil) { call async throws(Problem) in
    let health = await call.source.health()
    return .state(health.isAlive ? 200 : 503, state(standstill(health), for: call))
  }

  static let metrics = Route(.get, "/metrics", .viewer) { call async throws(Problem) in
    guard let page = await call.source.metrics() else { throw .notFound("this daemon has no metrics") }
    return .bytes(page, contentType: PrometheusPage.mediaType)
  }

  private static let health: [Route] = [
    alive,
    Route(.get, "/readyz", nil) { call async throws(Problem) in
      let health = await call.source.health()
      let reasons = standstill(health) + health.notReady
      return .state(reasons.isEmpty ? 200 : 503, state(reasons, for: call))
    },
    Route(.get, "/openapi.json", nil) { _ async throws(Problem) in .json(PackageResources.openapi_json) },
    metrics,
  ]

  private static let views: [Route] = [
    view("/v1/status", .summary), view("/v1/report", .report), view("/v1/pipelines", .pipelines),
    Route(.get, "/v1/pipelines/{pipeline}", .viewer) { call async throws(Problem) in
      try await call.ask(.pipeline(call.path["pipeline"] ?? ""))
    },
    Route(.get, "/v1/pipelines/{pipeline}/devices", .viewer, parameters: paging) { call async throws(Problem) in
      try await call.ask(.devices(pipeline: call.path["pipeline"] ?? "", try call.page(upTo: 1000)))
    },
    view("/v1/sources", .sources), view("/v1/uplinks", .uplinks), view("/v1/replays", .replays),
    view("/v1/datasets", .datasets), view("/v1/ledger", .ledger), view("/v1/alarms", .alarms),
    view("/v1/objectives", .objectives), view("/v1/history", .history), view("/v1/traces", .traces),
  ]

  private static let records: [Route] = [
    Route(.get, "/v1/dead-letters", .viewer, parameters: paging.union(choosing)) { call async throws(Problem) in
      try await call.ask(.deadLetters(try call.letters(), try call.page(upTo: 1000)))
    },
    Route(.get, "/v1/dead-letters/counts", .viewer, parameters: choosing) { call async throws(Problem) in
      try await call.ask(.deadLetterCounts(try call.letters()))
    },
    Route(.get, "/v1/dead-letters/{letter}", .viewer) { call async throws(Problem) in
      guard let id = call.path["letter"].flatMap({ Int64($0) }), id > 0 else {
        throw .invalid("a dead letter has a number")
      }
      return try await call.ask(.deadLetter(id))
    },
    Route(.get, "/v1/audit-log", .viewer, parameters: paging) { call async throws(Problem) in
      try await call.ask(.auditLog(try call.page(upTo: 1000)))
    },
    Route(.get, "/v1/events", .viewer) { call async throws(Problem) in
      guard let listener = call.hub.listen() else {
        throw Problem(
          503, "Unavailable", "\(EventHub.maximumListeners) listen already", headers: [.retryAfter: "60"])
      }
      return .events(listener)
    },
    // A batch's name has slashes: it stands in the query.
    Route(.get, "/v1/lineage", .viewer, parameters: ["batch"]) { call async throws(Problem) in
      guard let batch = call.parameters["batch"] else { throw .invalid("'batch' names a batch") }
      return try await call.ask(.lineage(batch: batch))
    },
  ]

  private static let paging: Set = ["limit", "after"]
  private static let choosing: Set = ["pipeline", "stage", "rule"]

  static func view(_ template: String, _ question: StatusQuestion) -> Route {
    Route(.get, template, .viewer) { call async throws(Problem) in try await call.ask(question) }
  }

  private static func standstill(_ health: StatusHealth) -> [String] {
    health.isAlive ? [] : ["the pipelines' thread stands still"]
  }

  /// Everybody gets the state; the reasons name sources, disks and faults, and are for those who may see them.
  private static func state(_ reasons: [String], for call: Route.Call) -> [UInt8] {
    var writer = JSONWriter(capacity: 128)
    writer.object { object in
      object.value("status", reasons.isEmpty ? "ok" : "failing")
      guard call.mayView else { return }
      object.array("reasons") { list in
        for reason in reasons { list.value(nil, reason) }
      }
    }
    return writer.bytes
  }
}
