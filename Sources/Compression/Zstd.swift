internal import CZstd

/// Zstandard (RFC 8878). Deterministic for one version of the library. Frames carry the length of their
/// content and no checksum: what Forebay stores and sends has a checksum of its own.
package enum Zstd {
  /// The level where nothing else is said, 1...19: on small JSON messages, 1 already beats gzip at 6,
  /// at a sixth of its processor time.
  package static let defaultLevel = 1

  /// The largest window that a frame may ask for, as a power of two: 8 MiB, what RFC 8878 (section
  /// 3.1.1.1.2) recommends, so that ten bytes of input cannot make us allocate hundreds of megabytes.
  /// Levels up to 19 stay within it.
  static let maximumWindowLog: Int32 = 23

  /// The shortest match that level 1 takes, in place of the library's five or six bytes: the longest that there is.
  ///
  /// On lines that are much the same, a short match often keeps a longer one from being found. Measured on lines and on
  /// payloads of 146 and 200 bytes, of 7 to 1,000 devices, in pieces of 4 to 256 KiB: outputs are between 26 %
  /// smaller and 0.1 % larger, and cost up to 9 % fewer instructions to write and up to 14 % fewer to read.
  private static let minimumMatch: Int32 = 7

  /// - Parameter level: 1 (fastest)...19 (smallest).
  package static func compress(
    _ bytes: UnsafeRawBufferPointer, level: Int = defaultLevel
  ) throws(CompressionError) -> [UInt8] {
    try Compressor(level: level).compress(bytes)
  }

  /// - Parameter level: 1 (fastest)...19 (smallest).
  package static func compress(
    _ bytes: [UInt8], level: Int = defaultLevel
  ) throws(CompressionError) -> [UInt8] {
    try Compressor(level: level).compress(bytes)
  }

  /// Decompresses one or more frames, one after the other; skippable ones are skipped. Anything after
  /// the last frame is an error, and so is no frame at all.
  /// - Parameter maximumOutput: the most bytes that the output may have.
  package static func decompress(
    _ bytes: UnsafeRawBufferPointer, maximumOutput: Int
  ) throws(CompressionError) -> [UInt8] {
    try Decompressor().decompress(bytes, maximumOutput: maximumOutput)
  }

  /// Decompresses one or more frames, one after the other.
  /// - Parameter maximumOutput: the most bytes that the output may have.
  package static func decompress(
    _ bytes: [UInt8], maximumOutput: Int
  ) throws(CompressionError) -> [UInt8] {
    try withBytes(of: bytes) { (raw) throws(CompressionError) in
      try decompress(raw, maximumOutput: maximumOutput)
    }
  }

  /// A compression context that is kept from one frame to the next. For one thread at a time.
  package final class Compressor {
    private let context: OpaquePointer
    private var output: [UInt8] = []

    /// - Parameter level: 1 (fastest)...19 (smallest).
    package init(level: Int = Zstd.defaultLevel) throws(CompressionError) {
      precondition((1...19).contains(level), "zstd levels are 1...19")
      guard let context = ZSTD_createCCtx() else {
        throw .failed("out of memory for a zstd context")
      }
      self.context = context
      try check(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, Int32(level)))
      try check(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 0))
      if level == 1 { try check(ZSTD_CCtx_setParameter(context, ZSTD_c_minMatch, Zstd.minimumMatch)) }
    }

    deinit { ZSTD_freeCCtx(context) }

    /// One frame of `bytes`.
    package func compress(_ bytes: UnsafeRawBufferPointer) throws(CompressionError) -> [UInt8] {
      var code = 0
      let output = [UInt8](unsafeUninitializedCapacity: ZSTD_compressBound(bytes.count)) {
        room, count in
        code = ZSTD_compress2(
          context, room.baseAddress, room.count, bytes.baseAddress, bytes.count)
        count = ZSTD_isError(code) == 0 ? code : 0
      }
      try check(code)
      // The bound is larger than the input; what is kept should take what it needs.
      return output.count < output.capacity / 2 ? Array(output[...]) : output
    }

    package func compress(_ bytes: [UInt8]) throws(CompressionError) -> [UInt8] {
      try withBytes(of: bytes) { (raw) throws(CompressionError) in try compress(raw) }
    }

    /// Adds bytes to the frame that ``finish()`` gives.
    package func write(_ bytes: UnsafeRawBufferPointer) throws(CompressionError) {
      try run(bytes, ZSTD_e_continue)
    }

    /// Ends the frame and gives it whole; the compressor then begins the next.
    package func finish() throws(CompressionError) -> [UInt8] {
      try run(UnsafeRawBufferPointer(start: nil, count: 0), ZSTD_e_end)
      defer { output = [] }
      return output
    }

    private func run(
      _ bytes: UnsafeRawBufferPointer, _ end: ZSTD_EndDirective
    ) throws(CompressionError) {
      var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
      var code = 0
      repeat {
        withUnsafeTemporaryAllocation(byteCount: 1 << 15, alignment: 16) { room in
          var target = ZSTD_outBuffer(dst: room.baseAddress, size: room.count, pos: 0)
          code = ZSTD_compressStream2(context, &target, &input, end)
          output.append(contentsOf: room[..<target.pos])
        }
        try check(code)
        // At the end, the code is what is still to be flushed.
      } while input.pos < input.size || (end == ZSTD_e_end && code != 0)
    }
  }

  /// A decompression context that is kept from one input to the next. For one thread at a time.
  package final class Decompressor {
    private let context: OpaquePointer

    package init() throws(CompressionError) {
      guard let context = ZSTD_createDCtx() else {
        throw .failed("out of memory for a zstd context")
      }
      self.context = context
      try check(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Zstd.maximumWindowLog))
    }

    deinit { ZSTD_freeDCtx(context) }

    /// Decompresses one or more frames, one after the other.
    /// - Parameter maximumOutput: the most bytes that the output may have.
    package func decompress(
      _ bytes: UnsafeRawBufferPointer, maximumOutput: Int
    ) throws(CompressionError) -> [UInt8] {
      if let output = whole(bytes, maximumOutput) { return output }
      var input = Input(self, maximumOutput: maximumOutput, expected: announced(bytes, maximumOutput))
      try input.write(bytes)
      return try input.finish()
    }

    package func decompress(
      _ bytes: [UInt8], maximumOutput: Int
    ) throws(CompressionError) -> [UInt8] {
      try withBytes(of: bytes) { (raw) throws(CompressionError) in
        try decompress(raw, maximumOutput: maximumOutput)
      }
    }

    /// The content of a single frame of one segment that says how long it is, in one go: nothing is cleared first, and
    /// nothing cut off at the end. Nil for anything else, and for what is damaged: ``Input`` finds out what is wrong.
    private func whole(_ bytes: UnsafeRawBufferPointer, _ maximum: Int) -> [UInt8]? {
      let size = ZSTD_getFrameContentSize(bytes.baseAddress, bytes.count)
      // As much as a frame is believed. A skippable one says 0. Bit 5 behind the magic number: the window is as long as
      // the content, and asks for no memory (RFC 8878, section 3.1.1.1.1.2).
      guard size > 0, size <= Decompressor.believed, size <= UInt64(max(maximum, 0)), bytes.first == 0x28,
        bytes[4] & 0x20 != 0,
        ZSTD_findFrameCompressedSize(bytes.baseAddress, bytes.count) == bytes.count
      else { return nil }
      ZSTD_DCtx_reset(context, ZSTD_reset_session_only)
      let output = [UInt8](unsafeUninitializedCapacity: Int(size)) { room, count in
        let code = ZSTD_decompressDCtx(context, room.baseAddress, room.count, bytes.baseAddress, bytes.count)
        count = ZSTD_isError(code) == 0 ? code : 0
      }
      return output.count == Int(size) ? output : nil
    }

    /// Bytes that a frame is believed to have because it says so.
    private static let believed: UInt64 = 1 << 20

    /// What the first frame says that its content is long, within reason: a frame can say anything, so
    /// it is not believed beyond a bound.
    private func announced(_ bytes: UnsafeRawBufferPointer, _ maximum: Int) -> Int {
      let size = ZSTD_getFrameContentSize(bytes.baseAddress, bytes.count)
      // The two largest values mean "unknown" and "error".
      guard size < UInt64.max - 1 else { return min(bytes.count, 1 << 24) * 4 }
      return Int(min(size, UInt64(max(maximum, 0)), Decompressor.believed))
    }

    /// One input that comes in pieces.
    package struct Input {
      private let decompressor: Decompressor
      private var output: BoundedOutput
      /// What the library last returned: 0 between two frames, where the input may end.
      private var state = 1
      /// Whether the next byte is the first of a frame.
      private var isAtFrame = true
      /// The beginning of the frame, as far as its header can go (RFC 8878, section 3.1.1.1), and what it has given.
      private var header: [UInt8] = []
      private var produced: UInt64 = 0

      /// Bytes of a magic number and the longest header.
      private static let longestHeader = 18

      /// Begins an input. The decompressor serves one input at a time.
      /// - Parameters:
      ///   - maximumOutput: the most bytes that the output may have.
      ///   - expected: about how many it will have; a hint for the first allocation.
      package init(_ decompressor: Decompressor, maximumOutput: Int, expected: Int = 0) {
        self.decompressor = decompressor
        output = BoundedOutput(maximum: maximumOutput, expected: expected)
        ZSTD_DCtx_reset(decompressor.context, ZSTD_reset_session_only)
      }

      /// Takes the next piece of the input. After an error the input is of no more use.
      package mutating func write(_ bytes: UnsafeRawBufferPointer) throws(CompressionError) {
        var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
        var roomLeft = false
        while input.pos < input.size || !(roomLeft || state == 0) {
          let start = input.pos
          // The library may also read formats from before version 0.8, each of which begins otherwise; and it reads
          // them differently in one piece and in several.
          if isAtFrame, start < bytes.count, bytes[start] != 0x28, bytes[start] & 0xF0 != 0x50 {
            throw .corrupt("Unknown frame descriptor")
          }
          if isAtFrame {
            header = []
            produced = 0
          }
          var code = 0
          output.fill { room in
            var target = ZSTD_outBuffer(dst: room.baseAddress, size: room.count, pos: 0)
            code = ZSTD_decompressStream(decompressor.context, &target, &input)
            roomLeft = target.pos < target.size
            produced += UInt64(target.pos)
            return target.pos
          }
          header += bytes[start..<input.pos].prefix(Input.longestHeader - header.count)
          if ZSTD_isError(code) != 0 {
            throw .corrupt(String(cString: ZSTD_getErrorName(code)))
          }
          if output.isTooLarge { throw .outputTooLarge(maximum: output.maximum) }
          if code == 0 { try checkLength() }
          state = code
          isAtFrame = code == 0 || (isAtFrame && input.pos == start)
        }
      }

      /// The library does not look where the last block of a frame is empty and the input comes in pieces.
      private func checkLength() throws(CompressionError) {
        let size = ZSTD_getFrameContentSize(header, header.count)
        // The two largest values mean "unknown" and "error".
        guard size < UInt64.max - 1, size != produced else { return }
        throw .corrupt("a frame has \(produced) bytes, and says \(size)")
      }

      /// All of the output, once the input has ended.
      package mutating func finish() throws(CompressionError) -> [UInt8] {
        guard state == 0 else { throw .truncated }
        return output.take()
      }
    }
  }

  private static func check(_ code: Int) throws(CompressionError) {
    guard ZSTD_isError(code) == 0 else {
      throw .failed(String(cString: ZSTD_getErrorName(code)))
    }
  }
}
