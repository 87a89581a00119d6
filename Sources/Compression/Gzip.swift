internal import CZlib

/// gzip (RFC 1952), deterministic: the same bytes at the same level give the same output on the same
/// zlib, wherever and whenever. The header holds no time, no name, and "unknown" as operating system.
package enum Gzip {
  /// The level where nothing else is said, 1...9: zlib's own default.
  package static let defaultLevel = 6

  /// - Parameter level: 1 (fastest)...9 (smallest).
  package static func compress(
    _ bytes: UnsafeRawBufferPointer, level: Int = defaultLevel
  ) throws(CompressionError) -> [UInt8] {
    try Compressor(level: level).compress(bytes)
  }

  /// - Parameter level: 1 (fastest)...9 (smallest).
  package static func compress(
    _ bytes: [UInt8], level: Int = defaultLevel
  ) throws(CompressionError) -> [UInt8] {
    try Compressor(level: level).compress(bytes)
  }

  /// Decompresses one or more members, one after the other (RFC 1952, section 2.2). Anything after the
  /// last member is an error, and so is no member at all.
  /// - Parameter maximumOutput: the most bytes that the output may have.
  package static func decompress(
    _ bytes: UnsafeRawBufferPointer, maximumOutput: Int
  ) throws(CompressionError) -> [UInt8] {
    let decompressor = try Decompressor(
      maximumOutput: maximumOutput, expected: min(bytes.count, 1 << 24) * 4)
    try decompressor.write(bytes)
    return try decompressor.finish()
  }

  /// Decompresses one or more members, one after the other.
  /// - Parameter maximumOutput: the most bytes that the output may have.
  package static func decompress(
    _ bytes: [UInt8], maximumOutput: Int
  ) throws(CompressionError) -> [UInt8] {
    try withBytes(of: bytes) { (raw) throws(CompressionError) in
      try decompress(raw, maximumOutput: maximumOutput)
    }
  }

  /// A deflate state (about 260 KiB) that is kept from one output to the next. For one thread at a time.
  package final class Compressor {
    // zlib keeps a pointer back to the stream, so that it must not move in memory.
    private let stream: UnsafeMutablePointer<z_stream>
    private var output: [UInt8] = []

    /// - Parameter level: 1 (fastest)...9 (smallest).
    package init(level: Int = Gzip.defaultLevel) throws(CompressionError) {
      precondition((1...9).contains(level), "gzip levels are 1...9")
      stream = .allocate(capacity: 1)
      stream.initialize(to: z_stream())
      // 15 + 16: the largest window, and a gzip frame around it; 8: zlib's default memory level.
      let code = deflateInit2_(
        stream, Int32(level), Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
        Int32(MemoryLayout<z_stream>.size))
      guard code == Z_OK else {
        throw CompressionError.failed(describe(code, stream))
      }
    }

    deinit {
      deflateEnd(stream)
      stream.deallocate()
    }

    /// Adds bytes to the output that ``finish()`` gives.
    package func write(_ bytes: UnsafeRawBufferPointer) throws(CompressionError) {
      output.reserveCapacity(output.count + bytes.count / 4 + 64)
      try run(bytes, last: Z_NO_FLUSH)
    }

    /// Ends the member and gives it whole; the compressor then begins the next.
    package func finish() throws(CompressionError) -> [UInt8] {
      try run(UnsafeRawBufferPointer(start: nil, count: 0), last: Z_FINISH)
      return try take()
    }

    /// One member of `bytes` and of what was written before it.
    package func compress(_ bytes: UnsafeRawBufferPointer) throws(CompressionError) -> [UInt8] {
      output.reserveCapacity(output.count + bytes.count / 4 + 64)
      try run(bytes, last: Z_FINISH)
      return try take()
    }

    package func compress(_ bytes: [UInt8]) throws(CompressionError) -> [UInt8] {
      try withBytes(of: bytes) { (raw) throws(CompressionError) in try compress(raw) }
    }

    private func take() throws(CompressionError) -> [UInt8] {
      defer {
        output = []
        deflateReset(stream)
      }
      guard output.count >= 18 else { throw CompressionError.failed("gzip wrote no member") }
      // zlib writes the system that it was built for; 255 is "unknown" (RFC 1952, section 2.3.1).
      output[9] = 255
      return output
    }

    private func run(_ bytes: UnsafeRawBufferPointer, last: Int32) throws(CompressionError) {
      var rest = bytes[...]
      repeat {
        // zlib counts in 32 bits.
        let chunk = rest.prefix(1 << 30)
        rest = rest.dropFirst(chunk.count)
        try deflate(
          UnsafeRawBufferPointer(rebasing: chunk), flush: rest.isEmpty ? last : Z_NO_FLUSH)
      } while !rest.isEmpty
    }

    private func deflate(_ chunk: UnsafeRawBufferPointer, flush: Int32) throws(CompressionError) {
      stream.pointee.next_in = UnsafeMutablePointer(
        mutating: chunk.baseAddress?.assumingMemoryBound(to: UInt8.self))
      stream.pointee.avail_in = UInt32(chunk.count)
      var code = Z_OK
      repeat {
        withUnsafeTemporaryAllocation(byteCount: 1 << 15, alignment: 16) { room in
          stream.pointee.next_out = room.baseAddress?.assumingMemoryBound(to: UInt8.self)
          stream.pointee.avail_out = UInt32(room.count)
          code = CZlib.deflate(stream, flush)
          output.append(contentsOf: room[..<(room.count - Int(stream.pointee.avail_out))])
        }
        // Z_BUF_ERROR: there was nothing to do, which is no error (zlib.h, deflate).
        guard code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR else {
          throw CompressionError.failed(describe(code, stream))
        }
      } while stream.pointee.avail_out == 0
    }
  }

  /// Decompresses input that comes in pieces. For one thread at a time.
  package final class Decompressor {
    private let stream: UnsafeMutablePointer<z_stream>
    private var output: BoundedOutput
    /// Between two members, where the input may end.
    private var betweenMembers = false

    /// - Parameters:
    ///   - maximumOutput: the most bytes that the output may have.
    ///   - expected: about how many it will have; a hint for the first allocation.
    package init(maximumOutput: Int, expected: Int = 0) throws(CompressionError) {
      output = BoundedOutput(maximum: maximumOutput, expected: expected)
      stream = .allocate(capacity: 1)
      stream.initialize(to: z_stream())
      let code = inflateInit2_(
        stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
      guard code == Z_OK else { throw CompressionError.failed(describe(code, stream)) }
    }

    deinit {
      inflateEnd(stream)
      stream.deallocate()
    }

    /// Takes the next piece of the input. After an error the decompressor is of no more use.
    package func write(_ bytes: UnsafeRawBufferPointer) throws(CompressionError) {
      var rest = bytes[...]
      while !rest.isEmpty {
        let chunk = rest.prefix(1 << 30)
        rest = rest.dropFirst(chunk.count)
        try inflate(UnsafeRawBufferPointer(rebasing: chunk))
      }
    }

    /// All of the output, once the input has ended.
    package func finish() throws(CompressionError) -> [UInt8] {
      guard betweenMembers else { throw .truncated }
      return output.take()
    }

    private func inflate(_ chunk: UnsafeRawBufferPointer) throws(CompressionError) {
      stream.pointee.next_in = UnsafeMutablePointer(
        mutating: chunk.baseAddress?.assumingMemoryBound(to: UInt8.self))
      stream.pointee.avail_in = UInt32(chunk.count)
      var roomLeft = false
      while stream.pointee.avail_in > 0 || !roomLeft {
        if betweenMembers {
          guard stream.pointee.avail_in > 0 else { return }
          inflateReset(stream)
          betweenMembers = false
        }
        var code = Z_OK
        output.fill { room in
          let size = min(room.count, 1 << 30)
          stream.pointee.next_out = room.baseAddress?.assumingMemoryBound(to: UInt8.self)
          stream.pointee.avail_out = UInt32(size)
          code = CZlib.inflate(stream, Z_NO_FLUSH)
          roomLeft = stream.pointee.avail_out > 0
          return size - Int(stream.pointee.avail_out)
        }
        if output.isTooLarge { throw .outputTooLarge(maximum: output.maximum) }
        switch code {
        case Z_STREAM_END: betweenMembers = true
        case Z_OK, Z_BUF_ERROR: break
        case Z_MEM_ERROR: throw .failed(describe(code, stream))
        default: throw .corrupt(describe(code, stream))
        }
      }
    }
  }

  private static func describe(_ code: Int32, _ stream: UnsafeMutablePointer<z_stream>) -> String {
    if let message = stream.pointee.msg { return "\(String(cString: message)) (zlib \(code))" }
    return code == Z_MEM_ERROR ? "out of memory (zlib \(code))" : "zlib \(code)"
  }
}

/// `withUnsafeBytes` that passes on a typed error.
func withBytes<Result>(
  of bytes: [UInt8], _ body: (UnsafeRawBufferPointer) throws(CompressionError) -> Result
) throws(CompressionError) -> Result {
  let outcome: Swift.Result<Result, CompressionError> = bytes.withUnsafeBytes { raw in
    do throws(CompressionError) { return .success(try body(raw)) } catch { return .failure(error) }
  }
  return try outcome.get()
}
