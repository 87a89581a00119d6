import Foundation
import Telemetry
import Testing

@testable import Status

@Suite("OTLP documents")
struct OTLPTests {
  private static let resource = OTLPResource(gateway: "gw \"1\"", site: "plant\n7", version: "0.1.0")

  private func object(_ bytes: [UInt8]) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
  }

  private func list(_ value: Any?, _ name: String) throws -> [[String: Any]] {
    try #require((value as? [String: Any])?[name] as? [[String: Any]])
  }

  @Test("metrics follow the JSON mapping: 64-bit integers are strings, sums and histograms cumulative")
  func metrics() throws {
    var request = OTLPMetrics(resource: Self.resource, start: 1_000, now: 2_000)
    request.family("a_total", .counter, help: "A.")
    request.sample(MetricLabels("p", "x\u{1}"), 9_007_199_254_740_993 as Int64)
    request.sample(MetricLabels("p", "y"), 0.5)
    request.family("empty", .gauge, help: "Without series.")
    request.single("b_bytes", .gauge, .infinity, help: "B.")
    let histogram = DurationHistogram(HistogramBounds([0.1, 1]))
    for value in [0.05, 0.5, 7] { histogram.record(value) }
    request.family("c_seconds", .histogram, help: "C.")
    request.sample(.none, histogram.figures)
    let document = try object(request.document())

    let one = try #require(try list(document, "resourceMetrics").first)
    let attributes = try list(one["resource"], "attributes").map {
      ($0["key"] as? String, ($0["value"] as? [String: Any])?["stringValue"] as? String)
    }
    #expect(attributes.map(\.0) == ["service.name", "service.instance.id", "service.version", "forebay.site"])
    #expect(attributes.map(\.1) == ["forebay", "gw \"1\"", "0.1.0", "plant\n7"])
    let metrics = try list(try list(one, "scopeMetrics").first, "metrics")
    #expect(metrics.map { $0["name"] as? String } == ["a_total", "b_bytes", "c_seconds"])
    #expect(metrics.map { $0["unit"] as? String } == [nil, "By", "s"])

    let sum = try #require(metrics[0]["sum"] as? [String: Any])
    #expect(sum["aggregationTemporality"] as? Int == 2 && sum["isMonotonic"] as? Bool == true)
    let points = try list(sum, "dataPoints")
    #expect(points[0]["asInt"] as? String == "9007199254740993" && points[1]["asDouble"] as? Double == 0.5)
    #expect(points[0]["startTimeUnixNano"] as? String == "1000" && points[0]["timeUnixNano"] as? String == "2000")
    let gauge = try list(metrics[1]["gauge"], "dataPoints")
    #expect(gauge.first?["asDouble"] as? String == "Infinity")
    let buckets = try #require(try list(metrics[2]["histogram"], "dataPoints").first)
    #expect(buckets["bucketCounts"] as? [String] == ["1", "1", "1"] && buckets["count"] as? String == "3")
    #expect(buckets["explicitBounds"] as? [Double] == [0.1, 1] && buckets["sum"] as? Double == 7.55)
  }

  @Test("a request without metrics or traces is still one")
  func empty() throws {
    let metrics = OTLPMetrics(resource: Self.resource, start: 0, now: 0)
    #expect(try list(try object(metrics.document()), "resourceMetrics").count == 1)
    #expect(try list(try object(OTLPTraces.document([], resource: Self.resource)), "resourceSpans").count == 1)
  }

  @Test("a trace is a root with its links, and below it a span for each stage and attempt")
  func traces() throws {
    let epoch = try #require(Epoch(rawValue: "0123456789abcdef"))
    let batch = Batch(
      identity: BatchIdentity(gateway: "gw", pipeline: "climate", epoch: epoch, sequence: 1), version: "v",
      log: LogID(rawValue: "00"), firstOffset: Offset(0), lastOffset: Offset(0), count: 1, encoding: .ndjson,
      compression: .none, body: [1], length: 1, digest: Digest(of: [1]), previous: .zero,
      sealed: Moment(boot: BootID(high: 0, low: 0), monotonic: 0, wall: 5_000, quality: .synchronised),
      ages: Batch.Ages(first: 3_000, last: 1_000))
    let link = try #require(TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
    var trace = BatchTrace(batch, links: [link]) { $0.wall }
    trace.committed = BatchTrace.Span(began: 4_100, ended: 4_200)
    for (number, isDelivery) in [(1, false), (2, true)] {
      trace.add(
        BatchTrace.Attempt(
          id: batch.span(attempt: number, life: 0), number: number, uplink: "central",
          time: BatchTrace.Span(began: 6_000, ended: 7_000), answer: isDelivery ? "has-it" : "not-now",
          isDelivery: isDelivery))
    }
    let document = try object(OTLPTraces.document([trace], resource: Self.resource))
    let spans = try list(try list(try list(document, "resourceSpans").first, "scopeSpans").first, "spans")
    #expect(spans.map { $0["name"] as? String } == ["batch", "receive", "commit", "seal", "deliver", "deliver"])
    #expect(spans.allSatisfy { ($0["traceId"] as? String) == batch.trace.description })
    #expect(Set(spans.compactMap { $0["spanId"] as? String }).count == spans.count)
    let root = spans[0]
    #expect(root["parentSpanId"] == nil && root["kind"] as? Int == 1)
    #expect(root["startTimeUnixNano"] as? String == "2000" && root["endTimeUnixNano"] as? String == "7000")
    #expect(try list(root, "links").first?["spanId"] as? String == "b7ad6b7169203331")
    #expect(spans.dropFirst().allSatisfy { $0["parentSpanId"] as? String == root["spanId"] as? String })
    #expect(spans[4]["kind"] as? Int == 3 && (spans[4]["status"] as? [String: Any])?["code"] as? Int == 2)
    #expect(spans[5]["status"] == nil)
    #expect(spans[5]["spanId"] as? String == batch.span(attempt: 2, life: 0).description)
  }
}
