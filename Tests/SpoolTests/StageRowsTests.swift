import Telemetry
import Testing

@testable import Spool

@Suite("What stages remember")
struct StageRowsTests {
  private let folder: SpoolFolder

  init() throws { folder = try SpoolFolder() }

  private func rows(_ rows: [([UInt8], [UInt8]?)]) -> [StageState] {
    [StageState(stage: .dedupe, rows: rows.map { StateRow(key: $0.0, value: $0.1) })]
  }

  @Test("is stored with the seal, changed and deleted row by row, per pipeline, and is there after a restart")
  func stored() throws {
    do {
      let spool = try folder.open()
      var state = try spool.register(folder)
      state.checkpoint = Offset(0)
      try spool.state.seal(
        Seal(stages: rows([([1], [10]), ([2], [20]), ([3], [30])]), state: state), pipeline: "climate")
      try spool.state.seal(Seal(stages: rows([([2], [21]), ([3], nil)]), state: state), pipeline: "climate")
      spool.close()
    }
    let spool = try folder.open()
    #expect(try spool.state.stages(of: "climate") == rows([([1], [10]), ([2], [21])]))
    #expect(try spool.state.stages(of: "other").isEmpty)
    try spool.state.forget(.dedupe, of: "climate")
    #expect(try spool.state.stages(of: "climate").isEmpty)
  }

  @Test("is forgotten when the book of a dropped pipeline is closed")
  func retired() throws {
    let spool = try folder.open()
    let state = try spool.register(folder)
    try spool.state.seal(Seal(stages: rows([([1], [10])]), state: state), pipeline: "climate")
    _ = try spool.register(folder, [])
    #expect(try spool.state.stages(of: "climate") == rows([([1], [10])]))
    try spool.state.retire("climate", unread: 0, wall: 1)
    #expect(try spool.state.stages(of: "climate").isEmpty)
  }
}
