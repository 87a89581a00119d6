import Telemetry
import Testing

@testable import forebay

@Suite struct ChainVerifierTests {
  private func report(_ records: [BatchRecord]) throws -> ChainReport {
    var verifier = ChainVerifier()
    for record in records { verifier.add(record) }
    let reports = verifier.finish()
    #expect(reports.count == 1)
    return try #require(reports.first)
  }

  @Test("a chain that is held whole, in any order, is complete")
  func complete() throws {
    let chain = try FixtureBatch.chain([3, 1, 5, 2])
    let report = try report([2, 0, 3, 1].map { try chain[$0].record(compression: .gzip) })
    #expect(report.verdict == .complete)
    #expect(report.batches == 4 && report.readings == 11 && report.highest == 4)
    #expect(report.bytes == chain.reduce(0) { $0 + $1.body.count })
    #expect(report.gaps.isEmpty && report.refused == 0 && report.repeated == 0)
  }

  @Test("parts of several splits make up their batch, and a whole fills what is lacking")
  func parts() throws {
    let chain = try FixtureBatch.chain([7, 5])
    let report = try report([
      chain[0].part(2, of: 2).record(), chain[1].part(2, of: 4).record(),
      chain[0].part(1, of: 4).record(), chain[0].part(2, of: 4).record(),
      chain[1].record(lines: [0..<1, 2..<5]),
    ])
    #expect(report.verdict == .complete)
    #expect(report.batches == 2 && report.readings == 12)
  }

  @Test("a missing batch and missing lines are named")
  func missing() throws {
    let chain = try FixtureBatch.chain([2, 2, 2, 6, 2])
    let report = try report([
      chain[0].record(), chain[3].part(1, of: 2).record(), chain[4].record(),
    ])
    #expect(report.verdict == .incomplete)
    #expect(report.gaps.map(\.sequences) == [2...3, 4...4])
    #expect(report.gaps.map(\.missing) == [nil, [3..<6]])
    #expect(report.json.contains("\"missing\":[[2,3]],\"partial\":[{\"sequence\":4,\"missing\":[[3,6]]}]"))
    #expect(report.text.contains("gap 2-3: missing"))
    #expect(report.text.contains("gap 4: lines 3-5 missing"))
  }

  @Test("a refused reading is accounted for; what was taken after a refusal is no gap")
  func refused() throws {
    let chain = try FixtureBatch.chain([2, 4, 2])
    let report = try report([
      chain[0].record(), chain[1].refusal(), chain[1].part(1, of: 2).record(),
      chain[1].part(2, of: 2).refusal(), chain[1].part(3, of: 4).refusal(),
      chain[1].part(4, of: 4).record(), chain[2].refusal(413), chain[2].record(),
    ])
    #expect(report.verdict == .complete)
    #expect(report.refused == 1 && report.unsplit == 0)
    #expect(report.gaps.map(\.sequences) == [2...2])
    #expect(report.readings == 7)
  }

  @Test("readings that were refused only together with others are told apart")
  func unsplit() throws {
    let chain = try FixtureBatch.chain([2, 4])
    let report = try report([chain[0].record(), chain[1].refusal(400)])
    #expect(report.refused == 4 && report.unsplit == 4)
  }

  @Test("a body that is not what its digest says is a fault, and its batch is missing")
  func digest() throws {
    let chain = try FixtureBatch.chain([2, 2])
    var record = try chain[1].record()
    record.body[3] ^= 1
    let report = try report([chain[0].record(), record])
    #expect(report.verdict == .broken)
    #expect(report.faults.count == 1)
    #expect(report.faults.first?.hasPrefix("gw-1/climate/0000000000000007/2: the digest") == true)
  }

  @Test("a link that does not fit is a fault, also beside a gap that is only partly known")
  func link() throws {
    let chain = try FixtureBatch.chain([2, 2, 2])
    var second = chain[1]
    second.previous = Digest(of: [1])
    #expect(try report([chain[0].record(), second.record()]).verdict == .broken)
    #expect(try report([second.record(), chain[0].record()]).verdict == .broken)
    let part = try second.part(1, of: 2).record()
    #expect(try report([chain[0].record(), part]).verdict == .broken)
    #expect(try report([chain[0].refusal(), second.refusal()]).verdict == .broken)
  }

  @Test("lines stored twice are a fault")
  func repeated() throws {
    let chain = try FixtureBatch.chain([4])
    let whole = try report([chain[0].record(), chain[0].record()])
    #expect(whole.verdict == .broken && whole.repeated == 4 && whole.readings == 4)
    let part = try chain[0].part(1, of: 2).record()
    let parts = try report([part, part, chain[0].part(2, of: 2).record()])
    #expect(parts.verdict == .broken && parts.repeated == 2 && parts.readings == 4)
  }

  @Test("parts that do not make up the batch that was split are a fault")
  func assembly() throws {
    let batch = try FixtureBatch.chain([4])[0]
    var part = try batch.part(2, of: 2)
    part.lines[0] = "{\"line\":99}"
    let report = try report([batch.part(1, of: 2).record(), part.record()])
    #expect(report.verdict == .broken)
    #expect(report.faults.first?.contains("do not make up") == true)
  }
}
