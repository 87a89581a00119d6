import Compression
import Testing

/// A small generator with a seed, so that every run sees the same bytes.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// The two formats, so that one body tests both.
enum Format: CaseIterable {
  case gzip, zstd

  func compress(_ bytes: [UInt8]) throws -> [UInt8] {
    switch self {
    case .gzip: try Gzip.compress(bytes)
    case .zstd: try Zstd.compress(bytes)
    }
  }

  func decompress(_ bytes: [UInt8], maximumOutput: Int) throws -> [UInt8] {
    switch self {
    case .gzip: try Gzip.decompress(bytes, maximumOutput: maximumOutput)
    case .zstd: try Zstd.decompress(bytes, maximumOutput: maximumOutput)
    }
  }

  /// Compresses the pieces as one, and decompresses the output byte by byte.
  func pass(pieces: [[UInt8]]) throws -> [UInt8] {
    switch self {
    case .gzip:
      let compressor = try Gzip.Compressor()
      for piece in pieces { try piece.withUnsafeBytes { try compressor.write($0) } }
      let packed = try compressor.finish()
      let decompressor = try Gzip.Decompressor(maximumOutput: 1 << 24)
      for byte in packed { try [byte].withUnsafeBytes { try decompressor.write($0) } }
      return try decompressor.finish()
    case .zstd:
      let compressor = try Zstd.Compressor()
      for piece in pieces { try piece.withUnsafeBytes { try compressor.write($0) } }
      let packed = try compressor.finish()
      var input = Zstd.Decompressor.Input(try Zstd.Decompressor(), maximumOutput: 1 << 24)
      for byte in packed { try [byte].withUnsafeBytes { try input.write($0) } }
      return try input.finish()
    }
  }
}

func samples() -> [[UInt8]] {
  var generator = SeededGenerator(seed: 7)
  let noise = (0..<300_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
  let rows = (0..<5_000).map { #"{"device":"pump-\#($0 % 7)","value":\#($0 * 13 % 101)}"# }
  return [
    [], [0], Array("a".utf8), Array(noise.prefix(511)), Array(noise.prefix(512)), noise,
    [UInt8](repeating: 0, count: 1_000_000), Array(rows.joined(separator: "\n").utf8),
  ]
}

@Suite("gzip and zstd")
struct CompressionTests {
  @Test("What is compressed comes back, with the bound at exactly its length", arguments: Format.allCases)
  func roundTrip(format: Format) throws {
    for bytes in samples() {
      let packed = try format.compress(bytes)
      #expect(try format.decompress(packed, maximumOutput: bytes.count) == bytes)
      #expect(try format.decompress(packed, maximumOutput: Int.max) == bytes)
      if !bytes.isEmpty {
        #expect(throws: CompressionError.outputTooLarge(maximum: bytes.count - 1)) {
          try format.decompress(packed, maximumOutput: bytes.count - 1)
        }
      }
    }
  }

  @Test("Pieces written one after the other come back as one", arguments: Format.allCases)
  func pieces(format: Format) throws {
    let pieces = samples().filter { $0.count < 100_000 } + [[UInt8](repeating: 9, count: 70_000)]
    #expect(try format.pass(pieces: pieces) == Array(pieces.joined()))
    #expect(try format.pass(pieces: []) == [])
  }

  @Test("Members and frames one after the other are taken as one text", arguments: Format.allCases)
  func several(format: Format) throws {
    let parts: [[UInt8]] = [Array("one".utf8), [], Array("two".utf8), [UInt8](repeating: 1, count: 9_000)]
    let packed = try parts.flatMap { try format.compress($0) }
    #expect(try format.decompress(packed, maximumOutput: 10_000) == Array(parts.joined()))
    #expect(throws: CompressionError.outputTooLarge(maximum: 9_005)) {
      try format.decompress(packed, maximumOutput: 9_005)
    }
  }

  @Test("An input cut anywhere is truncated", arguments: Format.allCases)
  func truncated(format: Format) throws {
    let packed = try format.compress(Array("the same again, the same again, the same again".utf8))
    for length in 0..<packed.count {
      #expect(throws: CompressionError.truncated, "\(length) of \(packed.count) bytes") {
        try format.decompress(Array(packed.prefix(length)), maximumOutput: 1_000)
      }
    }
  }

  @Test("Garbage, before or after, is corrupt", arguments: Format.allCases)
  func garbage(format: Format) throws {
    let packed = try format.compress(Array("text".utf8))
    for input in [Array("not compressed at all".utf8), packed + Array("garbage".utf8)] {
      let error = #expect(throws: CompressionError.self) {
        try format.decompress(input, maximumOutput: 1_000)
      }
      guard case .corrupt = error else {
        Issue.record("expected corrupt, got \(String(describing: error))")
        continue
      }
    }
  }

  @Test("A changed byte gives an error or at most the bound, never a crash", arguments: Format.allCases)
  func changedByte(format: Format) throws {
    let bytes = Array("the quick brown fox, the quick brown fox".utf8)
    let packed = try format.compress(bytes)
    for index in packed.indices {
      var damaged = packed
      damaged[index] ^= 0x10
      // Without a zstd checksum other bytes may come out; neither more than the bound nor a crash.
      if let output = try? format.decompress(damaged, maximumOutput: 100) {
        #expect(output.count <= 100)
      }
    }
  }

  @Test("A bomb is stopped at the bound, without its output in memory", arguments: Format.allCases)
  func bomb(format: Format) throws {
    // 64 MiB of zeros, made of one member or frame 64 times.
    let member = try format.compress([UInt8](repeating: 0, count: 1 << 20))
    let packed = Array(repeatElement(member, count: 64).joined())
    #expect(packed.count < 1 << 18)
    #expect(throws: CompressionError.outputTooLarge(maximum: 1 << 16)) {
      try format.decompress(packed, maximumOutput: 1 << 16)
    }
    #expect(throws: CompressionError.outputTooLarge(maximum: 0)) {
      try format.decompress(packed, maximumOutput: 0)
    }
  }

  @Test("A zstd frame that asks for a window above 8 MiB is refused")
  func window() {
    // Magic, frame header descriptor 0 (no content size), window descriptor 0xA8: 2^31 bytes; then an
    // empty last block (RFC 8878, section 3.1.1).
    let frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xA8, 0x01, 0x00, 0x00]
    let error = #expect(throws: CompressionError.self) {
      try Zstd.decompress(frame, maximumOutput: 1 << 30)
    }
    guard case .corrupt = error else {
      Issue.record("expected corrupt, got \(String(describing: error))")
      return
    }
  }

  @Test("gzip output says nothing of time, name and system, and a kept state changes nothing")
  func deterministic() throws {
    let bytes = Array("deterministic".utf8)
    let first = try Gzip.compress(bytes)
    // RFC 1952, section 2.3: ID1 ID2 CM FLG MTIME(4) XFL OS.
    #expect(Array(first.prefix(10)) == [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])
    let gzip = try Gzip.Compressor()
    let zstd = try Zstd.Compressor()
    for sample in samples() {
      #expect(try gzip.compress(sample) == Gzip.compress(sample))
      #expect(try zstd.compress(sample) == Zstd.compress(sample))
    }
  }

  @Test("A frame of an old zstd format is refused, in one piece as in several, and so is one behind a good one")
  func oldFormats() throws {
    let old: [UInt8] = [0x27, 0xB5, 0x2F, 0xFD, 0x20, 0x08, 0xFF, 0x1B, 0x16]
    for bytes in [old, try Zstd.compress(Array("text".utf8)) + old] {
      #expect(throws: CompressionError.self) { try Zstd.decompress(bytes, maximumOutput: 1 << 16) }
      #expect(throws: CompressionError.self) {
        var input = Zstd.Decompressor.Input(try Zstd.Decompressor(), maximumOutput: 1 << 16)
        for byte in bytes { try withUnsafeBytes(of: byte) { try input.write($0) } }
        _ = try input.finish()
      }
    }
    // Skippable frames (RFC 8878, section 3.1.2) are none of those.
    let skipped: [UInt8] = [0x5A, 0x2A, 0x4D, 0x18, 2, 0, 0, 0, 7, 7]
    #expect(try Zstd.decompress(skipped + Zstd.compress([1, 2]), maximumOutput: 9) == [1, 2])
  }

  @Test("A zstd frame that says it has more than it has is refused, in one piece as in several")
  func frameThatIsTooShort() throws {
    // Of one segment, 40 bytes long by its header, with an empty block that is the last.
    let frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0x20, 0x28, 0x01, 0x00, 0x00]
    #expect(throws: CompressionError.self) { try Zstd.decompress(frame, maximumOutput: 99) }
    for cut in 1..<frame.count {
      #expect(throws: CompressionError.self, "cut at \(cut)") {
        let decompressor = try Zstd.Decompressor()
        var input = Zstd.Decompressor.Input(decompressor, maximumOutput: 99)
        for piece in [frame[..<cut], frame[cut...]] {
          try Array(piece).withUnsafeBytes { try input.write($0) }
        }
        _ = try input.finish()
      }
    }
  }

  @Test("A zstd frame has no checksum")
  func noChecksum() throws {
    // Bit 2 of the frame header descriptor (RFC 8878, section 3.1.1.1.1).
    #expect(try Zstd.compress(Array("text".utf8))[4] & 0b100 == 0)
  }

  @Test("A zstd frame of every length comes back, those that are read in one go and those that are not")
  func zstdLengths() throws {
    for length in [0, 1, 511, 512, 513, 1 << 20 - 1, 1 << 20, 1 << 20 + 1, 3 << 20] {
      let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 / 7) }
      let frame = try Zstd.compress(bytes)
      #expect(try Zstd.decompress(frame, maximumOutput: length) == bytes)
      #expect(try Zstd.decompress(frame + frame, maximumOutput: 2 * length) == bytes + bytes)
      if length > 0 {
        #expect(throws: CompressionError.outputTooLarge(maximum: length - 1)) {
          try Zstd.decompress(frame, maximumOutput: length - 1)
        }
      }
    }
  }

  @Test("Level 1 takes no short matches, which make lines of many devices larger")
  func shortMatches() throws {
    var lines: [UInt8] = []
    for number in 0..<1_000 {
      let values = [7_919, 104_729, 1_299_709].map { "\((number &* $0) % 800).\(number &* $0 % 90 + 10)" }
      lines += Array(
        """
        {"device":"pump-\(1_000 + number % 500)","ts":\(1_793_000_000_000 + number),"temperature":\(values[0]),\
        "pressure":\(values[1]),"flow":\(values[2]),"state":"running","serial":"SN-\(10_000 + number)-A7","ok":true}\n
        """.utf8)
    }
    #expect(try Zstd.compress(lines).count * 1_000 < lines.count * 95)
  }

  @Test("A higher level is not larger on rows of JSON")
  func levels() throws {
    let rows = samples()[7]
    #expect(try Gzip.compress(rows, level: 9).count <= Gzip.compress(rows, level: 1).count)
    #expect(try Zstd.compress(rows, level: 19).count <= Zstd.compress(rows, level: 1).count)
  }

  @Test("CRC-32 has the check value of its definition")
  func checksum() {
    #expect(crc32(Array("123456789".utf8)) == 0xCBF4_3926)
    #expect(crc32([]) == 0)
  }
}
