import Compression
import Telemetry

/// Small files that outlive the process, with whatever a worn card makes of them: the status that is kept, the index
/// and the journal of a file uplink, the audit log. Checksums are made to fit, for behind them stands
/// what is to be read. Each is refused, or goes on being used without harm.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzKept(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  guard let kind = bytes.first else { return 0 }
  let rest = Array(bytes.dropFirst())
  switch kind {
  case UInt8(ascii: "S"): status(rest)
  case UInt8(ascii: "I"): index(rest)
  case UInt8(ascii: "J"): journal(rest)
  case UInt8(ascii: "A"): audit(rest)
  default: break
  }
  return 0
}

private let settings = ObjectiveSettings.usual
private let now = Moment(
  boot: BootID(high: 1, low: 2), monotonic: 1_000_000_000, wall: 1_795_231_080_000_000_000, quality: .synchronised)

private func status(_ bytes: [UInt8]) {
  let whole = Array("FBSK".utf8) + [1] + bytes
  guard let kept = try? KeptStatus(whole + Digest(of: whole).bytes.prefix(8), settings: settings) else { return }
  var book = kept.book
  _ = book.reports
  _ = book.conditions
  book.look(ObjectiveSample(), now: now)
  _ = book.reports
  let again = KeptStatus(book: book, alarms: kept.alarms, marks: kept.marks).encoded(now: now)
  require((try? KeptStatus(again, settings: settings)) != nil, "what is written cannot be read")
}

private func index(_ bytes: [UInt8]) {
  let text = String(decoding: bytes, as: UTF8.self)
  let body = Array((text.hasSuffix("\n") ? text : text + "\n").utf8)
  let sum = Array("crc32 \(hexadecimal(crc32(body)))\n".utf8)
  guard let index = FileIndex(body + sum) else { return }
  guard let again = FileIndex(index.encoded()) else {
    require(false, "an index does not read back")
    return
  }
  require(again.generation == index.generation, "another generation")
  for (key, chain) in index.taken.chains.prefix(4) {
    var taken = index.taken
    let sequences = chain.runs.flatMap { [$0.first, $0.last, $0.last &+ 1] } + chain.partials.keys
    for sequence in sequences.prefix(16) where sequence > 0 {
      let whole = chain.partials[sequence]?.whole ?? Batch.Parent(digest: .zero, previous: .zero, count: 2, length: 4)
      taken.take(key, sequence: sequence, whole: whole, lines: RangeSet(0..<1))
      taken.take(key, sequence: sequence, whole: whole, lines: RangeSet(0..<max(1, whole.count)))
    }
  }
}

private func hexadecimal(_ value: UInt32) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: 8 - digits.utf8.count) + digits
}

private func journal(_ bytes: [UInt8]) {
  // Each line with the check that fits.
  var whole: [UInt8] = []
  for line in bytes.split(separator: UInt8(ascii: "\n")) {
    whole += line + Array(" \(hexadecimal(crc32(Array(line))))\n".utf8)
  }
  for journal in [FileJournal(whole), FileJournal(bytes)] {
    guard let journal else { continue }
    require(journal.length <= max(whole.count, bytes.count), "longer than it is")
    var taken = TakenBatches()
    for entry in journal.entries.prefix(8) where !entry.lines.isEmpty {
      taken.take(journal.head.key, sequence: entry.sequence, whole: entry.whole, lines: entry.lines)
    }
    let again = journal.head.encoded() + journal.entries.flatMap { $0.encoded() }
    require(FileJournal(again)?.entries == journal.entries, "a journal does not read back")
  }
}

private func audit(_ bytes: [UInt8]) {
  var chain = AuditChain()
  for line in bytes.split(separator: UInt8(ascii: "\n")) { chain.take(Array(line), isWhole: true, place: "f:1") }
  chain.finish()
  _ = chain.verification.isSound
}
