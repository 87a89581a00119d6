import ArgumentParser
import Foundation
import Status
import TestSupport
import Testing

@testable import forebay

/// The pages of a fleet, asked by who means harm; its server is that of a gateway (`HostileClientTests` has the rest).
@Suite("Fleet: hostile clients") struct FleetHostileTests {
  private func with(_ body: @escaping @Sendable (PlainHTTP) throws -> Void) async throws {
    let settings = try #require(try FleetServing.parse(["--serve", "127.0.0.1:0"]).settings())
    let (server, port) = try await FleetServer.start(settings) { FleetBoard(targets: []) }
    let result = await withCheckedContinuation { (done: CheckedContinuation<Result<Void, any Error>, Never>) in
      BlockingThread.start { done.resume(returning: Result { try body(PlainHTTP(port: port)) }) }
    }
    await server.stop(grace: 0)
    try result.get()
  }

  @Test("nothing but its three pages is there, however it is asked for, and nothing can be done")
  func resources() async throws {
    try await with { http in
      for path in ["/healthz", "/metrics", "/v1/fleet"] { #expect(try http.get(path).status == 200, "\(path)") }
      for path in [
        "/", "/v1/status", "/v1/reload", "/../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%252e%252e%252fetc%252fpasswd",
        "/v1/fleet/../../etc/passwd", "/metrics%00", "//etc/passwd",
      ] {
        let answer = try http.get(path)
        #expect(answer.status >= 400 && !answer.text.contains("root:"), "\(path)")
      }
      for method in ["POST", "PUT", "DELETE", "TRACE"] {
        #expect(try http.send(method, "/v1/fleet", ["X-Mark": "echo"], "{}").status == 405, "\(method)")
      }
      #expect(try http.get("/v1/fleet", ["X-HTTP-Method-Override": "DELETE"]).status == 200)
      for host in ["evil.example", "127.0.0.1.evil.example", ""] {
        #expect(try http.get("/v1/fleet", ["Host": host]).status >= 400, "\(host)")
      }
    }
  }

  @Test("a second request hidden in the first, and a head without end, are not answered")
  func smuggling() async throws {
    try await with { http in
      for request in HostileRequest.smuggling {
        let answer = try http.raw(request.bytes(method: "GET", path: "/v1/fleet"), seconds: 2)
        let answers = String(decoding: answer, as: UTF8.self).components(separatedBy: "HTTP/1.1 ").dropFirst()
        #expect(answers.count <= 1 && answers.allSatisfy { $0.hasPrefix("4") }, "\(request.name): \(answers)")
      }
      let long = "GET /v1/fleet HTTP/1.1\r\nHost: localhost\r\nX-A: \(String(repeating: "a", count: 1 << 20))\r\n\r\n"
      let answer = String(decoding: try http.raw(Array(long.utf8), seconds: 5), as: UTF8.self)
      #expect(!answer.contains("200 OK"))
      #expect(try http.get("/v1/fleet").status == 200)
    }
  }
}
