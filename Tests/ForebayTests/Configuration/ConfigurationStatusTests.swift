import Status
import Testing

@testable import forebay

@Suite("Configuration: status")
struct ConfigurationStatusTests {
  static let certificate = "-----BEGIN CERTIFICATE-----"
  static let files = Sample.machine([
    "/etc/c.pem": certificate, "/etc/k.pem": "-----BEGIN EC PRIVATE KEY-----", "/etc/ca.pem": certificate,
    "/etc/tokens": "viewer anna \(String(repeating: "0", count: 64))\n", "/etc/broken": "viewer anna\n",
  ])
  static let tls = "tls: { cert_file: c.pem, key_file: k.pem }"

  private func api(_ status: String) throws -> StatusServer.Settings? {
    try Sample.decode(Sample.text + "status: \(status)\n", files: Self.files).status.api
  }

  private func faults(_ status: String) -> [String] {
    Sample.diagnostics(Sample.text + "status: \(status)\n", files: Self.files).map {
      "\($0.severity) \($0.path): \($0.summary)"
    }
  }

  @Test("by default it listens on loopback, where everybody is viewer")
  func defaults() throws {
    let api = try #require(try Sample.decode(Sample.text).status.api)
    #expect(api.host == "127.0.0.1" && api.port == 8420 && api.anonymous == .viewer && api.isLoopback)
    #expect(api.tls == nil && api.tokensFile == nil)
    #expect(try self.api("{ listen: off }") == nil)
  }

  @Test("every key is read")
  func whole() throws {
    let api = try #require(
      try api(
        """
        { listen: "[::]:443", tokens_file: tokens, hosts: [GW.local],
          tls: { cert_file: c.pem, key_file: k.pem, client_ca_file: ca.pem },
          clients: [ { name: "spiffe://plant/puller", role: viewer }, { name: ops, role: admin } ] }
        """))
    #expect(api.host == "::" && api.port == 443 && !api.isLoopback)
    #expect(api.tokensFile == "/etc/tokens" && api.hosts == ["gw.local"])
    #expect(api.tls?.clientAuthorityFile == "/etc/ca.pem" && api.tls?.keyFile == "/etc/k.pem")
    #expect(api.certificates == ["spiffe://plant/puller": .viewer, "ops": .admin])
    #expect(try self.api("{ anonymous: none }")?.anonymous == nil)
  }

  @Test(
    "beyond loopback it wants TLS, and to know who may",
    arguments: [
      ("{ listen: \"0.0.0.0:80\" }", 2, "in the clear"), ("{ listen: \"[::]:80\", \(tls) }", 1, "nothing says who may"),
      ("{ listen: \"10.0.0.1:80\", tokens_file: tokens }", 1, "in the clear"),
      ("{ listen: \"10.0.0.1:80\", tokens_file: tokens, \(tls), anonymous: viewer }", 1, "only loopback"),
      ("{ listen: nowhere }", 1, "is no address"), ("{ clients: [ { name: a, role: viewer } ] }", 1, "no client can"),
      ("{ clients: [ { name: a, role: owner } ] }", 2, "not known here"),
      ("{ tokens_file: broken }", 1, "line 1 is not of the form"),
    ])
  func refused(status: String, count: Int, text: String) {
    let faults = faults(status)
    #expect(faults.count { $0.hasPrefix("error") } == count, "\(faults)")
    #expect(faults.contains { $0.contains(text) }, "\(faults)")
  }

  @Test("a file of tokens that is not there yet is a warning that says how to make it")
  func noTokens() {
    let faults = faults("{ tokens_file: later }")
    #expect(faults.count == 1 && faults[0].hasPrefix("warning") && faults[0].contains("forebay token create"))
  }
}
