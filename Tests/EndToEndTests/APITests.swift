import Foundation
import TestSupport
import Testing

/// The HTTP API of a real daemon.
@Suite("The HTTP API of a gateway")
struct APITests {
  /// A house whose API listens on a port of its own, and a token for each role.
  func house(_ label: String, _ change: (inout House.Options) -> Void = { _ in }) throws -> House {
    var options = House.Options()
    options.listen = "127.0.0.1:0"
    options.status = ", tokens_file: tokens"
    change(&options)
    return try House(label, options)
  }

  func token(_ house: House, _ role: String) throws -> String {
    let made = try ChildProcess.run(
      House.forebay,
      ["token", "create", "--file", house.directory.file("tokens"), "--role", role, "--name", "the-\(role)"])
    #expect(made.status == 0, "\(made.output)")
    return try #require(made.output.split(separator: "\n").first { $0.hasPrefix("fb_") }.map(String.init))
  }

  func port(_ house: House) throws -> Int {
    try #require(try house.status().listen.flatMap { $0.split(separator: ":").last }.flatMap { Int($0) })
  }

  @Test("what a fleet asks for is there in one small document, and what people ask for beside it")
  func resources() throws {
    let house = try house("api")
    try house.startUpstream()
    try house.startDaemon()
    try house.publish(devices: 3, count: 300)
    try house.settle(received: 300)
    let http = PlainHTTP(port: try port(house))
    try house.wait("the summary has them") {
      ((try http.get("/v1/status").json["readings"] as? [String: Any])?["delivered"] as? Int) == 300
    }
    let status = try http.get("/v1/status")
    #expect(status.body.count < 8000)
    #expect(status.json["state"] as? String == "ok" && status.json["gateway"] as? String == "gw")
    for path in [
      "report", "pipelines", "pipelines/machines", "sources", "uplinks", "dead-letters", "dead-letters/counts",
      "replays", "lineage?batch=machines/1", "datasets", "ledger", "alarms", "history", "audit-log",
    ] {
      let answer = try http.get("/v1/" + path)
      #expect(answer.status == 200 && !answer.json.isEmpty, "\(path): \(answer.text)")
    }
    #expect(try http.get("/readyz").status == 200)
    #expect(try http.get("/v1/ledger").json["balances"] as? Bool == true)
    #expect(try http.get("/v1/pipelines/nowhere").status == 404)
  }

  @Test("an operator's actions are done, written down and survive a restart")
  func actions() throws {
    let house = try house("actions")
    let (anna, admin) = (try token(house, "operator"), try token(house, "admin"))
    try house.startUpstream()
    try house.startDaemon()
    var http = PlainHTTP(port: try port(house), token: anna)
    #expect(try PlainHTTP(port: http.port).post("/v1/uplinks/central/pause").status == 401)
    #expect(try http.post("/v1/uplinks/nowhere/pause").status == 404)
    #expect(try http.post("/v1/uplinks/central/pause").status == 200)
    try house.publish(devices: 1, count: 50)
    try house.wait("it waits in the outbox") { try house.status().pipelines[0].outboxReadings == 50 }
    #expect(house.stopDaemon() == 0)
    try house.startDaemon()
    // Held back over a restart, and said.
    let held = try house.status()
    #expect(held.uplinks[0].state == "paused" && held.pipelines[0].outboxReadings == 50)
    #expect(held.alarms.contains { $0.kind == "paused" && $0.text.contains("the-operator") })
    http.port = try port(house)
    #expect(try http.post("/v1/uplinks/central/resume").status == 200)
    try house.settle(received: 50)
    try house.expectProof()

    // A replay, as far as its own page tells it.
    let order = #"{"pipeline":"machines","from":"0"}"#
    let estimate = try http.post("/v1/replays/estimate", order)
    #expect(estimate.status == 200 && estimate.json["readings"] as? Int == 50, "\(estimate.text)")
    let made = try http.post("/v1/replays", order)
    #expect(made.status == 201, "\(made.text)")
    let id = try #require(made.json["id"] as? String)
    try house.wait("the replay has ended") {
      let list = try http.get("/v1/replays").json["replays"] as? [[String: Any]]
      return list?.first?["state"] as? String == "finished"
    }
    #expect(try http.post("/v1/replays/\(id)/pause").status == 409)
    #expect(try http.post("/v1/reload").status == 403)
    #expect(try PlainHTTP(port: http.port, token: admin).post("/v1/reload").status == 200)
    #expect(try house.run("dead-letters", ["discard", "--all", "--spool", house.spool]).status == 1)

    let entries = try #require(try http.get("/v1/audit-log?limit=100").json["entries"] as? [[String: Any]])
    let actions = entries.reversed().map { ($0["action"] as? String ?? "") }
    #expect(
      actions == [
        "uplink.pause", "uplink.pause", "uplink.pause", "uplink.pause", "uplink.resume", "uplink.resume",
        "replay.create", "replay.create", "replay.pause", "replay.pause", "reload", "reload", "dead-letters.discard",
        "dead-letters.discard",
      ])
    #expect(entries.last?["result"] as? String == "begun" && entries.last?["who"] as? String == "the-operator")
    #expect(entries.first?["via"] as? String == "command")
    let sound = try house.run("audit-log", ["verify", "--spool", house.spool])
    #expect(sound.status == 0, "\(sound.output)")
    let path = house.spool + "/audit-log.jsonl"
    try String(contentsOfFile: path, encoding: .utf8).replacing("the-operator", with: "the-innocent")
      .write(toFile: path, atomically: true, encoding: .utf8)
    #expect(try house.run("audit-log", ["verify", "--spool", house.spool]).status == 1)
  }

  @Test("a dead letter is shown, run again and discarded over the API")
  func deadLetters() throws {
    let house = try house("letters")
    let anna = try token(house, "operator")
    try house.startUpstream()
    try house.startDaemon()
    for number in 1...3 {
      let sent = try ChildProcess.run(
        "mosquitto_pub",
        ["-h", "127.0.0.1", "-p", "\(house.broker.port)", "-q", "1", "-t", "sensors/m\(number)/t", "-m", "{no json"])
      #expect(sent.status == 0, "\(sent.output)")
    }
    try house.wait("they are set aside") { try house.status().pipelines[0].deadLetters == 3 }
    let http = PlainHTTP(port: try port(house), token: anna)
    let first = try http.get("/v1/dead-letters?pipeline=machines&limit=2")
    #expect((first.json["deadLetters"] as? [Any])?.count == 2, "\(first.text)")
    let next = try #require(first.json["next"] as? String)
    let second = try http.get("/v1/dead-letters?limit=2&after=\(next)")
    let letters = try #require(second.json["deadLetters"] as? [[String: Any]])
    #expect(letters.count == 1 && second.json["next"] == nil)
    let id = try #require(letters[0]["id"] as? Int)
    let shown = try http.get("/v1/dead-letters/\(id)").json
    #expect(shown["text"] as? String == "{no json" && shown["payload"] as? String == "e25vIGpzb24=")
    let counts = try http.get("/v1/dead-letters/counts").json["counts"] as? [[String: Any]]
    #expect(counts?.first?["count"] as? Int == 3)
    #expect(try http.get("/v1/dead-letters?pipeline=nowhere").status == 404)
    let requeued = try http.post(
      "/v1/dead-letters/requeue", #"{"pipeline":"machines","rate":"1000/s","budgetBytes":17}"#)
    #expect(requeued.json["letters"] as? Int == 2 && requeued.json["overBudget"] as? Int == 1, "\(requeued.text)")
    try house.wait("they were refused again") {
      let list = try http.get("/v1/dead-letters").json["deadLetters"] as? [[String: Any]]
      return list?.filter { $0["attempts"] as? Int == 1 && $0["requested"] as? Bool == false }.count == 2
    }
    #expect(try http.post("/v1/dead-letters/discard", #"{"stage":"decode"}"#).json["discarded"] as? Int == 3)
    #expect(try http.post("/v1/dead-letters/discard", #"{"pipeline":"nowhere"}"#).status == 404)
    try house.expectBalance()
  }

  @Test("beyond loopback it is TLS, and a certificate or a token says who comes")
  func secured() throws {
    let certificates = try Certificates()
    let house = try house("apitls") {
      $0.listen = "0.0.0.0:0"
      $0.status = """
        , tokens_file: tokens, tls: { cert_file: "\(certificates.server.certificate)", \
        key_file: "\(certificates.server.key)", client_ca_file: "\(certificates.authority)" }, \
        clients: [ { name: client, role: operator } ]
        """
    }
    let viewer = try token(house, "viewer")
    try house.startDaemon()
    let port = try port(house)
    /// What the server answers to a client with these files: its status, or why there was none.
    func ask(
      _ path: String, method: String = "GET", identity: Certificates.Identity? = nil, token: String? = nil,
      type: String? = nil
    ) throws -> String {
      let script = """
        import http.client, ssl, sys
        context = ssl.create_default_context(cafile=\(quotedForPython(certificates.authority)))
        \(identity.map { "context.load_cert_chain(\(quotedForPython($0.certificate)), \(quotedForPython($0.key)))" } ?? "")
        headers = {}
        \(token.map { "headers['Authorization'] = 'Bearer \($0)'" } ?? "")
        \(type.map { "headers['Content-Type'] = '\($0)'" } ?? "")
        try:
          c = http.client.HTTPSConnection('127.0.0.1', \(port), context=context, timeout=10)
          c.request('\(method)', '\(path)', headers=headers)
          print(c.getresponse().status)
        except (OSError, http.client.HTTPException) as e:
          print('refused')
        """
      return try ChildProcess.run("python3", ["-c", script]).output.trimmingCharacters(in: .whitespacesAndNewlines)
    }
    #expect(try ask("/healthz") == "200")
    #expect(try ask("/v1/status") == "401")
    #expect(try ask("/v1/status", token: viewer) == "200")
    #expect(try ask("/v1/status", identity: certificates.client) == "200")
    #expect(try ask("/v1/status", identity: certificates.strangeClient) == "refused")
    // A server's certificate is no client's.
    #expect(try ask("/v1/status", identity: certificates.server) != "200")
    let pause = "/v1/uplinks/central/pause"
    #expect(try ask(pause, method: "POST", token: viewer) == "403")
    #expect(try ask(pause, method: "POST", identity: certificates.client) == "403")
    #expect(try ask(pause, method: "POST", identity: certificates.client, type: "application/json") == "200")
    // In the clear there is nothing.
    #expect((try? PlainHTTP(port: port).get("/healthz")) == nil)
  }

  private func quotedForPython(_ text: String) -> String { "'\(text)'" }

  @Test("wider than loopback without saying who may come is refused, with the way out")
  func exposed() throws {
    let house = try House("exposed")
    for (listen, expected) in [
      ("0.0.0.0:0", "tokens would go over the network in the clear"), ("nonsense", "is no address"),
    ] {
      var options = House.Options()
      options.listen = listen
      try house.configure(options)
      let checked = try house.run("check", ["--config", house.configurationPath])
      #expect(checked.status == 1 && checked.output.contains(expected), "\(checked.output)")
    }
  }

  @Test("a port that somebody else has is an alarm, and the gateway works")
  func taken() throws {
    let other = try LoopbackListener()
    let house = try house("taken") { $0.listen = "127.0.0.1:\(other.port)" }
    try house.startUpstream()
    try house.startDaemon()
    #expect(try house.status().alarms.contains { $0.kind == "api" && $0.text.contains("127.0.0.1:\(other.port)") })
    try house.publish(devices: 1, count: 20)
    try house.settle(received: 20)
    try house.expectProof()
  }

  @Test("it is what its description says, whatever is asked (schemathesis)")
  func conformance() throws {
    let house = try house("schema")
    try house.startUpstream()
    let admin = try token(house, "admin")
    try house.startDaemon()
    try house.publish(devices: 2, count: 100)
    try house.settle(received: 100)
    // Dead letters are discarded on the way, all of them: others come, until the broker ends.
    let send = "mosquitto_pub -h 127.0.0.1 -p \(house.broker.port) -q 1 -t sensors/m1/t -m '{no json'"
    let letters = try ChildProcess(
      "sh", ["-c", "while \(send); do sleep 0.3; done"], output: house.directory.file("letters.log"))
    defer { letters.signal(SIGKILL) }
    try house.wait("there is a dead letter") { try house.status().pipelines[0].deadLetters > 0 }
    // What is made on the way takes the places of these: one at a time runs.
    let order = #"{"pipeline":"machines","from":"0","rate":1}"#
    let port = try port(house)
    for _ in 1...2 { #expect(try PlainHTTP(port: port, token: admin).post("/v1/replays", order).status == 201) }
    let description = try PlainHTTP(port: port).get("/openapi.json")
    try description.body.write(to: URL(fileURLWithPath: house.directory.file("openapi.json")))
    let python = House.root + "/.tools/python/bin/"
    let valid = try ChildProcess.run(python + "openapi-spec-validator", [house.directory.file("openapi.json")])
    #expect(valid.status == 0, "\(valid.output)")
    let run = try ChildProcess.run(
      python + "schemathesis",
      [
        "run", house.directory.file("openapi.json"), "--url", "http://127.0.0.1:\(port)",
        "--header", "Authorization: Bearer \(admin)", "--max-examples", "10", "--workers", "1", "--rate-limit", "80/s",
        "--exclude-path", "/v1/events", "--no-color", "--generation-database", "none", "--seed", "1",
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
          + "response_headers_conformance",
      ],
      environment: [
        "SCHEMATHESIS_HOOKS": House.root + "/Tests/EndToEndTests/seeds.py", "FOREBAY_URL": "http://127.0.0.1:\(port)",
        "FOREBAY_TOKEN": admin,
      ])
    #expect(run.status == 0, "\(run.output.suffix(6000))")
    // Every resource was found, at least now and then.
    #expect(!run.output.contains("Missing test data"), "\(run.output.suffix(6000))")
    #expect(try house.status().pipelines[0].delivered >= 100)
  }
}
