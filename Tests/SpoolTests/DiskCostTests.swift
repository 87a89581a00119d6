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
}
