import Foundation
import TestSupport
import Testing

/// Debian's Prometheus with our rules, and a daemon that runs: what the platform team sees of an outage.
@Suite("End to end: Prometheus", .serialized) struct PrometheusTests {
  /// A Prometheus in a folder of its own, with the rules of packaging/central, which wait 600 times shorter.
  final class Prometheus {
    private let folder: TemporaryDirectory
    private let child: ChildProcess
    private let port: Int

    /// - Parameter jobs: scrape configurations, as YAML.
    init(jobs: String) throws {
      folder = try TemporaryDirectory("prometheus")
      port = try freePort()
      let rules = House.root + "/packaging/central/rules"
      for name in try FileManager.default.contentsOfDirectory(atPath: rules) {
        let text = try String(contentsOfFile: "\(rules)/\(name)", encoding: .utf8)
        try folder.write(Prometheus.shortened(text), to: name)
      }
      try folder.write(
        """
        global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s, external_labels: { runbooks: /docs } }
        rule_files: ["*alerts.yml", recording.yml]
        scrape_configs:
        \(jobs)
        """, to: "prometheus.yml")
      child = try ChildProcess(
        House.root + "/.tools/debian/usr/bin/prometheus",
        [
          "--config.file=\(folder.file("prometheus.yml"))", "--storage.tsdb.path=\(folder.file("data"))",
          "--web.listen-address=127.0.0.1:\(port)", "--log.level=warn",
        ], output: folder.file("log"))
      guard try eventually(within: 30, { try get("/-/ready").contains("Ready") }) else {
        throw House.Trouble(description: "Prometheus is not ready: \(log)")
      }
    }

    deinit {
      child.signal(SIGTERM)
      if child.wait(seconds: 20) == nil { child.signal(SIGKILL) }
    }

    var log: String { TemporaryDirectory.read(folder.file("log")) }

    /// `for: 10m` as `for: 1s`, `for: 2h` as `for: 12s`: the order of the alerts stays.
    static func shortened(_ rules: String) -> String {
      rules.split(separator: "\n", omittingEmptySubsequences: false).map { line in
        let trimmed = line.drop { $0 == " " }
        guard trimmed.hasPrefix("for: "), let unit = trimmed.last, let number = Int(trimmed.dropFirst(5).dropLast())
        else { return String(line) }
        let seconds = number * (unit == "h" ? 3_600 : 60)
        return line.prefix(line.count - trimmed.count) + "for: \(max(1, seconds / 600))s"
      }.joined(separator: "\n")
    }

    func get(_ path: String) throws -> String {
      try ChildProcess.run("curl", ["-s", "--max-time", "5", "http://127.0.0.1:\(port)\(path)"]).output
    }

    struct Alert: Decodable {
      var labels: [String: String]
      var annotations: [String: String]
      var state: String
    }

    /// Alerts that fire.
    func firing() throws -> [Alert] {
      struct Answer: Decodable {
        struct Content: Decodable { var alerts: [Alert] }
        var data: Content
      }
      return try JSONDecoder().decode(Answer.self, from: Data(try get("/api/v1/alerts").utf8)).data.alerts
        .filter { $0.state == "firing" }
    }

    /// The values of an expression now.
    func values(_ expression: String) throws -> [Double] {
      struct Answer: Decodable {
        struct Content: Decodable {
          struct Sample: Decodable {
            var value: Value
          }
          struct Value: Decodable {
            var number: Double
            init(from decoder: any Decoder) throws {
              var list = try decoder.unkeyedContainer()
              _ = try list.decode(Double.self)
              number = Double(try list.decode(String.self)) ?? .nan
            }
          }
          var result: [Sample]
        }
        var data: Content
      }
      let query = expression.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
      let text = try get("/api/v1/query?query=\(query)")
      return try JSONDecoder().decode(Answer.self, from: Data(text.utf8)).data.result.map(\.value.number)
    }
  }

  @Test("an upstream that goes away fires the uplink's alert with its runbook, and its return ends it")
  func outage() throws {
    var options = House.Options()
    options.listen = "127.0.0.1:0"
    let house = try House("prometheus", options)
    try house.startUpstream()
    try house.startDaemon()
    let port = try #require(try house.listening())
    let list = try house.directory.write("http://127.0.0.1:\(port) name=gw site=plant-7\n", to: "fleet.txt")
    let fleetLog = house.directory.file("fleet.log")
    let fleet = try ChildProcess(
      House.forebay, ["fleet", "--inventory", list, "--every", "1s", "--serve", "127.0.0.1:0", "--fail-on", "never"],
      output: fleetLog)
    defer {
      fleet.signal(SIGTERM)
      _ = fleet.wait(seconds: 10)
    }
    try house.wait("the fleet is served") { TemporaryDirectory.read(fleetLog).contains("listening on ") }
    let exporter = try #require(
      TemporaryDirectory.read(fleetLog).split(separator: "\n").first { $0.hasPrefix("listening on ") }?.dropFirst(13))
    let prometheus = try Prometheus(
      jobs: """
          - job_name: forebay
            static_configs: [{ targets: ["127.0.0.1:\(port)"], labels: { gateway: gw, site: plant-7 } }]
          - job_name: forebay-fleet
            honor_labels: true
            static_configs: [{ targets: ["\(exporter)"] }]
        """)
    let devices = try house.simulate(["--devices", "5", "--rate", "4"])
    defer {
      devices.signal(SIGINT)
      _ = devices.wait(seconds: 20)
    }
    try house.wait("both jobs are scraped", within: 30) { try prometheus.values("up == 1").count == 2 }
    try house.wait("readings are seen to be delivered", within: 30) {
      try prometheus.values(#"forebay_uplink_readings_delivered_total{uplink="central"} > 0"#).count == 1
    }
    #expect(try prometheus.values(#"forebay_fleet_gateway_state{gateway="gw",site="plant-7"} < 3"#).count == 1)
    func uplinkAlerts() throws -> [Prometheus.Alert] {
      try prometheus.firing().filter { $0.labels["alertname"]?.contains("Uplink") == true }
    }
    #expect(try uplinkAlerts().isEmpty)

    house.killUpstream()
    try house.wait("the alert fires", within: 60) { try !uplinkAlerts().isEmpty }
    let alert = try #require(try uplinkAlerts().first)
    #expect(alert.labels["alertname"] == "ForebayUplinkFailing" && alert.labels["severity"] == "ticket")
    #expect(alert.labels["gateway"] == "gw" && alert.labels["site"] == "plant-7" && alert.labels["uplink"] == "central")
    #expect(alert.annotations["summary"] == "The uplink central of gw delivers nothing")
    #expect(alert.annotations["runbook_url"] == "/docs/operations.md#uplink")
    // An outage that lasts calls somebody.
    try house.wait("the page follows", within: 60) {
      try uplinkAlerts().contains {
        $0.labels["alertname"] == "ForebayUplinkFailingLong" && $0.labels["severity"] == "page"
      }
    }

    try house.startUpstream()
    try house.wait("its end ends them", within: 60) { try uplinkAlerts().isEmpty }
    #expect(try prometheus.values("forebay_uplink_failing_seconds == 0").count == 1)
  }
}
