import Foundation
import TestSupport
import Testing

@testable import forebay

/// The programs that `make deps` unpacks into the tree, and the tree itself.
enum CentralTools {
  static let root = String(#filePath.components(separatedBy: "/Tests/ForebayTests/")[0])
  static let promtool = root + "/.tools/debian/usr/bin/promtool"
  static let amtool = root + "/.tools/debian/usr/bin/amtool"
  static let central = root + "/packaging/central"

  static func files(_ folder: String, _ ending: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: "\(central)/\(folder)")
      .filter { $0.hasSuffix(ending) }.sorted().map { "\(central)/\(folder)/\($0)" }
  }

  static func text(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

  /// The first group of each match.
  static func matches(_ pattern: String, in text: String) throws -> [String] {
    let expression = try NSRegularExpression(pattern: pattern, options: [.anchorsMatchLines])
    return expression.matches(in: text, range: NSRange(text.startIndex..., in: text)).compactMap {
      Range($0.range(at: 1), in: text).map { String(text[$0]) }
    }
  }
}

@Suite("Fleet: what the platform team takes from packaging/central") struct CentralPackageTests {
  @Test("Prometheus takes the configuration and the rules")
  func configuration() throws {
    let folder = try TemporaryDirectory("central")
    // The secrets are the platform team's own.
    let (status, output) = try ChildProcess.run(
      "sh",
      [
        "-c",
        """
        cp -r '\(CentralTools.central)/.' '\(folder.path)' && mkdir -p '\(folder.path)/secrets' &&
        echo token > '\(folder.path)/secrets/gateways.token' &&
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x -days 1 \
          -keyout /dev/null -out '\(folder.path)/secrets/ca.pem' 2>/dev/null &&
        '\(CentralTools.promtool)' check config '\(folder.path)/prometheus.yml' &&
        '\(CentralTools.promtool)' check rules '\(folder.path)'/rules/*.yml
        """,
      ])
    #expect(status == 0, "\(output)")
    #expect(!output.contains("FAILED"))
  }

  @Test("every alert fires in a test of the rules, and resolves")
  func rules() throws {
    let tests = try CentralTools.files("tests", ".yml")
    let (status, output) = try ChildProcess.run(CentralTools.promtool, ["test", "rules"] + tests)
    #expect(status == 0, "\(output)")
    let tested = try tests.map(CentralTools.text).joined()
    for file in try CentralTools.files("rules", ".yml") {
      for alert in try CentralTools.matches(#"^ *- alert: (\w+)$"#, in: try CentralTools.text(file)) {
        let fires = "alertname: \(alert)\n        exp_alerts:\n          - exp_labels"
        #expect(tested.contains(fires), "\(alert) never fires")
        #expect(tested.contains("alertname: \(alert), exp_alerts: [] }"), "\(alert) never resolves")
      }
    }
  }

  @Test("Alertmanager takes the routing, and a page goes where pages go")
  func routing() throws {
    let file = CentralTools.central + "/alertmanager.yml"
    let checked = try ChildProcess.run(CentralTools.amtool, ["check-config", file])
    #expect(checked.status == 0, "\(checked.output)")
    for (severity, receiver) in [("page", "on-call"), ("ticket", "tickets")] {
      let routed = try ChildProcess.run(
        CentralTools.amtool,
        [
          "config", "routes", "test", "--config.file", file, "--verify.receivers=\(receiver)",
          "severity=\(severity)", "site=s",
        ])
      #expect(routed.status == 0, "\(routed.output)")
    }
  }

  /// What is documented, with what histograms make of their names.
  private func documented() throws -> Set<String> {
    let page = try CentralTools.text(CentralTools.root + "/docs/metrics.md")
    let fleet = try CentralTools.text(CentralTools.root + "/docs/fleet.md")
    let names = try CentralTools.matches(#"\b((?:forebay|process)_[a-z0-9_]+)"#, in: page + fleet)
    return Set(names.flatMap { [$0, $0 + "_bucket", $0 + "_sum", $0 + "_count"] })
  }

  @Test("rules and dashboards refer only to metrics that exist")
  func names() throws {
    let known = try documented()
    let files =
      try CentralTools.files("rules", ".yml") + CentralTools.files("dashboards", ".json")
      + CentralTools.files("tests", ".yml")
    #expect(files.count >= 7)
    for file in files {
      let text = try CentralTools.text(file)
      // What recording rules make is called level:metric:operation, and is no metric of ours.
      let names = try CentralTools.matches(#"(?<![:\w/-])((?:forebay|process)_[a-z0-9_]+)(?![:\w])"#, in: text)
      #expect(!names.isEmpty, "\(file)")
      for name in Set(names) { #expect(known.contains(name), "\(name) in \(file) is not documented") }
      let recorded = try CentralTools.matches(#"\b((?:gateway|site|fleet):[a-z0-9_]+:\w+)"#, in: text)
      let rules = try CentralTools.text(CentralTools.central + "/rules/recording.yml")
      for name in Set(recorded) { #expect(rules.contains("record: \(name)\n"), "\(name) in \(file) is not recorded") }
    }
  }

  /// The sections of docs/operations.md, one for each kind of alarm.
  private static let kinds = [
    "api", "backlog", "clock", "configuration", "dead-letters", "disk", "dropped-by-broker", "notification",
    "objective", "parked", "pipelines", "source", "subscription", "table", "uplink",
  ]

  /// As links name them.
  private func headings(of page: String) throws -> [String] {
    let path = "\(CentralTools.root)/docs/\(page)"
    guard page != "operations.md" || FileManager.default.fileExists(atPath: path) else {
      return CentralPackageTests.kinds
    }
    return try CentralTools.matches("^#+ `?([^`\n]+)`?$", in: try CentralTools.text(path)).map {
      $0.lowercased().replacingOccurrences(of: " ", with: "-")
    }
  }

  @Test("every runbook that an alert links to is there")
  func runbooks() throws {
    var seen = 0
    for file in try CentralTools.files("rules", ".yml") {
      let pattern = #"\$externalLabels.runbooks \}\}/([a-z]+\.md#[a-z-]+)$"#
      for link in try CentralTools.matches(pattern, in: CentralTools.text(file)) {
        let parts = link.split(separator: "#").map(String.init)
        let headings = try headings(of: parts[0])
        #expect(headings.contains(parts[1]), "\(link) in \(file)")
        seen += 1
      }
    }
    #expect(seen >= 25)
  }

  @Test("dashboards are documents that Grafana takes: panels with their own ids, on the data source that is chosen")
  func dashboards() throws {
    struct Dashboard: Decodable {
      struct Panel: Decodable {
        struct Target: Decodable { var expr: String }
        struct Place: Decodable { var x: Int, y: Int, w: Int, h: Int }
        var id: Int
        var title: String
        var type: String
        var gridPos: Place
        var targets: [Target]?
        var datasource: [String: String]?
      }
      var uid: String
      var title: String
      var panels: [Panel]
    }
    let files = try CentralTools.files("dashboards", ".json")
    #expect(files.count == 2)
    var expressions: [String] = []
    for file in files {
      let dashboard = try JSONDecoder().decode(Dashboard.self, from: Data(try CentralTools.text(file).utf8))
      #expect(Set(dashboard.panels.map(\.id)).count == dashboard.panels.count)
      for panel in dashboard.panels where panel.type != "row" {
        #expect(panel.gridPos.x + panel.gridPos.w <= 24, "\(panel.title)")
        #expect(panel.datasource?["uid"] == "${datasource}", "\(panel.title)")
        #expect(panel.targets?.isEmpty == false, "\(panel.title)")
        expressions += (panel.targets ?? []).map(\.expr)
      }
    }
    // Grafana's variables stand within strings; its intervals do not. What is left must be PromQL.
    let rules = expressions.enumerated().map { index, expression in
      let plain = expression.replacingOccurrences(of: "$__rate_interval", with: "5m")
      return "  - { record: 'x\(index)', expr: '\(plain.replacingOccurrences(of: "'", with: "''"))' }"
    }
    let folder = try TemporaryDirectory("dashboards")
    let file = try folder.write("groups:\n- name: g\n  rules:\n\(rules.joined(separator: "\n"))\n", to: "rules.yml")
    let checked = try ChildProcess.run(CentralTools.promtool, ["check", "rules", file])
    #expect(checked.status == 0, "\(checked.output)")
    #expect(expressions.count > 50)
  }
}
