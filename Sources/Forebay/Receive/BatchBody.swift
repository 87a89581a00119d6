import Compression
import Glibc
import Telemetry

/// Why a receiver does not take a request.
struct ReceiverRefusal: Error, Sendable, Hashable {
  /// The HTTP status.
  var status: Int
  /// A short constant name for programs.
  var error: String
  /// For people.
  var reason: String

  /// Whether the answer means "never" (docs/delivery-protocol.md), so that the refusal is recorded:
  /// should the sender set readings aside, the gap in the chain is accounted for.
  var isFinal: Bool { [400, 413, 415, 422].contains(status) }
}

/// The lines of a batch that was found to be what its label says.
struct BatchBody: Sendable, Hashable {
  let bytes: [UInt8]
  /// Where each line begins, and the end: line i is `bytes[starts[i]..<starts[i + 1]]`.
  let starts: [Int]

  /// Decompresses and decodes a body, never to more than its label announces, and checks length, lines and digest.
  init(_ wire: [UInt8], label: BatchLabel) throws(ReceiverRefusal) {
    let bytes: [UInt8]
    do {
      let bound = label.encoding == .columns ? Columns.maximumLength(ofLines: label.length) : label.length
      let plain =
        switch label.compression {
        case .none: wire
        case .gzip: try Gzip.decompress(wire, maximumOutput: bound)
        case .zstd: try Zstd.decompress(wire, maximumOutput: bound)
        }
      bytes =
        switch label.encoding {
        case .ndjson: plain
        case .columns: try Columns.decode(plain, maximumOutput: label.length).lines
        }
    } catch {
      throw ReceiverRefusal(status: 400, error: "body-damaged", reason: "\(error)")
    }
    guard bytes.count == label.length else {
      throw ReceiverRefusal(
        status: 400, error: "length-mismatch",
        reason: "the lines have \(bytes.count) bytes, Forebay-Length says \(label.length)")
    }
    let starts = BatchBody.lineStarts(bytes, expected: label.count)
    guard starts.last == bytes.count else {
      throw ReceiverRefusal(
        status: 400, error: "line-unfinished", reason: "the last line does not end with a line feed")
    }
    guard starts.count - 1 == label.count else {
      throw ReceiverRefusal(
        status: 400, error: "count-mismatch",
        reason: "the body has \(starts.count - 1) lines, Forebay-Count says \(label.count)")
    }
    let digest = Batch.digest(
      identity: label.identity, previous: label.previous, count: label.count, body: bytes)
    guard digest == label.digest else {
      throw ReceiverRefusal(
        status: 422, error: "digest-mismatch",
        reason: "the digest over identity, previous digest, count and body is \(digest)")
    }
    self.bytes = bytes
    self.starts = starts
  }

  private static func lineStarts(_ bytes: [UInt8], expected: Int) -> [Int] {
    var starts = [0]
    starts.reserveCapacity(min(expected, bytes.count) + 1)
    bytes.withUnsafeBytes { buffer in
      var position = 0
      // The C library looks at many bytes at once.
      while position < buffer.count, let base = buffer.baseAddress,
        let found = memchr(base + position, 0x0A, buffer.count - position)
      {
        position = UnsafeRawPointer(found) - base + 1
        starts.append(position)
      }
    }
    return starts
  }

  /// The bytes of some lines of the whole batch, of which the body holds `held`.
  func lines(_ range: Range<Int>, held: Range<Int>) -> ArraySlice<UInt8> {
    let local = range.clamped(to: held)
    guard !local.isEmpty else { return [] }
    return bytes[
      starts[local.lowerBound - held.lowerBound]..<starts[local.upperBound - held.lowerBound]]
  }
}
