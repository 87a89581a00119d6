import Compression
import Pipeline
import Telemetry
import Testing

@Suite("Batches as columns")
struct ColumnsBatchTests {
  private func batch(_ encoding: BatchEncoding, requeued: String? = nil) throws -> Batch {
    var core = try makeCore(
      try makeSettings {
        $0.batch.encoding = encoding
        $0.batch.compression = .zstd
      })
    let messages = (0..<50).map { message("sensors/p-\($0 % 3)/climate", #"{"n":\#($0), "x":1.50}"#) }
    core.process(block(messages), now: moment())
    if let requeued {
      core.requeue(
        DeadLetter(
          id: 1,
          rejection: Rejection(
            stage: .upstream, rule: "upstream.422", reason: "", origin: Origin(source: "", topic: ""), log: logA,
            offset: Offset(0), received: moment(), payload: Array(requeued.utf8))), now: moment())
    }
    core.close(moment())
    return try #require(try core.takeSeal()?.batches.first)
  }

  @Test("a sealed batch is the columns of its lines, and digest, count and length are those of the lines")
  func sealed() throws {
    let lines = try batch(.ndjson)
    let columns = try batch(.columns)
    #expect(columns.encoding == .columns && columns.version != lines.version)
    #expect(columns.digest == lines.digest && columns.count == 50 && columns.length == lines.length)
    let text = try Zstd.decompress(columns.body, maximumOutput: Columns.maximumLength(ofLines: columns.length))
    let decoded = try Columns.decode(text, maximumOutput: columns.length)
    #expect(decoded.lines == (try Zstd.decompress(lines.body, maximumOutput: lines.length)))
    #expect(decoded.count == 50)
    #expect(String(decoding: text, as: UTF8.self).hasPrefix(#"{"rows":50,"tables":[{"key":["p-0","p-1","#))
    #expect(try batch(.columns) == columns)
  }

  @Test("a batch with a requeued line that is no JSON is sent as lines")
  func notJSON() throws {
    let batch = try batch(.columns, requeued: "no JSON")
    #expect(batch.encoding == .ndjson && batch.count == 51)
    #expect(try linesOf(batch).last == "no JSON")
    #expect(try self.batch(.columns, requeued: #"{"old": "form"}"#).encoding == .columns)
  }
}
