internal import Compression
internal import Spool
internal import Telemetry

/// What somebody has of a batch that was delivered.
enum LineageData {
  /// The batch's lines, without line feeds, proved by its digest.
  case batch([[UInt8]])
  /// One line, of which nothing is proved.
  case line([UInt8])

  struct Fault: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
  }

  /// A batch's lines are 64 MiB and one message's more at most.
  private static let limit = 128 << 20

  /// - Parameter path: `-` for standard input.
  init(reading path: String, of batch: BatchLineage) throws {
    try self.init(try GivenFile.read(path, limit: Self.limit), of: batch)
  }

  init(_ bytes: [UInt8], of batch: BatchLineage) throws {
    let plain: [UInt8]
    do {
      if bytes.starts(with: [0x1F, 0x8B]) {
        plain = try Gzip.decompress(bytes, maximumOutput: Self.limit)
      } else if bytes.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) {
        plain = try Zstd.decompress(bytes, maximumOutput: Self.limit)
      } else {
        plain = bytes
      }
    } catch {
      throw Fault("--data cannot be unpacked: \(error)")
    }
    let digest = Batch.digest(
      identity: batch.identity, previous: batch.previous, count: batch.count, body: plain)
    let lines = Self.lines(plain)
    if digest == batch.digest {
      self = .batch(lines)
    } else if let line = lines.first, lines.count == 1 {
      self = .line(line)
    } else {
      throw Fault(
        "--data is not what batch \(batch.identity) holds (the digest is another), and not one line: take the lines as "
          + "they were delivered, each with its line feed")
    }
  }

  static func lines(_ body: [UInt8]) -> [[UInt8]] { body.split(separator: UInt8(ascii: "\n")).map { Array($0) } }
}
