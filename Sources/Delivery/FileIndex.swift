import Compression
import Telemetry

// The two files in the hidden folder of a pipeline that tell what has been taken. Both are lines of
// text; a space parts the fields.
//
// `index`, replaced as a whole by rename whenever a file is finished:
//
//   forebay-files 1
//   generation G                 the files of the open batch file are G.part and G.journal
//   finishing G-1 NAME           absent before the first finished file: G-1.part is to be renamed to NAME
//   chain GATEWAY EPOCH
//   run FIRST LAST DIGEST        of LAST; any number of them, for the last `chain`
//   part SEQUENCE DIGEST PREVIOUS COUNT LENGTH A-B,C-D
//                                a sequence of which the lines A..<B and C..<D were taken
//   crc32 HEX                    of all before
//
// `G.journal`, one line per batch appended to G.part, each synced after the bytes it tells of:
//
//   open GATEWAY EPOCH ENCODING COMPRESSION WALL CRC32
//   take END SEQUENCE DIGEST PREVIOUS COUNT LENGTH A-B,C-D CRC32
//                                G.part holds these lines of the sequence up to its byte END
//
// Invariants: what a valid line of the journal tells of is wholly in G.part; bytes of G.part behind the
// END of the last valid line were never answered for, and are cut off. A journal of a generation below
// the index's is already in the index.

/// What `index` holds.
struct FileIndex: Sendable, Hashable {
  struct Finishing: Sendable, Hashable {
    var generation: Int64
    var name: String
  }

  var generation: Int64 = 1
  var finishing: Finishing?
  var taken = TakenBatches()

  func encoded() -> [UInt8] {
    var text = "forebay-files 1\ngeneration \(generation)\n"
    if let finishing { text += "finishing \(finishing.generation) \(finishing.name)\n" }
    for (key, chain) in taken.chains.sorted(by: {
      ($0.key.gateway, $0.key.epoch.rawValue) < ($1.key.gateway, $1.key.epoch.rawValue)
    }) {
      text += "chain \(key.gateway) \(key.epoch)\n"
      for run in chain.runs { text += "run \(run.first) \(run.last) \(run.lastDigest)\n" }
      for (sequence, partial) in chain.partials.sorted(by: { $0.key < $1.key }) {
        text += "part \(sequence) \(fields(partial.whole)) \(fields(partial.lines))\n"
      }
    }
    return Array((text + "crc32 \(hex(crc32(Array(text.utf8))))\n").utf8)
  }

  /// Nil when it is damaged.
  init?(_ bytes: [UInt8]) {
    guard let text = String(validating: bytes, as: UTF8.self), text.hasSuffix("\n") else { return nil }
    var lines = text.split(separator: "\n").map { $0.split(separator: " ") }
    guard let sum = lines.popLast(), sum.count == 2, sum[0] == "crc32",
      case let body = bytes.dropLast(15), sum[1] == hex(crc32(Array(body))),
      lines.count >= 2, lines[0] == ["forebay-files", "1"], lines[1].count == 2,
      lines[1][0] == "generation", let generation = number(lines[1][1])
    else { return nil }
    self.generation = generation
    var key: TakenBatches.Key?
    for line in lines.dropFirst(2) {
      switch (line.first, line.count) {
      case ("finishing", 3):
        guard let generation = number(line[1]) else { return nil }
        finishing = Finishing(generation: generation, name: String(line[2]))
      case ("chain", 3):
        guard let epoch = Epoch(rawValue: String(line[2])) else { return nil }
        key = TakenBatches.Key(gateway: String(line[1]), epoch: epoch)
      case ("run", 4):
        guard let key, let first = number(line[1]), let last = number(line[2]), first <= last,
          let digest = Digest(hex: String(line[3]))
        else { return nil }
        taken.chains[key, default: .init()].runs.append(
          .init(first: first, last: last, lastDigest: digest))
      case ("part", 7):
        guard let key, let sequence = number(line[1]), let whole = parent(line[2...5]),
          let lines = ranges(line[6])
        else { return nil }
        taken.chains[key, default: .init()].partials[sequence] = .init(whole: whole, lines: lines)
      default: return nil
      }
    }
  }

  init() {}
}

/// What `G.journal` holds.
struct FileJournal: Sendable, Hashable {
  struct Head: Sendable, Hashable {
    var key: TakenBatches.Key
    var encoding: BatchEncoding
    var compression: BatchCompression
    /// Nanoseconds since 1970, when the file was begun.
    var wall: Int64

    func encoded() -> [UInt8] {
      sealed("open \(key.gateway) \(key.epoch) \(encoding.rawValue) \(compression.rawValue) \(wall)")
    }
  }

  struct Entry: Sendable, Hashable {
    var end: Int
    var sequence: Int64
    var whole: Batch.Parent
    var lines: RangeSet<Int>

    func encoded() -> [UInt8] {
      sealed("take \(end) \(sequence) \(fields(whole)) \(fields(lines))")
    }
  }

  var head: Head
  var entries: [Entry] = []
  /// Bytes up to the end of the last valid line.
  private(set) var length: Int

  /// Reads up to the first line that is torn or damaged; nil when that is the first.
  init?(_ bytes: [UInt8]) {
    var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast()
    guard let first = lines.popFirst(), let open = unsealed(first), open.count == 6, open[0] == "open",
      let epoch = Epoch(rawValue: open[2]), let encoding = BatchEncoding(rawValue: open[3]),
      let compression = BatchCompression(rawValue: open[4]), let wall = Int64(open[5])
    else { return nil }
    head = Head(
      key: .init(gateway: open[1], epoch: epoch), encoding: encoding, compression: compression, wall: wall)
    length = first.count + 1
    for line in lines {
      guard let take = unsealed(line), take.count == 8, take[0] == "take", let end = Int(take[1]),
        end >= entries.last?.end ?? 0, let sequence = number(take[2][...]),
        let whole = parent(take[3...6].map { $0[...] }[...]), let lines = ranges(take[7][...])
      else { break }
      entries.append(Entry(end: end, sequence: sequence, whole: whole, lines: lines))
      length += line.count + 1
    }
  }
}

private func hex(_ value: UInt32) -> String {
  Hex.encode((0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) })
}

private func fields(_ whole: Batch.Parent) -> String {
  "\(whole.digest) \(whole.previous) \(whole.count) \(whole.length)"
}

private func fields(_ lines: RangeSet<Int>) -> String {
  lines.ranges.map { "\($0.lowerBound)-\($0.upperBound)" }.joined(separator: ",")
}

/// A generation or a sequence: both count from 1, and neither ever comes near the end of 64 bits.
private func number(_ text: Substring) -> Int64? {
  guard let number = Int64(text), (1...1 << 62).contains(number) else { return nil }
  return number
}

private func parent(_ words: ArraySlice<Substring>) -> Batch.Parent? {
  let words = Array(words)
  guard words.count == 4, let digest = Digest(hex: String(words[0])),
    let previous = Digest(hex: String(words[1])), let count = Int(words[2]), let length = Int(words[3]), count >= 1,
    length >= 1
  else { return nil }
  return Batch.Parent(digest: digest, previous: previous, count: count, length: length)
}

private func ranges(_ text: Substring) -> RangeSet<Int>? {
  var set = RangeSet<Int>()
  for range in text.split(separator: ",") {
    let bounds = range.split(separator: "-").compactMap { Int($0) }
    guard bounds.count == 2, bounds[0] >= 0, bounds[0] < bounds[1] else { return nil }
    set.insert(contentsOf: bounds[0]..<bounds[1])
  }
  return set
}

private func sealed(_ line: String) -> [UInt8] {
  Array("\(line) \(hex(crc32(Array(line.utf8))))\n".utf8)
}

/// The fields of a line without its checksum; nil when that is wrong.
private func unsealed(_ line: ArraySlice<UInt8>) -> [String]? {
  guard let space = line.lastIndex(of: UInt8(ascii: " ")),
    line[(space + 1)...].elementsEqual(hex(crc32(Array(line[..<space]))).utf8)
  else { return nil }
  return String(decoding: line[..<space], as: UTF8.self).split(separator: " ").map(String.init)
}
