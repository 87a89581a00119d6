import Foundation
import HTTPTypes
import Logging
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import Status

/// Answers every question with its name, and remembers what it was to do.
final class EchoSource: StatusSource {
  let performed = Mutex<[StatusAction]>([])
  let isReady = Mutex(true)

  func answer(_ question: StatusQuestion) async throws(StatusFault) -> [UInt8]? {
    switch question {
    case .traces: return nil
    case .pipeline("nowhere"): throw StatusFault(.unknown, "there is no pipeline nowhere")
    case .ledger: throw StatusFault(.unavailable, "the disk fails")
    default:
      var writer = JSONWriter()
      writer.object { $0.value("question", "\(question)") }
      return writer.bytes
    }
  }

  func perform(_ action: StatusAction, for caller: Caller) async throws(StatusFault) -> [UInt8] {
    if case .cancelReplay = action { throw StatusFault(.conflict, "it has ended") }
    performed.withLock { $0.append(action) }
    return Array("{\"by\":\"\(caller.name)\"}".utf8)
  }

  func metrics() async -> [UInt8]? { Array("# HELP up 1\n".utf8) }

  func health() async -> StatusHealth {
    StatusHealth(isAlive: true, notReady: isReady.withLock { $0 } ? [] : ["parked"])
  }
}

@Suite("The HTTP API")
struct StatusServerTests {
  struct Rig: Sendable {
    let source = EchoSource()
    let hub = EventHub()
    let server: StatusServer
    let port: Int
    var http: PlainHTTP { PlainHTTP(port: port) }

    init(assets: [String: PageAsset] = [:], _ change: (inout StatusServer.Settings) -> Void = { _ in }) async throws {
      var settings = StatusServer.Settings(host: "127.0.0.1", port: 0)
      change(&settings)
      server = try StatusServer(
        settings, source: source, assets: assets, hub: hub, logger: Logger(label: "test"),
        wall: { 784_111_777_000_000_000 }, monotonic: { Int64(DispatchTime.now().uptimeNanoseconds) })
      port = try await server.start()
    }
  }

  /// On a thread of its own: what blocks must not take one of the few that the server runs on.
  func blocking<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    try await withCheckedThrowingContinuation { continuation in
      BlockingThread.start { continuation.resume(with: Result { try body() }) }
    }
  }

  /// With a rig that is stopped in the end.
  func with(
    assets: [String: PageAsset] = [:], _ change: (inout StatusServer.Settings) -> Void = { _ in },
    _ body: @escaping @Sendable (Rig) throws -> Void
  ) async throws {
    let rig = try await Rig(assets: assets, change)
    do {
      try await blocking { try body(rig) }
    } catch {
      await rig.server.stop(grace: 0)
      throw error
    }
    await rig.server.stop(grace: 1_000_000_000)
  }

  static let anna = AccessToken.text(random: [UInt8](repeating: 7, count: 32))
  static let root = AccessToken.text(random: [UInt8](repeating: 9, count: 32))

  /// A file in which anna is an operator and root an admin.
  static func tokens(_ directory: TemporaryDirectory) throws -> String {
    let lines = [("anna", Role.operator, anna), ("root", .admin, root)].map {
      AccessToken(name: $0, role: $1, digest: AccessToken.digest(of: $2)).line
    }
    return try directory.write("# who may\n\n" + lines.joined(separator: "\n") + "\n", to: "tokens")
  }

  @Test("every answer forbids what a page of another site could do with it")
  func headers() async throws {
    try await with { rig in
      for path in ["/v1/status", "/nowhere"] {
        let answer = try rig.http.get(path)
        #expect(answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'")
        #expect(answer.headers["x-content-type-options"] == "nosniff")
        #expect(answer.headers["cache-control"] == "no-store")
        #expect(answer.headers["cross-origin-resource-policy"] == "same-origin")
        #expect(answer.headers["access-control-allow-origin"] == nil)
        #expect(answer.headers["date"] == "Sun, 06 Nov 1994 08:49:37 GMT")
      }
    }
  }

  @Test("questions reach the daemon, and what is wrong is told as a problem")
  func questions() async throws {
    try await with { rig in
      let status = try rig.http.get("/v1/status")
      #expect(status.status == 200 && status.headers["content-type"] == "application/json")
      #expect(status.text == #"{"question":"summary"}"#)
      let page = try rig.http.get("/v1/pipelines/cl%69mate/devices?limit=7&after=a+b")
      #expect(page.text.contains("climate") && page.text.contains("limit: 7") && page.text.contains("a b"))
      for (path, code) in [
        ("/v1/nowhere", 404), ("/v1/pipelines/nowhere", 404), ("/v1/traces", 404), ("/v1/ledger", 503),
        ("/v1/dead-letters?limit=0", 400), ("/v1/dead-letters?limt=5", 400), ("/v1/dead-letters?stage=none", 400),
        ("/v1/dead-letters/x", 400), ("/v1/lineage", 400), ("/v1/status?%zz", 400), ("/v1/status?a=1&a=2", 400),
      ] {
        let answer = try rig.http.get(path)
        #expect(answer.status == code, "\(path): \(answer.text)")
        #expect(answer.headers["content-type"] == "application/problem+json")
        #expect(answer.json["status"] as? Int == code && answer.json["detail"] is String)
      }
      let wrong = try rig.http.send("DELETE", "/v1/replays", [:], nil)
      #expect(wrong.status == 405 && wrong.headers["allow"] == "GET, POST, HEAD")
      let head = try rig.http.send("HEAD", "/v1/status", [:], nil)
      #expect(head.status == 200 && head.body.isEmpty && head.headers["content-length"] == "22")
      #expect(try rig.http.get("/metrics").headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
    }
  }

  @Test("health says whether it lives, and whether it works and why not")
  func health() async throws {
    try await with { rig in
      #expect(try rig.http.get("/healthz").status == 200)
      #expect(try rig.http.get("/readyz").text == #"{"status":"ok","reasons":[]}"#)
      rig.source.isReady.withLock { $0 = false }
      #expect(try rig.http.get("/healthz").status == 200)
      let ready = try rig.http.get("/readyz")
      #expect(ready.status == 503 && ready.text == #"{"status":"failing","reasons":["parked"]}"#)
    }
  }

  @Test("why it does not work is told to those who may see it, and to nobody else")
  func reasons() async throws {
    let directory = try TemporaryDirectory("reasons")
    let file = try Self.tokens(directory)
    try await with({
      $0.anonymous = nil
      $0.tokensFile = file
    }) { rig in
      rig.source.isReady.withLock { $0 = false }
      let (bare, full) = (#"{"status":"failing"}"#, #"{"status":"failing","reasons":["parked"]}"#)
      for (token, text) in [(nil, bare), ("wrong", bare), (Self.anna, full)] {
        let ready = try PlainHTTP(port: rig.port, token: token).get("/readyz")
        #expect(ready.status == 503 && ready.text == text)
      }
      #expect(try rig.http.get("/healthz").text == #"{"status":"ok"}"#)
    }
  }

  @Test("on loopback another name than ours is refused, so that no page of another site can read the answers")
  func rebinding() async throws {
    try await with({ $0.hosts = ["gw.local"] }) { rig in
      for host in ["evil.example", "evil.example:\(rig.port)", "127.0.0.1.evil.example", ""] {
        let answer = try rig.http.get("/v1/status", ["Host": host])
        #expect(answer.status >= 400, "\(host)")
      }
      for host in ["localhost", "LOCALHOST:1", "[::1]:8420", "127.0.0.1", "gw.local:8420"] {
        let answer = try rig.http.get("/v1/status", ["Host": host])
        #expect(answer.status == 200, "\(host)")
      }
    }
  }

  @Test("actions need an operator, reloading an admin; everybody else changes nothing")
  func roles() async throws {
    let directory = try TemporaryDirectory("roles")
    let file = try Self.tokens(directory)
    try await with({ $0.tokensFile = file }) { rig in
      let (anna, root) = (PlainHTTP(port: rig.port, token: Self.anna), PlainHTTP(port: rig.port, token: Self.root))
      let pause = "/v1/uplinks/central/pause"
      #expect(try rig.http.post(pause).status == 401)
      #expect(try rig.http.post(pause).headers["www-authenticate"]?.hasPrefix("Bearer") == true)
      #expect(try PlainHTTP(port: rig.port, token: "fb_" + String(repeating: "0", count: 64)).post(pause).status == 401)
      // A wrong token is not taken for none.
      #expect(try PlainHTTP(port: rig.port, token: "x").get("/v1/status").status == 401)
      #expect(rig.source.performed.withLock { $0.isEmpty })
      #expect(try anna.post(pause).text == #"{"by":"anna"}"#)
      #expect(try anna.post("/v1/reload").status == 403)
      #expect(try root.post("/v1/reload").status == 200)
      #expect(rig.source.performed.withLock { $0 } == [.pauseUplink("central"), .reload])
      // Withdrawn: from the next request on.
      let left = AccessToken(name: "root", role: .admin, digest: AccessToken.digest(of: Self.root)).line
      try directory.write(left, to: "tokens")
      #expect(try anna.get("/v1/status").status == 401)
      #expect(try root.get("/v1/status").status == 200)
      try directory.write("operator anna nonsense", to: "tokens")
      #expect(try root.get("/v1/status").status == 401)
      #expect(rig.server.tokensFault?.contains("line 1") == true)
    }
  }

  @Test("where nobody may come unnamed only health, the page and the description are open")
  func closed() async throws {
    let page = PageAsset(
      contentType: "text/html; charset=utf-8", bytes: Array("<p>".utf8), policy: "default-src 'self'")
    try await with(assets: ["/": page], { $0.anonymous = nil }) { rig in
      #expect(try rig.http.get("/v1/status").status == 401)
      #expect(try rig.http.get("/metrics").status == 401)
      #expect(try rig.http.get("/healthz").status == 200)
      #expect(try rig.http.get("/openapi.json").json["openapi"] as? String == "3.1.0")
      let answer = try rig.http.get("/")
      #expect(answer.text == "<p>" && answer.headers["content-security-policy"] == "default-src 'self'")
    }
  }

  @Test("orders that are not understood to the letter are refused")
  func orders() async throws {
    let directory = try TemporaryDirectory("orders")
    let file = try Self.tokens(directory)
    try await with({ $0.tokensFile = file }) { rig in
      let anna = PlainHTTP(port: rig.port, token: Self.anna)
      for (path, body) in [
        ("dead-letters/discard", ""), ("dead-letters/discard", "{}"), ("dead-letters/discard", #"{"all":false}"#),
        ("dead-letters/discard", #"{"pipelin":"climate"}"#), ("dead-letters/discard", #"{"pipeline":7}"#),
        ("dead-letters/discard", #"{"pipeline":"climate","all":true}"#), ("dead-letters/discard", "[]"),
        ("dead-letters/discard", "nonsense"), ("dead-letters/requeue", #"{"all":true,"budgetBytes":0}"#),
        ("dead-letters/requeue", #"{"all":true,"budgetBytes":1e99}"#), ("replays", #"{"pipeline":"climate"}"#),
        ("replays", #"{"pipeline":"climate","from":"1 h","rate":-1}"#), ("uplinks/central/pause", #"{"now":true}"#),
      ] {
        let answer = try anna.post("/v1/" + path, body)
        #expect(answer.status == 400, "\(path) \(body): \(answer.text)")
      }
      #expect(rig.source.performed.withLock { $0.isEmpty })
      #expect(try anna.post("/v1/dead-letters/discard", String(repeating: " ", count: 20_000)).status == 413)
      #expect(try anna.post("/v1/replays/1/cancel").status == 409)
      #expect(try anna.post("/v1/replays", #"{"pipeline":"climate","from":"1 h"}"#).status == 201)
      #expect(try anna.post("/v1/dead-letters/discard", #"{"stage":"decode"}"#).status == 200)
      #expect(
        rig.source.performed.withLock { $0 } == [
          .createReplay(.init(pipeline: "climate", from: "1 h", to: nil, rate: nil, budgetBytes: nil)),
          .discardDeadLetters(DeadLetterQuery(stage: .decode)),
        ])
    }
  }

  @Test("what is no HTTP, and heads without end, are turned away, and others are answered meanwhile")
  func hostile() async throws {
    try await with { rig in
      let long = "GET /v1/status?" + String(repeating: "a", count: 40_000) + " HTTP/1.1\r\nHost: localhost\r\n\r\n"
      for bytes in ["\u{16}\u{3}\u{1}nonsense\r\n\r\n", long, "GET / HTTP/9.9\r\n\r\n", "\r\n\r\n\r\n"] {
        let answer = try rig.http.raw(Array(bytes.utf8), seconds: 2)
        #expect(!String(decoding: answer, as: UTF8.self).contains(" 200 "), "\(bytes.prefix(20))")
      }
      #expect(try rig.http.get("/v1/status").status == 200)
    }
  }

  @Test("who asks too often is told when to come again")
  func limited() async throws {
    try await with { rig in
      var statuses: Set<Int> = []
      let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
      let fd = try rig.http.connected(seconds: 10)
      defer { close(fd) }
      let burst = Array(String(repeating: request, count: 1000).utf8)
      BlockingThread.start { _ = burst.withUnsafeBytes { send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) } }
      var text = ""
      var chunk = [UInt8](repeating: 0, count: 65_536)
      while !statuses.contains(429) {
        let count = recv(fd, &chunk, chunk.count, 0)
        guard count > 0 else { break }
        text += String(decoding: chunk[..<count], as: UTF8.self)
        for status in [200, 429] where text.contains("HTTP/1.1 \(status) ") { statuses.insert(status) }
      }
      #expect(statuses == [200, 429])
    }
  }

  @Test("events reach everybody who listens, and the end of the server ends them")
  func events() async throws {
    let rig = try await Rig()
    let fd = try await blocking { try rig.http.connected(seconds: 10) }
    defer { close(fd) }
    /// What arrives until some text is there, or nothing comes any more.
    @Sendable func read(until end: String) -> String {
      var text = ""
      var chunk = [UInt8](repeating: 0, count: 4096)
      while !text.contains(end) {
        let count = recv(fd, &chunk, chunk.count, 0)
        guard count > 0 else { return text + (count == 0 ? "END" : "") }
        text += String(decoding: chunk[..<count], as: UTF8.self)
      }
      return text
    }
    let head = try await blocking {
      let request = Array("GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)
      _ = request.withUnsafeBytes { send(fd, $0.baseAddress, $0.count, 0) }
      return read(until: "retry: 5000\n\n")
    }
    #expect(head.contains("text/event-stream") && rig.hub.isHeard)
    rig.hub.publish(.init(name: "alarm", json: Array("{}".utf8)))
    let event = try await blocking { read(until: "data: {}\n\n") }
    #expect(event.contains("event: alarm\ndata: {}\n\n"), "\(event)")
    await rig.server.stop(grace: 5_000_000_000)
    let rest = try await blocking { read(until: "nothing more") }
    #expect(rest.hasSuffix("END"), "\(rest)")
    #expect(rig.hub.listen() == nil)
  }

  @Test("a port that is taken is told")
  func taken() async throws {
    let rig = try await Rig()
    let other = try StatusServer(
      StatusServer.Settings(host: "127.0.0.1", port: rig.port), source: rig.source, logger: Logger(label: "test"),
      wall: { 0 }, monotonic: { 0 })
    await #expect(throws: (any Error).self) { try await other.start() }
    let status = try await blocking { try rig.http.get("/healthz").status }
    #expect(status == 200)
    await rig.server.stop(grace: 0)
  }

  @Test("every route is described, and everything that is described is a route")
  func described() throws {
    struct Document: Decodable {
      var paths: [String: [String: Operation]]
    }
    struct Operation: Decodable {
      struct Parameter: Decodable {
        var name: String
        var place: String
        private enum CodingKeys: String, CodingKey {
          case name
          case place = "in"
        }
      }
      var parameters: [Parameter]?
      var role: String?
      private enum CodingKeys: String, CodingKey {
        case parameters
        case role = "x-role"
      }
    }
    let document = try JSONDecoder().decode(Document.self, from: Data(PackageResources.openapi_json))
    let described = Set(
      document.paths.flatMap { path, operations in
        operations.map { method, operation in
          let query = (operation.parameters ?? []).filter { $0.place == "query" }.map(\.name).sorted()
          return "\(method) \(path) \(operation.role ?? "-") \(query)"
        }
      })
    let routes = Set(
      Routes.all.map {
        "\($0.method.rawValue.lowercased()) \($0.template) \($0.role?.rawValue ?? "-") \($0.parameters.sorted())"
      })
    #expect(described.symmetricDifference(routes) == [])
  }
}
