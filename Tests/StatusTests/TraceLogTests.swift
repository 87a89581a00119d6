import Telemetry
import TestSupport
import Testing

@testable import Status

@Suite("Traces of batches")
struct TraceLogTests {
  private static let boot = BootID(high: 1, low: 2)

  private func batch(_ sequence: Int64, ages: Batch.Ages? = Batch.Ages(first: 3_000, last: 1_000)) throws -> Batch {
    let epoch = try #require(Epoch(rawValue: "0123456789abcdef"))
    let identity = BatchIdentity(gateway: "gw", pipeline: "climate", epoch: epoch, sequence: sequence)
    return Batch(
      identity: identity, version: "v", log: LogID(rawValue: "00"), firstOffset: Offset(1), lastOffset: Offset(2),
      count: 2, encoding: .ndjson, compression: .none, body: [1, 2], length: 2,
      digest: Digest(of: Array("\(sequence)".utf8)), previous: .zero,
      sealed: Moment(boot: Self.boot, monotonic: 10_000, wall: 20_000, quality: .synchronised), ages: ages)
  }

  private func trace(_ batch: Batch) -> BatchTrace { BatchTrace(batch) { $0.wall } }

  private func attempt(_ number: Int, ended: Int64 = 30_000, delivered: Bool = false) -> BatchTrace.Attempt {
    BatchTrace.Attempt(
      id: SpanID(UInt64(number)), number: number, uplink: "central",
      time: BatchTrace.Span(began: 25_000, ended: ended), answer: delivered ? "has-it" : "not-now",
      isDelivery: delivered)
  }

  @Test("a trace goes from the receipt of the first message to the confirmation")
  func way() throws {
    let log = TraceLog()
    let batch = try batch(1)
    log.begin(trace(batch))
    log.add(attempt(1), to: batch.identity.description) { trace(batch) }
    #expect(log.traces.first?.delivered == nil)
    log.add(attempt(2, ended: 40_000, delivered: true), to: batch.identity.description) { trace(batch) }
    let whole = try #require(log.traces.first)
    #expect(log.traces.count == 1 && whole.attempts.map(\.number) == [1, 2])
    #expect(whole.received == BatchTrace.Span(began: 17_000, ended: 19_000))
    #expect(whole.whole == BatchTrace.Span(began: 17_000, ended: 40_000) && whole.delivered == 40_000)
    #expect(whole.stages.map(\.name) == ["receive", "seal"])
    #expect(Set(whole.stages.map(\.id) + [whole.root]).count == 3)
  }

  @Test("a batch that was sealed before a restart has a trace of what it says itself")
  func restarted() throws {
    let log = TraceLog()
    let batch = try batch(7)
    log.add(attempt(1, delivered: true), to: batch.identity.description) { trace(batch) }
    #expect(log.traces.first?.batch == "gw/climate/0123456789abcdef/7" && log.traces.first?.delivered == 30_000)
  }

  @Test("the last traces are kept, the newest first, and of many attempts the first and the last")
  func bounded() throws {
    let log = TraceLog()
    for sequence in 1...Int64(TraceLog.maximumTraces + 5) { log.begin(trace(try batch(sequence))) }
    #expect(log.traces.count == TraceLog.maximumTraces)
    #expect(log.traces.first?.batch.hasSuffix("/\(TraceLog.maximumTraces + 5)") == true)
    var one = trace(try batch(1))
    for number in 1...100 { one.add(attempt(number)) }
    #expect(one.attempts.count == BatchTrace.maximumAttempts && one.attemptsLeftOut == 84)
    #expect(one.attempts.first?.number == 1 && one.attempts.last?.number == 100)
  }

  @Test("delivered traces wait for the export only where there is one, and each is given once")
  func export() throws {
    let log = TraceLog()
    let first = try batch(1)
    log.add(attempt(1, delivered: true), to: first.identity.description) { trace(first) }
    #expect(log.takeDelivered().isEmpty)
    log.setExporting(true)
    for sequence in 2...Int64(TraceLog.maximumWaiting + 4) {
      let batch = try batch(sequence)
      log.add(attempt(1, delivered: true), to: batch.identity.description) { trace(batch) }
    }
    #expect(log.lost == 3)
    let taken = log.takeDelivered()
    #expect(taken.count == TraceLog.maximumWaiting && taken.last?.batch.hasSuffix("/260") == true)
    #expect(log.takeDelivered().isEmpty)
  }

  @Test("times that make no sense break nothing")
  func hostile() throws {
    let trace = trace(try batch(1, ages: Batch.Ages(first: .max, last: .min)))
    #expect(trace.whole.ended >= trace.whole.began)
  }
}
