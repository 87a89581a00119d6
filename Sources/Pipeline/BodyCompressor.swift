internal import Compression
internal import Telemetry

/// Compresses the bodies of one seal, one state for all of them. The state is not kept longer: it holds
/// hundreds of kilobytes, and making one costs little beside a batch.
struct BodyCompressor {
  /// Of gzip bodies, 1...9.
  static let gzipLevel = 6
  /// Of zstd bodies, 1...19.
  static let zstdLevel = 1

  private enum State {
    case none
    case gzip(Gzip.Compressor)
    case zstd(Zstd.Compressor)
  }

  private let state: State

  init(_ compression: BatchCompression) throws(CompressionError) {
    state =
      switch compression {
      case .none: .none
      case .gzip: .gzip(try Gzip.Compressor(level: BodyCompressor.gzipLevel))
      case .zstd: .zstd(try Zstd.Compressor(level: BodyCompressor.zstdLevel))
      }
  }

  func compress(_ body: [UInt8]) throws(CompressionError) -> [UInt8] {
    switch state {
    case .none: body
    case .gzip(let compressor): try compressor.compress(body)
    case .zstd(let compressor): try compressor.compress(body)
    }
  }
}
