internal import Pipeline
internal import Spool
internal import Telemetry

/// A replay for people and for programs.
struct ReplayReport: Codable, Sendable {
  struct Estimate: Codable, Sendable {
    var readings: Int64
    var batches: Int64
    var bytes: Int64
  }

  var id: String
  var pipeline: String
  var version: String
  var uplink: String
  /// ``Replay/State``
  var state: String
  /// Why it is paused or failed.
  var reason: String?
  /// What it waits for, though it runs.
  var waitsFor: String?
  /// By the wall clock; nil where the range was given as offsets.
  var from: String?
  var to: String?
  var firstOffset: Int64
  var lastOffset: Int64
  /// In its range, and as far as it has got.
  var messages: Int64
  var read: Int64
  /// Messages a second; nil: as many as there is time for.
  var rate: Int64?
  var budgetBytes: Int64?
  /// Bytes of bodies, as compressed, that it has sealed.
  var bytes: Int64
  var batches: Int64
  var readings: Int64
  var outboxReadings: Int64
  var delivered: Int64
  var deadLetters: Int64
  var estimate: Estimate?
  var created: String
  var ended: String?

  init(_ replay: Replay, waitsFor: String? = nil) {
    let request = replay.request
    id = replay.id.rawValue
    pipeline = replay.pipeline
    version = replay.version
    uplink = replay.uplink
    state = replay.state.rawValue
    reason = replay.reason
    self.waitsFor = waitsFor
    from = request.times.map { RFC3339.text($0.lowerBound) }
    to = request.times.map { RFC3339.text($0.upperBound) }
    firstOffset = request.offsets.lowerBound.rawValue
    lastOffset = request.offsets.upperBound.rawValue - 1
    messages = request.offsets.upperBound - request.offsets.lowerBound
    read = replay.checkpoint - request.offsets.lowerBound
    rate = request.rate > 0 ? request.rate : nil
    budgetBytes = request.budget > 0 ? request.budget : nil
    bytes = replay.bytes
    batches = replay.batches
    readings = replay.ledger.counters.readings
    outboxReadings = replay.ledger.inOutbox
    delivered = replay.ledger.delivered
    deadLetters = replay.ledger.deadLetters
    estimate = request.estimate.map { Estimate(readings: $0.readings, batches: $0.batches, bytes: $0.bytes) }
    created = RFC3339.text(replay.created)
    ended = replay.ended.map(RFC3339.text)
  }

  /// Nothing of it is left to do.
  var isSettled: Bool { ended != nil && outboxReadings == 0 }

  private var detail: String { reason ?? waitsFor.map { "waits for \($0)" } ?? "" }

  private var share: String { messages > 0 ? "\(min(read, messages) * 100 / messages) %" : "-" }

  static func table(_ replays: [ReplayReport]) -> String {
    Output.table(
      ["REPLAY", "PIPELINE", "STATE", "READ", "OF", "READINGS", "OUTBOX", "DELIVERED", "SEALED", "DETAIL"],
      replays.map {
        [
          $0.id, $0.pipeline, $0.state, $0.share, Output.grouped($0.messages), Output.grouped($0.readings),
          Output.grouped($0.outboxReadings), Output.grouped($0.delivered), Output.bytes($0.bytes), $0.detail,
        ]
      })
  }

  /// One line of how far it is.
  var progress: String {
    "replay \(id) \(state): \(Output.grouped(read)) of \(Output.count(messages, "message")) read, "
      + "\(Output.count(delivered, "reading")) delivered" + (detail.isEmpty ? "" : ": \(detail)")
  }

  var text: String {
    var lines = ["replay \(id) of pipeline \(pipeline): \(state)" + (detail.isEmpty ? "" : ", \(detail)")]
    let times = from.flatMap { from in to.map { ", received from \(from) to before \($0)" } } ?? ""
    lines.append("  range      offsets \(firstOffset) to \(lastOffset)\(times)")
    lines.append("  read       \(Output.grouped(read)) of \(Output.count(messages, "message")) (\(share))")
    lines.append(
      "  readings   \(Output.grouped(readings)) made, \(Output.grouped(outboxReadings)) in the outbox, "
        + "\(Output.grouped(delivered)) delivered, \(Output.count(deadLetters, "dead letter"))")
    lines.append("  upstream   \(Output.bytes(bytes)) in \(Output.count(batches, "batch")), to uplink \(uplink)")
    if let estimate {
      lines.append(
        "  estimate   \(Output.count(estimate.readings, "reading")), \(Output.bytes(estimate.bytes)) in "
          + Output.count(estimate.batches, "batch"))
    }
    lines.append(
      "  limits     " + (rate.map { "\(Output.count($0, "message")) a second" } ?? "no rate") + ", "
        + (budgetBytes.map { "a budget of \(Output.bytes($0))" } ?? "no budget"))
    lines.append("  version    \(version)")
    lines.append("  made       \(created)" + (ended.map { ", ended \($0)" } ?? ""))
    return lines.joined(separator: "\n")
  }
}
