import Ingest
import Testing

@testable import forebay

@Suite("Configuration: what is wrong is said with its place")
struct ConfigurationErrorTests {
  @Test("The sample has no fault")
  func sampleLoads() throws {
    #expect(try Sample.decode(Sample.text).warnings == [])
  }

  @Test("Filters of which the broker would deliver a message twice are refused")
  func overlappingFilters() {
    Case(
      "[\"sensors/{device}/climate\"]", "[\"sensors/{device}/+\", \"+/{device}/climate\"]",
      "10:11 error pipelines.climate.from", "overlap", "twice"
    ).check()
  }

  @Test("Filters that overlap are fine when another one covers them")
  func coveredFilters() throws {
    let text = Sample.replacing(
      "[\"sensors/{device}/climate\"]", "[\"sensors/{device}/+\", \"+/{device}/climate\", \"+/{device}/+\"]")
    #expect(try Sample.decode(text).sources[0].filters == ["+/+/+"])
  }

  @Test(
    "A value of the wrong type is refused where it stands",
    arguments: [
      Case("{ id: gw-1 }", "gw-1", "1:10 error gateway", "expected a mapping", "'gw-1'"),
      Case("{ id: gw-1 }", "{ id: [a] }", "1:16 error gateway.id", "is a list"),
      Case("{ id: gw-1 }", "{ id: }", "1:16 error gateway.id", "has no value"),
      Case("{ id: gw-1 }", "{ id: ~ }", "1:16 error gateway.id", "has no value"),
      Case("{ id: gw-1 }", "{ id: '' }", "1:16 error gateway.id", "is empty"),
      Case("{ id: gw-1 }", "{ id: \"a\\nb\" }", "1:16 error gateway.id", "line break"),
      Case(
        "    to: central", "    to: central\n    batch: { max_count: many }",
        "13:25 error pipelines.climate.batch.max_count", "not a whole number", "1 to 1000000"),
      Case(
        "    to: central", "    to: central\n    batch: { max_count: '10' }",
        "13:25 error pipelines.climate.batch.max_count", "remove the quotes"),
      Case(
        "    to: central", "    to: central\n    batch: { max_count: 0 }",
        "13:25 error pipelines.climate.batch.max_count", "out of range"),
      Case(
        "    to: central", "    to: central\n    batch: 256 KiB",
        "13:12 error pipelines.climate.batch", "expected a mapping"),
      Case(
        "  directory: /spool", "  directory: /spool\n  max: 12 parsecs",
        "8:8 error spool.max", "unknown unit 'parsecs'", "'256 KiB'"),
      Case(
        "  directory: /spool", "  directory: /spool\n  max: 8 mib",
        "8:8 error spool.max", "did you mean 'MiB'?"),
      Case(
        "  directory: /spool", "  directory: /spool\n  max: 1 MiB",
        "8:8 error spool.max", "out of range, expected 64 MiB to"),
      Case(
        "  directory: /spool", "  directory: /spool\n  keep: 24",
        "8:9 error spool.keep", "add a unit"),
      Case(
        "  directory: /spool", "  directory: /spool\n  keep: -1 h",
        "8:9 error spool.keep", "is negative"),
      Case(
        "    to: central", "    to: central\n    decode: jsno",
        "13:13 error pipelines.climate.decode", "did you mean 'json'?"),
      Case(
        "    to: central", "    to: central\n    when_full: drop_oldest",
        "13:16 error pipelines.climate.when_full", "expected 'block'"),
      Case(
        "    to: central", "    to: central\n    time: arrival",
        "13:11 error pipelines.climate.time", "expected 'receipt'"),
      Case(
        "    to: central", "    to: central\n    time: { field: ts, unit: min }",
        "13:30 error pipelines.climate.time.unit", "one of s, ms, us, ns, rfc3339"),
      Case(
        "    to: central", "    to: central\n    time: { field: ts }",
        "13:5 error pipelines.climate.time", "'unit' is missing"),
      Case("[\"sensors/{device}/climate\"]", "[]", "10:11 error pipelines.climate.from", "is empty"),
      Case("  climate:", "  .climate:", "9:3 error pipelines.'.climate'", "is not a name"),
      Case("  directory: /spool", "  directory: ~/spool", "7:14 error spool.directory", "'~'"),
      Case(
        "  directory: /spool", "  directory: /\(String(repeating: "s", count: 100))",
        "7:14 error spool.directory", "at most 107", "status.socket"),
      Case("spool:", "log: { level: loud }\nspool:", "6:15 error log.level", "one of trace, debug"),
      Case("spool:", "shutdown: { grace: 1 h }\nspool:", "6:20 error shutdown.grace", "1 s to 10 min"),
    ])
  func wrongType(_ test: Case) { test.check() }

  @Test(
    "An unknown key is refused at the key, with the one that was probably meant",
    arguments: [
      Case("gateway:", "gatway:", "1:1 error gatway", "unknown key; did you mean 'gateway'?"),
      Case("      url: mqtts", "      ulr: mqtts", "5:7 error sources.floor.mqtt.ulr", "did you mean 'url'?"),
      Case(
        "    to: central", "    to: central\n    batch: { max_byte: 1 MiB }",
        "13:14 error pipelines.climate.batch.max_byte", "unknown key; did you mean 'max_bytes'?"),
      Case(
        "    to: central", "    to: central\n    batch: { MaxBytes: 1 MiB }",
        "13:14 error pipelines.climate.batch.MaxBytes", "did you mean 'max_bytes'?"),
      Case(
        "    key: device", "    key: device\n    firmware: 7",
        "12:5 error pipelines.climate.firmware", "this version has no such key here", "when_full"),
      Case(
        "    key: device", "    key: device\n    forecast: { every: 10 s }",
        "12:5 error pipelines.climate.forecast", "this version has no such key here"),
      Case(
        "spool:", "status: { cors: all }\nspool:",
        "6:11 error status.cors", "this version has no such key here"),
      Case(
        "      url: mqtts", "      password: hunter2\n      url: mqtts",
        "5:7 error sources.floor.mqtt.password", "did you mean 'password_file'?"),
    ])
  func unknownKey(_ test: Case) { test.check() }

  @Test("A missing key is told where its section begins")
  func missingKeys() {
    #expect(
      Sample.places("gateway: {}\nsources: {}\n") == [
        "1:1 error gateway", "1:1 error ", "1:1 error ", "2:10 error sources",
      ])
    #expect(
      Sample.diagnostics("a: 1").map(\.message).sorted().filter { $0.contains("missing") } == [
        "the key 'gateway' is missing", "the key 'pipelines' is missing",
        "the key 'sources' is missing", "the key 'uplinks' is missing",
      ])
    let noKind = Sample.replacing("    http:\n      url: https://ingest.example/v1\n", "    concurrency: 4\n")
    #expect(Sample.places(noKind) == ["14:3 error uplinks.central"])
  }

  @Test("Everything that is wrong is told at once, by place")
  func allAtOnce() {
    let text = """
      uplinks:
        central: { file: { directory: /out, max_age: soon } }
      gateway: { id: a b }
      sources:
        floor: { mqtt: { url: mqtt://localhost:0, keepalive: 1 s } }
      pipelines:
        climate: { from: a/b#, to: nowhere }
      """
    #expect(
      Sample.places(text) == [
        "2:48 error uplinks.central.file.max_age",
        "3:16 error gateway.id",
        "5:42 error sources.floor.mqtt.url",
        "5:56 error sources.floor.mqtt.keepalive",
        "7:22 error pipelines.climate.from",
        "7:30 error pipelines.climate.to",
      ])
  }

  @Test("A file that is wrong all over is cut short")
  func many() {
    let text = (0..<5000).map { "key\($0): x\n" }.joined()
    let diagnostics = Sample.diagnostics(text)
    #expect(diagnostics.count == DiagnosticCollector.limit + 1)
    #expect(diagnostics.last?.message.contains("not shown") == true)
  }

  @Test("Lists, names and filters have a bound, so that a large file is refused quickly")
  func entries() {
    func filters(_ count: Int) -> String { (0..<count).map { "a/\($0)" }.joined(separator: ", ") }
    let sample = Sample.text
    #expect(
      Sample.places(sample.replacing("\"sensors/{device}/climate\"", with: filters(256))) == [])
    #expect(
      Sample.places(sample.replacing("\"sensors/{device}/climate\"", with: filters(257))) == [
        "10:11 error pipelines.climate.from"
      ])
    let pipelines = (0..<5).map { "  p\($0): { from: [\(filters(255))], to: central }\n" }
    #expect(
      Sample.places(sample.replacing("  climate:", with: pipelines.prefix(4).joined() + "  climate:"))
        == [])
    #expect(
      Sample.places(sample.replacing("  climate:", with: pipelines.joined() + "  climate:")) == [
        "13:15 error pipelines.p4.from"
      ])
    let sources = (0..<256).map { "  s\($0): { mqtt: { url: mqtt://h } }\n" }.joined()
    #expect(Sample.places(sample.replacing("  floor:", with: sources + "  floor:")) == ["3:3 error sources"])
  }

  @Test(
    "A topic filter that is not valid MQTT is told at the level at fault",
    arguments: [
      Case("[\"sensors/{device}/climate\"]", "a/#/b", "10:13 error pipelines.climate.from", "level 2"),
      Case(
        "[\"sensors/{device}/climate\"]", "'a/b+'", "10:14 error pipelines.climate.from",
        "a wildcard takes a whole level"),
      Case("[\"sensors/{device}/climate\"]", "[a, \"é/b/{x y}\"]", "10:20 error pipelines.climate.from[1]", "level 3"),
      Case(
        "[\"sensors/{device}/climate\"]", "\n      - ok/{device}\n      - $share/g/x",
        "12:9 error pipelines.climate.from[1]", "shared subscription"),
      Case("[\"sensors/{device}/climate\"]", "\"\\x61/b#\"", "10:11 error pipelines.climate.from", "level 2"),
    ])
  func invalidFilter(_ test: Case) { test.check() }

  @Test(
    "A URL is told at the character at fault",
    arguments: [
      Case("mqtts://broker.example", "broker.example", "5:12 error sources.floor.mqtt.url", "no scheme"),
      Case(
        "mqtts://broker.example", "ssl://broker.example", "5:12 error sources.floor.mqtt.url",
        "did you mean 'mqtts://'?"),
      Case("mqtts://broker.example", "mqtts://broker.example:0", "5:35 error sources.floor.mqtt.url", "1 to 65535"),
      Case("mqtts://broker.example", "mqtts://broker.example:88833", "5:35 error sources.floor.mqtt.url", "no port"),
      Case("mqtts://broker.example", "mqtts://bro%6Ber", "5:23 error sources.floor.mqtt.url", "no host name"),
      Case("mqtts://broker.example", "mqtts://", "5:19 error sources.floor.mqtt.url", "no host"),
      Case("mqtts://broker.example", "'mqtts://[::g]'", "5:22 error sources.floor.mqtt.url", "IPv6"),
      Case("mqtts://broker.example", "mqtts://a/topic", "5:21 error sources.floor.mqtt.url", "nothing may follow"),
      Case("mqtts://broker.example", "mqtts://joe:secret@a", "5:20 error sources.floor.mqtt.url", "password_file"),
      Case("https://ingest.example/v1", "https://ingest.example/v1#x", "16:37 error uplinks.central.http.url", "'#'"),
      Case(
        "https://ingest.example/v1", "https://ingest.example/é", "16:35 error uplinks.central.http.url",
        "percent-encoded"),
      Case(
        "https://ingest.example/v1", "mqtt://ingest.example", "16:12 error uplinks.central.http.url",
        "'mqtt' is not known here"),
      Case(
        "https://ingest.example/v1", "https://a/\n      proxy: https://p:3128",
        "17:14 error uplinks.central.http.proxy", "did you mean 'http://'?"),
    ])
  func invalidURL(_ test: Case) { test.check() }

  @Test("A diagnostic is printed as compilers do, with the line and a caret")
  func printed() {
    let text = Sample.replacing("    to: central", "    to: centrl")
    #expect(throws: ConfigurationErrors.self) { try Sample.decode(text) }
    do throws(ConfigurationErrors) {
      _ = try Sample.decode(text)
    } catch {
      #expect(
        error.report == """
          forebay.yaml:12:9: error: pipelines.climate.to: there is no uplink 'centrl'; did you mean 'central'?
                to: centrl
                    ^
          """)
    }
  }

  @Test(
    "A line that seems to hold a secret is not shown, nor quoted",
    arguments: [
      ("      url: mqtts://broker.example", "      password: hunter2"),
      ("mqtts://broker.example", "mqtts://joe:hunter2@broker.example:x"),
      ("mqtts://broker.example", "joe:hunter2@broker.example"),
      ("      url: mqtts://broker.example", "      { 'token' : hunter2 }: x"),
      ("    to: central", "    to: central\n    secret: hunter2"),
    ])
  func secrets(_ change: (String, String)) {
    do throws(ConfigurationErrors) {
      _ = try Sample.decode(Sample.replacing(change.0, change.1))
      Issue.record("must be refused")
    } catch {
      #expect(!error.report.contains("hunter2"), "\(error.report)")
    }
  }

  @Test("Control characters of the file do not reach the terminal")
  func controlCharacters() {
    let text = Sample.replacing("    to: central", "    to: \"\\e[31mred\"")
    #expect(!ConfigurationErrors.report(Sample.diagnostics(text), in: Array(text.utf8)).contains("\u{1B}"))
    let excerpt = SourceExcerpts(of: Array("a: \u{1B}[31m".utf8)).excerpt(at: TextPlace(line: 1, column: 4))
    #expect(excerpt == "  a:  [31m\n     ^")
  }

  @Test("A long line is cut around the place")
  func longLine() throws {
    let line = String(repeating: "x", count: 300) + "!" + String(repeating: "y", count: 300)
    let excerpt = try #require(
      SourceExcerpts(of: Array(line.utf8)).excerpt(at: TextPlace(line: 1, column: 301)))
    let lines = excerpt.split(separator: "\n").map(Array.init)
    #expect(lines.count == 2 && lines[0].count <= 110)
    #expect(lines[0][lines[1].count - 1] == "!")
  }
}
