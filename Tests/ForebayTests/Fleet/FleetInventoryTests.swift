import Telemetry
import TestSupport
import Testing

@testable import forebay

@Suite("Fleet: the inventory") struct FleetInventoryTests {
  private func read(_ text: String) throws -> [FleetTarget] {
    try FleetInventory.read(Array(text.utf8), file: "/etc/forebay/fleet").targets
  }

  private func faults(_ text: String) -> [String] {
    do {
      _ = try read(text)
      return []
    } catch let errors as ConfigurationErrors {
      return errors.errors.map(\.summary)
    } catch {
      return ["\(error)"]
    }
  }

  @Test("a line is a URL, and behind it name, site, token and labels")
  func lines() throws {
    let targets = try read(
      """
      # The plant
      https://gw-1.example name=gw-1 site=plant-7 token_file=gw-1.token line=3  # the first

        http://[::1]:9000/behind/a/proxy/
      """)
    #expect(targets.count == 2)
    let first = try #require(targets.first)
    #expect(first.url == "https://gw-1.example:8420" && first.isEncrypted && first.path.isEmpty)
    #expect(first.name == "gw-1" && first.site == "plant-7" && first.labels == ["line": "3"])
    #expect(first.credentials.tokenFile == "/etc/forebay/gw-1.token")
    #expect(targets[1].url == "http://[::1]:9000/behind/a/proxy" && targets[1].path == "/behind/a/proxy")
    #expect(targets[1].authority == "[::1]:9000")
  }

  @Test("YAML has defaults that an entry's own credentials stand before")
  func yaml() throws {
    let targets = try read(
      """
      defaults: { token_file: /run/all.token, ca_file: ca.pem, site: plant-1 }
      gateways:
        - https://a.example/v1/status
        - { url: "https://b.example:1", name: gw-b, site: plant-2, token_file: b.token, labels: { line: "4" } }
      """)
    #expect(targets.map(\.url) == ["https://a.example:8420", "https://b.example:1"])
    #expect(targets.map(\.credentials.tokenFile) == ["/run/all.token", "/etc/forebay/b.token"])
    #expect(targets.map(\.credentials.authorities) == ["/etc/forebay/ca.pem", "/etc/forebay/ca.pem"])
    #expect(targets.map(\.site) == ["plant-1", "plant-2"])
    #expect(targets[1].labels == ["line": "4"])
  }

  @Test(
    "what is wrong is told with its place and a way out",
    arguments: [
      ("", "the file is empty"),
      ("# nobody\n", "the file is empty"),
      ("http://a\nhttp://a:8420 x=1\n", "2:1: error: the gateway http://a:8420 stands here twice"),
      ("http://a name=x\nhttp://b name=x\n", "the name 'x' stands here twice"),
      ("http://a name=../x\n", "'../x' is not a name"),
      ("http://a site\n", "'site' is not of the form key=value"),
      ("http://a gateway=1\n", "is taken by the fleet itself"),
      ("http://a 1st=1\n", "is no label"),
      ("http://a\nftp://b\n", "2:1: error: the scheme 'ftp' is not known here"),
      ("htp://foo name=x\n", "1:1: error: the scheme 'htp' is not known here"),
      ("# one\n\ngw-1.example:8420 name=x\nhttp://b\n", "3:1: error: "),
      ("http://a\nhttps://u:p@b\n", "2:9: error: a URL holds no user or password"),
      ("gateways: [{ url: 'http://a', nam: x }]", "did you mean 'name'?"),
      ("gateways: [{ name: x }]", "the key 'url' is missing"),
      ("gateway: [http://a]", "did you mean 'gateways'?"),
      ("gateways: http://a", "expected a list of gateways"),
      ("gateways: [{ url: https://a, cert_file: x }]", "go together"),
    ])
  func errors(_ text: String, _ wanted: String) {
    let found = faults(text)
    #expect(found.contains { $0.contains(wanted) }, "\(found)")
  }

  @Test("a file that is not there is named with what the system says")
  func missing() throws {
    let folder = try TemporaryDirectory("fleet")
    var sources = FleetSources()
    sources.inventory = folder.file("nope.txt")
    let error = #expect(throws: UnusableInput.self) { try sources.load() }
    #expect(error?.description == "\(folder.file("nope.txt")) cannot be read: No such file or directory")
  }

  @Test("a token that would go over the network in the clear is named, on this machine it may")
  func clear() throws {
    let bytes = Array("http://10.0.0.1 token_file=t\nhttp://127.0.0.1 token_file=t\n".utf8)
    let warnings = try FleetInventory.read(bytes, file: "f").warnings
    #expect(warnings.count == 1)
    #expect(warnings.first?.message.contains("http://10.0.0.1:8420 goes over the network in the clear") == true)
  }

  @Test("twenty thousand gateways are read, in both forms")
  func many() throws {
    let names = (0..<20_000).map { "https://gw-\($0).example" }
    #expect(try read(names.joined(separator: "\n")).count == 20_000)
    #expect(try read("gateways:\n" + names.map { "- { url: \"\($0)\" }" }.joined(separator: "\n")).count == 20_000)
  }

  @Test("as targets of Prometheus every gateway has its labels, its scheme and its path")
  func fileDiscovery() throws {
    let text = try FleetTargets.json(try read("https://a.example name=gw-a site=s line=3\nhttp://b:1/x\n"))
    #expect(text.contains("\"targets\" : [\n      \"a.example:8420\""))
    for part in [
      "\"gateway\" : \"gw-a\"", "\"site\" : \"s\"", "\"line\" : \"3\"", "\"__scheme__\" : \"https\"",
      "\"__metrics_path__\" : \"/x/metrics\"", "\"gateway\" : \"b:1/x\"",
    ] { #expect(text.contains(part), "\(part) in \(text)") }
  }
}
