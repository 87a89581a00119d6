import Telemetry
import Testing

@testable import Spool

@Suite("A spool that was damaged while windows were open")
struct WindowMarkTests {
  let folder: SpoolFolder

  init() throws { folder = try SpoolFolder() }

  @Test("keeps the results that the upstream refused, whose time stays closed")
  func refusedResult() throws {
    do {
      let spool = try folder.open()
      var state = try spool.register(folder)
      try spool.log.append(Fixture.group(0..<6))
      state.windows = WindowMark(from: Offset(0), closed: ClosedWindows(through: 100, partial: 100))
      try spool.state.seal(Fixture.seal(&state, readings: 3..<4), pipeline: "climate")
      let waiting = try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 1)
      try spool.state.setAside(waiting[0].id, rule: "upstream.422", reason: "no")
      try spool.mirror()
      spool.close()
    }
    folder.tamper(folder.statePath, "PRAGMA application_id = 7")
    let spool = try folder.open()
    #expect(try spool.register(folder).checkpoint == Offset(0))
    #expect(try spool.state.deadLetters(DeadLetterFilter(), limit: 9).map(\.letter.rejection.rule) == ["upstream.422"])
    #expect(try spool.audit().balances)
  }

  @Test(
    "with a damaged state.db begins again where the readings of open windows and of waiting results begin",
    arguments: [true, false])
  func stateDamagedWithWindows(isDelivered: Bool) throws {
    let waiting = WindowMark(from: Offset(1), closed: ClosedWindows(through: 50, partial: 60))
    let open = WindowMark(from: Offset(3), closed: ClosedWindows(through: 100, partial: 110))
    do {
      let spool = try folder.open()
      var state = try spool.register(folder)
      try spool.log.append(Fixture.group(0..<6))
      try spool.state.seal(Fixture.seal(&state, readings: 0..<2), pipeline: "climate")
      try spool.state.confirm(try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 1).map(\.id))
      state.windows = open
      var seal = Fixture.seal(&state, readings: 2..<5)
      seal.batches[0].windows = waiting
      seal.state.windows = open
      try spool.state.seal(seal, pipeline: "climate")
      if isDelivered {
        try spool.state.confirm(try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 1).map(\.id))
      }
      try spool.mirror()
      spool.close()
    }
    folder.overwrite(folder.statePath, at: 0, with: Array("this is no database at all".utf8))
    // The second time as after a crash before anything was sealed.
    for _ in 0..<2 {
      let spool = try folder.open()
      let state = try spool.register(folder)
      #expect(state.checkpoint == (isDelivered ? open.from : waiting.from))
      #expect(state.windows?.closed == (isDelivered ? open.closed : waiting.closed))
      #expect(state.possibleDuplicateUntil == Offset(6))
      #expect(try spool.audit().balances)
      spool.close()
    }
  }
}
