import Telemetry
import Testing

@testable import Pipeline

@Suite("Windows in a pipeline")
struct WindowStageTests {
  static let second: Int64 = 1_000_000_000

  static func settings(
    _ span: WindowSettings.Span = .tumbling(10 * second), lateness: Int64 = 0,
    _ change: (inout PipelineSettings) -> Void = { _ in }
  ) throws -> PipelineSettings {
    var window = WindowingSettings(
      span: span,
      emit: [
        WindowingSettings.Emitted(name: "mean", function: .average, argument: "v"),
        WindowingSettings.Emitted(name: "twice", function: .maximum, argument: "v * 2"),
      ])
    window.watermark.allowedLateness = lateness
    return try makeSettings(time: .field("t", .seconds)) {
      $0.window = window
      change(&$0)
    }
  }

  /// A reading so many seconds after the time of its receipt, which begins a window.
  static func reading(_ second: Int, _ value: Int, device: String = "d1") -> Message {
    message("sensors/\(device)/climate", #"{"t":\#(receiptWall / Self.second + Int64(second)),"v":\#(value)}"#)
  }

  /// What these readings leave in the next seal.
  static func seal(_ settings: PipelineSettings, _ readings: Message...) throws -> Seal {
    var core = try makeCore(settings)
    core.process(block(readings), now: moment())
    core.close(moment(1))
    return try #require(try core.takeSeal())
  }

  static func lines(_ seal: Seal) throws -> [String] { try seal.batches.flatMap { try linesOf($0) } }

  @Test("a window's result stands for its readings: key, captures, bounds, count, offsets and aggregates")
  func result() throws {
    let seal = try Self.seal(try Self.settings(), Self.reading(1, 4), Self.reading(9, 8), Self.reading(12, 1))
    #expect(
      try Self.lines(seal) == [
        #"{"key":"d1","time":"2026-11-21T03:18:00Z","data":{"window":{"start":"2026-11-21T03:18:00Z","#
          + #""end":"2026-11-21T03:18:10Z","count":2,"complete":true,"offsets":[0,1]},"mean":6.0,"twice":16.0}}"#
      ])
    #expect(seal.produced == 3 && seal.absorbed == 3 && seal.emitted == 1)
  }

  @Test("a reading that comes too late is booked as late, set aside or put right, as the settings say")
  func late() throws {
    let readings = [Self.reading(1, 4), Self.reading(25, 1), Self.reading(2, 8)]
    func seal(_ late: WindowingSettings.Late) throws -> Seal {
      try Self.seal(try Self.settings { $0.window?.late = late }, readings[0], readings[1], readings[2])
    }
    #expect(try seal(.drop).late == 1)
    let kept = try seal(.deadLetter)
    #expect(kept.late == 0 && kept.refused == 1 && kept.rejections.first?.rule == "window.late")
    #expect(kept.rejections.first?.stage == .window && kept.rejections.first?.reading == 0)
    let corrected = try seal(.correct(within: 60 * Self.second))
    #expect(corrected.late == 0 && corrected.absorbed == 3 && corrected.emitted == 2)
    #expect(try Self.lines(corrected).last?.contains(#""revision":1,"offsets":[0,2]},"mean":6.0"#) == true)
  }

  @Test("a reading far ahead of a synchronised clock opens no window and is set aside")
  func future() throws {
    let seal = try Self.seal(
      try Self.settings(), Self.reading(1, 4), Self.reading(365 * 86_400, 4), Self.reading(12, 1))
    #expect(seal.rejections.map(\.rule) == ["window.future"] && seal.absorbed == 2 && seal.emitted == 1)
  }

  @Test("without readings, windows close as the clock goes on, where the settings say so")
  func idle() throws {
    var core = try makeCore(try Self.settings { $0.window?.watermark.idleAfter = 5 * Self.second })
    core.process(block([Self.reading(1, 4)]), now: moment())
    core.tick(moment(4_000))
    core.close(moment(4_000))
    #expect(try core.takeSeal()?.emitted == 0)
    // What has not been read yet is no silence.
    core.tick(moment(20_000), isCaughtUp: false)
    core.close(moment(20_000))
    #expect(try core.takeSeal() == nil)
    core.tick(moment(20_000))
    core.close(moment(20_000))
    let seal = try #require(try core.takeSeal())
    #expect(seal.emitted == 1 && seal.batches.count == 1)
  }

  @Test("more results at once than a batch holds are parted into batches that are sealed together")
  func many() throws {
    var core = try makeCore(try Self.settings { $0.batch.maximumCount = 10 })
    let readings = (0..<35).map { Self.reading(1, 4, device: "d\($0)") } + [Self.reading(12, 1)]
    core.process(block(readings), now: moment())
    #expect(core.openReadings == 0, "nothing of it may wait: the windows are closed")
    let seal = try #require(try core.takeSeal())
    #expect(seal.batches.map(\.count) == [10, 10, 10, 5] && seal.emitted == 35)
    #expect(seal.state.checkpoint == Offset(36))
  }

  @Test("windows that are open when other rules take over are closed, and say that they are not complete")
  func draining() throws {
    var core = try makeCore(try Self.settings())
    core.process(block([Self.reading(1, 4)]), now: moment())
    core.drainWindows(moment(1))
    let seal = try #require(try core.takeSeal())
    #expect(try Self.lines(seal).first?.contains(#""complete":false"#) == true)
    #expect(seal.stages.first { $0.stage == .windows } != nil)
  }

  @Test("windows stored under other rules are not taken for today's; a reloaded table or batch size is no other rule")
  func rules() throws {
    let old = try Self.settings()
    let seal = try Self.seal(old, Self.reading(1, 4))
    func resume(_ settings: PipelineSettings) throws -> PipelineCore {
      try PipelineCore(settings: settings, version: "2", state: seal.state, stages: seal.stages)
    }
    var bigger = old
    bigger.batch.maximumCount = 7
    #expect(try resume(bigger).observations.windows?.open == 1 && bigger.continuesWindows(of: old))
    var other = old
    other.condition = "v > 3"
    #expect(!other.continuesWindows(of: old))
    do {
      _ = try resume(other)
      Issue.record("taken for today's")
    } catch let error as StageDamage {
      #expect(error.stage == .windows && error.damage.kind == .settings)
    }
  }
}
