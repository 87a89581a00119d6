package import Telemetry

/// The way of one batch through the gateway: receive ▶ commit ▶ seal ▶ deliver. Times are wall nanoseconds since
/// 1970; what is not known (any more) is nil.
package struct BatchTrace: Sendable, Hashable {
  /// From one time to another; the same twice for something that took no time worth telling.
  package struct Span: Sendable, Hashable {
    package var began: Int64
    package var ended: Int64

    package init(began: Int64, ended: Int64) {
      self.began = began
      self.ended = max(began, ended)
    }
  }

  package struct Attempt: Sendable, Hashable {
    package var id: SpanID
    package var number: Int
    package var uplink: String
    package var time: Span
    /// As in the metrics: `has-it`, `not-now`.
    package var answer: String
    package var isDelivery: Bool

    package init(id: SpanID, number: Int, uplink: String, time: Span, answer: String, isDelivery: Bool) {
      self.id = id
      self.number = number
      self.uplink = uplink
      self.time = time
      self.answer = answer
      self.isDelivery = isDelivery
    }
  }

  /// Attempts that are kept of one batch: the first and the last ones tell what happened.
  package static let maximumAttempts = 16

  package var trace: TraceID
  /// The span of the whole way; those of its stages have the numbers behind it.
  package var root: SpanID
  package var batch: String
  package var pipeline: String
  package var version: String
  package var readings: Int
  /// Of the body, as compressed.
  package var bytes: Int
  /// From the receipt of the first message to that of the last.
  package var received: Span?
  /// The commit of the group that held the last message.
  package var committed: Span?
  /// From the batch's closing to the commit of its seal.
  package var sealed: Span
  package private(set) var attempts: [Attempt] = []
  /// Attempts between the kept ones.
  package private(set) var attemptsLeftOut = 0
  /// What its messages said of the traces that they are in.
  package var links: [TraceContext] = []

  /// What a batch itself says.
  /// - Parameter wall: turns a moment into wall nanoseconds by today's clock.
  package init(_ batch: Batch, links: [TraceContext] = [], wall: (Moment) -> Int64) {
    trace = batch.trace
    root = batch.span(stage: 0)
    self.batch = batch.identity.description
    pipeline = batch.identity.pipeline
    version = batch.version
    readings = batch.count
    bytes = batch.body.count
    let sealing = wall(batch.sealed)
    sealed = Span(began: sealing, ended: sealing)
    received = batch.ages.map {
      Span(began: sealing.subtractingSaturated($0.first), ended: sealing.subtractingSaturated($0.last))
    }
    self.links = links
  }

  /// When the upstream had it; nil before.
  package var delivered: Int64? { attempts.last { $0.isDelivery }?.time.ended }

  /// The whole way so far.
  package var whole: Span {
    Span(
      began: received?.began ?? sealed.began,
      ended: attempts.reduce(max(sealed.ended, received?.ended ?? .min)) { max($0, $1.time.ended) })
  }

  package mutating func add(_ attempt: Attempt) {
    if attempts.count == BatchTrace.maximumAttempts {
      attempts.remove(at: BatchTrace.maximumAttempts / 2)
      attemptsLeftOut += 1
    }
    attempts.append(attempt)
  }

  /// The stages in the order of the way, with their span ids.
  package var stages: [(name: String, id: SpanID, time: Span)] {
    var stages: [(name: String, id: SpanID, time: Span)] = []
    func add(_ number: Int, _ name: String, _ time: Span?) {
      guard let time else { return }
      stages.append((name, SpanID(root.rawValue &+ UInt64(truncatingIfNeeded: number)), time))
    }
    add(1, "receive", received)
    add(2, "commit", committed)
    add(3, "seal", sealed)
    return stages
  }
}

extension Int64 {
  /// The difference, at the end of the range where it would lie beyond.
  func subtractingSaturated(_ other: Int64) -> Int64 {
    let (difference, overflow) = subtractingReportingOverflow(other)
    return overflow ? (other > 0 ? .min : .max) : difference
  }
}
