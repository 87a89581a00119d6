import Foundation
import HTTPTypes
import Telemetry
import TestSupport
import Testing

@testable import Status

@Suite("Who may use the API")
struct AccessTests {
  @Test("a token is found by its digest, and by nothing else")
  func tokens() throws {
    let text = AccessToken.text(random: Array(0..<32))
    #expect(text.count == 67)
    let token = AccessToken(name: "anna", role: .operator, digest: AccessToken.digest(of: text))
    let zeros = String(repeating: "0", count: 64)
    let file = try AccessTokenFile(Array("# a comment\n\n\(token.line)\r\nviewer bob \(zeros)".utf8))
    #expect(file.holder(of: text) == token)
    #expect(file.holder(of: text + " ") == nil)
    #expect(file.holder(of: token.digest.hex) == nil)
    #expect(!token.line.contains(text.dropFirst(3)))
  }

  @Test(
    "a file that is none says in which line, and never quotes it",
    arguments: [
      ("viewer anna", 1), ("\nowner anna \(String(repeating: "0", count: 64))", 2), ("viewer anna secretsecret", 1),
      ("viewer a \(String(repeating: "0", count: 64))\nadmin a \(String(repeating: "1", count: 64))", 2),
    ])
  func badFiles(text: String, line: Int) {
    let fault = #expect(throws: AccessTokenFile.Fault.self) { try AccessTokenFile(Array(text.utf8)) }
    #expect(fault?.line == line)
    #expect(fault?.description.contains("secretsecret") == false)
  }

  static let rules = AccessRules(
    isLoopback: false, anonymous: nil, hosts: [], certificates: ["ops.example": .operator, "scraper": .viewer])

  func call(_ names: [String], changes: Bool, needing role: Role, _ fields: HTTPFields = [:]) throws -> Caller {
    try Self.rules.caller(
      needing: role, changes: changes, .init(holder: nil, isAuthorized: false, names: names), fields)
  }

  @Test("a certificate's best name counts, and none gives nothing")
  func certificates() throws {
    #expect(try call(["scraper", "ops.example"], changes: false, needing: .operator).name == "ops.example")
    #expect(throws: Problem.self) { try call(["scraper"], changes: false, needing: .operator) }
    #expect(throws: Problem.self) { try call(["stranger"], changes: false, needing: .viewer) }
  }

  @Test("a page of another site cannot act with the certificate that a browser shows for it")
  func crossSite() throws {
    let site = try #require(HTTPField.Name("Sec-Fetch-Site"))
    #expect(throws: Problem.self) { try call(["ops.example"], changes: true, needing: .operator) }
    #expect(throws: Problem.self) {
      try call(["ops.example"], changes: true, needing: .operator, [.contentType: "text/plain"])
    }
    #expect(throws: Problem.self) {
      try call(
        ["ops.example"], changes: true, needing: .operator, [.contentType: "application/json", site: "cross-site"])
    }
    #expect(
      try call(
        ["ops.example"], changes: true, needing: .operator, [.contentType: "application/json; charset=utf-8"]
      ).role == .operator)
  }

  @Test("the names of a certificate are those of its subject and its alternative names")
  func names() throws {
    let certificates = try Certificates()
    func der(_ path: String) throws -> [UInt8] {
      let pem = try String(contentsOfFile: path, encoding: .utf8)
      let lines = pem.split(separator: "\n").filter { !$0.hasPrefix("-----") }
      return Array(try #require(Data(base64Encoded: lines.joined())))
    }
    #expect(CertificateNames.read(der: try der(certificates.client.certificate)) == ["client"])
    #expect(CertificateNames.read(der: try der(certificates.server.certificate)) == ["localhost", "localhost"])
    let whole = try der(certificates.server.certificate)
    // Whatever is cut off or changed, it ends, and names nobody else.
    for length in 0..<whole.count {
      #expect(Set(CertificateNames.read(der: Array(whole.prefix(length)))).isSubset(of: ["localhost"]))
    }
  }

  @Test("a bucket gives what it holds at once, and then its rate")
  func bucket() {
    var bucket = TokenBucket(perSecond: 10, capacity: 3)
    #expect((0..<3).map { _ in bucket.take(now: 0) } == [0, 0, 0])
    #expect(bucket.take(now: 0) == 100_000_000)
    #expect(bucket.take(now: 99_999_999) == 1)
    #expect(bucket.take(now: 100_000_000) == 0)
    #expect(bucket.take(now: 100_000_000) == 100_000_000)
    #expect((0..<4).map { _ in bucket.take(now: 100_000_000_000) == 0 } == [true, true, true, false])
  }

  @Test("one client that asks without end leaves the others their share, and a million clients no memory")
  func fairness() {
    var limiter = RequestLimiter(.init(clientPerSecond: 1, clientCapacity: 2, perSecond: 1, capacity: 8, clients: 4))
    var greedy = 0
    for _ in 0..<100 where limiter.admit("greedy", now: 0) == 0 { greedy += 1 }
    #expect(greedy == 2)
    #expect(limiter.admit("modest", now: 0) == 0)
    // Those beyond the table share a bucket; all together have the rest of the whole.
    var admitted = 0
    for client in 0..<1000 where limiter.admit("\(client)", now: 0) == 0 { admitted += 1 }
    #expect(admitted == 4)
    // Later there is room again, for names too.
    #expect(limiter.admit("another", now: 60_000_000_000) == 0)
  }

  @Test(
    "what is loopback is told from the address alone",
    arguments: [
      ("127.0.0.1", true), ("127.3.2.1", true), ("::1", true), ("localhost", true), ("0.0.0.0", false), ("::", false),
      ("10.0.0.1", false), ("127.0.0.1.example", false), ("127.1", false), ("localhost.example", false),
    ])
  func loopback(host: String, isLoopback: Bool) {
    #expect(StatusServerSettings(host: host, port: 0).isLoopback == isLoopback)
  }
}

@Suite("What stands in a request")
struct RequestTargetTests {
  @Test("paths and queries are decoded, and broken ones refused")
  func targets() {
    #expect(RequestTarget("/v1//a%2Fb/?x=1+2&y=%2B")?.segments == ["v1", "a/b"])
    #expect(RequestTarget("/v1?x=1+2&y=%2B&z")?.parameters == ["x": "1 2", "y": "+", "z": ""])
    for broken in ["", "v1", "/%", "/%4", "/%zz", "/%ff", "/?a=1&a=2", "*"] { #expect(RequestTarget(broken) == nil) }
  }

  @Test(
    "dates are those of RFC 9110",
    arguments: [
      (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
      (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
    ] as [(Int64, String)])
  func dates(seconds: Int64, text: String) { #expect(HTTPDate.text(seconds * 1_000_000_000) == text) }
}
