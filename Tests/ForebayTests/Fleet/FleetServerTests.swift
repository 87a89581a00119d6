import ArgumentParser
import Foundation
import Status
import TestSupport
import Testing

@testable import forebay

@Suite("Fleet: serving the pages") struct FleetServerTests {
  static let token = AccessToken.text(random: [UInt8](repeating: 7, count: 32))
  private static let authorization = "Authorization: Bearer \(token)"

  /// Three gateways: one that is well, one that is called about, one that does not answer.
  static func board() throws -> FleetBoard {
    var targets = try (0..<3).map {
      FleetTarget(try ConfigurationURL(parsing: "http://h\($0)", schemes: ["http"], allowsPath: true))
    }
    for index in 0..<16 { targets[0].labels["l\(index)"] = "a \"b\"\n\\" }
    var board = FleetBoard(targets: targets)
    for (index, target) in targets.enumerated() {
      let alarms = #"{"page":1,"ticket":2,"list":[{"kind":"parked","text":"no room"}]}"#
      let text = """
        {"version":1,"gateway":"gw-\(index)","site":"plant","state":"\(index == 1 ? "critical" : "ok")",
         "alarms":\(index == 1 ? alarms : "{}"),"freshnessSeconds":1.5,"deadLetters":{"count":7}}
        """
      let outcome =
        index == 2
        ? PullOutcome.unreachable("no route") : .answered(try PulledStatus(body: Array(text.utf8)))
      board.record(outcome, for: target.url, at: 1_700_000_000_500_000_000, took: 20_000_000)
    }
    return board
  }

  struct Rig: Sendable {
    let folder: TemporaryDirectory
    let server: StatusServer
    let port: Int
    let scheme: String

    /// What curl is answered: the status, or the exit status where there is none.
    func get(_ path: String, _ options: String...) throws -> (status: String, body: String) {
      let file = folder.file("page")
      try? FileManager.default.removeItem(atPath: file)
      let answer = try ChildProcess.run(
        "curl", ["-s", "-o", file, "-w", "%{http_code}"] + options + ["\(scheme)://127.0.0.1:\(port)\(path)"])
      return (answer.output, TemporaryDirectory.read(file))
    }
  }

  private func with(_ arguments: [String] = [], _ body: @escaping @Sendable (Rig) throws -> Void) async throws {
    let board = try FleetServerTests.board()
    let folder = try TemporaryDirectory("fleet")
    var arguments = arguments
    if let place = arguments.firstIndex(of: "TOKENS") {
      let line = AccessToken(name: "prometheus", role: .viewer, digest: AccessToken.digest(of: Self.token)).line
      arguments[place] = try folder.write(line + "\n", to: "tokens")
    }
    let settings = try #require(try FleetServing.parse(["--serve", "127.0.0.1:0"] + arguments).settings())
    let (server, port) = try await FleetServer.start(settings) { board }
    let rig = Rig(folder: folder, server: server, port: port, scheme: settings.tls == nil ? "http" : "https")
    do {
      // On a thread of its own: what blocks must not take one of the few that the server runs on.
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        BlockingThread.start { continuation.resume(with: Result { try body(rig) }) }
      }
    } catch {
      await server.stop(grace: 0)
      throw error
    }
    await server.stop(grace: 1_000_000_000)
  }

  @Test("the pages are served to who has the token, and Prometheus finds nothing wrong with them")
  func pages() async throws {
    try await with(["--serve-tokens-file", "TOKENS"]) { rig in
      let authorization = FleetServerTests.authorization
      #expect(try rig.get("/metrics").status == "401")
      #expect(try rig.get("/v1/fleet").status == "401")
      #expect(try rig.get("/metrics", "-H", "Authorization: Bearer wrong").status == "401")
      #expect(try rig.get("/healthz").status == "200")
      for path in ["/", "/v1/status", "/v1/reload", "/openapi.json"] {
        #expect(try rig.get(path, "-H", authorization).status == "404", "a fleet is no gateway: \(path)")
      }
      #expect(try rig.get("/metrics", "-H", authorization, "-d", "x").status == "405")
      let document = try rig.get("/v1/fleet", "-H", authorization)
      #expect(document.status == "200" && document.body.contains(#""state":"critical""#))
      let page = try rig.get("/metrics", "-H", authorization)
      #expect(page.status == "200")
      let checked = try ChildProcess.run(
        CentralTools.promtool, ["check", "metrics"], input: rig.folder.write(page.body, to: "metrics"))
      #expect(checked.status == 0, "\(checked.output)")
      // Withdrawn: from the next request on.
      try rig.folder.write("", to: "tokens")
      #expect(try rig.get("/metrics", "-H", authorization).status == "401")
    }
  }

  @Test("each gateway has its figures, one that is not reached has none, and labels of the inventory are all there")
  func figures() throws {
    let page = String(decoding: FleetMetrics.page(try FleetServerTests.board(), at: 0), as: UTF8.self)
    let lines = Set(page.split(separator: "\n").map(String.init))
    for line in [
      #"forebay_fleet_gateways{state="unreachable"} 1"#, #"forebay_fleet_gateways{state="invalid"} 0"#,
      #"forebay_fleet_gateway_state{gateway="gw-0",site="plant"} 0"#,
      #"forebay_fleet_gateway_state{gateway="h2:8420",site=""} 3"#,
      #"forebay_fleet_gateway_freshness_seconds{gateway="gw-1",site="plant"} 1.5"#,
      #"forebay_fleet_gateway_dead_letters{gateway="gw-1",site="plant"} 7"#,
      #"forebay_fleet_gateway_alarms{gateway="gw-1",site="plant",severity="ticket"} 2"#,
      #"forebay_fleet_gateway_last_seen_timestamp_seconds{gateway="gw-0",site="plant"} 1700000000.5"#,
      #"forebay_fleet_pulls_total{outcome="answered"} 2"#,
      #"forebay_fleet_pull_duration_seconds_bucket{le="0.01"} 0"#,
      #"forebay_fleet_pull_duration_seconds_bucket{le="0.025"} 3"#,
      #"forebay_fleet_pull_duration_seconds_bucket{le="+Inf"} 3"#, "forebay_fleet_pull_duration_seconds_count 3",
    ] { #expect(lines.contains(line), "\(line)") }
    #expect(!page.contains(#"freshness_seconds{gateway="h2:8420""#))
    let info = try #require(lines.first { $0.hasPrefix(#"forebay_fleet_gateway_info{gateway="gw-0""#) })
    #expect(info.contains(#",url="http://h0:8420""#))
    for index in 0..<16 { #expect(info.contains(#",l\#(index)="a \"b\"\n\\""#), "\(info)") }
  }

  @Test("a page of another site cannot read the fleet through the browser of somebody on this machine")
  func rebinding() async throws {
    try await with(["--serve-host", "Central.example"]) { rig throws in
      for host in ["evil.example", "127.0.0.1.evil.example", "evil.example:\(rig.port)"] {
        #expect(try rig.get("/v1/fleet", "-H", "Host: \(host)").status == "421", "\(host)")
        #expect(try rig.get("/metrics", "-H", "Host: \(host)").status == "421", "\(host)")
      }
      for host in ["localhost:\(rig.port)", "central.example"] {
        #expect(try rig.get("/v1/fleet", "-H", "Host: \(host)").status == "200", "\(host)")
      }
    }
  }

  @Test("over TLS it is the same, and who speaks in the clear is not answered")
  func encrypted() async throws {
    let certificates = try Certificates()
    try await with([
      "--serve-tokens-file", "TOKENS", "--serve-cert-file", certificates.server.certificate, "--serve-key-file",
      certificates.server.key,
    ]) { rig in
      let options = ["--cacert", certificates.authority]
      #expect(try rig.get("/v1/fleet", options[0], options[1], "-H", Self.authorization).status == "200")
      #expect(try rig.get("/v1/fleet", options[0], options[1]).status == "401")
      var clear = PlainHTTP(port: rig.port)
      clear.token = Self.token
      let answer = try clear.raw(Array("GET /v1/fleet HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8), seconds: 5)
      #expect(!String(decoding: answer, as: UTF8.self).contains("200 OK"))
      try rig.server.reload()
    }
  }

  @Test("so many connections are served at one time; those beyond wait, and find room when one goes")
  func bounded() async throws {
    try await with { rig in
      let http = PlainHTTP(port: rig.port)
      let request = Array("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)
      func ask(_ connection: Int32) { _ = request.withUnsafeBytes { send(connection, $0.baseAddress, $0.count, 0) } }
      func isAnswered(_ connection: Int32, within milliseconds: Int32) -> Bool {
        var poll = pollfd(fd: connection, events: Int16(POLLIN), revents: 0)
        return Glibc.poll(&poll, 1, milliseconds) == 1
      }
      var open: [Int32] = []
      defer { for connection in open { close(connection) } }
      for _ in 0..<16 {
        open.append(try http.connected(seconds: 5))
        ask(open[open.count - 1])
        #expect(isAnswered(open[open.count - 1], within: 10_000))
      }
      open.append(try http.connected(seconds: 5))
      ask(open[16])
      #expect(!isAnswered(open[16], within: 300))
      close(open.removeFirst())
      #expect(isAnswered(open[15], within: 10_000))
    }
  }

  @Test("however many ask, a page is written once in a while")
  func shared() async throws {
    let board = try FleetServerTests.board()
    let count = Counter()
    let source = FleetSource {
      count.add()
      return board
    }
    for _ in 0..<50 {
      _ = await source.metrics()
      _ = try await source.answer(.fleet)
    }
    #expect(count.value < 50, "\(count.value)")
    let other = try await source.answer(.summary)
    #expect(other == nil)
  }

  private final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var count = 0
    func add() { lock.withLock { count += 1 } }
    var value: Int { lock.withLock { count } }
  }

  @Test(
    "what would open the fleet to the network is refused",
    arguments: [
      ["--serve", "0.0.0.0:9180"], ["--serve", "10.0.0.1:9180", "--serve-tokens-file", "t"],
      ["--serve", "[::]:9180", "--serve-cert-file", "c", "--serve-key-file", "k"],
      ["--serve", "127.0.0.1:0", "--serve-cert-file", "c"], ["--serve", "x"], ["--serve-tokens-file", "t"],
      ["--serve-host", "a"],
    ])
  func refused(_ arguments: [String]) throws {
    #expect(throws: (any Error).self) { try FleetServing.parse(arguments).settings() }
  }

  @Test("a port that is taken is named with the way out")
  func taken() async throws {
    let other = try LoopbackListener()
    let board = try FleetServerTests.board()
    let settings = try #require(try FleetServing.parse(["--serve", "127.0.0.1:\(other.port)"]).settings())
    let error = await #expect(throws: UnusableInput.self) { _ = try await FleetServer.start(settings) { board } }
    #expect(
      error?.description == "127.0.0.1:\(other.port) is taken by another program: name another with --serve")
  }

  @Test("files that cannot be used are named before anybody is served", arguments: [false, true])
  func unusable(isMissing: Bool) async throws {
    let folder = try TemporaryDirectory("fleet")
    let tokens = isMissing ? folder.file("none") : try folder.write("viewer prometheus secret", to: "tokens")
    let board = try FleetServerTests.board()
    let settings = try #require(
      try FleetServing.parse(["--serve", "127.0.0.1:0", "--serve-tokens-file", tokens]).settings())
    do {
      _ = try await FleetServer.start(settings) { board }
      Issue.record("it serves")
    } catch let error as UnusableInput {
      #expect(error.place == tokens && !error.reason.contains("secret"), "\(error)")
    }
  }
}
