internal import Delivery
internal import Pipeline
internal import Spool
internal import Telemetry

/// What a replay would become: the pipeline runs over its range, or over samples of it, and what comes out is
/// counted and thrown away.
struct ReplayEstimate: Codable, Sendable {
  /// Messages beyond which samples have to do.
  static let sampleLimit: Int64 = 200_000
  /// Samples are taken from so many places, evenly over the range: a day is not like its night.
  static let places: Int64 = 10
  /// Nanoseconds after which the estimate rests on what was read so far.
  static let patience: Int64 = 10_000_000_000

  var pipeline: String
  var version: String
  var from: String?
  var to: String?
  var firstOffset: Int64
  var lastOffset: Int64
  /// In the range.
  var messages: Int64
  /// That the figures below were reckoned from; less than ``messages`` for a sample.
  var sampledMessages: Int64
  /// Of the pipeline, as opposed to those of others and of other times.
  var matched: Int64
  /// That would become dead letters.
  var refused: Int64
  var readings: Int64
  var batches: Int64
  /// Of bodies upstream, as compressed.
  var bytes: Int64
  /// Of readings, uncompressed.
  var plainBytes: Int64
  /// What sending it costs by the price of the uplink; nil where that has none.
  var cost: Double?
  /// As the configuration names it.
  var currency: String?
  /// At its rate; nil without one.
  var seconds: Int64?

  var isSample: Bool { sampledMessages < messages }
  var figures: Replay.Estimate { Replay.Estimate(readings: readings, batches: batches, bytes: bytes) }

  /// - Parameters:
  ///   - clock: monotonic nanoseconds.
  ///   - limit: messages beyond which samples have to do.
  init(
    _ request: Replay.Request, settings: PipelineSettings, version: String, stages: [StageState], reader: LogReader,
    price: LinkPrice? = nil, limit: Int64 = ReplayEstimate.sampleLimit, clock: () -> Int64
  ) throws {
    let offsets = request.offsets
    messages = offsets.upperBound - offsets.lowerBound
    let state = PipelineState(
      gateway: "estimate", epoch: Epoch(random: 0), nextSequence: 1, previousDigest: .zero, log: request.log,
      checkpoint: offsets.lowerBound)
    var core = try PipelineCore(
      settings: settings, version: version, state: state, stages: stages.filter { settings.remembers($0.stage) })
    let places = messages > limit ? ReplayEstimate.places : 1
    let deadline = clock() + ReplayEstimate.patience
    let now = Moment(boot: BootID(high: 0, low: 0), monotonic: 0, wall: 0, quality: .unsynchronised)
    var sum = LedgerCounters()
    var sealed = (batches: Int64(0), bytes: Int64(0), plain: Int64(0))
    var read: Int64 = 0
    func seal() throws {
      guard let seal = try core.nextSeal() else { return }
      core.sealed(seal)
      sum += seal.counters
      for batch in seal.batches {
        sealed.batches += 1
        sealed.bytes += Int64(batch.body.count)
        sealed.plain += Int64(batch.length)
      }
    }
    for place in 0..<places {
      let start = offsets.lowerBound.rawValue + messages / places * place
      let stop = place == places - 1 && places == 1 ? offsets.upperBound : Offset(start + limit / places)
      core.skip(to: Offset(start))
      while core.readPosition < min(stop, offsets.upperBound), clock() < deadline {
        let before = core.readPosition
        let stretch = try reader.next(from: before, interested: core.interested)
        _ = core.replay(stretch, of: request, now: now)
        read += core.readPosition - before
        if core.sealableBytes >= PipelineRunner.sealBytes || core.sealableBatches >= PipelineRunner.sealBatches {
          try seal()
        }
      }
    }
    core.drainWindows(now)
    try seal()

    let factor = read > 0 ? Double(messages) / Double(read) : 1
    let isWhole = read >= messages
    func scaled(_ count: Int64) -> Int64 { isWhole ? count : Int64((Double(count) * factor).rounded(.up)) }
    pipeline = request.pipeline
    self.version = version
    from = request.times.map { RFC3339.text($0.lowerBound) }
    to = request.times.map { RFC3339.text($0.upperBound) }
    firstOffset = offsets.lowerBound.rawValue
    lastOffset = offsets.upperBound.rawValue - 1
    sampledMessages = min(read, messages)
    matched = scaled(sum.decoded + sum.rejected)
    refused = scaled(sum.rejected + sum.refused)
    readings = scaled(sum.readings - sum.settled)
    batches = scaled(sealed.batches)
    bytes = scaled(sealed.bytes)
    plainBytes = scaled(sealed.plain)
    cost = price?.cost(of: bytes)
    currency = price?.currency
    seconds = request.rate > 0 ? (messages + request.rate - 1) / request.rate : nil
  }

  var text: String {
    let about = isSample ? "about " : ""
    let times = from.flatMap { from in to.map { ", received from \(from) to before \($0)" } } ?? ""
    var lines = ["replay of pipeline \(pipeline), version \(version)"]
    lines.append("  range      offsets \(firstOffset) to \(lastOffset)\(times)")
    lines.append(
      "  messages   \(Output.grouped(messages)), \(about)\(Output.grouped(matched)) of them the pipeline's")
    lines.append(
      "  readings   \(about)\(Output.grouped(readings)) in \(Output.count(batches, "batch")), and "
        + Output.count(refused, "dead letter"))
    lines.append("  upstream   \(about)\(Output.bytes(bytes)), uncompressed \(Output.bytes(plainBytes))")
    if let cost, let currency { lines.append("  costs      \(about)\(Output.money(cost)) \(currency)") }
    if let seconds { lines.append("  takes      \(Output.duration(seconds * 1_000_000_000)) at least, by its rate") }
    lines.append(
      "  reckoned   from "
        + (isSample ? "a sample of \(Output.count(sampledMessages, "message"))" : "all of its messages"))
    return lines.joined(separator: "\n")
  }
}
