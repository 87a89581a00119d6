import Foundation
import Logging
import Telemetry
import TestSupport
import Testing

@testable import Delivery
@testable import Ingest
@testable import Pipeline
@testable import Spool
@testable import Status
@testable import forebay

@Suite("The daemon's page of metrics")
struct MetricsPageTests {
  private static let boot = BootID(high: 1, low: 2)
  private static let now = moment(1_000_000_000_000)

  private static func moment(_ nanoseconds: Int64) -> Moment {
    Moment(
      boot: boot, monotonic: nanoseconds, wall: 1_795_231_080_000_000_000 + nanoseconds, quality: .synchronised)
  }

  /// One of everything.
  private static func figures() -> DaemonFigures {
    var source = SourceStatus(name: "floor", address: "127.0.0.1:1883", state: .connected, since: now)
    source.messages = 12
    source.lastMessage = now.monotonic - 25_000_000_000
    source.droppedByBroker = SourceStatus.Dropped(total: 3, sinceConnected: 1)
    var uplink = UplinkStatus(name: "central")
    uplink.answers = [.hasIt: 4, .notNow: 2]
    uplink.attempts = 6
    uplink.outage = DeliveryOutage(since: now.monotonic - 2_500_000_000, isLocal: false, reason: "away")
    var counters = LedgerCounters { $0.decoded = 10 }
    counters.produced = 11
    counters.delivered = 7
    var observations = StageObservations()
    observations.windows = StageObservations.Windows(
      open: 2, keys: 1, closedEarly: 0, watermark: now.wall - 30_000_000_000)
    let running = PipelineWorker.Figures(
      readPosition: Offset(90), checkpoint: Offset(80), openReadings: 3, openBytes: 100, version: "v",
      observations: observations, expectations: [])
    let pipeline = DaemonFigures.Pipeline(
      name: "climate", uplink: "central", counters: counters,
      waiting: StateTotals.Waiting(
        batches: 1, readings: 4, bytes: 99, oldestSealed: moment(999_000_000_000), oldestAge: 500_000_000),
      oldestOutbox: 1_000_000_000, deadLetters: 2, deadLetterBytes: 600, running: running, backlog: 10,
      backlogBytes: 1_000, backlogAge: 2_000_000_000, waits: true, oldestAge: 2_000_000_000)
    var figures = DaemonFigures(
      now: now, uptime: 900_000_000_000, gateway: "gw", site: "plant \"7\"", sources: [source], used: 1, free: 2,
      maximum: 3, minimumFree: 4, parked: nil,
      end: LogStore.End(log: LogID(rawValue: "00"), next: Offset(100), received: 100), pipelines: [pipeline],
      replays: [.running: 1], uplinks: [uplink],
      process: DaemonFigures.Process(
        residentBytes: 5, cpuSeconds: 1.5, openFiles: 6, maximumFiles: 7, writtenBytes: 8))
    figures.objectives = [
      DaemonFigures.Objective(
        name: .freshness, target: 0.99, budgetRemaining: 0.5, burnRates: [(MetricLabels("window", "1h"), 0.25)])
    ]
    figures.alarms = [AlarmCount(.parked, .page, count: 1)]
    return figures
  }

  private static func batch() throws -> Batch {
    let epoch = try #require(Epoch(rawValue: "0123456789abcdef"))
    return Batch(
      identity: BatchIdentity(gateway: "gw", pipeline: "climate", epoch: epoch, sequence: 1), version: "v",
      log: LogID(rawValue: "00"), firstOffset: Offset(0), lastOffset: Offset(0), count: 1, encoding: .ndjson,
      compression: .none, body: [1], length: 1, digest: Digest(of: [1]), previous: .zero, sealed: moment(10),
      ages: Batch.Ages(first: 7_000_000_000, last: 0))
  }

  /// The page of a daemon that has everything.
  private static func page(in directory: TemporaryDirectory) async throws -> String {
    let text = """
      gateway: { id: gw }
      sources: { floor: { mqtt: { url: "mqtt://127.0.0.1:1883" } } }
      spool: { directory: "\(directory.file("spool"))", min_free: 1 MiB }
      pipelines: { climate: { from: ["sensors/#"], to: central } }
      uplinks: { central: { file: { directory: "\(directory.file("out"))" } } }
      """
    let configuration = try Configuration.decode(
      Configuration.Origin(path: directory.file("forebay.yaml"), bytes: Array(text.utf8)), shownAs: "test",
      files: .system, toleratesSurroundings: true)
    let daemon = try Daemon(
      configuration, alarm: nil, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    defer { daemon.spool.close() }
    let own = String(decoding: await daemon.metricsPage(), as: UTF8.self)
    #expect(own.contains("forebay_build_info{version=\"\(Version.current)\",gateway=\"gw\",site=\"\"} 1\n"))

    let batch = try batch()
    let meters = StageMeters(moment: { moment(20) })
    var group = MessageGroup(boot: boot)
    group.append(Message(origin: Origin(source: "s", topic: "t"), payload: [1], qos: .atMostOnce, received: moment(1)))
    meters.committed(group, first: Offset(0), began: 2, ended: 5)
    let state = PipelineState(
      gateway: "gw", epoch: batch.identity.epoch, nextSequence: 2, previousDigest: batch.digest, log: batch.log,
      checkpoint: Offset(1))
    meters.sealed(Seal(batches: [batch], state: state), pipeline: "climate", began: 12)
    meters.ended(DeliveryAttempt(uplink: "central", number: 1, began: 13, ended: 15, answer: .hasIt), of: batch)
    meters.registry.count(
      TelemetryExporter.exports, MetricLabels("signal", "metrics").adding("outcome", "sent"),
      help: "Exports to an OpenTelemetry collector (telemetry.otlp) by how they ended.")
    let trace = try #require(meters.traces.traces.first)
    #expect(trace.stages.map(\.name) == ["receive", "commit", "seal"] && trace.delivered != nil)

    var page = PrometheusPage()
    figures().gather(into: &page)
    let certificate = CredentialSight(
      file: CredentialFile(holder: "uplink central", role: .certificate, path: "/c"),
      periods: .success([CertificatePeriod(notBefore: 0, notAfter: 100)]))
    CredentialState.gather(
      [CredentialState(certificate, AlarmSettings(), now: 0, isCertain: true)], now: 0, into: &page)
    Daemon.gatherState(isOpen: true, tracesLost: 0, into: &page)
    meters.registry.collect(into: &page)
    return String(decoding: page.document(), as: UTF8.self)
  }

  private static func families(_ page: String) -> [String: String] {
    let lines = page.split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }.map { $0.split(separator: " ") }
    return Dictionary(uniqueKeysWithValues: lines.map { (String($0[2]), String($0[3])) })
  }

  @Test("has what docs/metrics.md describes, with its type and labels, and nothing else")
  func documented() async throws {
    let page = try await Self.page(in: try TemporaryDirectory("metrics"))
    let path = String(#filePath.components(separatedBy: "/Tests/")[0]) + "/docs/metrics.md"
    let rows = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
      .filter { $0.hasPrefix("| `") }.map { $0.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) } }
    let types = Dictionary(
      rows.map { ($0[0].filter { $0 != "`" }, $0[1]) }, uniquingKeysWith: { first, _ in first })
    #expect(types.count == rows.count, "each is described once")
    #expect(types == Self.families(page))
    for row in rows {
      let name = row[0].filter { $0 != "`" }
      let wanted = Set(row[2].split(whereSeparator: { ", `".contains($0) }).map(String.init))
      let series = page.split(separator: "\n").first { $0.hasPrefix(name) }
      let labels = series.map { $0.matches(of: /([a-z_]+)="/).map { String($0.1) } } ?? []
      #expect(Set(labels).subtracting(["le"]) == wanted, "\(name)")
    }
  }

  @Test("promtool and Prometheus's own parser take it")
  func checked() async throws {
    let directory = try TemporaryDirectory("metrics")
    let page = try await Self.page(in: directory)
    let file = try directory.write(page, to: "page")
    let root = String(#filePath.components(separatedBy: "/Tests/")[0])
    let promtool = try ChildProcess.run(
      root + "/.tools/debian/usr/bin/promtool", ["check", "metrics"], input: file)
    #expect(promtool.status == 0 && promtool.output.isEmpty, "\(promtool.output)")
    let parsed = try ChildProcess.run(
      root + "/.tools/python/bin/python",
      [
        "-c",
        """
        import sys
        from prometheus_client.parser import text_string_to_metric_families
        families = list(text_string_to_metric_families(sys.stdin.read()))
        names = [family.name for family in families]
        assert names == sorted(names), names
        build = next(family for family in families if family.name == "forebay_build_info")
        print(len(families), build.samples[0].labels["site"])
        """,
      ], input: file)
    #expect(parsed.output == "\(Self.families(page).count) plant \"7\"\n", "\(parsed.output)")
  }

  @Test("the same figures give the same bytes, and a label never names a device")
  func deterministic() throws {
    func text() -> String {
      var page = PrometheusPage()
      Self.figures().gather(into: &page)
      return String(decoding: page.document(), as: UTF8.self)
    }
    #expect(text() == text())
    #expect(!text().contains("device=") && !text().contains("rule="))
    #expect(text().contains("forebay_pipeline_watermark_lag_seconds{pipeline=\"climate\"} 30\n"))
    #expect(text().contains("forebay_uplink_answers_total{uplink=\"central\",answer=\"not-now\"} 2\n"))
    #expect(text().contains("forebay_uplink_failing_seconds{uplink=\"central\"} 2.5\n"))
    #expect(text().contains("process_start_time_seconds 1795231180\n"))
  }

  @Test("totals are gathered again as often as they are cheap, and never for more than a hundredth of the time")
  func throttled() {
    var cache = TotalsCache()
    var clock: Int64 = 0
    var gathered = 0
    var takes = TotalsCache.cheap
    func get(isFresh: Bool = false) {
      _ = cache.get(isFresh: isFresh, now: { clock }) {
        gathered += 1
        clock += takes
        return StateTotals()
      }
    }
    get()
    clock += 100 * takes - 1
    get()
    #expect(gathered == 1)
    clock += 1
    get()
    #expect(gathered == 2)
    get(isFresh: true)
    #expect(gathered == 3, "it is cheap")

    takes = 50_000_000
    get(isFresh: true)
    clock += 10 * takes - 1
    get(isFresh: true)
    #expect(gathered == 4, "a tenth of the time is enough for those who ask for what is now")
    clock += 1
    get(isFresh: true)
    #expect(gathered == 5)
  }

  @Test("the last commits tell how old something is and what lies behind it")
  func history() {
    var history = CommitHistory()
    #expect(history.commit(of: Offset(0)) == nil && history.stretch(from: Offset(0)) == nil)
    for index in 0..<Int64(CommitHistory.limit + 100) {
      history.add(
        CommitHistory.Commit(
          first: Offset(index * 10), end: Offset(index * 10 + 10), bytes: 100, received: Self.moment(index),
          began: index, ended: index + 1))
    }
    #expect(history.commit(of: Offset(999)) == nil, "it is too old")
    #expect(history.commit(of: Offset(1_000))?.began == 100 && history.commit(of: Offset(1_009))?.began == 100)
    let end = Int64(CommitHistory.limit + 100) * 10
    #expect(history.commit(of: Offset(end)) == nil && history.stretch(from: Offset(end)) == nil)
    #expect(history.stretch(from: Offset(end - 15))?.bytes == 150)
    #expect(history.stretch(from: Offset(end - 15))?.oldest == Self.moment(end / 10 - 2))
  }
}
