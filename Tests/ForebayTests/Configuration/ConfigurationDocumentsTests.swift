import ArgumentParser
import Delivery
import Ingest
import Pipeline
import Telemetry
import Testing

@testable import forebay
@testable import Status

@Suite("Configuration: what is shipped and what is documented")
struct ConfigurationDocumentsTests {
  /// A machine that has every file that an example names.
  private static let machine = ConfigurationFiles(
    read: { path, _ in
      let text =
        path.hasSuffix(".pem")
        ? "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n"
        : path.hasSuffix(".csv")
          ? "device,site,floor\nt-1,North,3\n"
          : path.hasSuffix("climate@1.2.0.json")
            ? #"{"name":"climate","version":"1.2.0","schema":{}}"#
            : path.hasSuffix("/tokens") ? "# nobody yet\n" : "secret-that-is-long-enough"
      return .success(.init(bytes: Array(text.utf8), isWorldReadable: false))
    },
    names: { _ in .success(["climate@1.2.0.json"]) }, kind: { $0.hasSuffix(".sock") ? .socket : .directory },
    obstacle: { _ in nil }, resolved: { $0 },
    volume: { _ in nil },
    credentialsDirectory: "/run/credentials/forebay.service")

  private static func read(_ path: String) throws -> String {
    // Tests/ForebayTests/Configuration/<this file>
    let root = #filePath.split(separator: "/").dropLast(4).map { "/\($0)" }.joined()
    let contents = try ConfigurationFiles.system.read("\(root)/\(path)", 1 << 20).get()
    return String(decoding: contents.bytes, as: UTF8.self)
  }

  private static func decode(_ text: String) throws(ConfigurationErrors) -> Configuration {
    try Configuration.decode(
      .init(path: "/etc/forebay/forebay.yaml", bytes: Array(text.utf8)), shownAs: "example",
      files: machine)
  }

  @Test("The shipped configuration has no fault")
  func shipped() throws {
    let configuration = try Self.decode(Self.read("packaging/forebay.yaml"))
    #expect(configuration.warnings == [])
  }

  @Test("What the shipped configuration comments out are the defaults")
  func shippedDefaults() throws {
    let text = try Self.read("packaging/forebay.yaml")
    let plain = try Self.decode(text)
    // Each commented key in its place; those that name files of the operator's are left out.
    var full = ""
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      let bare = line.drop { $0 == " " }
      let isKey = [
        "# max", "# min_free", "# keep", "# linger", "# retained", "# batch", "# dead_letters:", "# objectives:",
        "# alarms:", "# log:", "# shutdown",
      ]
      .contains { bare.hasPrefix($0) }
      full += isKey ? line.replacing("# ", with: "", maxReplacements: 1) : line
      full += "\n"
    }
    let spelled = try Self.decode(full)
    #expect(full != text + "\n")
    #expect(spelled.sources == plain.sources)
    #expect(spelled.group == plain.group)
    #expect(spelled.spool == plain.spool)
    #expect(spelled.pipelines == plain.pipelines)
    #expect(spelled.deadLetters == plain.deadLetters)
    #expect(spelled.uplinks == plain.uplinks)
    #expect(spelled.objectives == plain.objectives)
    #expect(spelled.alarms == plain.alarms)
    #expect(spelled.logLevel == plain.logLevel)
    #expect(spelled.shutdown == plain.shutdown)
  }

  @Test("Every example of the documentation has no fault")
  func examples() throws {
    let page = try Self.read("docs/configuration.md")
    let examples = page.split(separator: "```yaml\n").dropFirst().compactMap {
      $0.split(separator: "```").first.map(String.init)
    }
    #expect(examples.count >= 7)
    // What an example leaves out, because the page has it elsewhere.
    let rest = [
      ("gateway", "{ id: gw-042 }"), ("sources", "{ floor: { mqtt: { url: 'mqtt://localhost' } } }"),
      ("pipelines", "{ climate: { from: a, to: central } }"),
      ("uplinks", "{ central: { http: { url: 'https://ingest.example' } } }"),
    ]
    for example in examples {
      let missing = rest.filter { !("\n" + example).contains("\n\($0.0):") }
      let text = example + missing.map { "\($0.0): \($0.1)\n" }.joined()
      do throws(ConfigurationErrors) {
        let configuration = try Self.decode(text)
        let unexpected = configuration.warnings.filter { !$0.message.contains("no pipeline") }
        #expect(unexpected == [])
      } catch {
        Issue.record("\(error.report)")
      }
    }
  }

  @Test("What README starts by hand fits its configuration: the devices' topics, the broker, the upstream")
  func readme() throws {
    let page = try Self.read("README.md")
    let example = try #require(page.split(separator: "```yaml\n").dropFirst().first?.split(separator: "```").first)
    let configuration = try Self.decode(String(example))
    #expect(configuration.warnings == [])

    func command(_ name: String) throws -> any ParsableCommand {
      let lines = page.split(separator: "\n").map { $0.split(separator: "#").first ?? "" }
      let line = try #require(lines.first { $0.hasPrefix("forebay \(name) ") })
      let words = line.split { " &".contains($0) }.dropFirst().map { $0.filter { $0 != "'" } }
      return try Forebay.parseAsRoot(words)
    }
    let devices = try #require(try command("simulate") as? SimulateCommand)
    let topic = TopicTemplate.fill(devices.topic, device: "pump-001", series: "temperature")
    #expect(configuration.pipelines.contains { $0.from.contains { $0.matches(topic) } }, "\(topic)")
    let source = try #require(configuration.sources.first)
    let broker = try #require(BrokerAccess(url: devices.url))
    #expect(broker.host == source.host && broker.port == Int(source.port))
    let upstream = try #require(try command("receive") as? ReceiveCommand)
    guard case .http(let http) = configuration.uplinks.first?.kind else {
      Issue.record("the upstream of README is not reached over HTTP")
      return
    }
    #expect(http.url.hasPrefix("http://\(upstream.listen)/"))
    // Each other command with a configuration finds the daemon that was started with this one.
    let run = try #require(try command("run") as? RunCommand)
    let status = try #require(try command("status") as? StatusCommand)
    #expect(run.config == "forebay.yaml" && status.config == run.config)
  }

  @Test("Every state, answer, alarm and field of the status is documented")
  func everyWordOfTheStatusIsDocumented() throws {
    let page = try Self.read("docs/status.md")
    var words = SourceState.allCases.map(\.rawValue) + UplinkStatus.State.allCases.map(\.rawValue)
    words += Answer.Kind.allCases.map(\.rawValue)
    let report = StatusReport(
      gateway: "g", site: "s", software: "1", uptimeSeconds: 1, clockSynchronised: true, residentBytes: 1,
      sources: [
        .init(
          name: "f", state: "waiting", detail: "d", messages: 1, bytes: 1, groups: 1, reconnects: 1, redelivered: 1,
          droppedByBroker: 1, lastMessageSeconds: 1)
      ],
      spool: .init(
        directory: "/s", usedBytes: 1, maximumBytes: 1, freeBytes: 1, minimumFreeBytes: 1, parked: "p", log: "l",
        nextOffset: 1, received: 1),
      pipelines: [
        .init(
          name: "p", version: "v", draining: true, backlog: 1, openReadings: 1, outboxBatches: 1, outboxReadings: 1,
          oldestOutboxSeconds: 1, decoded: 1, unmatched: 1, rejected: 1, damaged: 1, produced: 1, delivered: 1,
          deadLetters: 1, expectations: [.init(expectation: "e", action: "tag", count: 1)],
          sequence: .init(devices: 1, missing: 1, repeats: 1, resets: 1, unnumbered: 1),
          drift: .init(count: 1, recent: [.init(device: "d", field: "f", change: "c", offset: 1)]),
          windows: .init(open: 1, keys: 1, closedEarly: 1, watermark: "w", behindSeconds: 1), heldSeconds: 1)
      ],
      uplinks: [
        .init(
          name: "u", state: "idle", attempts: 1, answers: [:], batchesDelivered: 1, readingsDelivered: 1, bytesSent: 1,
          inFlight: 1, lastError: "e", nextAttemptSeconds: 1, failingSeconds: 1, holds: ["h"])
      ],
      alarms: [.init(kind: "k", text: "t", subject: "s", severity: .page, since: "s", runbook: "r")],
      objectives: [
        .init(
          name: "n", state: .ok, target: 1, periodSeconds: 1, measured: 1, good: 1, bad: 1, budgetRemaining: 1,
          burnRate5m: 1, burnRate30m: 1, burnRate1h: 1, burnRate6h: 1, burnRate3d: 1)
      ],
      credentials: [
        .init(
          CredentialState(
            CredentialSight(
              file: .init(holder: "h", role: .certificate, path: "/p"),
              periods: .success([.init(notBefore: 0, notAfter: 1)])), AlarmSettings(), now: 0, isCertain: true), now: 0)
      ])
    words += CredentialFile.Role.allCases.map(\.rawValue) + CredentialState.Standing.allCases.map(\.rawValue)
    words += AlarmKind.allCases.map(\.rawValue) + ObjectiveName.allCases.map(\.rawValue)
    words += AlarmSeverity.allCases.map(\.rawValue) + ObjectiveReport.State.allCases.map(\.rawValue)
    let sections = ["sources", "pipelines", "uplinks", "alarms", "expectations", "objectives", "credentials"]
    for line in try Output.json(report).split(separator: "\n") {
      let parts = line.split(separator: "\"")
      guard parts.count >= 2, parts[1].allSatisfy({ $0.isLetter }), line.contains("\" : ") else { continue }
      words.append(sections.contains(String(parts[1])) ? "\(parts[1])[]" : String(parts[1]))
    }
    #expect(words.count > 60)
    for word in words { #expect(page.contains("`\(word)`"), "\(word) is not in docs/status.md") }
  }

  @Test("Every key that is accepted is documented")
  func everyKeyIsDocumented() throws {
    let page = try Self.read("docs/configuration.md")
    // A mapping with one unknown key makes the reader say which keys there are.
    let probe = """
      "?": 1
      gateway: { "?": 1 }
      sources: { floor: { "?": 1, mqtt: { "?": 1 } } }
      spool: { "?": 1, group: { "?": 1 } }
      pipelines:
        climate:
          "?": 1
          decode: { "?": 1, format: csv }
          time: { "?": 1 }
          dedupe: { "?": 1 }
          sequence: { "?": 1 }
          enrich: { "?": 1, columns: { a: { "?": 1 } } }
          mask: { a: { "?": 1 } }
          token_keys: { "?": 1 }
          window: { "?": 1, late_readings: { "?": 1 } }
          batch: { "?": 1 }
          dead_letters: { "?": 1 }
          limits: { "?": 1 }
          drift: { "?": 1 }
      uplinks: { a: { "?": 1, http: { "?": 1 }, file: { "?": 1 }, retry: { "?": 1 }, breaker: { "?": 1 } } }
      dead_letters: { "?": 1 }
      limits: { "?": 1 }
      status: { "?": 1, tls: { "?": 1 }, clients: [ { "?": 1 } ] }
      objectives: { "?": 1, delivery: { "?": 1 }, freshness: { "?": 1 }, dead_letters: { "?": 1 } }
      alarms: { "?": 1, webhook: { "?": 1 }, mqtt: { "?": 1 } }
      log: { "?": 1 }
      shutdown: { "?": 1 }
      telemetry: { "?": 1, otlp: { "?": 1 } }
      """
    do throws(ConfigurationErrors) {
      _ = try Self.decode(probe)
      Issue.record("must be refused")
    } catch {
      let lists = error.diagnostics.compactMap { diagnostic -> String? in
        guard let hint = diagnostic.hint, hint.hasPrefix("there are: ") else { return nil }
        return String(hint.dropFirst("there are: ".count))
      }
      #expect(lists.count == 42)
      for key in lists.flatMap({ $0.split(separator: ", ") }) {
        let isDocumented =
          page.contains("`\(key)`") || page.contains(".\(key)`") || page.contains("## \(key)")
          || page.contains(", \(key)") || page.contains("`\(key).")
        #expect(isDocumented, "\(key) is not in docs/configuration.md")
      }
    }
  }
}
