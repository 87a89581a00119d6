internal import Glibc

/// A page of metrics in the Prometheus text exposition format 0.0.4
/// (https://prometheus.io/docs/instrumenting/exposition_formats/). Families are sorted by name, series stay in the
/// order in which they came; the same figures give the same bytes.
///
/// A scrape comes every few seconds for as long as the gateway lives, so lines are written straight into one buffer,
/// and a page can be written anew (``restart()``), which has its room already and nearly always its order.
package struct PrometheusPage: MetricsSink {
  /// For the header field `Content-Type`.
  package static let mediaType = "text/plain; version=0.0.4; charset=utf-8"

  private struct Section {
    /// Where it begins, and where its name stands, behind `# HELP `.
    var start: Int
    var name: Range<Int>
  }

  /// Room, of which the first ``used`` bytes are written.
  private var bytes: [UInt8]
  private var used = 0
  private var sections: [Section] = []
  /// The names of the last page's sections, a line each, and the order that they came to.
  private var names: [UInt8] = []
  private var order: [Int] = []
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

  /// Forgets what was written; the next page goes into the same room.
  package mutating func restart() {
    used = 0
    pending = nil
    sections.removeAll(keepingCapacity: true)
  }

  /// The whole page.
  package mutating func document() -> [UInt8] {
    sort()
    var page: [UInt8] = []
    page.reserveCapacity(used)
    bytes.withUnsafeBufferPointer { bytes in
      for index in order {
        let end = index + 1 < sections.count ? sections[index + 1].start : used
        page.append(contentsOf: UnsafeBufferPointer(rebasing: bytes[sections[index].start..<end]))
      }
    }
    return page
  }

  /// Families come in the order in which the code names them, which is the same from one scrape to the next.
  private mutating func sort() {
    var names: [UInt8] = []
    names.reserveCapacity(self.names.count)
    for section in sections {
      names.append(contentsOf: bytes[section.name])
      names.append(UInt8(ascii: "\n"))
    }
    guard names != self.names else { return }
    self.names = names
    order = bytes.withUnsafeBufferPointer { bytes in
      sections.indices.sorted { precedes(sections[$0], sections[$1], bytes) }
    }
  }

  private func precedes(_ a: Section, _ b: Section, _ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    guard let base = bytes.baseAddress else { return false }
    let order = memcmp(base + a.name.lowerBound, base + b.name.lowerBound, min(a.name.count, b.name.count))
    return order == 0 ? a.name.count < b.name.count : order < 0
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
    guard let name = sections.last?.name else { return }
    let need = name.count + first.count + second.count + PrometheusPage.rest
    if bytes.count - used < need { grow(by: need) }
    used += bytes.withUnsafeMutableBufferPointer { room in
      guard let base = room.baseAddress else { return 0 }
      let start = base + used
      var place = start
      place.put(UnsafeBufferPointer(start: base + name.lowerBound, count: name.count))
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
    let help = PrometheusPage.escaped(family.help)
    let length = family.name.utf8.count
    let need = 2 * length + help.utf8.count + PrometheusPage.rest
    if bytes.count - used < need { grow(by: need) }
    let start = used
    used += bytes.withUnsafeMutableBufferPointer { room in
      guard let base = room.baseAddress else { return 0 }
      var place = base + start
      place.put("# HELP ")
      place.put(family.name)
      place.put(UInt8(ascii: " "))
      place.put(help)
      place.put("\n# TYPE ")
      place.put(family.name)
      place.put(family.kind.line)
      return place - (base + start)
    }
    sections.append(Section(start: start, name: (start + 7)..<(start + 7 + length)))
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

  fileprivate mutating func put(_ bytes: UnsafeBufferPointer<UInt8>) {
    guard let from = bytes.baseAddress else { return }
    update(from: from, count: bytes.count)
    self += bytes.count
  }

  fileprivate mutating func put(_ bytes: [UInt8]) { bytes.withUnsafeBufferPointer { put($0) } }

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
