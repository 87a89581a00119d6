import Foundation
import TestSupport
import Testing

@Suite("Metrics and traces of a running daemon")
struct MetricsTests {
  /// The page by series.
  static func metrics(_ house: House) throws -> [String: Double] {
    let page = try house.run("status", ["--metrics", "--socket", house.spool + "/forebay.sock"]).output
    var series: [String: Double] = [:]
    for line in page.split(separator: "\n") where !line.hasPrefix("#") {
      let space = try #require(line.lastIndex(of: " "))
      series[String(line[..<space])] = Double(line[line.index(after: space)...])
    }
    return series
  }

  struct Trace: Decodable {
    struct Span: Decodable {
      var name: String
      var span: String
      var began: String
      var seconds: Double
      var attempt: Int?
      var answer: String?
    }
    struct Link: Decodable {
      var trace: String
      var span: String
    }
    var trace: String
    var batch: String
    var readings: Int
    var seconds: Double
    var delivered: String?
    var spans: [Span]
    var links: [Link]
  }

  static func traces(_ house: House) throws -> [Trace] {
    let text = try house.run("status", ["--traces", "--socket", house.spool + "/forebay.sock"]).output
    return try JSONDecoder().decode([Trace].self, from: Data(text.utf8))
  }

  @Test("the page agrees with the status, in an outage and after it, and promtool takes it")
  func page() throws {
    let house = try House("metrics")
    try house.startDaemon()
    try house.publish(devices: 10, count: 500)
    try house.wait("everything is sealed") {
      let status = try house.status()
      return status.spool.received == 500 && status.pipelines[0].outboxReadings == 500
    }
    try house.wait("the outbox shows") {
      try Self.metrics(house)[#"forebay_outbox_readings{pipeline="machines"}"#] == 500
    }
    let before = try Self.metrics(house)
    #expect(before[#"forebay_source_messages_total{source="floor"}"#] == 500)
    #expect(before[#"forebay_pipeline_messages_total{pipeline="machines",outcome="decoded"}"#] == 500)
    #expect(before[#"forebay_pipeline_readings_total{pipeline="machines",outcome="delivered"}"#] == 0)
    #expect(before[#"forebay_pipeline_freshness_seconds{pipeline="machines"}"#] ?? 0 > 0)
    #expect(before[#"forebay_outbox_oldest_seconds{pipeline="machines"}"#] ?? 0 > 0)
    #expect(before[#"forebay_uplink_answers_total{uplink="central",answer="unreachable"}"#] ?? 0 > 0)
    #expect(before["forebay_commit_duration_seconds_count"] ?? 0 > 0)
    #expect(before[#"forebay_end_to_end_seconds_count{pipeline="machines"}"#] == nil)

    // What waited through a restart was received before it.
    #expect(house.stopDaemon() == 0)
    try house.startUpstream()
    try house.startDaemon()
    try house.settle(received: 500)
    try house.wait("the outbox is empty") {
      try Self.metrics(house)[#"forebay_outbox_batches{pipeline="machines"}"#] == 0
    }
    let after = try Self.metrics(house)
    #expect(after[#"forebay_pipeline_readings_total{pipeline="machines",outcome="delivered"}"#] == 500)
    #expect(after[#"forebay_pipeline_freshness_seconds{pipeline="machines"}"#] == 0)
    let batches = after[#"forebay_uplink_batches_delivered_total{uplink="central"}"#]
    #expect(after[#"forebay_end_to_end_seconds_count{pipeline="machines"}"#] == batches)
    #expect(after[#"forebay_uplink_readings_delivered_total{uplink="central"}"#] == 500)

    let file = try house.directory.write(
      try house.run("status", ["--metrics", "--socket", house.spool + "/forebay.sock"]).output, to: "page")
    let checked = try ChildProcess.run(
      House.root + "/.tools/debian/usr/bin/promtool", ["check", "metrics"], input: file)
    #expect(checked.status == 0 && checked.output.isEmpty, "\(checked.output)")
  }

  @Test("a batch is one trace, which begins with the device's and is the one that the upstream is told")
  func trace() throws {
    let house = try House("traces")
    try house.startUpstream(fail: ["500x2"])
    try house.startDaemon()
    let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for (seq, value) in [(1, context), (2, "00-nonsense")] {
      let sent = try ChildProcess.run(
        "mosquitto_pub",
        [
          "-h", "127.0.0.1", "-p", "\(house.broker.port)", "-V", "5", "-q", "1", "-t", "sensors/dev1/a",
          "-D", "publish", "user-property", "traceparent", value,
          "-m", #"{"device":"dev1","seq":\#(seq),"ts":1795231080000}"#,
        ])
      #expect(sent.status == 0, "\(sent.output)")
    }
    try house.settle(received: 2)
    let traces = try Self.traces(house)
    #expect(traces.reduce(0) { $0 + $1.readings } == 2)
    let linked = try #require(traces.last)
    #expect(linked.links.map(\.trace) == ["0af7651916cd43dd8448eb211c80319c"])
    #expect(linked.links.map(\.span) == ["b7ad6b7169203331"])
    #expect(traces.flatMap(\.links).count == 1)
    for trace in traces {
      #expect(trace.delivered != nil && trace.seconds > 0)
      #expect(trace.spans.prefix(3).map(\.name) == ["receive", "commit", "seal"])
      #expect(trace.spans.last?.answer == "has-it" && trace.spans.allSatisfy { $0.seconds >= 0 })
      #expect(Set(trace.spans.map(\.span)).count == trace.spans.count)
    }
  }
}

@Suite("Export to an OpenTelemetry collector")
struct TelemetryExportTests {
  private func object(_ request: FaultyUpstream.Request, in directory: TemporaryDirectory) throws -> [String: Any] {
    let packed = directory.file("body.gz")
    try Data(request.body).write(to: URL(fileURLWithPath: packed))
    let plain = try ChildProcess.run("gzip", ["-dc", packed]).output
    return try #require(try JSONSerialization.jsonObject(with: Data(plain.utf8)) as? [String: Any])
  }

  @Test("metrics and the traces of delivered batches arrive, and a collector that fails holds up nothing")
  func exported() async throws {
    // The first requests of each kind fail: metrics are left out, traces come again.
    let collector = try await FaultyUpstream { request, number in
      number < 4 ? .answer(503) : .answer(200, fields: [("Content-Type", "application/json")], body: "{}")
    }
    let house = try House(
      "otlp",
      House.Options(
        extra: "telemetry: { otlp: { url: \"http://127.0.0.1:\(collector.port)/base/\", interval: 5 s } }"))
    try house.startUpstream()
    try house.startDaemon()
    try house.publish(devices: 5, count: 50)
    try house.settle(received: 50)
    try house.wait("both were taken", within: 60) {
      let taken = collector.requests.enumerated().filter { $0.offset >= 4 }.map(\.element.target)
      return Set(taken) == ["/base/v1/metrics", "/base/v1/traces"]
    }
    #expect(collector.requests.allSatisfy { $0.method == "POST" && $0["Content-Encoding"] == "gzip" })
    #expect(collector.requests.allSatisfy { $0["Content-Type"] == "application/json" })

    let metrics = try #require(collector.requests.last { $0.target == "/base/v1/metrics" })
    let resource = try #require(
      (try object(metrics, in: house.directory)["resourceMetrics"] as? [[String: Any]])?.first)
    let scope = try #require((resource["scopeMetrics"] as? [[String: Any]])?.first)
    let names = try #require(scope["metrics"] as? [[String: Any]]).compactMap { $0["name"] as? String }
    #expect(names.contains("forebay_log_messages_total") && names.contains("forebay_commit_duration_seconds"))

    let traces = try #require(
      collector.requests.enumerated().first { $0.offset >= 4 && $0.element.target == "/base/v1/traces" })
    let spansIn = try #require(
      (try object(traces.element, in: house.directory)["resourceSpans"] as? [[String: Any]])?.first)
    let spans = try #require(((spansIn["scopeSpans"] as? [[String: Any]])?.first)?["spans"] as? [[String: Any]])
    let delivered = spans.filter { $0["name"] as? String == "deliver" }.count
    let page = try MetricsTests.metrics(house)
    #expect(Double(delivered) == page[#"forebay_uplink_batches_delivered_total{uplink="central"}"#])
    #expect(page[#"forebay_telemetry_exports_total{signal="metrics",outcome="failed"}"#] ?? 0 > 0)
    #expect(page[#"forebay_telemetry_exports_total{signal="traces",outcome="sent"}"#] ?? 0 > 0)
    let log = TemporaryDirectory.read(house.directory.file("daemon.log"))
    #expect(log.components(separatedBy: "telemetry cannot be exported").count == 2, "it is said once")
    #expect(house.stopDaemon() == 0)
    await collector.shutdown()
  }
}
