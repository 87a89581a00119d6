import Foundation
import TestSupport
import Testing

/// What changes under the HTTP API while a real daemon runs: tokens, certificates, the log; and who listens to events.
@Suite("The HTTP API while the gateway runs")
struct APILifeTests {
  private let api = APITests()

  @Test("a token is made, listed and withdrawn, and each counts from the next request on, without a restart")
  func tokens() throws {
    let house = try api.house("tokens") { $0.status += ", anonymous: none" }
    let file = ["--file", house.directory.file("tokens")]
    func token(_ arguments: String...) throws -> (status: Int32, output: String) {
      try house.run("token", arguments + file)
    }
    #expect(try token("list").output.contains("no tokens"))
    let viewer = try api.token(house, "viewer")
    try house.startDaemon()
    let port = try api.port(house)
    func status(_ token: String?, _ path: String = "/v1/status") throws -> Int {
      try PlainHTTP(port: port, token: token).get(path).status
    }
    #expect(try status(nil) == 401 && status(viewer) == 200)
    // Made while it runs.
    let admin = try api.token(house, "admin")
    #expect(try status(admin) == 200)
    let list = try token("list")
    #expect(list.status == 0 && list.output.contains("the-viewer  viewer") && list.output.contains("the-admin   admin"))
    let json = try JSONDecoder().decode([[String: String]].self, from: Data(try token("list", "--json").output.utf8))
    #expect(json == [["name": "the-viewer", "role": "viewer"], ["name": "the-admin", "role": "admin"]])
    let kept = try String(contentsOfFile: house.directory.file("tokens"), encoding: .utf8)
    for secret in [viewer, admin] { #expect(!list.output.contains(secret) && !kept.contains(secret)) }
    let twice = try token("create", "--role", "viewer", "--name", "the-admin")
    #expect(twice.status == 1 && twice.output.contains("has a token already"), "\(twice.output)")
    #expect(try status(admin) == 200)

    let removed = try token("remove", "the-viewer")
    #expect(removed.status == 0, "\(removed.output)")
    #expect(try status(viewer) == 401 && status(admin) == 200)
    #expect(try token("remove", "the-viewer").status == 1)
    // Nor does it come back with a reload.
    #expect(try PlainHTTP(port: port, token: admin).post("/v1/reload").status == 200)
    try house.wait("it has reloaded") {
      TemporaryDirectory.read(house.directory.file("daemon.log")).contains("configuration reloaded")
    }
    #expect(try api.port(house) == port)
    #expect(try status(viewer) == 401 && status(admin) == 200)

    // A file that cannot be read is nobody's, and is told.
    try house.directory.write(kept + "operator otto nonsense\n", to: "tokens")
    #expect(try status(admin) == 401)
    #expect(try token("list").status == 2)
    try house.wait("it is an alarm") {
      try house.status().alarms.contains { $0.kind == "api" && $0.text.contains("line 3") }
    }
    try house.directory.write(kept, to: "tokens")
    #expect(try status(admin) == 200 && status(viewer) == 200)
  }

  /// Reads a stream of events as it comes.
  private final class Events {
    let fd: Int32
    private(set) var text = ""

    init(port: Int, token: String? = nil) throws {
      fd = try PlainHTTP(port: port).connected(seconds: 20)
      let authorization = token.map { "Authorization: Bearer \($0)\r\n" } ?? ""
      let head = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 7\r\n\(authorization)\r\n"
      _ = Array(head.utf8).withUnsafeBytes { send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard read({ $0.contains("\r\n\r\n") }) else { throw House.Trouble(description: "no answer: \(text)") }
    }

    deinit { close(fd) }

    var status: Int { text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0 }

    /// Reads until this holds; false when nothing more comes.
    func read(_ condition: (String) -> Bool) -> Bool {
      var chunk = [UInt8](repeating: 0, count: 65_536)
      while !condition(text) {
        let count = recv(fd, &chunk, chunk.count, 0)
        guard count > 0 else { return false }
        text += String(decoding: chunk[..<count], as: UTF8.self)
      }
      return true
    }
  }

  @Test("events arrive as things happen; a listener that goes leaves nothing, one whose token goes hears no more")
  func events() throws {
    let house = try api.house("events")
    let anna = try api.token(house, "operator")
    try house.startUpstream()
    try house.startDaemon()
    let port = try api.port(house)
    let http = PlainHTTP(port: port, token: anna)
    let events = try Events(port: port)
    #expect(events.status == 200 && events.text.contains("text/event-stream"))
    #expect(events.read { $0.contains("event: status\ndata: {\"version\":1") }, "\(events.text)")
    #expect(!events.text.contains("event: audit") && !events.text.contains("\nid:"))
    #expect(try http.post("/v1/uplinks/central/pause").status == 200)
    #expect(
      events.read { text in
        text.contains(#""change":"raised","kind":"paused""#) && text.contains(#""result":"begun""#)
          && text.contains(#""result":"done: "#) && text.contains(#""who":"the-operator""#)
      }, "\(events.text)")
    // Whoever comes later is told what lasts, and not what was.
    let later = try Events(port: port)
    #expect(later.read { $0.contains("event: status") })
    #expect(try http.post("/v1/uplinks/central/resume").status == 200)
    for listener in [events, later] {
      #expect(
        listener.read { $0.contains(#""change":"cleared","kind":"paused""#) && $0.contains("uplink.resume") })
    }
    #expect(!later.text.contains("uplink.pause"))

    // Many more than may listen at once, one after the other.
    let descriptors = "/proc/\(try #require(house.daemon).pid)/fd"
    let before = try FileManager.default.contentsOfDirectory(atPath: descriptors).count
    for number in 1...40 {
      #expect(try eventually(within: 10) { try Events(port: port).status == 200 }, "listener \(number)")
    }
    try house.wait("their connections are closed") {
      try FileManager.default.contentsOfDirectory(atPath: descriptors).count <= before
    }

    let withdrawn = try Events(port: port, token: anna)
    #expect(withdrawn.read { $0.contains("event: status") })
    #expect(try house.run("token", ["remove", "the-operator", "--file", house.directory.file("tokens")]).status == 0)
    #expect(withdrawn.read { $0.hasSuffix("0\r\n\r\n") }, "\(withdrawn.text)")
    #expect(try Events(port: port, token: anna).status == 401)
    // The others hear on.
    let length = later.text.count
    #expect(later.read { $0.count > length })
  }

  /// The certificate that a new connection is shown, in base 64.
  private func shown(port: Int) throws -> String {
    let script = "import ssl; print(ssl.get_server_certificate(('127.0.0.1', \(port)), timeout=10))"
    let asked = try ChildProcess.run("python3", ["-c", script])
    #expect(asked.status == 0, "\(asked.output)")
    return APILifeTests.plain(asked.output)
  }

  private static func plain(_ pem: String) -> String {
    pem.components(separatedBy: "-----END").first?.components(separatedBy: "CERTIFICATE-----").last?
      .filter { !$0.isWhitespace } ?? ""
  }

  @Test("SIGHUP takes another certificate for new connections; a bad one is told, and the old one goes on")
  func certificates() throws {
    let (first, second) = (try Certificates(), try Certificates())
    let house = try api.house("renewed") { $0.status += ", tls: { cert_file: api.pem, key_file: api.key }" }
    func place(_ identity: Certificates.Identity, keyOf other: Certificates.Identity? = nil) throws -> String {
      let certificate = try String(contentsOfFile: identity.certificate, encoding: .utf8)
      try house.directory.write(certificate, to: "api.pem")
      try house.directory.write(try String(contentsOfFile: (other ?? identity).key, encoding: .utf8), to: "api.key")
      return APILifeTests.plain(certificate)
    }
    let old = try place(first.server)
    try house.startDaemon()
    let port = try api.port(house)
    #expect(try shown(port: port) == old && !old.isEmpty)

    let new = try place(second.server)
    #expect(try shown(port: port) == old)
    house.daemon?.signal(SIGHUP)
    try house.wait("the new certificate is shown") { try shown(port: port) == new }
    #expect(old != new)

    func complaint() throws -> String? {
      try house.status().alarms.first { ["api", "configuration"].contains($0.kind) && $0.text.contains("api.") }?.text
    }
    #expect(try complaint() == nil)
    // Broken, then the key of another one.
    try house.directory.write("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", to: "api.pem")
    house.daemon?.signal(SIGHUP)
    try house.wait("it is told") { try complaint() != nil }
    #expect(try shown(port: port) == new)
    _ = try place(first.server, keyOf: second.server)
    house.daemon?.signal(SIGHUP)
    try house.wait("it is told again") { try complaint()?.contains("api.key") == true }
    #expect(try shown(port: port) == new)

    let last = try place(first.server)
    house.daemon?.signal(SIGHUP)
    try house.wait("the good one is shown") { try shown(port: port) == last }
    try house.wait("the alarm is over") { try complaint() == nil }
    #expect(try api.port(house) == port)
  }

  @Test("SIGHUP changes the log's level and format")
  func log() throws {
    var options = House.Options()
    options.extra = "log: { level: error }"
    let house = try House("log", options)
    try house.startDaemon()
    func lines() -> String { TemporaryDirectory.read(house.directory.file("daemon.log")) }
    #expect(!lines().contains("message=running"))
    options.extra = "log: { level: info, format: json }"
    try house.configure(options)
    house.daemon?.signal(SIGHUP)
    try house.wait("it logs in JSON") { lines().contains(#""message":"configuration reloaded""#) }
    options.extra = "log: { level: notice, format: logfmt }"
    try house.configure(options)
    house.daemon?.signal(SIGHUP)
    try house.wait("it logs in logfmt again") { lines().contains("level=notice message=\"configuration reloaded\"") }
    // A configuration that is refused changes nothing.
    try house.directory.write("nonsense", to: "forebay.yaml")
    house.daemon?.signal(SIGHUP)
    try house.wait("it is refused") { lines().contains("level=error message=\"the configuration is refused") }
  }
}
