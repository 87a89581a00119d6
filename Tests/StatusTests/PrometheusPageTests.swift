import Metrics
import Testing

@testable import Status

@Suite("Prometheus page")
struct PrometheusPageTests {
  private func page(_ fill: (inout PrometheusPage) -> Void) -> String {
    var page = PrometheusPage()
    fill(&page)
    return String(decoding: page.document(), as: UTF8.self)
  }

  @Test("families are sorted by name, and a family without series is left out")
  func order() {
    let text = page { page in
      page.single("b_bytes", .gauge, 2 as Int64, help: "Second.")
      page.family("c_total", .counter, help: "Without series.")
      page.single("a_total", .counter, 1 as Int64, help: "First.")
    }
    #expect(
      text == """
        # HELP a_total First.
        # TYPE a_total counter
        a_total 1
        # HELP b_bytes Second.
        # TYPE b_bytes gauge
        b_bytes 2

        """)
  }

  @Test("a page that is written anew has nothing of the last one, and its own order")
  func restart() {
    var page = PrometheusPage(capacity: 16)
    func write(_ names: String...) -> String {
      page.restart()
      for name in names { page.single(name, .gauge, Int64(names.count), help: "H.") }
      return String(decoding: page.document(), as: UTF8.self)
    }
    func names(_ text: String) -> [Substring] { text.split(separator: "\n").filter { !$0.hasPrefix("#") } }
    #expect(names(write("b", "c", "a")) == ["a 3", "b 3", "c 3"])
    let again = write("b", "c", "a")
    #expect(names(again) == ["a 3", "b 3", "c 3"] && write("b", "c", "a") == again)
    #expect(names(write("c", "b", "a")) == ["a 3", "b 3", "c 3"])
    #expect(names(write("b", "ca")) == ["b 2", "ca 2"])
    #expect(write() == "")
  }

  @Test("labels and help are escaped as the format asks")
  func escaping() {
    let text = page { page in
      page.family("x", .gauge, help: "A \\ and\na line")
      page.sample(MetricLabels([("name", "a\"b\\c\nd")]), 1 as Int64)
    }
    #expect(text.contains(#"# HELP x A \\ and\na line"# + "\n"))
    #expect(text.contains(#"x{name="a\"b\\c\nd"} 1"# + "\n"))
  }

  @Test(
    "numbers are written so that they read back",
    arguments: [
      (0.0, "0"), (-0.5, "-0.5"), (1e-9, "0.000000001"), (1.5e-12, "1.5e-12"), (123_456_789, "123456789"),
      (.infinity, "+Inf"),
      (-.infinity, "-Inf"), (.nan, "NaN"), (0.1, "0.1"), (1e300, "1e+300"), (-42, "-42"),
    ])
  func numbers(_ value: Double, _ expected: String) {
    #expect(page { $0.single("x", .gauge, value, help: "x") }.hasSuffix("\nx \(expected)\n"))
  }

  @Test("whole numbers are exact to the ends of their range", arguments: [Int64.min, -1, 0, 9, 10, .max])
  func whole(_ value: Int64) {
    #expect(page { $0.single("x", .gauge, value, help: "x") }.hasSuffix("\nx \(value)\n"))
  }

  @Test("a histogram's buckets add up, and its last one is its count")
  func histogram() {
    let histogram = DurationHistogram(HistogramBounds([0.1, 1]))
    for value in [0.1, 0.05, 0.5, 7, .nan, .infinity] { histogram.record(value) }
    let text = page { page in
      page.family("t_seconds", .histogram, help: "T.")
      page.sample(MetricLabels("p", "a"), histogram.figures)
    }
    #expect(
      text.hasSuffix(
        """
        t_seconds_bucket{p="a",le="0.1"} 2
        t_seconds_bucket{p="a",le="1"} 3
        t_seconds_bucket{p="a",le="+Inf"} 4
        t_seconds_sum{p="a"} 7.65
        t_seconds_count{p="a"} 4

        """))
    #expect(histogram.figures.count(upTo: 1) == 3 && histogram.figures.count(upTo: 0.99) == 2)
  }

  @Test("names and labels that are none are made valid, and stay within their bounds")
  func names() {
    #expect(MetricName.metric("http.server requests-ü") == "http_server_requests___")
    #expect(MetricName.metric("9lives") == "_9lives" && MetricName.metric("") == "_")
    let labels = MetricLabels([
      ("__name__", "x"), ("a b", "1"), ("a_b", "2"), ("long", String(repeating: "é", count: 200)),
    ])
    #expect(labels.pairs.map(\.name) == ["label__name__", "a_b", "long"])
    #expect(labels.pairs.map(\.value.utf8.count) == [1, 1, 128])
    #expect(MetricLabels((0..<20).map { ("l\($0)", "") }).pairs.count == MetricLabels.maximumPairs)
  }
}

@Suite("Registry of metrics")
struct MetricRegistryTests {
  private func page(_ registry: MetricRegistry) -> String {
    var page = PrometheusPage()
    registry.collect(into: &page)
    return String(decoding: page.document(), as: UTF8.self)
  }

  @Test("what libraries count by swift-metrics stands on the page")
  func libraries() {
    let registry = MetricRegistry()
    let requests = registry.makeCounter(label: "hb.requests", dimensions: [("hb.uri", "/v1/status")])
    requests.increment(by: 2)
    registry.makeCounter(label: "hb.requests", dimensions: [("hb.uri", "/v1/status")]).increment(by: 1)
    registry.makeFloatingPointCounter(label: "cost", dimensions: []).increment(by: 0.5)
    registry.makeMeter(label: "pool.size", dimensions: []).increment(by: 3)
    registry.makeRecorder(label: "last", dimensions: [], aggregate: false).record(7 as Int64)
    registry.makeRecorder(label: "sizes", dimensions: [], aggregate: true).record(50 as Int64)
    registry.makeTimer(label: "hb.request.duration", dimensions: []).recordNanoseconds(2_000_000)
    let text = page(registry)
    for line in [
      #"hb_requests_total{hb_uri="/v1/status"} 3"#, "cost_total 0.5", "pool_size 3", "last 7",
      #"sizes_bucket{le="100"} 1"#, #"hb_request_duration_seconds_bucket{le="0.0025"} 1"#,
      "hb_request_duration_seconds_count 1", "forebay_metrics_refused_series_total 0",
    ] {
      #expect(text.contains(line + "\n"), "\(line)")
    }
    registry.destroyCounter(requests)
    #expect(!page(registry).contains("hb_requests_total"))
  }

  @Test("counters neither fall nor take what is no number")
  func counters() {
    let registry = MetricRegistry()
    let counter = registry.makeFloatingPointCounter(label: "x", dimensions: [])
    counter.increment(by: 2)
    counter.increment(by: -1)
    counter.increment(by: .nan)
    counter.increment(by: .infinity)
    #expect(page(registry).contains("x_total 2\n"))
  }

  @Test("the number of series is bounded, and what is refused is counted")
  func bounded() {
    let registry = MetricRegistry()
    for index in 0..<(MetricRegistry.maximumSeries + 10) {
      registry.makeCounter(label: "x", dimensions: [("id", "\(index)")]).increment(by: 1)
    }
    let text = page(registry)
    #expect(text.contains("forebay_metrics_refused_series_total 10\n"))
    #expect(text.split(separator: "\n").count { $0.hasPrefix("x_total{") } == MetricRegistry.maximumSeries)
  }

  @Test("a name that is one of another kind already is refused")
  func kinds() {
    let registry = MetricRegistry()
    registry.makeMeter(label: "a_total", dimensions: []).set(1 as Int64)
    registry.makeCounter(label: "a", dimensions: []).increment(by: 5)
    let text = page(registry)
    #expect(text.contains("a_total 1\n") && text.contains("forebay_metrics_refused_series_total 1\n"))
  }

  @Test("series of what is gone are forgotten")
  func prune() {
    let registry = MetricRegistry()
    for name in ["old", "new"] {
      registry.histogram("forebay_x_seconds", MetricLabels("pipeline", name), .brief, help: "X.").record(1)
    }
    registry.histogram("forebay_y_seconds", .none, .brief, help: "Y.").record(1)
    registry.prune("pipeline", keeping: ["new"])
    let text = page(registry)
    #expect(!text.contains("old") && text.contains(#"pipeline="new""#) && text.contains("forebay_y_seconds_count 1"))
  }

  @Test("threads add at the same time without losing a step")
  func concurrent() async {
    let registry = MetricRegistry()
    let counter = registry.makeCounter(label: "x", dimensions: [])
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<8 { group.addTask { for _ in 0..<1_000 { counter.increment(by: 1) } } }
    }
    #expect(page(registry).contains("x_total 8000\n"))
  }
}
