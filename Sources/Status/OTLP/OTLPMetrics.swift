/// Metrics as one `ExportMetricsServiceRequest` in JSON (opentelemetry-proto, `metrics/v1/metrics.proto`), under the
/// names that they have on the Prometheus page. Counters and histograms are cumulative since the daemon started.
package struct OTLPMetrics: MetricsSink {
  private var text = OTLPText()
  private let times: OTLPText
  private var pending: (name: String, kind: MetricKind, help: String)?
  private var kind = MetricKind.gauge
  /// Families and points that have been written.
  private var families = 0
  private var points = 0

  /// - Parameters:
  ///   - start: when counting began, wall nanoseconds since 1970.
  ///   - now: when the figures were gathered.
  package init(resource: OTLPResource, start: Int64, now: Int64) {
    var times = OTLPText()
    times.raw("\"startTimeUnixNano\":")
    times.wide(start)
    times.raw(",\"timeUnixNano\":")
    times.wide(now)
    self.times = times
    text.bytes.reserveCapacity(96 << 10)
    text.begin("resourceMetrics", "scopeMetrics", "metrics", resource)
  }

  package mutating func family(_ name: String, _ kind: MetricKind, help: String) { pending = (name, kind, help) }

  package mutating func sample(_ labels: MetricLabels, _ value: Int64) {
    begin(labels)
    text.raw(",\"asInt\":")
    text.wide(value)
    text.raw("}")
  }

  package mutating func sample(_ labels: MetricLabels, _ value: Double) {
    begin(labels)
    text.raw(",\"asDouble\":")
    text.number(value)
    text.raw("}")
  }

  package mutating func sample(_ labels: MetricLabels, _ value: HistogramFigures) {
    begin(labels)
    text.raw(",\"count\":")
    text.wide(value.count)
    text.raw(",\"sum\":")
    text.number(value.sum)
    text.raw(",\"bucketCounts\":[")
    for (index, count) in value.counts.enumerated() {
      if index > 0 { text.raw(",") }
      text.wide(count)
    }
    text.raw("],\"explicitBounds\":[")
    for (index, bound) in value.bounds.upper.enumerated() {
      if index > 0 { text.raw(",") }
      text.number(bound)
    }
    text.raw("]}")
  }

  /// The whole request.
  package consuming func document() -> [UInt8] {
    endFamily()
    text.end()
    return text.bytes
  }

  private mutating func begin(_ labels: MetricLabels) {
    if let family = pending { open(family) }
    if points > 0 { text.raw(",") }
    points += 1
    text.raw("{")
    text.attributes(labels.pairs.lazy.map { (name: $0.name, value: $0.value) })
    text.raw(",")
    text.bytes.append(contentsOf: times.bytes)
  }

  private mutating func open(_ family: (name: String, kind: MetricKind, help: String)) {
    pending = nil
    endFamily()
    families += 1
    points = 0
    kind = family.kind
    text.raw(families > 1 ? ",{\"name\":" : "{\"name\":")
    text.string(family.name)
    text.raw(",\"description\":")
    text.string(family.help)
    if let unit = OTLPMetrics.unit(of: family.name) {
      text.raw(",\"unit\":")
      text.string(unit)
    }
    // AggregationTemporality 2 is cumulative.
    switch family.kind {
    case .counter: text.raw(",\"sum\":{\"aggregationTemporality\":2,\"isMonotonic\":true,\"dataPoints\":[")
    case .gauge: text.raw(",\"gauge\":{\"dataPoints\":[")
    case .histogram: text.raw(",\"histogram\":{\"aggregationTemporality\":2,\"dataPoints\":[")
    }
  }

  private mutating func endFamily() {
    if families > 0 { text.raw("]}}") }
  }

  /// In the case-sensitive units of UCUM, from the name.
  private static func unit(of name: String) -> String? {
    let name = name.hasSuffix("_total") ? name.dropLast("_total".count) : name[...]
    if name.hasSuffix("_seconds") { return "s" }
    if name.hasSuffix("_bytes") { return "By" }
    return name.hasSuffix("_ratio") ? "1" : nil
  }
}
