import Synchronization
import Telemetry
import Testing

@testable import Spool

@Suite("Reading the log")
struct LogReadingTests {
  @Test("meets no gap while messages are being appended", .timeLimit(.minutes(1)))
  func appending() async throws {
    let folder = try SpoolFolder()
    let spool = try folder.open()
    let blocks = 2_000
    let log = spool.log
    let appender = Task.detached { for n in 0..<blocks { try log.append(Fixture.group(n..<n + 1)) } }
    let reader = try spool.reader()
    var offset = Offset(0)
    var gaps: [LogStretch] = []
    while offset < Offset(Int64(blocks)), gaps.isEmpty {
      switch try reader.next(from: offset) {
      case .block(let block): offset = block.end
      case .some(let other): gaps.append(other)
      case nil: await Task.yield()
      }
    }
    try await appender.value
    #expect(gaps.isEmpty)
    spool.close()
  }
}
