import Ingest
import Testing

@testable import forebay

@Suite("Configuration: what spans several sections, and the machine around it")
struct ConfigurationCheckTests {
  private static let certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
  private static let key = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"
  private static let files = Sample.machine(
    [
      "/etc/good": "secret\n", "/etc/empty": " \n", "/etc/open": "secret",
      "/etc/two-lines": "abc\ndef\n", "/etc/ca.pem": certificate, "/etc/key.pem": key,
      "/etc/locked.pem": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n",
      "/etc/huge": String(repeating: "x", count: ReferencedFile.limit + 1),
      "/run/credentials/token": "abc", "/run/credentials/blank": "",
    ],
    worldReadable: ["/etc/open", "/etc/ca.pem", "/run/credentials/token"],
    credentials: "/run/credentials", refused: ["/etc/denied"])

  @Test(
    "Names that lead nowhere are told where they stand",
    arguments: [
      Case("to: central", "to: centrall", "12:9 error pipelines.climate.to", "did you mean 'central'?"),
      Case(
        "to: central", "to: elsewhere", "12:9 error pipelines.climate.to", "there is no uplink 'elsewhere'",
        "there is: central"),
      Case(
        "    to: central", "    to: central\n    sources: [floor, flor]", "13:22 error pipelines.climate.sources[1]",
        "there is no source 'flor'", "did you mean 'floor'?"),
      Case("    to: central", "    to: central\n    sources: []", "13:14 error pipelines.climate.sources", "is empty"),
      Case(
        "  central:", "  spare: { file: { directory: /out } }\n  central:", "14:3 warning uplinks.spare",
        "no pipeline delivers to"),
      Case("key: device", "key: devise", "11:10 warning pipelines.climate.key", "did you mean 'device'?"),
      Case(
        "[\"sensors/{device}/climate\"]", "[\"a/{device}\", \"b/+\"]", "11:10 warning pipelines.climate.key",
        "'b/+' has none of this name"),
    ])
  func references(_ test: Case) { test.check() }

  @Test("A source that no pipeline reads from is warned of at its name")
  func unreadSource() {
    let text = Sample.replacing("  floor:", "  roof: { mqtt: { url: mqtt://roof } }\n  floor:")
      .replacing("    to: central", with: "    to: central\n    sources: floor")
    #expect(Sample.places(text) == ["3:3 warning sources.roof"])
  }

  @Test("A key that no filter captures is a field of the payload")
  func keyOfPayload() {
    #expect(Sample.places(Sample.replacing("key: device", "key: serial_number")) == [])
  }

  @Test(
    "A secret is looked at when the configuration is read",
    arguments: [
      Case(
        "url: https://ingest.example/v1", "url: https://h\n      token_file: none",
        "17:19 error uplinks.central.http.token_file", "the file /etc/none does not exist",
        "relative paths start from /etc"),
      Case(
        "url: https://ingest.example/v1", "url: https://h\n      token_file: denied",
        "17:19 error uplinks.central.http.token_file", "cannot be read: Permission denied",
        "the user that forebay runs as"),
      Case(
        "url: https://ingest.example/v1", "url: https://h\n      token_file: empty",
        "17:19 error uplinks.central.http.token_file", "is empty"),
      Case(
        "url: https://ingest.example/v1", "url: https://h\n      token_file: huge",
        "17:19 error uplinks.central.http.token_file", "more than 4 MiB"),
      Case(
        "url: https://ingest.example/v1", "url: https://h\n      token_file: two-lines",
        "17:19 error uplinks.central.http.token_file", "one line"),
      Case(
        "url: https://ingest.example/v1", "url: https://h\n      token_file: open",
        "17:19 warning uplinks.central.http.token_file", "every user of this machine", "chmod o-r /etc/open"),
      Case(
        "url: https://ingest.example/v1", "url: https://h\n      token_file: credential:blank",
        "17:19 error uplinks.central.http.token_file", "/run/credentials/blank is empty"),
      Case(
        "url: https://ingest.example/v1", "url: https://h\n      token_file: credential:../x",
        "17:30 error uplinks.central.http.token_file", "not the name of a credential"),
      Case(
        "url: https://ingest.example/v1", "url: https://h\n      ca_file: good",
        "17:16 error uplinks.central.http.ca_file", "no certificate in PEM form"),
      Case(
        "url: https://ingest.example/v1", "url: https://h\n      certificate_file: ca.pem",
        "17:7 error uplinks.central.http.certificate_file", "add the key 'key_file'"),
      Case(
        "url: https://ingest.example/v1", "url: https://h\n      key_file: key.pem",
        "17:7 error uplinks.central.http.key_file", "add the key 'certificate_file'"),
      Case(
        "      url: https://ingest.example/v1",
        "      url: https://h\n      certificate_file: ca.pem\n      key_file: locked.pem",
        "18:17 error uplinks.central.http.key_file", "without a passphrase"),
      Case(
        "      url: https://ingest.example/v1",
        "      url: https://h\n      certificate_file: ca.pem\n      key_file: ca.pem",
        "18:17 error uplinks.central.http.key_file", "no private key"),
      Case(
        "mqtts://broker.example", "mqtts://b\n      password_file: good", "6:7 error sources.floor.mqtt.password_file",
        "add the key 'user'"),
    ])
  func secretFiles(_ test: Case) { test.check(files: ConfigurationCheckTests.files) }

  @Test("Secrets that are as they should be give no diagnostics", arguments: ["good", "credential:token"])
  func goodSecrets(_ file: String) throws {
    let text = Sample.replacing("mqtts://broker.example", "mqtts://b\n      user: u\n      password_file: \(file)")
    let configuration = try Sample.decode(text, files: ConfigurationCheckTests.files)
    #expect(configuration.warnings == [])
    #expect(configuration.sources[0].passwordFile == (file == "good" ? "/etc/good" : "/run/credentials/token"))
  }

  @Test("Without systemd there are no credentials")
  func noCredentials() {
    let text = Sample.replacing("url: https://ingest.example/v1", "url: https://h\n      token_file: credential:token")
    #expect(Sample.places(text) == ["17:19 error uplinks.central.http.token_file"])
    #expect(Sample.diagnostics(text)[0].summary.contains("LoadCredential=token:"))
  }

  @Test(
    "A secret does not leave the machine in the clear without a warning, and TLS keys need TLS",
    arguments: [
      Case(
        "https://ingest.example/v1", "http://ingest.example\n      token_file: good",
        "16:12 warning uplinks.central.http.url", "in the clear", "use https://"),
      Case(
        "https://ingest.example/v1", "http://ingest.example\n      ca_file: ca.pem",
        "17:7 error uplinks.central.http.ca_file", "not encrypted", "use https://"),
      Case(
        "mqtts://broker.example", "mqtt://b\n      user: u\n      password_file: good",
        "5:12 warning sources.floor.mqtt.url", "in the clear", "use mqtts://"),
      Case(
        "mqtts://broker.example", "mqtt://b\n      ca_file: ca.pem", "6:7 error sources.floor.mqtt.ca_file",
        "use mqtts://"),
      Case(
        "mqtts://broker.example", "mqtts://b\n      version: 3.1.1\n      receive_max: 10",
        "7:7 warning sources.floor.mqtt.receive_max", "has no effect"),
    ])
  func inTheClear(_ test: Case) { test.check(files: ConfigurationCheckTests.files) }

  @Test("To this machine a secret may go in the clear", arguments: ["127.0.0.1:80", "localhost", "[::1]:8080"])
  func loopback(_ host: String) {
    let text = Sample.replacing("https://ingest.example/v1", "http://\(host)/\n      token_file: good")
    #expect(Sample.places(text, files: ConfigurationCheckTests.files) == [])
  }

  @Test(
    "Settings that contradict each other are refused",
    arguments: [
      Case(
        "directory: /spool", "directory: /spool\n  linger: 40 s", "8:11 error spool.linger",
        "more than half of the keepalive of the source 'floor' (1 min)"),
      Case(
        "directory: /spool", "directory: /spool\n  max: 100 MiB\n  keep_bytes: 60 MiB", "9:15 error spool.keep_bytes",
        "more than half"),
      Case(
        "    http:\n      url: https://ingest.example/v1",
        "    http: { url: 'https://h' }\n    retry: { initial: 10 s, max: 1 s }",
        "16:34 error uplinks.central.retry.max", "shorter than the first"),
      Case(
        "    http:\n      url: https://ingest.example/v1",
        "    http: { url: 'https://h' }\n    retry: { initial: 10 min }", "16:23 error uplinks.central.retry.initial",
        "(max: 5 min)"),
      Case(
        "    http:\n      url: https://ingest.example/v1", "    file: { directory: /spool/out }",
        "15:24 error uplinks.central.file.directory", "lie within each other"),
      Case(
        "    http:\n      url: https://ingest.example/v1", "    file: { directory: / }",
        "15:24 error uplinks.central.file.directory", "lie within each other"),
      Case(
        "    http:\n      url: https://ingest.example/v1", "    file: { directory: ../spool/./x/../out }",
        "15:24 error uplinks.central.file.directory", "/spool/out"),
      Case(
        "    http:\n      url: https://ingest.example/v1",
        "    file: { directory: /out }\n  second:\n    file: { directory: /out/b }",
        "17:24 error uplinks.second.file.directory", "'central'"),
      Case("    http:", "    file: { directory: /out }\n    http:", "16:5 error uplinks.central", "not both"),
    ])
  func contradictions(_ test: Case) { test.check() }

  @Test("The disk has to have what the spool is promised")
  func disk() {
    func places(_ change: String, total: Int64, free: Int64) -> [String] {
      Sample.places(
        Sample.replacing("directory: /spool", "directory: /spool" + change),
        files: Sample.machine(volume: .init(total: total, free: free)))
    }
    let gibibyte: Int64 = 1 << 30
    #expect(places("", total: 100 * gibibyte, free: 50 * gibibyte) == [])
    #expect(places("", total: gibibyte, free: gibibyte) == ["6:1 error spool"])
    #expect(places("\n  min_free: 2 GiB", total: gibibyte, free: gibibyte) == ["8:13 error spool.min_free"])
    #expect(places("\n  min_free: 2 GiB", total: 99 * gibibyte, free: gibibyte) == ["8:13 warning spool.min_free"])
    #expect(places("\n  max: 8 GiB", total: 8 * gibibyte, free: 8 * gibibyte) == ["8:8 warning spool.max"])
    #expect(
      Sample.places(Sample.text, files: Sample.machine(others: ["/spool"])) == ["7:14 error spool.directory"])
  }

  @Test("What the machine lacks only warns where a configuration has run before")
  func tolerated() throws {
    let text = Sample.replacing(
      "url: https://ingest.example/v1", "url: https://h\n      token_file: credential:token\n      ca_file: none")
    let configuration = try Sample.decode(text, toleratesSurroundings: true)
    #expect(configuration.warnings.map(\.severity) == [.warning, .warning])
    #expect(throws: ConfigurationErrors.self) { try Sample.decode(text) }
    #expect(throws: ConfigurationErrors.self) {
      try Sample.decode(text.replacing("to: central", with: "to: x"), toleratesSurroundings: true)
    }
  }
}
