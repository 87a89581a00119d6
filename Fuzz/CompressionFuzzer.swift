import Compression

private let bound = 1 << 16

private func gzipInPieces(_ bytes: UnsafeRawBufferPointer) throws(CompressionError) -> [UInt8] {
  let decompressor = try Gzip.Decompressor(maximumOutput: bound)
  let middle = bytes.count / 2
  try decompressor.write(UnsafeRawBufferPointer(rebasing: bytes[..<middle]))
  try decompressor.write(UnsafeRawBufferPointer(rebasing: bytes[middle...]))
  return try decompressor.finish()
}

private func zstdInPieces(_ bytes: UnsafeRawBufferPointer) throws(CompressionError) -> [UInt8] {
  var input = Zstd.Decompressor.Input(try Zstd.Decompressor(), maximumOutput: bound)
  let middle = bytes.count / 2
  try input.write(UnsafeRawBufferPointer(rebasing: bytes[..<middle]))
  try input.write(UnsafeRawBufferPointer(rebasing: bytes[middle...]))
  return try input.finish()
}

/// Any bytes as gzip and as zstd: an error or at most the bound, in one piece as in two; and what is
/// compressed comes back.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCompression(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = UnsafeRawBufferPointer(start: start, count: count)
  let gzip = try? Gzip.decompress(bytes, maximumOutput: bound)
  require(gzip.map { $0.count <= bound } ?? true, "gzip went beyond the bound")
  require((try? gzipInPieces(bytes)) == gzip, "gzip in pieces differs")
  let zstd = try? Zstd.decompress(bytes, maximumOutput: bound)
  require(zstd.map { $0.count <= bound } ?? true, "zstd went beyond the bound")
  require((try? zstdInPieces(bytes)) == zstd, "zstd in pieces differs")

  let text = Array(bytes)
  if let packed = try? Gzip.compress(bytes, level: 1) {
    require((try? Gzip.decompress(packed, maximumOutput: count)) == text, "gzip lost something")
  }
  if let packed = try? Zstd.compress(bytes) {
    require((try? Zstd.decompress(packed, maximumOutput: count)) == text, "zstd lost something")
  }
  return 0
}
