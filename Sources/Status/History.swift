/// The last hour in steps of ten seconds, for the charts of the status page: rates from counters, and levels as they
/// were. In memory only; time is passed in. One step costs one row of ``Series`` in a ring of fixed size (14 kB).
package struct History: Sendable {
  /// Nanoseconds between two points.
  package static let step: Int64 = 10_000_000_000
  /// An hour of them.
  package static let points = 360

  /// What is charted, by its name at `/v1/history`. A point without a figure is `null`: the daemon did not run, or
  /// could not say.
  package enum Series: String, Sendable, Hashable, CaseIterable {
    // Rates over the step, per second.
    /// Messages committed to the log.
    case receivedPerSecond
    /// Readings that the upstream confirmed.
    case deliveredPerSecond
    /// Bytes of bodies, as compressed.
    case sentBytesPerSecond
    /// Bytes booked by the kernel for writing to disk.
    case writtenBytesPerSecond
    // Levels at the end of the step.
    /// Messages received and not read, of the pipeline that is furthest behind.
    case backlogMessages
    /// Readings sealed and not delivered.
    case outboxReadings
    case deadLetters
    /// Age of the newest delivered data, of the pipeline that is furthest behind.
    case freshnessSeconds
    case residentBytes

    var column: Int { Series.allCases.firstIndex(of: self) ?? 0 }
  }

  /// What the daemon counts, at one moment. Counters only grow, but for restarts and what the configuration drops.
  package struct Sample: Sendable, Hashable {
    package var received: Int64
    package var delivered: Int64
    package var sentBytes: Int64
    /// Nil where the kernel keeps no such account.
    package var writtenBytes: Int64?
    package var backlogMessages: Int64
    package var outboxReadings: Int64
    package var deadLetters: Int64
    package var freshnessSeconds: Double?
    package var residentBytes: Int64

    package init(
      received: Int64, delivered: Int64, sentBytes: Int64, writtenBytes: Int64?, backlogMessages: Int64,
      outboxReadings: Int64, deadLetters: Int64, freshnessSeconds: Double?, residentBytes: Int64
    ) {
      self.received = received
      self.delivered = delivered
      self.sentBytes = sentBytes
      self.writtenBytes = writtenBytes
      self.backlogMessages = backlogMessages
      self.outboxReadings = outboxReadings
      self.deadLetters = deadLetters
      self.freshnessSeconds = freshnessSeconds
      self.residentBytes = residentBytes
    }
  }

  private struct Latest: Sendable {
    var sample: Sample
    var monotonic: Int64
    var wall: Int64
    /// Row of the ring that holds it.
    var row: Int
  }

  /// Row by row, a figure for each series; NaN where there is none. Empty before the first sample.
  private var rows: [Float] = []
  private var latest: Latest?

  package init() {}

  /// Takes a sample. One that comes sooner than half a step after the one before is left out; where steps were
  /// missed there is a gap, and the rate of the next one is over all of them.
  /// - Parameters:
  ///   - monotonic: nanoseconds.
  ///   - wall: nanoseconds since 1970.
  package mutating func record(_ sample: Sample, monotonic: Int64, wall: Int64) {
    let width = Series.allCases.count
    guard let before = latest else {
      rows = Array(repeating: .nan, count: History.points * width)
      latest = Latest(sample: sample, monotonic: monotonic, wall: wall, row: 0)
      write(sample, since: nil, seconds: 0, to: 0)
      return
    }
    let elapsed = monotonic - before.monotonic
    guard elapsed >= History.step / 2 else { return }
    let steps = max(1, Int((elapsed + History.step / 2) / History.step))
    for missed in 1...min(steps, History.points) {
      let row = (before.row + missed) % History.points
      for column in 0..<width { rows[row * width + column] = .nan }
    }
    let row = (before.row + steps) % History.points
    write(sample, since: before.sample, seconds: Double(elapsed) / 1e9, to: row)
    latest = Latest(sample: sample, monotonic: monotonic, wall: wall, row: row)
  }

  private mutating func write(_ sample: Sample, since before: Sample?, seconds: Double, to row: Int) {
    func rate(_ count: (Sample) -> Int64?) -> Double? {
      guard let before, let old = count(before), let new = count(sample), new >= old else { return nil }
      return Double(new - old) / seconds
    }
    for series in Series.allCases {
      let figure: Double? =
        switch series {
        case .receivedPerSecond: rate(\.received)
        case .deliveredPerSecond: rate(\.delivered)
        case .sentBytesPerSecond: rate(\.sentBytes)
        case .writtenBytesPerSecond: rate(\.writtenBytes)
        case .backlogMessages: Double(sample.backlogMessages)
        case .outboxReadings: Double(sample.outboxReadings)
        case .deadLetters: Double(sample.deadLetters)
        case .freshnessSeconds: sample.freshnessSeconds
        case .residentBytes: Double(sample.residentBytes)
        }
      rows[row * Series.allCases.count + series.column] = figure.map(Float.init) ?? .nan
    }
  }

  /// The figures of a series, the newest last: ``points`` of them, or none before the first sample.
  package func figures(_ series: Series) -> [Float?] {
    guard let latest else { return [] }
    return (1...History.points).map { step in
      let row = (latest.row + step) % History.points
      let figure = rows[row * Series.allCases.count + series.column]
      return figure.isNaN ? nil : figure
    }
  }

  /// The document at `/v1/history`, version 1.
  /// - Parameter time: writes wall nanoseconds as RFC 3339.
  package func json(time: (Int64) -> String) -> [UInt8] {
    // Six digits and a comma for most figures.
    var writer = JSONWriter(capacity: 32 * 1024)
    writer.object { document in
      document.value("version", 1 as Int64)
      document.value("stepSeconds", History.step / 1_000_000_000)
      document.value("points", latest == nil ? 0 : Int64(History.points))
      document.optional("to", latest.map { time($0.wall) })
      document.object("series") { all in
        for series in Series.allCases {
          all.array(series.rawValue) { list in
            // What is no number is null.
            for figure in figures(series) { list.value(nil, figure.map(Double.init) ?? .nan) }
          }
        }
      }
    }
    return writer.bytes
  }
}

extension History.Sample {
  /// What the summary for a fleet says at this moment.
  package init(_ status: GatewayStatus) {
    self.init(
      received: status.messages.received, delivered: status.readings.delivered, sentBytes: status.cost.sentBytes,
      writtenBytes: status.cost.writtenBytes, backlogMessages: status.backlog.messages,
      outboxReadings: status.outbox.readings, deadLetters: status.deadLetters.count,
      freshnessSeconds: status.freshnessSeconds, residentBytes: status.process.residentBytes)
  }
}
