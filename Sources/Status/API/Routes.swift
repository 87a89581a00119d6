internal import HTTPTypes

/// Every resource of the API. The most specific of those that share a prefix stands first; openapi.json describes
/// each, and a test holds the two together.
enum Routes {
  static let all: [Route] = health + views

  private static let health: [Route] = [
    Route(.get, "/healthz", nil) { call async throws(Problem) in
      let health = await call.source.health()
      return .state(health.isAlive ? 200 : 503, state(health.isAlive ? [] : ["the pipelines' thread stands still"]))
    },
    Route(.get, "/readyz", nil) { call async throws(Problem) in
      let health = await call.source.health()
      let isReady = health.isAlive && health.notReady.isEmpty
      return .state(isReady ? 200 : 503, state(health.notReady))
    },
    Route(.get, "/metrics", .viewer) { call async throws(Problem) in
      guard let page = await call.source.metrics() else { throw .notFound("this daemon has no metrics") }
      return .bytes(page, contentType: "text/plain; version=0.0.4; charset=utf-8")
    },
  ]

  private static let views: [Route] = [
    Route(.get, "/v1/status", .viewer) { call async throws(Problem) in try await call.ask(.summary) },
    Route(.get, "/v1/report", .viewer) { call async throws(Problem) in try await call.ask(.report) },
  ]

  private static func state(_ reasons: [String]) -> [UInt8] {
    var writer = JSONWriter(capacity: 128)
    writer.object { object in
      object.value("status", reasons.isEmpty ? "ok" : "failing")
      object.array("reasons") { list in
        for reason in reasons { list.value(nil, reason) }
      }
    }
    return writer.bytes
  }
}
