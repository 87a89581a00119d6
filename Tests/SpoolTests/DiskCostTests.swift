import Compression
import Telemetry
import Testing

@testable import Spool

@Suite("What the spool writes")
struct DiskCostTests {
  @Test("topics of a block take less room than they are long, come back as they were, and damage is met")
  func origins() throws {
    let origins = (0..<200).map { Origin(source: "floor", topic: "sensors/pump-\($0)/temperature") }
    let compressor = try Zstd.Compressor()
    let plain = BlockCodec.encodeOrigins(origins, first: 5, count: 7)
    let packed = BlockCodec.encodeOrigins(origins, first: 5, count: 7, compressor: compressor)
    #expect(packed.count < plain.count / 4)
    for column in [plain, packed] {
      #expect(try BlockCodec.decodeOrigins(column, first: 5, count: 7) == origins)
      #expect(throws: BlockFormatError.self) { try BlockCodec.decodeOrigins(column, first: 6, count: 7) }
      for position in [0, 1, column.count / 2, column.count - 1] {
        var damaged = column
        damaged[position] ^= 0x55
        #expect(throws: BlockFormatError.self) { try BlockCodec.decodeOrigins(damaged, first: 5, count: 7) }
      }
      #expect(throws: BlockFormatError.self) {
        try BlockCodec.decodeOrigins(Array(column.prefix(4)), first: 5, count: 7)
      }
    }
    // What compression does not make shorter is stored as it is.
    let one = [Origin(source: "f", topic: "a")]
    #expect(
      BlockCodec.encodeOrigins(one, first: 5, count: 7, compressor: compressor)
        == BlockCodec.encodeOrigins(one, first: 5, count: 7))
  }

  @Test("confirming a batch does not write the pages of its body once more")
  func confirmation() throws {
    let folder = try SpoolFolder()
    let spool = try folder.open()
    var state = try spool.register(folder)
    try spool.log.append(Fixture.group(0..<20_000))
    try spool.state.seal(Fixture.seal(&state, readings: 0..<20_000), pipeline: "climate")
    let item = try #require(try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 1).first)
    let sealed = FileSystem.size(folder.statePath + "-wal")
    try spool.state.confirm([item.id])
    let written = FileSystem.size(folder.statePath + "-wal") - sealed
    #expect(item.batch.body.count > 200_000 && written > 0 && written < 64 << 10)
    spool.close()
  }

  @Test("what is kept of a delivered batch costs its confirmation no page, and a chunk of them a few")
  func lineage() throws {
    let folder = try SpoolFolder()
    let spool = try folder.open()
    var state = try spool.register(folder)
    try spool.log.append(Fixture.group(0..<100))
    var written: [Int64] = []
    for number in 0..<50 {
      try spool.state.seal(Fixture.seal(&state, readings: number..<number + 1), pipeline: "climate")
      let item = try #require(try spool.state.outbox(pipelines: ["climate"], after: nil, limit: 1).first)
      let before = FileSystem.size(folder.statePath + "-wal")
      try spool.state.confirm([item.id], at: 1_700_000_000_000_000_000)
      written.append(FileSystem.size(folder.statePath + "-wal") - before)
    }
    // A page in the write-ahead log has a head of 24 bytes.
    let page: Int64 = 4_120
    let usual = written.sorted()[25]
    #expect(usual > 0 && usual <= 5 * page, "\(written)")
    #expect(written.reduce(0) { $0 + $1 - usual } < 50 * 1_024, "\(written)")
    #expect(
      try spool.state.read { connection throws(SpoolError) in
        try connection.integer("SELECT count(*) FROM lineage")
      } == 2)
    spool.close()
  }
}
