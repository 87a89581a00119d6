internal import Delivery
internal import Pipeline
internal import Spool
internal import Telemetry

/// A replay as somebody asks for it, on the command line or over the API.
struct ReplayOrder {
  /// What was asked for makes no sense, or there is nothing to be had; for people.
  struct Refusal: Error, CustomStringConvertible {
    /// It is not there, though it could be.
    var isAbsent: Bool
    var description: String
  }

  var pipeline: String
  /// Both times or both offsets, the end of the latter included.
  var from: ReplayPoint
  var to: ReplayPoint
  /// Messages a second; nil: as many as there is time for.
  var rate: Int64?
  /// Bytes upstream; nil: without a bound.
  var budget: Int64?

  /// - Parameters:
  ///   - to: nil: now, or the end of the log.
  ///   - now: wall nanoseconds.
  ///   - names: what the two ends are called where they were asked for: `--from`, `--to`.
  init(
    pipeline: String, from: String, to: String?, rate: Int64?, budget: Int64?, now: Int64,
    names: (from: String, to: String) = ("from", "to")
  ) throws(Refusal) {
    self.pipeline = pipeline
    self.rate = rate
    self.budget = budget
    func point(_ name: String, _ text: String) throws(Refusal) -> ReplayPoint {
      if let point = ReplayPoint(text, now: now) { return point }
      throw Refusal(
        isAbsent: false,
        description: "\(name) takes a time (2026-05-21T06:00:00Z, 2026-05-21, '90 min' for so long ago) or an offset, "
          + "not '\(text)'")
    }
    let first = try point(names.from, from)
    let last = try to.map { text throws(Refusal) in try point(names.to, text) }
    self.from = first
    switch (first, last) {
    case (.offset, nil): self.to = .offset((1 << 58) - 1)
    case (.time, nil): self.to = .time(now)
    case (.offset(let first), .offset(let last)?) where first <= last: self.to = .offset(last)
    case (.time(let first), .time(let end)?) where first < end: self.to = .time(end)
    case (.offset, .offset?), (.time, .time?):
      throw Refusal(isAbsent: false, description: "\(names.from) lies behind \(names.to)")
    case (_, _?):
      throw Refusal(isAbsent: false, description: "\(names.from) and \(names.to) are both times or both offsets")
    }
  }

  /// What it comes to on a spool.
  struct Plan {
    var request: Replay.Request
    /// Nil where the pipeline's version cannot be put together.
    var estimate: ReplayEstimate?
    /// That what was asked for is not all there.
    var notes: [String]
    var version: String
  }

  /// Finds the messages and estimates what becomes of them. Reads the log, for ten seconds at most; writes nothing.
  /// - Parameters:
  ///   - spool: the folder.
  ///   - configuration: where today's settings and prices are; nil: there are none.
  func plan(_ state: StateStore, _ reader: LogReader, spool: String, _ configuration: Configuration?) throws -> Plan {
    guard let source = try state.replayable(pipeline) else {
      throw ReplayRefusal.unknownPipeline(pipeline, known: try state.activePipelines().map(\.name))
    }
    var (request, notes) = try range(reader)
    request.rate = rate ?? 0
    request.budget = budget ?? 0
    let settings = settings(source, spool, configuration)
    let estimate = try settings.map { settings in
      try ReplayEstimate(
        request, settings: settings, version: source.version,
        stages: try state.stages(of: pipeline).filter { $0.stage == .clock }, reader: reader,
        // Of today's configuration: what it costs is no part of a version.
        price: configuration?.uplinks.first { $0.name == settings.to }?.price, clock: SystemClock.monotonic)
    }
    request.estimate = estimate?.figures
    return Plan(request: request, estimate: estimate, notes: notes, version: source.version)
  }

  /// The settings of that version: of the configuration that the daemon keeps, or of today's.
  private func settings(
    _ source: (version: String, configuration: [UInt8]), _ spool: String, _ configuration: Configuration?
  ) -> PipelineSettings? {
    let kept = PipelineWorker.assignments(keptIn: spool)(pipeline, source.configuration)
    if let kept, kept.version == source.version { return kept.settings }
    let today = configuration?.pipelines.first { $0.name == pipeline }
    return today.flatMap { pipelineVersion($0) == source.version ? $0 : nil }
  }

  private func range(_ reader: LogReader) throws -> (Replay.Request, notes: [String]) {
    var offsets: Range<Offset>?
    var times: Range<Int64>?
    var notes: [String] = []
    switch (from, to) {
    case (.time(let from), .time(let to)):
      offsets = try reader.offsets(received: from..<to)
      times = from..<to
      if let span = try reader.span(), from < span.first, try reader.start() > Offset(0) {
        notes.append("the log reaches back to \(Output.time(span.first)) only")
      }
    case (.offset(let first), .offset(let last)):
      offsets = try reader.held(Offset(first)..<Offset(last + 1))
      if let start = offsets?.lowerBound.rawValue, start > first {
        notes.append("what stood before offset \(start) is no longer in the log")
      }
    default: break
    }
    guard let offsets else {
      let end = try reader.end().next
      let held = try reader.span().map {
        "; the log holds the offsets \((try? reader.start()) ?? end) to \(end.rawValue - 1), received from "
          + "\(Output.time($0.first)) to \(Output.time($0.last))"
      }
      throw Refusal(isAbsent: true, description: "no message in the range\(held ?? "; the log is empty")")
    }
    return (Replay.Request(pipeline: pipeline, log: reader.log, offsets: offsets, times: times), notes)
  }
}
