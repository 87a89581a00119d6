import Foundation
import TestSupport
import Testing

/// Clients that mean harm, against the HTTP API of a real daemon: whatever they send, nothing is done, nothing leaks,
/// and data goes on. Who trickles a request is met by `ConnectionDeadlineTests`.
@Suite("Hostile clients of the API")
struct HostileClientTests {
  private let api = APITests()

  /// Every resource that openapi.json has, with names in the place of parameters.
  private func resources(_ port: Int) throws -> [(method: String, path: String)] {
    let document = try PlainHTTP(port: port).get("/openapi.json").json
    let paths = try #require(document["paths"] as? [String: [String: Any]])
    return paths.flatMap { template, methods in
      var path = template
      for (name, value) in [("pipeline", "machines"), ("uplink", "central"), ("letter", "1"), ("replay", "1")] {
        path = path.replacingOccurrences(of: "{\(name)}", with: value)
      }
      return methods.keys.filter { ["get", "post"].contains($0) }.map { ($0.uppercased(), path) }
    }.sorted { $0 < $1 }
  }

  @Test("without a token, with a wrong one, and with too small a role every action and every secret is refused")
  func roles() throws {
    let house = try api.house("roles") { $0.status += ", anonymous: none" }
    let (viewer, someOperator) = (try api.token(house, "viewer"), try api.token(house, "operator"))
    try house.startUpstream()
    try house.startDaemon()
    let port = try api.port(house)
    let all = try resources(port)
    let actions = all.filter { $0.method == "POST" }
    #expect(actions.count >= 10 && all.count >= 30)
    let open: Set = ["/healthz", "/readyz", "/openapi.json"]
    for (method, path) in all where !open.contains(path) {
      for authorization in [
        nil, "Bearer", "Bearer ", "Bearer fb_" + String(repeating: "0", count: 64), "Basic YWRtaW46YWRtaW4=",
        "bearer \(viewer) \(viewer)", "Bearer \(viewer.dropLast())", "Token \(viewer)", "Bearer \(viewer.uppercased())",
      ] as [String?] {
        let answer = try PlainHTTP(port: port).send(
          method, path, authorization.map { ["Authorization": $0] } ?? [:], method == "POST" ? "{}" : nil)
        #expect(answer.status == 401, "\(method) \(path) \(authorization ?? "-"): \(answer.status) \(answer.text)")
        #expect(answer.headers["www-authenticate"]?.hasPrefix("Bearer") == true)
        for secret in ["machines\"", house.directory.path] { #expect(!answer.text.contains(secret), "\(path)") }
      }
    }
    for (method, path) in actions {
      #expect(try PlainHTTP(port: port, token: viewer).send(method, path, [:], "{}").status == 403, "\(path)")
    }
    #expect(try PlainHTTP(port: port, token: someOperator).post("/v1/reload").status == 403)
    // A token in the query, in a cookie or in a body is none.
    for (path, headers) in [
      ("/v1/status?access_token=\(viewer)", [:]), ("/v1/status", ["Cookie": "token=\(viewer)"]),
      ("/v1/status", ["X-Api-Key": viewer]), ("/v1/status", ["Proxy-Authorization": "Bearer \(viewer)"]),
      ("/v1/status", ["X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "X-Forwarded-User": "root"]),
    ] as [(String, [String: String])] {
      let status = try PlainHTTP(port: port).get(path, headers).status
      #expect(status == 400 || status == 401, "\(path) \(headers): \(status)")
    }
    let status = try house.status()
    #expect(status.uplinks[0].state != "paused" && !status.alarms.contains { $0.kind == "paused" })
    let log = TemporaryDirectory.read(house.directory.file("daemon.log"))
    #expect(!log.contains("configuration reloaded") && !log.contains(viewer))
  }

  /// Who asks faster than is answered waits, and asks again: an answer that says no more than that proves nothing.
  private static func admitted(_ ask: () throws -> PlainHTTP.Answer) throws -> PlainHTTP.Answer {
    var answer = try ask()
    try #require(
      eventually {
        guard answer.status == 429 else { return true }
        if let next = try? ask() { answer = next }
        return answer.status != 429
      })
    return answer
  }

  @Test("paths that lead out, however they are written, lead to nothing, and nothing is written")
  func traversal() throws {
    let house = try api.house("traversal")
    let admin = try api.token(house, "admin")
    try house.directory.write("the secret of this test", to: "outside")
    try house.startDaemon()
    let http = PlainHTTP(port: try api.port(house), token: admin)
    let before = try FileManager.default.contentsOfDirectory(atPath: house.directory.path).sorted()
    let ups = [
      "../", "..%2f", "%2e%2e/", "%2e%2e%2f", "%252e%252e%252f", "..%5c", "..\\", "..;/", "%c0%ae%c0%ae/",
      "%c0%ae%c0%ae%c0%af", "..%00/", "....//", ".%2e/", "%u002e%u002e/", "..%ef%bc%8f",
    ]
    let targets = ["etc/passwd", "outside", "tokens", "forebay.yaml"]
    for up in ups {
      for target in targets {
        let way = String(repeating: up, count: 8) + target
        for prefix in [
          "/", "/v1/", "/v1/pipelines/", "/v1/dead-letters/", "/page.css/", "/v1/lineage?batch=",
          "/v1/audit-log?after=", "//", "/./",
        ] {
          let answer = try Self.admitted { try http.get(prefix + way) }
          #expect(answer.status >= 400, "\(prefix + way): \(answer.status)")
          for secret in ["root:", "the secret of this test", "gateway:", "the-admin admin"] {
            #expect(!answer.text.contains(secret), "\(prefix + way): \(answer.text)")
          }
        }
      }
      // An action on it makes no file of that name.
      for action in ["pause", "resume"] {
        let answer = try Self.admitted { try http.post("/v1/uplinks/\(up)\(up)made/\(action)") }
        #expect(answer.status >= 400, "\(up): \(answer.status)")
      }
      let order = #"{"pipeline":"\#(up)\#(up)machines","from":"0"}"#
      let replay = try Self.admitted { try http.post("/v1/replays", order) }
      #expect(replay.status >= 400, "\(up): \(replay.status)")
    }
    for target in ["http://evil.example/v1/status", "file:///etc/passwd", "*", "evil.example:80", "v1/status"] {
      let answer = try http.raw(
        Array("GET \(target) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".utf8), seconds: 5)
      #expect(!String(decoding: answer, as: UTF8.self).contains("200 OK"), "\(target)")
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: house.directory.path).sorted() == before)
    #expect(try Self.admitted { try http.get("/v1/status") }.status == 200)
  }

  @Test("heads and bodies without end, and more connections than there is room for, cost no memory and stop no data")
  func floods() throws {
    let house = try api.house("floods")
    let admin = try api.token(house, "admin")
    try house.startUpstream()
    try house.startDaemon()
    let port = try api.port(house)
    let http = PlainHTTP(port: port, token: admin)
    try house.publish(devices: 2, count: 100)
    try house.settle(received: 100)
    let resident = try house.status().residentBytes

    func status(_ data: Data) -> Int { (try? PlainHTTP.parse(data).status) ?? 0 }
    let endless = String(repeating: "a", count: 4 << 20)
    let many = (0..<20_000).map { "X-\($0): b\r\n" }.joined()
    let authorization = "Host: localhost\r\nAuthorization: Bearer \(admin)\r\n"
    let chunk = "4000\r\n" + String(repeating: " ", count: 0x4000) + "\r\n"
    for (name, request) in [
      ("a long target", "GET /\(endless) HTTP/1.1\r\n\(authorization)\r\n"),
      ("a long header", "GET /v1/status HTTP/1.1\r\n\(authorization)X-A: \(endless)\r\n\r\n"),
      ("a long name of a header", "GET /v1/status HTTP/1.1\r\n\(authorization)\(endless): b\r\n\r\n"),
      ("many headers", "GET /v1/status HTTP/1.1\r\n\(authorization)\(many)\r\n"),
      ("a long method", "\(endless) / HTTP/1.1\r\n\(authorization)\r\n"),
      ("a long token", "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \(endless)\r\n\r\n"),
      ("a long body", "POST /v1/reload HTTP/1.1\r\n\(authorization)Content-Length: \(4 << 20)\r\n\r\n\(endless)"),
      (
        "an announced body of 10 GB that begins",
        "POST /v1/reload HTTP/1.1\r\n\(authorization)Content-Length: 10000000000\r\n\r\n\(endless)"
      ),
      (
        "chunks without end",
        "POST /v1/reload HTTP/1.1\r\n\(authorization)Transfer-Encoding: chunked\r\n\r\n"
          + String(repeating: chunk, count: 256)
      ),
      (
        "a chunk of a size beyond all numbers",
        "POST /v1/reload HTTP/1.1\r\n\(authorization)Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n    \r\n0\r\n\r\n"
      ),
      (
        "a long extension of a chunk",
        "POST /v1/reload HTTP/1.1\r\n\(authorization)Transfer-Encoding: chunked\r\n\r\n4;\(endless)\r\n    \r\n"
      ),
    ] {
      let answer = try http.raw(Array(request.utf8), seconds: 5)
      let said = String(decoding: answer.prefix(300), as: UTF8.self)
      #expect(answer.isEmpty || status(answer) >= 400, "\(name): \(said)")
      #expect(try http.get("/v1/status").status == 200, "after \(name)")
    }
    #expect(try !house.status().alarms.contains { $0.kind == "configuration" })

    // Three times as many connections as there is room for, silent, and half a request on each.
    var open: [Int32] = []
    for _ in 0..<200 {
      guard let fd = try? http.connected(seconds: 5) else { break }
      _ = Array("GET /v1/status HTTP/1.1\r\nHo".utf8).withUnsafeBytes {
        send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      open.append(fd)
    }
    #expect(open.count > 100)
    // Data goes on, and so does the local socket.
    try house.publish(devices: 2, count: 200, firstSeq: 51)
    try house.settle(received: 300)
    for fd in open { close(fd) }
    try house.wait("there is room again") { (try? http.get("/v1/status").status) == 200 }
    try house.expectDelivered(count: 300)
    try house.expectProof()
    let growth = try house.status().residentBytes - resident
    print("hostile clients: resident memory grew by \(growth >> 10) KiB")
    // 64 connections with what each may hold, and what a debug build keeps: generous.
    #expect(growth < 48 << 20)
  }

  @Test("a page of another site reads nothing and does nothing: DNS rebinding, forms, preflights")
  func otherSites() throws {
    let house = try api.house("sites")
    let admin = try api.token(house, "admin")
    try house.startUpstream()
    try house.startDaemon()
    let port = try api.port(house)
    let http = PlainHTTP(port: port)
    for host in [
      "evil.example", "evil.example:\(port)", "127.0.0.1.evil.example", "localhost.evil.example",
      "127.0.0.1@evil.example",
      "127.0.0.1 evil.example", "",
      "0.0.0.0", "[::]", "2130706433",
    ] {
      let answer = try http.get("/v1/status", ["Host": host])
      #expect(answer.status >= 400 && !answer.text.contains("readings"), "\(host): \(answer.status)")
    }
    // Without a name, with two, and with one in the request line that contradicts the other.
    for head in [
      "GET /v1/status HTTP/1.1\r\n", "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n",
      "GET /v1/status HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n",
      "GET http://evil.example/v1/status HTTP/1.1\r\nHost: localhost\r\n",
    ] {
      let bytes = try http.raw(Array("\(head)Connection: close\r\n\r\n".utf8), seconds: 5)
      let answer = String(decoding: bytes, as: UTF8.self)
      #expect(!answer.contains("200 OK"), "\(head): \(answer.prefix(200))")
    }
    for type in [
      "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "application/json",
    ] {
      for origin in ["https://evil.example", "null", "http://127.0.0.1:\(port)"] {
        let answer = try http.post(
          "/v1/uplinks/central/pause", "{}",
          ["Content-Type": type, "Origin": origin, "Sec-Fetch-Site": "cross-site", "Cookie": "token=\(admin)"])
        #expect(answer.status == 401, "\(type) from \(origin)")
        #expect(answer.headers["access-control-allow-origin"] == nil)
      }
    }
    for path in ["/v1/status", "/v1/uplinks/central/pause", "/v1/reload"] {
      let preflight = try http.send(
        "OPTIONS", path,
        [
          "Origin": "https://evil.example", "Access-Control-Request-Method": "POST",
          "Access-Control-Request-Headers": "authorization",
        ], nil)
      #expect(preflight.status == 405 && !preflight.headers.keys.contains { $0.hasPrefix("access-control") }, "\(path)")
    }
    let page = try http.get("/", ["Origin": "https://evil.example"])
    let policy = try #require(page.headers["content-security-policy"])
    #expect(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"))
    #expect(!policy.contains("unsafe") && !policy.contains("*") && !policy.contains("http"))
    #expect(page.headers["x-content-type-options"] == "nosniff")
    #expect(page.headers["cross-origin-resource-policy"] == "same-origin")
    #expect(page.headers["access-control-allow-origin"] == nil)
    #expect(try house.status().uplinks[0].state != "paused")
  }

  @Test("a second request hidden in the first is not answered")
  func smuggling() throws {
    let house = try api.house("smuggling")
    try house.startUpstream()
    try house.startDaemon()
    let http = PlainHTTP(port: try api.port(house))
    for request in HostileRequest.smuggling {
      for (method, path) in [("GET", "/healthz"), ("POST", "/v1/uplinks/central/pause")] {
        let answer = try http.raw(request.bytes(method: method, path: path), seconds: 3)
        let text = String(decoding: answer, as: UTF8.self)
        let answers = text.components(separatedBy: "HTTP/1.1 ").dropFirst()
        #expect(answers.count <= 1, "\(request.name): \(text)")
        #expect(answers.allSatisfy { $0.hasPrefix("4") }, "\(request.name): \(text)")
      }
    }
    #expect(try house.status().uplinks[0].state != "paused")
  }

  @Test("another method than the line says is another method for nobody, and old versions give no more than new ones")
  func methods() throws {
    let house = try api.house("methods")
    let admin = try api.token(house, "admin")
    try house.startUpstream()
    try house.startDaemon()
    let port = try api.port(house)
    let http = PlainHTTP(port: port, token: admin)
    let pause = "/v1/uplinks/central/pause"
    for header in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
      #expect(try http.get(pause, [header: "POST"]).status == 405, "\(header)")
    }
    #expect(try http.get(pause + "?_method=POST").status == 405)
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "HEAD"] {
      let answer = try http.send(method, pause, ["X-Mark": "echo-of-this"], nil)
      #expect(answer.status >= 400 && !answer.text.contains("echo-of-this"), "\(method): \(answer.status)")
    }
    #expect(try !house.status().alarms.contains { $0.kind == "paused" })
    func raw(_ text: String) throws -> String {
      String(decoding: try http.raw(Array(text.utf8), seconds: 5), as: UTF8.self)
    }
    // HTTP/1.0 has no Host, ends with the answer, and needs a token as well.
    #expect(try raw("GET /healthz HTTP/1.0\r\n\r\n").contains("200 OK"))
    #expect(try !raw("POST \(pause) HTTP/1.0\r\nContent-Length: 0\r\n\r\n").contains("200 OK"))
    #expect(try !raw("GET /v1/status HTTP/1.0\r\nHost: evil.example\r\n\r\n").contains("200 OK"))
    for text in [
      "GET /v1/status\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
      "GET /v1/nowhere HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ] {
      let answer = try raw(text)
      #expect(!answer.contains("200 OK") && !answer.contains(" 101 "), "\(text): \(answer.prefix(100))")
    }
    #expect(try house.status().uplinks[0].state != "paused")
    #expect(try http.get("/v1/status").status == 200)
  }

  @Test("a client's certificate alone does nothing for a page of another site, and what is expired is nobody's")
  func certificates() throws {
    let certificates = try Certificates()
    let house = try api.house("csrf") {
      $0.status =
        ", tls: { cert_file: \(certificates.server.certificate), key_file: \(certificates.server.key), "
        + "client_ca_file: \(certificates.authority) }, clients: [{ name: client, role: admin }]"
    }
    try house.startUpstream()
    try house.startDaemon()
    let port = try api.port(house)
    func ask(_ identity: Certificates.Identity, _ headers: [String]) throws -> String {
      try ChildProcess.run(
        "curl",
        [
          "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", certificates.authority, "--cert",
          identity.certificate, "--key", identity.key, "-X", "POST", "-d", "{}",
        ] + headers.flatMap { ["-H", $0] } + ["https://localhost:\(port)/v1/uplinks/central/pause"]
      ).output
    }
    let type = "Content-Type: application/json"
    for headers in [
      ["Content-Type: text/plain"], ["Content-Type: application/x-www-form-urlencoded"],
      [type, "Sec-Fetch-Site: cross-site"], [type, "Sec-Fetch-Site: same-site"],
    ] { #expect(try ask(certificates.client, headers) == "403", "\(headers)") }
    #expect(try ask(certificates.strangeClient, [type]) == "000")
    #expect(try house.status().uplinks[0].state != "paused")
    #expect(try ask(certificates.client, [type]) == "200")
    #expect(try house.status().uplinks[0].state == "paused")
  }
}
