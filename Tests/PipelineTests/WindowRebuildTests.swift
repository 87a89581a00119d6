import Telemetry
import Testing

@testable import Pipeline

/// A pipeline with windows whose state is lost, and that begins again where its marks say.
@Suite("Windows of a state that is lost")
struct WindowRebuildTests {
  private typealias Sum = WindowCrashTests.Sum

  /// Reads the stream from the state's checkpoint to its end and drains what is open.
  private func run(
    _ settings: PipelineSettings, _ events: [WindowCrashTests.Event], from state: PipelineState
  ) throws -> [Seal] {
    var core = try PipelineCore(settings: settings, version: "1", state: state)
    var seals: [Seal] = []
    func commit(_ core: inout PipelineCore) throws {
      guard let seal = try core.nextSeal() else { return }
      seals.append(seal)
      core.sealed(seal)
    }
    for offset in Int(state.checkpoint.rawValue)..<events.count {
      let event = events[offset]
      core.process(block([WindowCrashTests.message(event)], first: Int64(offset)), now: moment(event.received + 5))
      core.tick(moment(event.received + 6))
      try commit(&core)
    }
    core.drainWindows(moment((events.last?.received ?? 0) + 10))
    try commit(&core)
    return seals
  }

  private func results(_ lines: some Sequence<String>) throws -> Set<Sum> {
    Set(try lines.map { try WindowCrashTests.sum($0) })
  }

  private func lines(_ batches: some Sequence<Batch>) throws -> [String] { try batches.flatMap { try linesOf($0) } }

  /// Where the pipeline begins again, by the rules of the spool: what stands in windows and in waiting batches is
  /// needed again.
  private func lost(_ state: PipelineState, waiting: ArraySlice<Batch>, events: Int) throws -> PipelineState {
    let mark = try #require(state.windows)
    let from = waiting.reduce(min(state.checkpoint, mark.from)) {
      min($0, $1.firstOffset, $1.windows?.from ?? $1.firstOffset)
    }
    let closed = waiting.isEmpty ? mark.closed : waiting.first?.windows?.closed
    var begun = startState(from.rawValue)
    begun.epoch = Epoch(random: 7)
    begun.possibleDuplicateUntil = Offset(Int64(events))
    begun.windows = closed.map { WindowMark(from: from, closed: $0) }
    return begun
  }

  @Test(
    "are worked out again whole: none is left out, and none comes that was not there without saying so",
    arguments: [
      WindowSettings.Span.tumbling(10_000_000_000), .hopping(length: 12_000_000_000, every: 4_000_000_000),
      .session(gap: 6_000_000_000),
    ], [UInt64(1), 2, 3])
  func rebuilt(span: WindowSettings.Span, seed: UInt64) throws {
    var settings = try WindowCrashTests.settings(span, late: .drop)
    settings.dedupe = nil
    settings.window?.watermark.idleAfter = nil
    let events = WindowCrashTests.stream(seed: seed, count: 150, tooLate: 12)
    let seals = try run(settings, events, from: startState())
    let all = try results(lines(seals.flatMap(\.batches)))
    #expect(seals.count > 30 && all.count > 10)
    var readAgain = 0
    for count in 1..<seals.count {
      let batches = seals[..<count].flatMap(\.batches)
      let state = seals[count - 1].state
      for delivered in Set([0, batches.count / 2, batches.count]) {
        let begun = try lost(state, waiting: batches[delivered...], events: events.count)
        readAgain += state.checkpoint - begun.checkpoint > 0 ? 1 : 0
        let again = try lines(try run(settings, events, from: begun).flatMap(\.batches))
        let place = "\(delivered) batches delivered of \(batches.count), read from \(begun.checkpoint)"
        #expect(
          try all.subtracting(results(lines(batches[..<delivered]))).subtracting(results(again)).isEmpty, "\(place)")
        // A session that was closed may leave a part of itself, which says so; other windows do not.
        let isSession = if case .session = span { true } else { false }
        let others = again.filter { !isSession || $0.contains(#""complete":true"#) }
        #expect(try results(others).subtracting(all).isEmpty, "\(place)")
      }
    }
    #expect(readAgain > 30)
  }

  @Test("that are corrected come again with their last values")
  func corrected() throws {
    var settings = try WindowCrashTests.settings(.tumbling(5_000_000_000), late: .correct(within: 20_000_000_000))
    settings.dedupe = nil
    settings.window?.watermark.idleAfter = nil
    let events = WindowCrashTests.stream(seed: 9, count: 150, tooLate: 12)
    let seals = try run(settings, events, from: startState())
    func last(_ batches: some Sequence<Batch>) throws -> [String: Sum] {
      try Dictionary(
        batches.flatMap { try linesOf($0) }.map { try WindowCrashTests.sum($0) }.map {
          ("\($0.device) \($0.start)", $0)
        },
        uniquingKeysWith: { $0.count > $1.count ? $0 : $1 })
    }
    let all = try last(seals.flatMap(\.batches))
    for count in 1..<seals.count {
      let batches = seals[..<count].flatMap(\.batches)
      let begun = try lost(seals[count - 1].state, waiting: batches[batches.count...], events: events.count)
      let again = try run(settings, events, from: begun).flatMap(\.batches)
      #expect(try last(batches + again) == all, "read from \(begun.checkpoint)")
    }
  }

  @Test("that a requeued reading went into need it again, however long ago it came")
  func requeued() throws {
    var settings = try WindowCrashTests.settings(.tumbling(10_000_000_000), late: .drop)
    settings.dedupe = nil
    var core = try makeCore(settings, startState(500))
    let event = WindowCrashTests.Event(
      device: "d1", sequence: 1, time: receiptWall / 1_000_000, value: 3, received: 0)
    let message = WindowCrashTests.message(event)
    core.requeue(
      DeadLetter(
        id: 1,
        rejection: Rejection(
          stage: .decode, rule: "json.syntax", reason: "", origin: message.origin, log: logA, offset: Offset(40),
          received: message.received, payload: message.payload)), now: moment(5))
    let seal = try #require(try core.nextSeal())
    #expect(seal.counters.absorbed == 1)
    #expect(seal.state.windows?.from == Offset(40))
  }
}
