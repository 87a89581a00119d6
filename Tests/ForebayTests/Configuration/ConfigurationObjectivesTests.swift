import Delivery
import Status
import Testing

@testable import forebay

@Suite("Configuration: objectives and alarms")
struct ConfigurationObjectivesTests {
  private static func decode(_ section: String) throws(ConfigurationErrors) -> Configuration {
    try Sample.decode(Sample.text + section)
  }

  @Test("without a section all objectives are kept with their defaults")
  func defaults() throws {
    let configuration = try Sample.decode(Sample.text)
    #expect(configuration.objectives == ObjectiveSettings.usual)
    #expect(configuration.alarms == AlarmSettings())
  }

  @Test("each can be changed or switched off, and so can all of them")
  func values() throws {
    let configuration = try Self.decode(
      """
      objectives:
        freshness: { within: 5 min, target: 99.5 %, over: 7 d }
        dead_letters: { below: 10 }
        gaps: off
      alarms: { runbooks: "https://wiki.example/forebay", backlog: 30 min }

      """)
    var freshness = ObjectiveSettings(target: 0.995, bound: 300_000_000_000)
    freshness.period = 7 * 86_400_000_000_000
    #expect(configuration.objectives[.freshness] == freshness)
    #expect(configuration.objectives[.deadLetters]?.bound == 10)
    #expect(configuration.objectives[.gaps] == nil)
    #expect(configuration.objectives[.delivery] == .usual(.delivery))
    #expect(configuration.alarms.longestWait == 1_800_000_000_000)
    #expect(configuration.alarms.runbook("uplink") == "https://wiki.example/forebay#uplink")
    #expect(try Self.decode("objectives: off\n").objectives.isEmpty)
  }

  private static let cases: [(String, String)] = [
    ("objectives: { fresness: { target: 99 % } }", "unknown key; did you mean 'freshness'?"),
    ("objectives: { delivery: { within: 5 s } }", "unknown key"),
    ("objectives: { delivery: { target: 0.99 } }", "'0.99' is no percentage, expected a percentage such as '99.9 %'"),
    ("objectives: { delivery: { target: 100 % } }", "out of range, expected 50 % to 99.999 %; without an error budget"),
    ("objectives: { delivery: { target: 1e1 % } }", "is no percentage"),
    ("objectives: { delivery: { over: 31 d } }", "out of range, expected 1 d to 30 d"),
    ("objectives: { latency: { within: 5 } }", "add a unit"),
    ("objectives: { dead_letters: { below: 0 } }", "0 is out of range"),
    ("objectives: no", "is the text 'no', expected a mapping or off"),
    ("objectives: { delivery: no }", "is the text 'no', expected a mapping or off"),
    ("alarms: { runbooks: wiki }", "'wiki' is no place for runbooks"),
    ("alarms: { backlog: 1 s }", "out of range, expected 1 min to 30 d"),
    ("alarms: { backlogs: 1 h }", "unknown key; did you mean 'backlog'?"),
  ]

  @Test("what is wrong is named with its place and the way out", arguments: cases)
  func errors(_ section: String, _ expected: String) {
    let all = Sample.diagnostics(Sample.text + section + "\n")
    #expect(all.count == 1)
    let summary = all.first?.summary ?? ""
    #expect(summary.contains(expected), "\(summary)")
  }
}

@Suite("Configuration: who is told of alarms")
struct ConfigurationNotificationsTests {
  private static let files = Sample.machine(["/etc/oncall.token": "a-token-that-is-long-enough"])

  @Test("a webhook and a topic are taken over with their defaults")
  func values() throws {
    let text = """
      alarms:
        interval: 1 min
        webhook: { url: "https://oncall.example/hook?team=a", token_file: oncall.token }
        mqtt: { source: floor, topic: plant/alarms }

      """
    let configuration = try Sample.decode(Sample.text + text, files: Self.files)
    let settings = configuration.notifications
    #expect(settings.interval == 60_000_000_000)
    #expect(settings.webhook?.url == "https://oncall.example/hook?team=a")
    #expect(settings.webhook?.tokenFile == "/etc/oncall.token")
    #expect(settings.webhook?.timeout == 10_000_000_000)
    #expect(settings.mqtt == .init(source: "floor", topic: "plant/alarms"))
    #expect(Notifier.Channel.all(configuration).map(\.name) == ["webhook", "mqtt"])
    #expect(Notifier.Channel.all(try Sample.decode(Sample.text)).isEmpty)
  }

  private static let cases: [(String, String)] = [
    ("webhook: { token_file: oncall.token }", "the key 'url' is missing"),
    ("webhook: { url: 'ftp://a' }", "'ftp'"),
    ("webhook: { url: 'http://a.example', token_file: oncall.token }", "goes over the network in the clear"),
    ("webhook: { url: 'http://a.example', ca_file: ca.pem }", "the URL is not encrypted"),
    ("mqtt: { source: flor, topic: a }", "there is no source 'flor'; did you mean 'floor'?"),
    ("mqtt: { source: floor, topic: a/# }", "'a/#' is no topic to publish to"),
    ("mqtt: { source: floor }", "the key 'topic' is missing"),
    ("web_hook: 1", "did you mean 'webhook'?"),
  ]

  @Test("what is wrong is named", arguments: cases)
  func errors(_ section: String, _ expected: String) {
    let all = Sample.diagnostics(Sample.text + "alarms: { \(section) }\n", files: Self.files)
    #expect(all.contains { $0.summary.contains(expected) }, "\(all.map(\.summary))")
  }
}
