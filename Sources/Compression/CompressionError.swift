/// Why bytes could not be compressed or decompressed.
package enum CompressionError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The input is not what its format says, or its checksum is wrong; with the library's own words.
  case corrupt(String)
  /// The input ends before its last member or frame does; also an empty input.
  case truncated
  /// The output would have more than this many bytes.
  case outputTooLarge(maximum: Int)
  /// The library could not work at all, as a rule for want of memory; with its own words.
  case failed(String)

  package var description: String {
    switch self {
    case .corrupt(let detail): "the compressed bytes are damaged: \(detail)"
    case .truncated: "the compressed bytes end too early"
    case .outputTooLarge(let maximum): "the uncompressed bytes would be more than \(maximum)"
    case .failed(let detail): "the compression library failed: \(detail)"
    }
  }
}

/// An output array that grows as a decompressor fills it, and never beyond a bound.
///
/// The library that writes into it is always given at least one byte of room, one byte more than the
/// bound at the end: so that "exactly the bound" and "more than the bound" differ.
struct BoundedOutput {
  let maximum: Int
  private(set) var storage: [UInt8]
  private(set) var count = 0

  init(maximum: Int, expected: Int) {
    self.maximum = min(max(maximum, 0), Int.max - 1)
    storage = [UInt8](repeating: 0, count: min(max(expected, 512), self.maximum) + 1)
  }

  /// Hands out the free room; `body` returns how many bytes it wrote.
  mutating func fill<Failure: Error>(
    _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Int
  ) throws(Failure) {
    if count == storage.count {
      let room = min(storage.count, maximum + 1 - storage.count)
      storage.append(contentsOf: repeatElement(0, count: max(room, 0)))
    }
    let start = count
    var failure: Failure?
    let written = storage.withUnsafeMutableBytes { bytes in
      do throws(Failure) {
        return try body(UnsafeMutableRawBufferPointer(rebasing: bytes[start...]))
      } catch {
        failure = error
        return 0
      }
    }
    if let failure { throw failure }
    count += written
  }

  var isTooLarge: Bool { count > maximum }

  mutating func take() -> [UInt8] {
    storage.removeLast(storage.count - count)
    count = 0
    defer { storage = [UInt8](repeating: 0, count: 1) }
    return storage
  }
}
