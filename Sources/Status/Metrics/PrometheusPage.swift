/// A page of metrics in the Prometheus text exposition format 0.0.4
/// (https://prometheus.io/docs/instrumenting/exposition_formats/). Families are sorted by name, series stay in the
/// order in which they came; the same figures give the same bytes.
package struct PrometheusPage: MetricsSink {
  /// For the header field `Content-Type`.
  package static let mediaType = "text/plain; version=0.0.4; charset=utf-8"

  private struct Section {
    var name: String
    var range: Range<Int>
  }

  private var bytes: [UInt8] = []
  private var sections: [Section] = []
  private var name: [UInt8] = []
  /// Begun, without a series so far.
  private var pending: (name: String, kind: MetricKind, help: String)?

  /// - Parameter capacity: bytes that the page is likely to have.
  package init(capacity: Int = 32 << 10) {
    bytes.reserveCapacity(capacity)
    sections.reserveCapacity(96)
  }

  package mutating func family(_ name: String, _ kind: MetricKind, help: String) {
    pending = (name, kind, help)
  }

  package mutating func sample(_ labels: MetricLabels, _ value: Int64) {
    begin(labels)
    PrometheusPage.append(value, to: &bytes)
    end()
  }

  package mutating func sample(_ labels: MetricLabels, _ value: Double) {
    begin(labels)
    PrometheusPage.append(value, to: &bytes)
    end()
  }

  package mutating func sample(_ labels: MetricLabels, _ value: HistogramFigures) {
    var total: Int64 = 0
    for (index, count) in value.counts.enumerated() {
      total += count
      begin(
        labels, suffix: "_bucket", bound: index < value.bounds.texts.count ? value.bounds.texts[index] : Self.infinity)
      PrometheusPage.append(total, to: &bytes)
      end()
    }
    begin(labels, suffix: "_sum")
    PrometheusPage.append(value.sum, to: &bytes)
    end()
    begin(labels, suffix: "_count")
    PrometheusPage.append(total, to: &bytes)
    end()
  }

  /// The whole page.
  package func document() -> [UInt8] {
    var page: [UInt8] = []
    page.reserveCapacity(bytes.count)
    for section in sections.sorted(by: { $0.name < $1.name }) {
      page.append(contentsOf: bytes[section.range])
    }
    return page
  }

  // MARK: Lines

  private static let infinity = Array("+Inf".utf8)

  private mutating func begin(_ labels: MetricLabels, suffix: StaticString = "", bound: [UInt8]? = nil) {
    if let family = pending { open(family) }
    bytes.append(contentsOf: name)
    suffix.withUTF8Buffer { bytes.append(contentsOf: $0) }
    guard bound != nil || !labels.text.isEmpty else {
      bytes.append(UInt8(ascii: " "))
      return
    }
    bytes.append(UInt8(ascii: "{"))
    bytes.append(contentsOf: labels.text)
    if let bound {
      if !labels.text.isEmpty { bytes.append(UInt8(ascii: ",")) }
      bytes.append("le=\"")
      bytes.append(contentsOf: bound)
      bytes.append(UInt8(ascii: "\""))
    }
    bytes.append("} ")
  }

  private mutating func end() {
    bytes.append(UInt8(ascii: "\n"))
    sections[sections.count - 1].range = sections[sections.count - 1].range.lowerBound..<bytes.count
  }

  private mutating func open(_ family: (name: String, kind: MetricKind, help: String)) {
    pending = nil
    name = Array(family.name.utf8)
    sections.append(Section(name: family.name, range: bytes.count..<bytes.count))
    bytes.append("# HELP ")
    bytes.append(contentsOf: name)
    bytes.append(UInt8(ascii: " "))
    for byte in family.help.utf8 {
      switch byte {
      case UInt8(ascii: "\\"): bytes.append("\\\\")
      case UInt8(ascii: "\n"): bytes.append("\\n")
      default: bytes.append(byte)
      }
    }
    bytes.append("\n# TYPE ")
    bytes.append(contentsOf: name)
    bytes.append(UInt8(ascii: " "))
    bytes.append(contentsOf: family.kind.rawValue.utf8)
    bytes.append(UInt8(ascii: "\n"))
  }

  // MARK: Numbers

  static func append(_ value: Int64, to bytes: inout [UInt8]) {
    if value < 0 { bytes.append(UInt8(ascii: "-")) }
    var rest = value.magnitude
    guard rest > 9 else { return bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest)) }
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
      var start = 20
      while rest > 0 {
        start -= 1
        digits[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
        rest /= 10
      }
      bytes.append(contentsOf: UnsafeBufferPointer(rebasing: digits[start..<20]))
    }
  }

  /// The shortest text that reads back as the same number, as Go's `ParseFloat` takes it; whole numbers without a
  /// fraction.
  static func append(_ value: Double, to bytes: inout [UInt8]) {
    if let whole = Int64(exactly: value), whole.magnitude < 1 << 53 { return append(whole, to: &bytes) }
    if value.isNaN { return bytes.append("NaN") }
    if value.isInfinite { return bytes.append(value < 0 ? "-Inf" : "+Inf") }
    bytes.append(contentsOf: value.description.utf8)
  }
}

extension [UInt8] {
  fileprivate mutating func append(_ text: StaticString) {
    text.withUTF8Buffer { append(contentsOf: $0) }
  }
}
