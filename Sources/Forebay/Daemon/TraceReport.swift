internal import Pipeline
internal import Status
internal import Telemetry

/// The traces of the last batches as `/v1/traces` and `forebay status --traces` show them, the newest first.
struct TraceReport: Codable {
  struct Span: Codable {
    /// `receive`, `commit`, `seal` or `deliver`.
    var name: String
    /// 16 hexadecimal digits; that of an attempt went upstream in its `traceparent`.
    var span: String
    /// RFC 3339.
    var began: String
    var ended: String
    var seconds: Double
    // Of attempts to deliver:
    var attempt: Int?
    var uplink: String?
    var answer: String?
  }

  struct Link: Codable {
    var trace: String
    var span: String
  }

  var trace: String
  var span: String
  var batch: String
  var pipeline: String
  var version: String
  var readings: Int
  var bytes: Int
  /// From the receipt of the first message to the confirmation, or as far as it has come.
  var seconds: Double
  /// When the upstream had it; nil while it waits, and when it went another way.
  var delivered: String?
  var spans: [Span]
  /// Attempts that are left out, between the first and the last ones.
  var attemptsLeftOut: Int
  /// Traces that its messages said they were in.
  var links: [Link]

  init(_ trace: BatchTrace) {
    self.trace = trace.trace.description
    span = trace.root.description
    batch = trace.batch
    pipeline = trace.pipeline
    version = trace.version
    readings = trace.readings
    bytes = trace.bytes
    seconds = TraceReport.seconds(trace.whole)
    delivered = trace.delivered.map(RFC3339.text)
    spans = trace.stages.map { TraceReport.span($0.name, $0.id, $0.time) }
    for attempt in trace.attempts {
      var span = TraceReport.span("deliver", attempt.id, attempt.time)
      span.attempt = attempt.number
      span.uplink = attempt.uplink
      span.answer = attempt.answer
      spans.append(span)
    }
    attemptsLeftOut = trace.attemptsLeftOut
    links = trace.links.map { Link(trace: $0.trace.description, span: $0.span.description) }
  }

  private static func span(_ name: String, _ id: SpanID, _ time: BatchTrace.Span) -> Span {
    Span(
      name: name, span: id.description, began: RFC3339.text(time.began), ended: RFC3339.text(time.ended),
      seconds: seconds(time))
  }

  private static func seconds(_ span: BatchTrace.Span) -> Double {
    (Double(span.ended) - Double(span.began)) / 1e9
  }
}

extension Daemon {
  /// The traces of the last batches, the newest first, as JSON.
  func traces() -> [UInt8] {
    Array(((try? Output.json(meters.traces.traces.map(TraceReport.init))) ?? "[]").utf8)
  }
}
