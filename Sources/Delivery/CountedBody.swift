import NIOCore

/// A request's body in pieces. The client asks for a piece when a connection is open and ready for it, so
/// that what has been asked for is what went out, to within the last piece.
struct CountedBody: AsyncSequence, Sendable {
  /// Bytes of a piece: one for most batches.
  static let piece = 64 << 10

  let bytes: ByteBuffer
  let wrote: @Sendable (Int) -> Void

  struct AsyncIterator: AsyncIteratorProtocol {
    var rest: ByteBuffer
    let wrote: @Sendable (Int) -> Void

    mutating func next() async -> ByteBuffer? {
      let count = Swift.min(rest.readableBytes, CountedBody.piece)
      guard count > 0, let piece = rest.readSlice(length: count) else { return nil }
      wrote(count)
      return piece
    }
  }

  func makeAsyncIterator() -> AsyncIterator { AsyncIterator(rest: bytes, wrote: wrote) }
}
