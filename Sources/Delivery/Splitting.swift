import Compression
package import Telemetry

/// Why a batch could not be cut: the copy in the outbox is not what was sealed.
package struct SplittingError: Error, Sendable, Hashable, CustomStringConvertible {
  package var identity: BatchIdentity
  package var cause: String
  package var description: String { "cannot split batch \(identity): \(cause)" }
}

/// Cuts batches by their lines. Pure.
package enum Splitting {
  /// The two halves of a batch of at least two readings: the whole becomes parts 1/2 and 2/2, part i/n
  /// becomes 2i-1/2n and 2i/2n. Encoded and compressed as the batch is; what the parts say about their parent is
  /// what the batch says about its own, or, if it is whole, the batch itself.
  package static func halves(of batch: Batch) throws(SplittingError) -> [Batch] {
    let whole = parent(of: batch)
    let (index, total) = batch.identity.part.map { ($0.index, $0.total) } ?? (1, 1)
    let held = batch.identity.part?.lines(of: whole.count) ?? 0..<whole.count
    guard batch.count >= 2, held.count == batch.count else {
      throw SplittingError(
        identity: batch.identity, cause: "it says that it has \(batch.count) readings")
    }
    let (doubled, overflow) = total.multipliedReportingOverflow(by: 2)
    guard !overflow, let first = Part(index: 2 * index - 1, total: doubled),
      let second = Part(index: 2 * index, total: doubled)
    else { throw SplittingError(identity: batch.identity, cause: "its part is too small") }
    let text = try body(of: batch)
    let ends = try lineEnds(of: text, in: batch)
    return try [first, second].map { part throws(SplittingError) in
      let lines = part.lines(of: whole.count)
      let cut = bytes(of: lines.lowerBound - held.lowerBound..<lines.upperBound - held.lowerBound, ends)
      var copy = batch
      copy.identity.part = part
      copy.parent = whole
      copy.previous = whole.digest
      copy.count = lines.count
      let body = Array(text[cut])
      copy.length = body.count
      copy.body = try encode(body, for: batch)
      copy.digest = Batch.digest(
        identity: copy.identity, previous: copy.previous, count: copy.count, body: body)
      return copy
    }
  }

  /// Some lines of a batch, counted from its own first, encoded and compressed as it is.
  static func slice(_ lines: Range<Int>, of batch: Batch) throws(SplittingError) -> [UInt8] {
    let text = try body(of: batch)
    let ends = try lineEnds(of: text, in: batch)
    guard lines.lowerBound >= 0, lines.upperBound <= ends.count else {
      throw SplittingError(identity: batch.identity, cause: "it has no lines \(lines)")
    }
    return try encode(Array(text[bytes(of: lines, ends)]), for: batch)
  }

  /// What a part of `batch` says about its parent.
  static func parent(of batch: Batch) -> Batch.Parent {
    batch.parent
      ?? Batch.Parent(
        digest: batch.digest, previous: batch.previous, count: batch.count, length: batch.length)
  }

  /// The lines, checked against the batch's length and digest.
  package static func body(of batch: Batch) throws(SplittingError) -> [UInt8] {
    let text: [UInt8]
    do {
      let bound = batch.encoding == .columns ? Columns.maximumLength(ofLines: batch.length) : batch.length
      let plain =
        switch batch.compression {
        case .none: batch.body
        case .gzip: try Gzip.decompress(batch.body, maximumOutput: bound)
        case .zstd: try Zstd.decompress(batch.body, maximumOutput: bound)
        }
      text =
        switch batch.encoding {
        case .ndjson: plain
        case .columns: try Columns.decode(plain, maximumOutput: batch.length).lines
        }
    } catch {
      throw SplittingError(identity: batch.identity, cause: "its body cannot be read: \(error)")
    }
    let digest = Batch.digest(
      identity: batch.identity, previous: batch.previous, count: batch.count, body: text)
    guard digest == batch.digest else {
      throw SplittingError(identity: batch.identity, cause: "its body has another digest, \(digest)")
    }
    return text
  }

  private static func encode(_ lines: [UInt8], for batch: Batch) throws(SplittingError) -> [UInt8] {
    let text: [UInt8]
    switch batch.encoding {
    case .ndjson: text = lines
    case .columns:
      // Whether lines can be columns is a matter of each of them, and as part of the batch each could.
      guard let columns = Columns.encode(lines) else {
        throw SplittingError(identity: batch.identity, cause: "a part cannot be written as columns")
      }
      text = columns
    }
    do {
      return switch batch.compression {
      case .none: text
      case .gzip: try Gzip.compress(text)
      case .zstd: try Zstd.compress(text)
      }
    } catch {
      throw SplittingError(identity: batch.identity, cause: "a part cannot be compressed: \(error)")
    }
  }

  /// One past the line feed of every line.
  private static func lineEnds(of text: [UInt8], in batch: Batch) throws(SplittingError) -> [Int] {
    var ends: [Int] = []
    ends.reserveCapacity(batch.count)
    for (i, byte) in text.enumerated() where byte == UInt8(ascii: "\n") { ends.append(i + 1) }
    guard ends.count == batch.count, ends.last == text.count else {
      throw SplittingError(
        identity: batch.identity, cause: "it says that it has \(batch.count) readings, but has \(ends.count)")
    }
    return ends
  }

  private static func bytes(of lines: Range<Int>, _ ends: [Int]) -> Range<Int> {
    let start = lines.lowerBound == 0 ? 0 : ends[lines.lowerBound - 1]
    return start..<(lines.isEmpty ? start : ends[lines.upperBound - 1])
  }
}
