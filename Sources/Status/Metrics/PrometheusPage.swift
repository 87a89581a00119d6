internal import Glibc

/// A page of metrics in the Prometheus text exposition format 0.0.4
/// (https://prometheus.io/docs/instrumenting/exposition_formats/). Families are sorted by name, series stay in the
/// order in which they came; the same figures give the same bytes.
///
/// A scrape comes every few seconds for as long as the gateway lives, so lines are written straight into one buffer.
package struct PrometheusPage: MetricsSink {
  /// For the header field `Content-Type`.
  package static let mediaType = "text/plain; version=0.0.4; charset=utf-8"

  private struct Section {
    /// Where its name stands, behind `# HELP `.
    var name: Range<Int>
    var start: Int
    /// The first bytes of its name as numbers, which tell most names apart.
    var key: (UInt64, UInt64, UInt64)
  }

  /// Room, of which the first ``used`` bytes are written.
  private var bytes: [UInt8]
  private var used = 0
  private var sections: [Section] = []
  private var name: [UInt8] = []
  /// Begun, without a series so far.
  private var pending: (name: String, kind: MetricKind, help: String)?

  /// - Parameter capacity: bytes that the page is likely to have.
  package init(capacity: Int = 40 << 10) {
    bytes = [UInt8](repeating: 0, count: capacity)
    sections.reserveCapacity(96)
  }

  package mutating func family(_ name: String, _ kind: MetricKind, help: String) {
    pending = (name, kind, help)
  }

  package mutating func sample(_ labels: MetricLabels, _ more: MetricLabels, _ value: Int64) {
    line(labels, more, "") { DecimalText.write(value, to: $0) }
  }

  package mutating func sample(_ labels: MetricLabels, _ more: MetricLabels, _ value: Double) {
    line(labels, more, "") { DecimalText.write(value, to: $0) }
  }

  package mutating func sample(_ labels: MetricLabels, nanoseconds value: Int64) {
    line(labels, .none, "") { DecimalText.write(nanoseconds: value, to: $0) }
  }

  package mutating func sample(_ labels: MetricLabels, _ value: HistogramFigures) {
    var total: Int64 = 0
    for index in value.counts.indices {
      total += value.counts[index]
      let sum = total
      let bound = index < value.bounds.labels.count ? value.bounds.labels[index] : HistogramBounds.last
      line(labels, bound, "_bucket") { DecimalText.write(sum, to: $0) }
    }
    line(labels, .none, "_sum") { DecimalText.write(value.sum, to: $0) }
    let count = total
    line(labels, .none, "_count") { DecimalText.write(count, to: $0) }
  }

  /// The whole page.
  package func document() -> [UInt8] {
    var page: [UInt8] = []
    page.reserveCapacity(used)
    bytes.withUnsafeBufferPointer { bytes in
      let order = sections.indices.sorted { precedes(sections[$0], sections[$1], bytes) }
      for index in order {
        let end = index + 1 < sections.count ? sections[index + 1].start : used
        page.append(contentsOf: UnsafeBufferPointer(rebasing: bytes[sections[index].start..<end]))
      }
    }
    return page
  }

  private func precedes(_ a: Section, _ b: Section, _ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    if a.key != b.key { return a.key < b.key }
    guard let base = bytes.baseAddress else { return false }
    let order = memcmp(base + a.name.lowerBound, base + b.name.lowerBound, min(a.name.count, b.name.count))
    return order == 0 ? a.name.count < b.name.count : order < 0
  }

  private static func key(_ name: [UInt8]) -> (UInt64, UInt64, UInt64) {
    func part(_ start: Int) -> UInt64 {
      var value: UInt64 = 0
      for index in start..<(start + 8) { value = value << 8 | UInt64(index < name.count ? name[index] : 0) }
      return value
    }
    return (part(0), part(8), part(16))
  }

  // MARK: Lines

  /// Bytes of a line beside its name and labels, at most: suffix, braces, comma, spaces, number, line feed.
  private static let rest = 64

  private mutating func line(
    _ labels: MetricLabels, _ more: MetricLabels, _ suffix: StaticString,
    _ number: (UnsafeMutablePointer<UInt8>) -> Int
  ) {
    if let family = pending { open(family) }
    let (first, second) = (labels.text, more.text)
    let need = name.count + first.count + second.count + PrometheusPage.rest
    if bytes.count - used < need { grow(by: need) }
    used += bytes.withUnsafeMutableBufferPointer { room in
      guard let base = room.baseAddress else { return 0 }
      let start = base + used
      var place = start
      place.put(name)
      place.put(suffix)
      if !first.isEmpty || !second.isEmpty {
        place.put(UInt8(ascii: "{"))
        place.put(first)
        if !first.isEmpty, !second.isEmpty { place.put(UInt8(ascii: ",")) }
        place.put(second)
        place.put(UInt8(ascii: "}"))
      }
      place.put(UInt8(ascii: " "))
      place += number(place)
      place.put(UInt8(ascii: "\n"))
      return place - start
    }
  }

  private mutating func grow(by need: Int) {
    bytes.append(contentsOf: repeatElement(0, count: max(need, bytes.count)))
  }

  private mutating func open(_ family: (name: String, kind: MetricKind, help: String)) {
    pending = nil
    name = Array(family.name.utf8)
    let help = PrometheusPage.escaped(family.help)
    let need = 2 * name.count + help.utf8.count + PrometheusPage.rest
    if bytes.count - used < need { grow(by: need) }
    let start = used
    used += bytes.withUnsafeMutableBufferPointer { room in
      guard let base = room.baseAddress else { return 0 }
      var place = base + start
      place.put("# HELP ")
      place.put(name)
      place.put(UInt8(ascii: " "))
      place.put(help)
      place.put("\n# TYPE ")
      place.put(name)
      place.put(family.kind.line)
      return place - (base + start)
    }
    let nameStart = start + 7
    sections.append(
      Section(name: nameStart..<(nameStart + name.count), start: start, key: PrometheusPage.key(name)))
  }
}

extension PrometheusPage {
  /// Nearly always the text itself.
  private static func escaped(_ help: String) -> String {
    let isPlain = help.utf8.withContiguousStorageIfAvailable { bytes in
      guard let start = bytes.baseAddress else { return true }
      return memchr(start, 0x5C, bytes.count) == nil && memchr(start, 0x0A, bytes.count) == nil
    }
    if isPlain == true { return help }
    return help.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
  }
}

extension MetricKind {
  /// The end of its TYPE line.
  fileprivate var line: StaticString {
    switch self {
    case .counter: " counter\n"
    case .gauge: " gauge\n"
    case .histogram: " histogram\n"
    }
  }
}

extension UnsafeMutablePointer<UInt8> {
  fileprivate mutating func put(_ byte: UInt8) {
    pointee = byte
    self += 1
  }

  fileprivate mutating func put(_ bytes: [UInt8]) {
    bytes.withUnsafeBufferPointer { source in
      guard let from = source.baseAddress else { return }
      update(from: from, count: source.count)
    }
    self += bytes.count
  }

  fileprivate mutating func put(_ text: String) {
    let count = text.utf8.count
    let isWritten: Void? = text.utf8.withContiguousStorageIfAvailable { source in
      if let from = source.baseAddress { update(from: from, count: count) }
    }
    if isWritten == nil { for (index, byte) in text.utf8.enumerated() { self[index] = byte } }
    self += count
  }

  fileprivate mutating func put(_ text: StaticString) {
    update(from: text.utf8Start, count: text.utf8CodeUnitCount)
    self += text.utf8CodeUnitCount
  }
}
