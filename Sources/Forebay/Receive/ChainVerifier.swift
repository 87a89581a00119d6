import Telemetry

/// Proves, from the records of a store alone, what a receiver holds: every digest is computed again
/// from the bodies, every link compared, parts put together and held against the digest of their
/// batch, and every gap named and classed.
///
/// Pure: it is fed record by record and gives a report. It holds the bodies of batches that are
/// still in parts, and otherwise grows with the gaps only.
struct ChainVerifier {
  /// A batch that came in parts, as far as they came.
  fileprivate struct Assembly {
    var whole: Batch.Parent
    var pieces: [(lines: Range<Int>, bytes: [UInt8])] = []
    var taken = RangeSet<Int>()
  }

  /// What was refused of a sequence.
  fileprivate struct Refused {
    var whole: Batch.Parent
    var lines = RangeSet<Int>()
    /// Lines that were refused alone. The sender splits what is refused with others, and ends here.
    var alone = RangeSet<Int>()
  }

  fileprivate struct Chain {
    var report: ChainReport
    var runs = SequenceRuns()
    var assemblies: [Int64: Assembly] = [:]
    var refused: [Int64: Refused] = [:]
  }

  private var chains: [ChainKey: Chain] = [:]

  mutating func add(_ record: BatchRecord) {
    let key = record.label.chain
    var chain = chains.removeValue(forKey: key) ?? Chain(report: ChainReport(key: key))
    switch record.outcome {
    case .refused: chain.refuse(record.label)
    case .taken(let lines): chain.take(record, lines: lines)
    }
    chains[key] = chain
  }

  /// Ends the check: what is still lacking now is a gap.
  mutating func finish() -> [ChainReport] {
    let keys = chains.keys.sorted()
    return keys.map { key in
      var chain = chains.removeValue(forKey: key) ?? Chain(report: ChainReport(key: key))
      chain.findGaps()
      return chain.report
    }
  }
}

extension ChainVerifier.Chain {
  fileprivate mutating func refuse(_ label: BatchLabel) {
    let sequence = label.identity.sequence
    guard !runs.contains(sequence) else { return }
    var entry = refused[sequence] ?? .init(whole: label.whole)
    entry.lines.insert(contentsOf: label.lines)
    if label.count == 1 { entry.alone.insert(contentsOf: label.lines) }
    refused[sequence] = entry
  }

  fileprivate mutating func take(_ record: BatchRecord, lines: [Range<Int>]) {
    let label = record.label
    let sequence = label.identity.sequence
    let body: BatchBody
    do {
      body = try BatchBody(record.body, label: label)
    } catch {
      report.fault("\(label.identity): \(error.reason)")
      return
    }
    if let replay = label.replay { report.replay = replay }
    if label.possibleDuplicate { report.possibleDuplicates += lines.reduce(0) { $0 + $1.count } }
    if runs.contains(sequence) {
      report.repeated += lines.reduce(0) { $0 + $1.count }
      report.fault("\(label.identity): its readings are stored a second time")
      return
    }
    if label.parent == nil, lines == [0..<label.count], assemblies[sequence] == nil {
      report.readings += label.count
      report.bytes += body.bytes.count
      complete(sequence, whole: label.whole)
      return
    }
    var assembly = assemblies.removeValue(forKey: sequence) ?? .init(whole: label.whole)
    if assembly.whole != label.whole {
      report.fault("\(label.identity): it disagrees with parts before it about the whole batch")
    }
    for range in lines {
      guard RangeSet(range).isDisjoint(assembly.taken) else {
        report.repeated += range.count
        report.fault("\(label.identity): lines of it are stored a second time")
        continue
      }
      let bytes = Array(body.lines(range, held: label.lines))
      report.readings += range.count
      report.bytes += bytes.count
      assembly.pieces.append((range, bytes))
      assembly.taken.insert(contentsOf: range)
    }
    guard assembly.taken.isSuperset(of: RangeSet(0..<assembly.whole.count)) else {
      assemblies[sequence] = assembly
      return
    }
    assembly.pieces.sort { $0.lines.lowerBound < $1.lines.lowerBound }
    let whole = assembly.whole
    let bytes = Array(assembly.pieces.map(\.bytes).joined())
    let digest = Batch.digest(
      identity: label.identity.whole, previous: whole.previous, count: whole.count, body: bytes)
    if digest != whole.digest || bytes.count != whole.length {
      report.fault("\(label.identity.whole): its parts do not make up the batch that was split")
    }
    complete(sequence, whole: whole)
  }

  private mutating func complete(_ sequence: Int64, whole: Batch.Parent) {
    report.batches += 1
    refused[sequence] = nil
    compare(sequence, whole)
    runs.insert(sequence, digest: whole.digest, previous: whole.previous)
  }

  private mutating func compare(_ sequence: Int64, _ whole: Batch.Parent) {
    guard
      runs.contradiction(sequence: sequence, digest: whole.digest, previous: whole.previous) != nil
    else { return }
    report.fault("\(report.key.identity(sequence)): the link to its neighbour in the chain is broken")
  }

  fileprivate mutating func findGaps() {
    let open = Set(assemblies.keys).union(refused.keys).sorted()
    report.highest = max(runs.highest, open.last ?? 0)
    var before: (sequence: Int64, whole: Batch.Parent)?
    for sequence in open {
      let assembly = assemblies[sequence]
      let refusal = refused[sequence]
      guard let whole = assembly?.whole ?? refusal?.whole else { continue }
      compare(sequence, whole)
      if let before, before.sequence == sequence - 1, before.whole.digest != whole.previous {
        report.fault("\(report.key.identity(sequence)): the link to the batch before it is broken")
      }
      before = (sequence, whole)
      let taken = assembly?.taken ?? RangeSet()
      let refusedLines = (refusal?.lines ?? RangeSet()).subtracting(taken)
      let missing = RangeSet(0..<whole.count).subtracting(taken).subtracting(refusedLines)
      let gap = ChainReport.Gap(
        sequences: sequence...sequence, refused: refusedLines.size,
        unsplit: refusedLines.subtracting(refusal?.alone ?? RangeSet()).size,
        missing: Array(missing.ranges))
      report.refused += gap.refused
      report.unsplit += gap.unsplit
      report.gaps.append(gap)
    }
    // Sequences of which nothing at all is known lie between those that are open and the runs.
    var known = RangeSet<Int64>()
    for run in runs.runs { known.insert(contentsOf: run.first..<run.last + 1) }
    for sequence in open { known.insert(contentsOf: sequence..<sequence + 1) }
    for range in RangeSet(1..<report.highest + 1).subtracting(known).ranges {
      report.gaps.append(
        ChainReport.Gap(sequences: range.lowerBound...range.upperBound - 1, missing: nil))
    }
    report.gaps.sort { $0.sequences.lowerBound < $1.sequences.lowerBound }
  }
}

extension RangeSet<Int> {
  /// How many numbers it holds.
  fileprivate var size: Int { ranges.reduce(0) { $0 + $1.count } }
}
