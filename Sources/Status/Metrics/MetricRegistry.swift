package import Metrics
internal import Synchronization

/// Where libraries that speak swift-metrics, and we, keep what they count until somebody asks.
///
/// The number of series is bounded: what comes after ``maximumSeries`` is given a handler that does nothing, and
/// counted in `forebay_metrics_refused_series_total`. So is a series whose name is already one of another kind.
package final class MetricRegistry: Sendable {
  /// A library that makes a label of what strangers send must not fill the memory of a gateway: some 100 kB.
  package static let maximumSeries = 512

  private enum Series: Sendable {
    case counter(CountingSeries)
    case gauge(GaugeSeries)
    case histogram(HistogramSeries)
  }

  private struct Family: Sendable {
    var kind: MetricKind
    var help: String
    var series: [MetricLabels: Series] = [:]
    /// Sorted by their texts.
    var order: [MetricLabels] = []
  }

  private struct State: Sendable {
    var families: [String: Family] = [:]
    /// Sorted.
    var names: [String] = []
    var count = 0
    var refused: Int64 = 0
  }

  private let state = Mutex(State())

  package init() {}

  /// Takes what the libraries of this process count from now on. Once in the life of a process.
  package func adoptLibraries() { MetricsSystem.bootstrap(self) }

  /// Passes everything on, sorted by name and by labels.
  package func collect(into sink: inout some MetricsSink) {
    let (names, families, refused) = state.withLock { ($0.names, $0.families, $0.refused) }
    for name in names {
      guard let family = families[name] else { continue }
      sink.family(name, family.kind, help: family.help)
      for labels in family.order {
        switch family.series[labels] {
        case .counter(let counter): sink.sample(labels, counter.value)
        case .gauge(let gauge): sink.sample(labels, gauge.value)
        case .histogram(let histogram): sink.sample(labels, histogram.histogram.figures)
        case nil: break
        }
      }
    }
    sink.single(
      "forebay_metrics_refused_series_total", .counter, refused,
      help: "Series that were not kept: there were too many, or their name was taken.")
  }

  /// A histogram of ours; the same one for the same name and labels.
  /// - Parameters:
  ///   - name: a valid name with its unit.
  ///   - help: for people; that of the first call counts.
  package func histogram(
    _ name: String, _ labels: MetricLabels, _ bounds: HistogramBounds, help: String
  ) -> DurationHistogram {
    let made = find(name, labels, .histogram, help: help) { id in
      .histogram(HistogramSeries(id, DurationHistogram(bounds)))
    }
    guard case .histogram(let series) = made else { return DurationHistogram(bounds) }
    return series.histogram
  }

  /// Adds one to a counter of ours.
  /// - Parameters:
  ///   - name: a valid name that ends in `_total`.
  ///   - help: for people; that of the first call counts.
  package func count(_ name: String, _ labels: MetricLabels, help: String) {
    let made = find(name, labels, .counter, help: help) { .counter(CountingSeries($0)) }
    if case .counter(let series) = made { series.increment(by: 1 as Int64) }
  }

  /// Forgets the series of every family of ours that has this label with another value than these: what they were
  /// about is gone.
  package func prune(_ label: String, keeping values: Set<String>) {
    state.withLock { state in
      for (name, family) in state.families where name.hasPrefix("forebay_") {
        for labels in family.order
        where labels.pairs.contains(where: { $0.name == label && !values.contains($0.value) }) {
          MetricRegistry.remove(labels, of: name, from: &state)
        }
      }
    }
  }

  private func find(
    _ name: String, _ labels: MetricLabels, _ kind: MetricKind, help: String, make: (SeriesID) -> Series
  ) -> Series? {
    state.withLock { state in
      if let family = state.families[name] {
        guard family.kind == kind else {
          state.refused += 1
          return nil
        }
        if let known = family.series[labels] { return known }
      }
      guard state.count < MetricRegistry.maximumSeries else {
        state.refused += 1
        return nil
      }
      if state.families[name] == nil {
        state.families[name] = Family(kind: kind, help: help)
        state.names.insert(name, at: state.names.firstIndex { name < $0 } ?? state.names.count)
      }
      let made = make(SeriesID(name: name, labels: labels))
      state.families[name]?.series[labels] = made
      let order = state.families[name]?.order ?? []
      let place = order.firstIndex { labels.text.lexicographicallyPrecedes($0.text) } ?? order.count
      state.families[name]?.order.insert(labels, at: place)
      state.count += 1
      return made
    }
  }

  private static func remove(_ labels: MetricLabels, of name: String, from state: inout State) {
    guard state.families[name]?.series.removeValue(forKey: labels) != nil else { return }
    state.count -= 1
    state.families[name]?.order.removeAll { $0 == labels }
    guard state.families[name]?.order.isEmpty == true else { return }
    state.families[name] = nil
    state.names.removeAll { $0 == name }
  }

  private func destroy(_ handler: AnyObject) {
    guard let series = handler as? any RegisteredSeries else { return }
    state.withLock { MetricRegistry.remove(series.id.labels, of: series.id.name, from: &$0) }
  }
}

extension MetricRegistry: MetricsFactory {
  private static func name(_ label: String, suffix: String) -> String {
    let name = MetricName.metric(label)
    return name.hasSuffix(suffix) ? name : name + suffix
  }

  private static func help(_ label: String) -> String { "From a library, which calls it \(label.prefix(128))." }

  private func counting(_ label: String, _ dimensions: [(String, String)]) -> CountingSeries? {
    let made = find(
      MetricRegistry.name(label, suffix: "_total"), MetricLabels(dimensions), .counter,
      help: MetricRegistry.help(label)
    ) { .counter(CountingSeries($0)) }
    if case .counter(let series) = made { return series }
    return nil
  }

  private func gauge(_ label: String, _ dimensions: [(String, String)]) -> GaugeSeries? {
    let made = find(
      MetricName.metric(label), MetricLabels(dimensions), .gauge, help: MetricRegistry.help(label)
    ) { .gauge(GaugeSeries($0)) }
    if case .gauge(let series) = made { return series }
    return nil
  }

  private func distribution(
    _ name: String, _ label: String, _ dimensions: [(String, String)], _ bounds: HistogramBounds
  ) -> HistogramSeries? {
    let made = find(name, MetricLabels(dimensions), .histogram, help: MetricRegistry.help(label)) {
      .histogram(HistogramSeries($0, DurationHistogram(bounds)))
    }
    if case .histogram(let series) = made { return series }
    return nil
  }

  package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    counting(label, dimensions) ?? RefusedSeries.only
  }

  package func makeFloatingPointCounter(
    label: String, dimensions: [(String, String)]
  ) -> any FloatingPointCounterHandler {
    counting(label, dimensions) ?? RefusedSeries.only
  }

  package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    gauge(label, dimensions) ?? RefusedSeries.only
  }

  package func makeRecorder(
    label: String, dimensions: [(String, String)], aggregate: Bool
  ) -> any RecorderHandler {
    guard aggregate else { return gauge(label, dimensions) ?? RefusedSeries.only }
    return distribution(MetricName.metric(label), label, dimensions, .unknown) ?? RefusedSeries.only
  }

  package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    distribution(MetricRegistry.name(label, suffix: "_seconds"), label, dimensions, .brief) ?? RefusedSeries.only
  }

  package func destroyCounter(_ handler: any CounterHandler) { destroy(handler) }
  package func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { destroy(handler) }
  package func destroyMeter(_ handler: any MeterHandler) { destroy(handler) }
  package func destroyRecorder(_ handler: any RecorderHandler) { destroy(handler) }
  package func destroyTimer(_ handler: any TimerHandler) { destroy(handler) }
}
