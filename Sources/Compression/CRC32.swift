internal import CZlib

/// The CRC-32 of gzip and zlib (RFC 1952, section 8).
package func crc32(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
  UInt32(
    truncatingIfNeeded: CZlib.crc32_z(
      0, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count))
}

/// The CRC-32 of gzip and zlib (RFC 1952, section 8).
package func crc32(_ bytes: [UInt8]) -> UInt32 {
  bytes.withUnsafeBytes { crc32($0) }
}
