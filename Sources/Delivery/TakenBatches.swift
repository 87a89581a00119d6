import Telemetry

/// Which batches of one pipeline have been taken, so that each line is taken once: per chain the runs of
/// sequences that are whole, and for the others the lines that are there (docs/delivery-protocol.md,
/// section 7). A value; as large as there are gaps, not as there are batches.
struct TakenBatches: Sendable, Hashable {
  struct Key: Sendable, Hashable {
    var gateway: String
    var epoch: Epoch
  }

  struct Run: Sendable, Hashable {
    var first: Int64
    var last: Int64
    var lastDigest: Digest
  }

  struct Partial: Sendable, Hashable {
    var whole: Batch.Parent
    var lines = RangeSet<Int>()
  }

  struct Chain: Sendable, Hashable {
    /// Ascending, never adjacent.
    var runs: [Run] = []
    var partials: [Int64: Partial] = [:]
  }

  enum Verdict: Sendable, Hashable {
    case has
    case conflict(held: Digest)
    /// Lines of the whole batch that this body holds and that are not there yet. Not empty.
    case lacking(RangeSet<Int>)
  }

  var chains: [Key: Chain] = [:]

  func verdict(on batch: Batch) -> Verdict {
    let identity = batch.identity
    let whole = Splitting.parent(of: batch)
    let lines = RangeSet(identity.part?.lines(of: whole.count) ?? 0..<whole.count)
    let chain = chains[Key(gateway: identity.gateway, epoch: identity.epoch)] ?? Chain()
    if let run = chain.runs.first(where: { ($0.first...$0.last).contains(identity.sequence) }) {
      let differs = run.last == identity.sequence && run.lastDigest != whole.digest
      return differs ? .conflict(held: run.lastDigest) : .has
    }
    guard let partial = chain.partials[identity.sequence] else { return .lacking(lines) }
    guard partial.whole == whole else { return .conflict(held: partial.whole.digest) }
    let lacking = lines.subtracting(partial.lines)
    return lacking.isEmpty ? .has : .lacking(lacking)
  }

  /// Remembers that lines of a sequence were taken.
  mutating func take(_ key: Key, sequence: Int64, whole: Batch.Parent, lines: RangeSet<Int>) {
    var chain = chains[key] ?? Chain()
    var partial = chain.partials.removeValue(forKey: sequence) ?? Partial(whole: whole)
    partial.lines.formUnion(lines)
    if partial.lines.isSuperset(of: RangeSet(0..<whole.count)) {
      chain.insert(sequence, digest: whole.digest)
    } else {
      chain.partials[sequence] = partial
    }
    chains[key] = chain
  }
}

extension TakenBatches.Chain {
  mutating func insert(_ sequence: Int64, digest: Digest) {
    // Mostly the next one: from the end.
    let next = runs.lastIndex { $0.last < sequence }.map { $0 + 1 } ?? 0
    guard next == runs.count || runs[next].first > sequence else { return }
    runs.insert(.init(first: sequence, last: sequence, lastDigest: digest), at: next)
    if next + 1 < runs.count, runs[next + 1].first == sequence + 1 {
      runs[next + 1].first = sequence
      runs.remove(at: next)
    }
    if next > 0, runs[next - 1].last + 1 == runs[next].first {
      runs[next].first = runs[next - 1].first
      runs.remove(at: next - 1)
    }
  }
}
