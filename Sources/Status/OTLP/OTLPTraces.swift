internal import Telemetry

/// Traces of batches as one `ExportTraceServiceRequest` in JSON (opentelemetry-proto, `trace/v1/trace.proto`).
package enum OTLPTraces {
  /// `SpanKind`: internal, and the client of a request.
  private static let kindInternal: Int64 = 1
  private static let kindClient: Int64 = 3
  /// `Status.StatusCode`
  private static let statusError: Int64 = 2

  package static func document(_ traces: [BatchTrace], resource: OTLPResource) -> [UInt8] {
    var text = OTLPText()
    text.begin("resourceSpans", "scopeSpans", "spans", resource)
    var count = 0
    for trace in traces {
      span(&text, trace, &count, id: trace.root, parent: nil, "batch", kindInternal, trace.whole)
      root(&text, trace)
      text.raw("}")
      for stage in trace.stages {
        span(&text, trace, &count, id: stage.id, parent: trace.root, stage.name, kindInternal, stage.time)
        text.raw("}")
      }
      for attempt in trace.attempts {
        span(&text, trace, &count, id: attempt.id, parent: trace.root, "deliver", kindClient, attempt.time)
        text.raw(",")
        text.attributes([
          ("forebay.uplink", attempt.uplink), ("forebay.attempt", "\(attempt.number)"),
          ("forebay.answer", attempt.answer),
        ])
        if !attempt.isDelivery {
          text.raw(",\"status\":{\"code\":")
          text.number(statusError)
          text.raw(",\"message\":")
          text.string(attempt.answer)
          text.raw("}")
        }
        text.raw("}")
      }
    }
    text.end()
    return text.bytes
  }

  private static func span(
    _ text: inout OTLPText, _ trace: BatchTrace, _ count: inout Int, id: SpanID, parent: SpanID?, _ name: String,
    _ kind: Int64, _ time: BatchTrace.Span
  ) {
    if count > 0 { text.raw(",") }
    count += 1
    text.raw("{\"traceId\":")
    text.string(trace.trace.description)
    text.raw(",\"spanId\":")
    text.string(id.description)
    if let parent {
      text.raw(",\"parentSpanId\":")
      text.string(parent.description)
    }
    text.raw(",\"name\":")
    text.string(name)
    text.raw(",\"kind\":")
    text.number(kind)
    // Unsigned on the wire; a clock before 1970 has nothing to say.
    text.raw(",\"startTimeUnixNano\":")
    text.wide(max(0, time.began))
    text.raw(",\"endTimeUnixNano\":")
    text.wide(max(0, time.ended))
  }

  private static func root(_ text: inout OTLPText, _ trace: BatchTrace) {
    text.raw(",")
    text.attributes([
      ("forebay.batch", trace.batch), ("forebay.pipeline", trace.pipeline), ("forebay.pipeline.version", trace.version),
      ("forebay.readings", "\(trace.readings)"), ("forebay.bytes", "\(trace.bytes)"),
    ])
    guard !trace.links.isEmpty else { return }
    text.raw(",\"links\":[")
    for (index, link) in trace.links.enumerated() {
      if index > 0 { text.raw(",") }
      text.raw("{\"traceId\":")
      text.string(link.trace.description)
      text.raw(",\"spanId\":")
      text.string(link.span.description)
      text.raw("}")
    }
    text.raw("]")
  }
}
